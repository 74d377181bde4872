//! Weights as the kernels want them, and the buffers that hold them.

use crate::gpu::device::Gpu;

/// A matrix in the kernels' layout: `rows4 · 4` rows of `columns4` vec4s, row-major, padded with zeros. A row holds what
/// one input contributes to all outputs.
pub(super) struct Packed {
    pub(super) rows4: u32,
    pub(super) columns4: u32,
    pub(super) values: Vec<f32>,
}

/// Packs `matrix`, [outputs, inputs] row-major, turned round; `columns4` is raised to `least_columns4`.
pub(super) fn pack_transposed(matrix: &[f32], outputs: usize, inputs: usize, least_columns4: usize) -> Packed {
    let mut packed = zeros(inputs, outputs, least_columns4);
    let width = packed.columns4 as usize * 4;
    // Blocks of outputs, so that both sides stay in the cache.
    for block in (0..outputs).step_by(16) {
        for i in 0..inputs {
            for o in block..(block + 16).min(outputs) {
                packed.values[i * width + o] = matrix[o * inputs + i];
            }
        }
    }
    packed
}

/// Packs `matrix`, [inputs, outputs] row-major; `rows4` is raised to `least_rows4`.
pub(super) fn pack_rows(matrix: &[f32], inputs: usize, outputs: usize, least_rows4: usize) -> Packed {
    let mut packed = zeros(inputs.max(least_rows4 * 4), outputs, 0);
    let width = packed.columns4 as usize * 4;
    for (to, from) in packed.values.chunks_exact_mut(width).zip(matrix.chunks_exact(outputs)) {
        to[..outputs].copy_from_slice(from);
    }
    packed
}

fn zeros(inputs: usize, outputs: usize, least_columns4: usize) -> Packed {
    let (rows4, columns4) = (inputs.div_ceil(4), outputs.div_ceil(4).max(least_columns4));
    Packed { rows4: rows4 as u32, columns4: columns4 as u32, values: vec![0.0; rows4 * 4 * columns4 * 4] }
}

/// `bias`, or zeros, padded with zeros to vec4s.
pub(super) fn pack_bias(bias: Option<&[f32]>, outputs: usize) -> Vec<f32> {
    let mut packed = vec![0.0; outputs.next_multiple_of(4)];
    if let Some(bias) = bias {
        packed[..outputs].copy_from_slice(bias);
    }
    packed
}

/// A buffer that holds `data` and never changes.
pub(super) fn constant(gpu: &Gpu, label: &str, usage: wgpu::BufferUsages, data: &[u8]) -> wgpu::Buffer {
    let size = (data.len() as u64).next_multiple_of(16).max(16);
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: true });
    // Refused only where the buffer itself is, which the device reports.
    if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
        view.slice(..data.len()).copy_from_slice(data);
    }
    buffer.unmap();
    buffer
}

/// An empty buffer of `bytes`.
pub(super) fn empty(gpu: &Gpu, label: &str, usage: wgpu::BufferUsages, bytes: u64) -> wgpu::Buffer {
    gpu.device().create_buffer(&wgpu::BufferDescriptor { label: Some(label), size: bytes.max(16), usage, mapped_at_creation: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Both ways of packing put the weight of input i for output o at [i][o], and zeros everywhere else.
        #[test]
        fn weights_lie_where_kernels_look(outputs in 1usize..40, inputs in 1usize..40, least in 0usize..12) {
            let at = |o: usize, i: usize| (o * inputs + i + 1) as f32;
            let weight: Vec<f32> = (0..outputs * inputs).map(|j| (j + 1) as f32).collect();
            let turned: Vec<f32> = (0..inputs * outputs).map(|j| at(j % outputs, j / outputs)).collect();
            let (a, b) = (pack_transposed(&weight, outputs, inputs, least), pack_rows(&turned, inputs, outputs, least));
            for p in [&a, &b] {
                let width = p.columns4 as usize * 4;
                prop_assert_eq!(p.values.len(), p.rows4 as usize * 4 * width);
                for (j, &value) in p.values.iter().enumerate() {
                    let (i, o) = (j / width, j % width);
                    prop_assert_eq!(value, if i < inputs && o < outputs { at(o, i) } else { 0.0 });
                }
            }
            prop_assert!(a.columns4 as usize >= least && b.rows4 as usize >= least);
        }
    }

    #[test]
    fn a_missing_bias_is_zero() {
        assert_eq!(pack_bias(Some(&[1.0, 2.0, 3.0, 4.0, 5.0]), 5), [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
        assert_eq!(pack_bias(None, 2), [0.0; 4]);
    }
}
