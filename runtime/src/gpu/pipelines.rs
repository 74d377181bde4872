//! Compute pipelines, made on first use and kept as long as the device.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError};

use thinfer_shaders::{BindingKind, Kernel};

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
pub(super) struct Epilogue {
    pub(super) activation: u32,
    pub(super) residual: u32,
}

/// The pipelines of a device, by the variant's name.
pub(super) type Cache = HashMap<(&'static str, Epilogue), Arc<Pipeline>>;

/// The pipeline of `kernel`. Faults are reported by the device, not here.
pub(super) fn pipeline(gpu: &Gpu, kernel: &'static Kernel, epilogue: Epilogue) -> Arc<Pipeline> {
    let mut cache = gpu.pipelines().lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cache.entry((kernel.name, epilogue)).or_insert_with(|| Arc::new(build(gpu.device(), kernel, epilogue))))
}

fn build(device: &wgpu::Device, kernel: &'static Kernel, epilogue: Epilogue) -> Pipeline {
    let label = Some(kernel.name);
    let entries: Vec<_> = kernel
        .bindings
        .iter()
        .map(|b| wgpu::BindGroupLayoutEntry {
            binding: b.index,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match b.kind {
                    BindingKind::Uniform => wgpu::BufferBindingType::Uniform,
                    BindingKind::ReadOnly => wgpu::BufferBindingType::Storage { read_only: true },
                    BindingKind::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                // Checked once here instead of at every dispatch.
                min_binding_size: NonZeroU64::new(u64::from(b.min_size)),
            },
            count: None,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_becomes_a_pipeline_once() {
        let Ok(gpu) = Gpu::open() else { return };
        for kernel in thinfer_shaders::KERNELS {
            let (plain, relu) = (Epilogue::default(), Epilogue { activation: 1, residual: 1 });
            let first = pipeline(&gpu, kernel, plain);
            assert!(Arc::ptr_eq(&first, &pipeline(&gpu, kernel, plain)));
            assert!(!Arc::ptr_eq(&first, &pipeline(&gpu, kernel, relu)));
        }
        gpu.check().unwrap();
    }
}
