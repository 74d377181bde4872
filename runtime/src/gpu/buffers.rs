//! Weights as the kernels want them, and the buffers that hold them.

use crate::gpu::device::Gpu;

/// vec4s of outputs of a panel: `PANEL` of wgsl/shared/shape.wgsl, which says why.
pub(super) const PANEL: usize = 8;

/// A matrix in the kernels' layout: panels of `panel` vec4s of outputs, [columns4 / panel][rows4 · 4][panel] vec4s, padded
/// with zeros. A row holds what one input contributes to all outputs.
pub(super) struct Packed {
    pub(super) rows4: u32,
    pub(super) columns4: u32,
    panel: usize,
    pub(super) values: Vec<f32>,
}

impl Packed {
    fn zeros(inputs: usize, outputs: usize, panel: usize) -> Self {
        let (rows4, columns4) = (inputs.div_ceil(4), outputs.div_ceil(4));
        let len = columns4.div_ceil(panel) * rows4 * 4 * panel * 4;
        Self { rows4: rows4 as u32, columns4: columns4 as u32, panel, values: vec![0.0; len] }
    }

    /// The place of the weight of input `i` for output `o`.
    fn place(&self, i: usize, o: usize) -> usize {
        let width = self.panel * 4;
        (o / width * self.rows4 as usize * 4 + i) * width + o % width
    }
}

/// Packs `matrix`, [outputs, inputs] row-major, turned round.
pub(super) fn pack_transposed(matrix: &[f32], outputs: usize, inputs: usize, panel: usize) -> Packed {
    let mut packed = Packed::zeros(inputs, outputs, panel);
    // A panel's width of outputs at a time, so that both sides stay in the cache.
    for block in (0..outputs).step_by(16) {
        for i in 0..inputs {
            for o in block..(block + 16).min(outputs) {
                let place = packed.place(i, o);
                packed.values[place] = matrix[o * inputs + i];
            }
        }
    }
    packed
}

/// Packs `matrix`, [inputs, outputs] row-major, as one of at least `least_inputs`.
pub(super) fn pack_rows(matrix: &[f32], inputs: usize, outputs: usize, panel: usize, least_inputs: usize) -> Packed {
    let mut packed = Packed::zeros(inputs.max(least_inputs), outputs, panel);
    for (i, row) in matrix.chunks_exact(outputs).enumerate() {
        for (part, from) in row.chunks(panel * 4).enumerate() {
            let place = packed.place(i, part * panel * 4);
            packed.values[place..place + from.len()].copy_from_slice(from);
        }
    }
    packed
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
        /// Both ways of packing put the weight of input i for output o where its panel says, and zeros everywhere else.
        #[test]
        fn weights_lie_where_kernels_look(outputs in 1usize..90, inputs in 1usize..40, panel in 1usize..10, least in 0usize..50) {
            let at = |o: usize, i: usize| (o * inputs + i + 1) as f32;
            let weight: Vec<f32> = (0..outputs * inputs).map(|j| (j + 1) as f32).collect();
            let turned: Vec<f32> = (0..inputs * outputs).map(|j| at(j % outputs, j / outputs)).collect();
            let (a, b) = (pack_transposed(&weight, outputs, inputs, panel), pack_rows(&turned, inputs, outputs, panel, least));
            prop_assert!(b.rows4 as usize * 4 >= least);
            for p in [&a, &b] {
                let rows = p.rows4 as usize * 4;
                prop_assert_eq!(p.values.len(), outputs.div_ceil(panel * 4) * rows * panel * 4);
                for (j, &value) in p.values.iter().enumerate() {
                    let (lane, i, part) = (j % (panel * 4), j / (panel * 4) % rows, j / (panel * 4) / rows);
                    let o = part * panel * 4 + lane;
                    prop_assert_eq!(value, if i < inputs && o < outputs { at(o, i) } else { 0.0 });
                }
            }
        }
    }

    #[test]
    fn hosts_and_kernels_agree_on_panels() {
        let line = format!("const PANEL = {PANEL}u;");
        assert!(thinfer_shaders::KERNELS.iter().all(|k| k.source.contains(&line)));
    }

    #[test]
    fn a_missing_bias_is_zero() {
        assert_eq!(pack_bias(Some(&[1.0, 2.0, 3.0, 4.0, 5.0]), 5), [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
        assert_eq!(pack_bias(None, 2), [0.0; 4]);
    }
}
