//! Arrays of vec4s as kernels take them: storage buffers, or textures where those are read faster.

use crate::gpu::buffers::{constant, empty};
use crate::gpu::device::Gpu;

/// How a device keeps values and weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In storage buffers.
    Buffers,
    /// In storage textures of RGBA32F, for kernels that work by subgroups of [`LANES`]. lavapipe gathers texels by vector
    /// loads, and loads from a buffer lane by lane in a loop.
    Textures,
}

/// Lanes of a subgroup of the kernels that take textures.
pub(super) const LANES: u32 = 8;

/// Texels of a row of a texture, as `#input` of the kernels has it.
const ROW: u32 = 2048;

/// What a texel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// RGBA32F.
    Full,
    /// RGBA16F.
    Half,
}

impl Format {
    /// Bytes of a texel.
    fn texel(self) -> u64 {
        match self {
            Self::Full => 16,
            Self::Half => 8,
        }
    }
}

/// An array on the device.
#[derive(Debug)]
pub(super) enum Memory {
    Buffer(wgpu::Buffer),
    Texture { texture: wgpu::Texture, view: wgpu::TextureView, format: Format },
}

/// The most bytes of one array on `gpu`.
pub(super) fn most_bytes(gpu: &Gpu) -> u64 {
    let limits = gpu.limits();
    match gpu.storage() {
        Storage::Buffers => limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        Storage::Textures => u64::from(limits.max_texture_dimension_2d - 1) * u64::from(ROW) * Format::Half.texel(),
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
            Storage::Textures => texture(gpu, label, Format::Full, bytes),
        }
    }

    /// An array that holds `data`, a whole number of vec4s, and never changes; in f16 if `half`.
    pub(super) fn constant(gpu: &Gpu, label: &str, textures: bool, half: bool, data: &[f32]) -> Self {
        let halved: Vec<half::f16> = if half { data.iter().map(|&x| half::f16::from_f32(x)).collect() } else { Vec::new() };
        let bytes: &[u8] = if half { bytemuck::cast_slice(&halved) } else { bytemuck::cast_slice(data) };
        if !textures {
            return Self::Buffer(constant(gpu, label, wgpu::BufferUsages::STORAGE, bytes));
        }
        let texture = texture(gpu, label, if half { Format::Half } else { Format::Full }, bytes.len() as u64);
        texture.write(gpu, bytes);
        texture
    }

    /// Puts `bytes`, a whole number of vec4s, at its start.
    pub(super) fn write(&self, gpu: &Gpu, bytes: &[u8]) {
        match self {
            Self::Buffer(buffer) => gpu.queue().write_buffer(buffer, 0, bytes),
            Self::Texture { texture, format, .. } => {
                for part in parts(*format, bytes.len() as u64) {
                    let (layout, size) = (part.layout(*format), part.size());
                    gpu.queue().write_texture(part.of(texture), bytes, layout, size);
                }
            }
        }
    }

    /// Records the copy of `bytes` of `from`, from `offset` on, to its start.
    pub(super) fn load(&self, encoder: &mut wgpu::CommandEncoder, from: &wgpu::Buffer, offset: u64, bytes: u64) {
        match self {
            Self::Buffer(buffer) => encoder.copy_buffer_to_buffer(from, offset, buffer, 0, bytes),
            Self::Texture { texture, format, .. } => {
                for part in parts(*format, bytes) {
                    let buffer = wgpu::TexelCopyBufferInfo { buffer: from, layout: part.behind(offset, *format) };
                    encoder.copy_buffer_to_texture(buffer, part.of(texture), part.size());
                }
            }
        }
    }

    /// Records the copy of its first `bytes` to `to`, from `offset` on.
    pub(super) fn store(&self, encoder: &mut wgpu::CommandEncoder, to: &wgpu::Buffer, offset: u64, bytes: u64) {
        match self {
            Self::Buffer(buffer) => encoder.copy_buffer_to_buffer(buffer, 0, to, offset, bytes),
            Self::Texture { texture, format, .. } => {
                for part in parts(*format, bytes) {
                    let buffer = wgpu::TexelCopyBufferInfo { buffer: to, layout: part.behind(offset, *format) };
                    encoder.copy_texture_to_buffer(part.of(texture), buffer, part.size());
                }
            }
        }
    }

    /// Binds its first `bytes`.
    pub(super) fn resource(&self, bytes: u64) -> wgpu::BindingResource<'_> {
        match self {
            Self::Buffer(buffer) => {
                let size = std::num::NonZeroU64::new(bytes);
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size })
            }
            Self::Texture { view, .. } => wgpu::BindingResource::TextureView(view),
        }
    }

    /// Bytes that it was made for, and what rounding added.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.size(),
            Self::Texture { texture, format, .. } => u64::from(texture.width()) * u64::from(texture.height()) * format.texel(),
        }
    }
}

