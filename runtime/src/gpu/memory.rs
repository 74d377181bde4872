//! Arrays of vec4s as kernels take them: storage buffers, or textures where those are read faster.

use crate::gpu::buffers::{constant, empty};
use crate::gpu::device::Gpu;
use crate::gpu::software::storage::Storage;
use crate::gpu::software::textures::{self, Format, Texture};

/// An array on the device.
#[derive(Debug)]
pub(super) enum Memory {
    Buffer(wgpu::Buffer),
    Texture(Texture),
}

/// The most bytes of one array on `gpu`.
pub(super) fn most_bytes(gpu: &Gpu) -> u64 {
    let limits = gpu.limits();
    match gpu.storage() {
        Storage::Buffers => limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        Storage::Textures => textures::most_bytes(gpu),
    }
}

impl Memory {
    /// An array of `bytes` to read and write, as `gpu` keeps them.
    pub(super) fn empty(gpu: &Gpu, label: &str, bytes: u64) -> Self {
        match gpu.storage() {
            Storage::Buffers => {
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
                Self::Buffer(empty(gpu, label, usage, bytes))
            }
            Storage::Textures => Self::Texture(Texture::new(gpu, label, Format::Full, bytes)),
        }
    }

    /// An array that holds `data`, a whole number of vec4s, and never changes; in f16 if `half`.
    pub(super) fn constant(gpu: &Gpu, label: &str, textures: bool, half: bool, data: &[f32]) -> Self {
        let halved: Vec<half::f16> = if half { data.iter().map(|&x| half::f16::from_f32(x)).collect() } else { Vec::new() };
        let bytes: &[u8] = if half { bytemuck::cast_slice(&halved) } else { bytemuck::cast_slice(data) };
        if !textures {
            return Self::Buffer(constant(gpu, label, wgpu::BufferUsages::STORAGE, bytes));
        }
        let texture = Texture::new(gpu, label, if half { Format::Half } else { Format::Full }, bytes.len() as u64);
        texture.write(gpu, bytes);
        Self::Texture(texture)
    }

    /// Puts `bytes`, a whole number of vec4s, at its start.
    pub(super) fn write(&self, gpu: &Gpu, bytes: &[u8]) {
        match self {
            Self::Buffer(buffer) => gpu.queue().write_buffer(buffer, 0, bytes),
            Self::Texture(texture) => texture.write(gpu, bytes),
        }
    }

    /// Records the copy of `bytes` of `from`, from `offset` on, to its start.
    pub(super) fn load(&self, encoder: &mut wgpu::CommandEncoder, from: &wgpu::Buffer, offset: u64, bytes: u64) {
        match self {
            Self::Buffer(buffer) => encoder.copy_buffer_to_buffer(from, offset, buffer, 0, bytes),
            Self::Texture(texture) => texture.load(encoder, from, offset, bytes),
        }
    }

    /// Records the copy of its first `bytes` to `to`, from `offset` on.
    pub(super) fn store(&self, encoder: &mut wgpu::CommandEncoder, to: &wgpu::Buffer, offset: u64, bytes: u64) {
        match self {
            Self::Buffer(buffer) => encoder.copy_buffer_to_buffer(buffer, 0, to, offset, bytes),
            Self::Texture(texture) => texture.store(encoder, to, offset, bytes),
        }
    }

    /// Binds its first `bytes`.
    pub(super) fn resource(&self, bytes: u64) -> wgpu::BindingResource<'_> {
        match self {
            Self::Buffer(buffer) => {
                let size = std::num::NonZeroU64::new(bytes);
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size })
            }
            Self::Texture(texture) => wgpu::BindingResource::TextureView(texture.view()),
        }
    }

    /// Its size in bytes, rounding included.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.size(),
            Self::Texture(texture) => texture.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::software::textures::ROW;

    #[test]
    fn arrays_keep_what_is_written() {
        for storage in [Storage::Buffers, Storage::Textures] {
            let Ok(gpu) = Gpu::open_with(Some(storage)) else { continue };
            for len in [4, ROW as usize * 4, ROW as usize * 12 + 8] {
                let data: Vec<f32> = (0..len).map(|i| i as f32).collect();
                let memory = Memory::empty(&gpu, "test", len as u64 * 4);
                memory.write(&gpu, bytemuck::cast_slice(&data));
                let staging = crate::gpu::transfer::Staging::new(&gpu, "test", wgpu::MapMode::Read, len as u64 * 4);
                let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                memory.store(&mut encoder, staging.buffer(), 0, len as u64 * 4);
                let submission = gpu.queue().submit([encoder.finish()]);
                staging.map();
                staging.block(&gpu, Some(submission), None).unwrap();
                assert_eq!(staging.buffer().get_mapped_range(..).unwrap()[..], *bytemuck::cast_slice::<f32, u8>(&data));
            }
        }
    }
}
