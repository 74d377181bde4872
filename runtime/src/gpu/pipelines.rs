//! Compute pipelines, made on first use and kept as long as the device.

use std::num::NonZeroU64;
use std::sync::Arc;

use thinfer_shaders::{Binding, BindingKind, Kernel};

use crate::clock::Instant;
use crate::error::Result;
use crate::gpu::device::Gpu;
use crate::gpu::pipeline::{Epilogue, Pipeline};
use crate::lock::lock;

/// The pipeline of `kernel`, kept once it could be made. In a browser faults are reported by the device, not here.
///
/// # Errors
/// [`crate::Error::Gpu`] for one that the device or its driver refuses.
pub(super) fn pipeline(gpu: &Gpu, kernel: &'static Kernel, epilogue: &Epilogue) -> Result<Arc<Pipeline>> {
    let cell = Arc::clone(lock(gpu.pipelines()).entry((kernel.name, epilogue.clone())).or_default());
    // Other threads that need the same pipeline wait here.
    let mut kept = lock(&cell);
    if let Some(made) = &*kept {
        return Ok(Arc::clone(made));
    }
    let make = || Arc::new(build(gpu.device(), kernel, epilogue));
    #[cfg(not(target_family = "wasm"))]
    let made = gpu.scoped(make)?;
    #[cfg(target_family = "wasm")]
    let made = make();
    Ok(Arc::clone(kept.insert(made)))
}

/// Makes all of `wanted` that are not there yet: a browser has no threads to give.
#[cfg(target_family = "wasm")]
pub(super) fn prepare(gpu: &Gpu, wanted: &[(&'static Kernel, Epilogue)]) {
    for (kernel, epilogue) in wanted {
        let _ = pipeline(gpu, kernel, epilogue);
    }
}

/// Makes all of `wanted` that are not there yet, on as many threads as there are cores.
#[cfg(not(target_family = "wasm"))]
pub(super) fn prepare(gpu: &Gpu, wanted: &[(&'static Kernel, Epilogue)]) {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let threads = gpu.cores().min(wanted.len() as u64);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((kernel, epilogue)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            // One that cannot be made is tried again, and reported, where it is bound.
            let _ = pipeline(gpu, kernel, epilogue);
        }
    };
    std::thread::scope(|scope| {
        // This thread is one of them; one that the system does not give leaves its work to the others.
        for _ in 1..threads {
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

fn build(device: &wgpu::Device, kernel: &'static Kernel, epilogue: &Epilogue) -> Pipeline {
    let (label, start) = (Some(kernel.name), Instant::now());
    let entries: Vec<_> = kernel
        .bindings
        .iter()
        .map(|b| wgpu::BindGroupLayoutEntry {
            binding: b.index,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: binding_type(b, epilogue.half && kernel.weights.contains(&b.index)),
            count: None,
        })
        .collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let whole =
        device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor { label, bind_group_layouts: &[Some(&layout)], immediate_size: 0 });
    let mut source = if epilogue.half { kernel.half_source() } else { kernel.source() };
    let constants = [("ACTIVATION", epilogue.activation), ("RESIDUAL", epilogue.residual), ("KIND", epilogue.kind)];
    let declared = |name: &str| source.contains(&format!("override {name}:"));
    let constants: Vec<(&str, f64)> = constants.into_iter().filter(|c| declared(c.0)).map(|(name, value)| (name, value.into())).collect();
    if let Some(expression) = &epilogue.expression {
        source = source.replacen(thinfer_shaders::EXPRESSION, expression, 1);
    }
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.into()) });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&whole),
        module: &module,
        entry_point: Some(kernel.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            // Kernels write workgroup memory before they read it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    Pipeline { kernel, layout, pipeline, epilogue: epilogue.clone(), made: start.elapsed() }
}

fn binding_type(b: &Binding, half: bool) -> wgpu::BindingType {
    let buffer = |ty| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: false,
        // Checked once here instead of at every dispatch.
        min_binding_size: NonZeroU64::new(u64::from(b.min_size)),
    };
    let texture = |access| wgpu::BindingType::StorageTexture {
        access,
        format: if half { wgpu::TextureFormat::Rgba16Float } else { wgpu::TextureFormat::Rgba32Float },
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
    use crate::gpu::software::storage::Storage;

    #[test]
    fn every_kernel_becomes_a_pipeline_once() {
        let Ok(gpu) = Gpu::open() else { return };
        for kernel in thinfer_shaders::KERNELS.iter().filter(|k| k.lanes().is_none() || gpu.storage() == Storage::Textures) {
            let (plain, relu) = (Epilogue::default(), Epilogue { activation: 3, residual: 1, half: gpu.halves(), ..Epilogue::default() });
            let first = pipeline(&gpu, kernel, &plain).unwrap();
            assert!(Arc::ptr_eq(&first, &pipeline(&gpu, kernel, &plain).unwrap()));
            assert!(!Arc::ptr_eq(&first, &pipeline(&gpu, kernel, &relu).unwrap()));
        }
        gpu.check().unwrap();
    }
}