fn texture(gpu: &Gpu, label: &str, format: Format, bytes: u64) -> Memory {
    let mut rows = bytes.div_ceil(format.texel() * u64::from(ROW)).max(1) as u32;
    // llvmpipe compiles kernels anew for textures whose sides are powers of two: none has such a height.
    if rows.is_power_of_two() {
        rows += if rows == 1 { 2 } else { 1 };
    }
    let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
        size: wgpu::Extent3d { width: ROW, height: rows, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: if format == Format::Full { wgpu::TextureFormat::Rgba32Float } else { wgpu::TextureFormat::Rgba16Float },
        usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    Memory::Texture { texture, view, format }
}

/// Whole rows of a texture, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    row: u32,
    width: u32,
    height: u32,
}

/// The rows that hold the first `bytes`: whole ones, then the beginning of one.
fn parts(format: Format, bytes: u64) -> impl Iterator<Item = Part> {
    let texels = bytes.div_ceil(format.texel());
    let (rows, rest) = ((texels / u64::from(ROW)) as u32, (texels % u64::from(ROW)) as u32);
    let whole = Part { row: 0, width: ROW, height: rows };
    let last = Part { row: rows, width: rest, height: 1 };
    [whole, last].into_iter().filter(|p| p.width > 0 && p.height > 0)
}

impl Part {
    fn layout(self, format: Format) -> wgpu::TexelCopyBufferLayout {
        let bytes_per_row = ROW * format.texel() as u32;
        let offset = u64::from(self.row) * u64::from(bytes_per_row);
        wgpu::TexelCopyBufferLayout { offset, bytes_per_row: Some(bytes_per_row), rows_per_image: None }
    }

    /// Of an array that begins `offset` bytes into its buffer.
    fn behind(self, offset: u64, format: Format) -> wgpu::TexelCopyBufferLayout {
        let layout = self.layout(format);
        wgpu::TexelCopyBufferLayout { offset: layout.offset + offset, ..layout }
    }

    fn size(self) -> wgpu::Extent3d {
        wgpu::Extent3d { width: self.width, height: self.height, depth_or_array_layers: 1 }
    }

    fn of(self, texture: &wgpu::Texture) -> wgpu::TexelCopyTextureInfo<'_> {
        let origin = wgpu::Origin3d { x: 0, y: self.row, z: 0 };
        wgpu::TexelCopyTextureInfo { texture, mip_level: 0, origin, aspect: wgpu::TextureAspect::All }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_all_texels_once() {
        let whole = |row, height| Part { row, width: ROW, height };
        let row = u64::from(ROW) * Format::Full.texel();
        let parts = |bytes| parts(Format::Full, bytes);
        assert_eq!(super::parts(Format::Half, row).collect::<Vec<_>>(), [whole(0, 2)]);
        assert_eq!(parts(16).collect::<Vec<_>>(), [Part { row: 0, width: 1, height: 1 }]);
        assert_eq!(parts(3 * row).collect::<Vec<_>>(), [whole(0, 3)]);
        assert_eq!(parts(2 * row + 40).collect::<Vec<_>>(), [whole(0, 2), Part { row: 2, width: 3, height: 1 }]);
        assert_eq!(parts(0).count(), 0);
    }

    #[test]
    fn hosts_and_kernels_agree_on_rows() {
        let texel = format!("vec2u(i & {}u, i >> {}u)", ROW - 1, ROW.ilog2());
        assert!(thinfer_shaders::KERNELS.iter().filter(|k| k.textures()).all(|k| k.source.contains(&texel)));
    }

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
