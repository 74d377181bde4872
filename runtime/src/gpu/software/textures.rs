//! Arrays of vec4s in storage textures.

use crate::gpu::device::Gpu;

/// Texels of a row of a texture, as `#input` of the kernels has it.
pub(in crate::gpu) const ROW: u32 = 2048;

/// What a texel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) enum Format {
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

/// An array in a texture.
#[derive(Debug)]
pub(in crate::gpu) struct Texture {
    texture: wgpu::Texture,
    view: wgpu::TextureView,
    format: Format,
}

/// The most bytes of one array on `gpu`.
pub(in crate::gpu) fn most_bytes(gpu: &Gpu) -> u64 {
    u64::from(gpu.limits().max_texture_dimension_2d - 1) * u64::from(ROW) * Format::Half.texel()
}

impl Texture {
    /// Room for `bytes`.
    pub(in crate::gpu) fn new(gpu: &Gpu, label: &str, format: Format, bytes: u64) -> Self {
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
        Self { texture, view, format }
    }

    /// Puts `bytes`, a whole number of vec4s, at its start.
    pub(in crate::gpu) fn write(&self, gpu: &Gpu, bytes: &[u8]) {
        for part in parts(self.format, bytes.len() as u64) {
            gpu.queue().write_texture(part.of(&self.texture), bytes, part.layout(self.format), part.size());
        }
    }

    /// Records the copy of `bytes` of `from`, from `offset` on, to its start.
    pub(in crate::gpu) fn load(&self, encoder: &mut wgpu::CommandEncoder, from: &wgpu::Buffer, offset: u64, bytes: u64) {
        for part in parts(self.format, bytes) {
            let buffer = wgpu::TexelCopyBufferInfo { buffer: from, layout: part.behind(offset, self.format) };
            encoder.copy_buffer_to_texture(buffer, part.of(&self.texture), part.size());
        }
    }

    /// Records the copy of its first `bytes` to `to`, from `offset` on.
    pub(in crate::gpu) fn store(&self, encoder: &mut wgpu::CommandEncoder, to: &wgpu::Buffer, offset: u64, bytes: u64) {
        for part in parts(self.format, bytes) {
            let buffer = wgpu::TexelCopyBufferInfo { buffer: to, layout: part.behind(offset, self.format) };
            encoder.copy_texture_to_buffer(part.of(&self.texture), buffer, part.size());
        }
    }

    /// The view that is bound.
    pub(in crate::gpu) fn view(&self) -> &wgpu::TextureView {
        &self.view
    }

    /// Its size in bytes, rounding included.
    pub(in crate::gpu) fn bytes(&self) -> u64 {
        u64::from(self.texture.width()) * u64::from(self.texture.height()) * self.format.texel()
    }
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
        assert!(thinfer_shaders::KERNELS.iter().filter(|k| k.textures()).all(|k| k.source().contains(&texel)));
    }
}
