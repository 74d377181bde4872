//! Compute pipelines, made on first use and kept as long as the device.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};

use thinfer_shaders::{Binding, BindingKind, Kernel};

use crate::gpu::device::Gpu;

/// A kernel that is ready to be bound and launched.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) kernel: &'static Kernel,
    /// Group 0, the only one.
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) pipeline: wgpu::ComputePipeline,
}

/// What a pipeline fixes of wgsl/shared/epilogue.wgsl: the numbers of the activation and of the kind of residual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Epilogue {
    pub(super) activation: u32,
    pub(super) residual: u32,
}

/// The pipelines of a device, by the variant's name.
pub(super) type Cache = HashMap<(&'static str, Epilogue), Arc<OnceLock<Arc<Pipeline>>>>;

/// The pipeline of `kernel`. Faults are reported by the device, not here.
pub(super) fn pipeline(gpu: &Gpu, kernel: &'static Kernel, epilogue: Epilogue) -> Arc<Pipeline> {
    let cell = Arc::clone(gpu.pipelines().lock().unwrap_or_else(PoisonError::into_inner).entry((kernel.name, epilogue)).or_default());
    Arc::clone(cell.get_or_init(|| Arc::new(build(gpu.device(), kernel, epilogue))))
}

/// Makes all of `wanted` that are not there yet, on as many threads as there are cores.
pub(super) fn prepare(gpu: &Gpu, wanted: &[(&'static Kernel, Epilogue)]) {
    if cfg!(target_family = "wasm") {
        return;
    }
    let next = AtomicUsize::new(0);
    let make = || {
        while let Some(&(kernel, epilogue)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            pipeline(gpu, kernel, epilogue);
        }
    };
    let helpers = std::thread::available_parallelism().map_or(1, usize::from).min(wanted.len()).saturating_sub(1);
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // A thread that cannot be had leaves its work to the others.
            let _ = std::thread::Builder::new().spawn_scoped(scope, make);
        }
        make();
    });
}

fn build(device: &wgpu::Device, kernel: &'static Kernel, epilogue: Epilogue) -> Pipeline {
    let label = Some(kernel.name);
    let entries: Vec<_> = kernel
        .bindings
        .iter()
        .map(|b| wgpu::BindGroupLayoutEntry { binding: b.index, visibility: wgpu::ShaderStages::COMPUTE, ty: binding_type(b), count: None })
        .collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let whole =
        device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor { label, bind_group_layouts: &[Some(&layout)], immediate_size: 0 });
    let module =
        device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(kernel.source.into()) });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&whole),
        module: &module,
        entry_point: Some(kernel.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[("ACTIVATION", epilogue.activation.into()), ("RESIDUAL", epilogue.residual.into())],
            // Kernels write workgroup memory before they read it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    Pipeline { kernel, layout, pipeline }
}

fn binding_type(b: &Binding) -> wgpu::BindingType {
    let buffer = |ty| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: false,
        // Checked once here instead of at every dispatch.
        min_binding_size: NonZeroU64::new(u64::from(b.min_size)),
    };
    let texture = |access| wgpu::BindingType::StorageTexture {
        access,
        format: wgpu::TextureFormat::Rgba32Float,
        view_dimension: wgpu::TextureViewDimension::D2,
    };
    match b.kind {
        BindingKind::Uniform => buffer(wgpu::BufferBindingType::Uniform),
        BindingKind::ReadOnly => buffer(wgpu::BufferBindingType::Storage { read_only: true }),
        BindingKind::ReadWrite => buffer(wgpu::BufferBindingType::Storage { read_only: false }),
        BindingKind::ReadTexture => texture(wgpu::StorageTextureAccess::ReadOnly),
        BindingKind::WriteTexture => texture(wgpu::StorageTextureAccess::WriteOnly),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::memory::Storage;

    #[test]
    fn every_kernel_becomes_a_pipeline_once() {
        let Ok(gpu) = Gpu::open() else { return };
        for kernel in thinfer_shaders::KERNELS.iter().filter(|k| k.lanes().is_none() || gpu.storage() == Storage::Textures) {
            let (plain, relu) = (Epilogue::default(), Epilogue { activation: 1, residual: 1 });
            let first = pipeline(&gpu, kernel, plain);
            assert!(Arc::ptr_eq(&first, &pipeline(&gpu, kernel, plain)));
            assert!(!Arc::ptr_eq(&first, &pipeline(&gpu, kernel, relu)));
        }
        gpu.check().unwrap();
    }
}
