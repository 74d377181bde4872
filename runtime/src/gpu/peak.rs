//! What an adapter allows: how many multiply–adds a second, and how many bytes a second from its memory.

use thinfer_shaders::Kernel;

use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::gpu::buffers::{constant, empty};
use crate::gpu::device::Gpu;
use crate::gpu::memory::Memory;
use crate::gpu::pipeline::Epilogue;
use crate::gpu::pipelines::pipeline;

/// Bytes that are read: more than caches hold.
const BYTES: u64 = 64 << 20;
/// Seconds that one timing should last at least.
const SECONDS: f64 = 0.02;

/// Multiply–adds and bytes a second.
///
/// # Errors
/// [`Error::Gpu`] when the device fails.
pub(crate) fn measure(gpu: &Gpu) -> Result<(f64, f64)> {
    let kernel = |read: u32| {
        let found = gpu.variants("peak").find(|k| k.define("READ") == Some(read));
        found.ok_or_else(|| Error::invalid("peak", "is no kernel of this build"))
    };
    let (multiply, read) = (kernel(0)?, kernel(1)?);
    let x = Memory::empty(gpu, "peak", BYTES);
    // As many workgroups as keep any device busy, all of the same length.
    let groups = if gpu.is_software() { 8 * gpu.cores() } else { 4096 };
    let threads = groups * u64::from(multiply.invocations());
    let y = Memory::empty(gpu, "peak", threads * 16);
    let define = |kernel: &Kernel, name| u64::from(kernel.define(name).unwrap_or(1));

    let rounds = if gpu.is_software() { 2000 } else { 256 };
    let adds = threads * rounds * define(multiply, "STEPS") * define(multiply, "SUMS") * 4;
    let adds = adds as f64 / seconds(gpu, multiply, (&x, &y), groups, rounds)?;

    let rounds = BYTES / 16 / threads / define(read, "SUMS");
    let bytes = (threads * rounds * define(read, "SUMS") * 16) as f64;
    Ok((adds, bytes / seconds(gpu, read, (&x, &y), groups, rounds)?))
}

/// Seconds of one launch, the least of several.
fn seconds(gpu: &Gpu, kernel: &'static Kernel, (x, y): (&Memory, &Memory), groups: u64, rounds: u64) -> Result<f64> {
    let pipeline = pipeline(gpu, kernel, &Epilogue::default())?;
    let mut shape = vec![0u32; kernel.bindings[0].min_size as usize / 4];
    shape[0] = rounds as u32;
    let shape = constant(gpu, "peak", wgpu::BufferUsages::UNIFORM, bytemuck::cast_slice(&shape));
    let run = empty(gpu, "peak", wgpu::BufferUsages::UNIFORM, 16);
    let resources = [shape.as_entire_binding(), run.as_entire_binding(), x.resource(x.bytes()), y.resource(y.bytes())];
    let entries: Vec<_> =
        kernel.bindings.iter().zip(resources).map(|(b, resource)| wgpu::BindGroupEntry { binding: b.index, resource }).collect();
    let bind_group =
        gpu.device().create_bind_group(&wgpu::BindGroupDescriptor { label: Some("peak"), layout: &pipeline.layout, entries: &entries });
    let time = |repeats: usize| -> Result<f64> {
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for _ in 0..repeats {
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(groups as u32, 1, 1);
        }
        drop(pass);
        let commands = encoder.finish();
        let start = Instant::now();
        gpu.queue().submit([commands]);
        gpu.wait(None)?;
        Ok(start.elapsed().as_secs_f64() / repeats as f64)
    };
    // The first launch compiles.
    time(1)?;
    let repeats = ((SECONDS / time(1)?.max(1e-9)) as usize).clamp(1, 1000);
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        least = least.min(time(repeats)?);
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_computes_and_reads() {
        let Ok(gpu) = Gpu::open() else { return };
        let (adds, bytes) = measure(&gpu).unwrap();
        assert!(adds > 1e8 && bytes > 1e8 && adds.is_finite() && bytes.is_finite(), "{adds} {bytes}");
    }
}
