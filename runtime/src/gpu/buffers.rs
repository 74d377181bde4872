//! Weights as the kernels want them, and the buffers that hold them.

use crate::gpu::device::Gpu;

/// vec4s of outputs of a panel: `PANEL` of wgsl/shared/shape.wgsl, which says why.
pub(super) const PANEL: usize = 8;

/// A weight in the kernels' layout: panels of `panel` vec4s of outputs, [columns4 / panel][taps][inputs4 · 4][panel] vec4s,
/// padded with zeros. A row holds what one input under one tap contributes to all outputs.
pub(super) struct Packed {
    /// vec4s of inputs of a tap.
    pub(super) inputs4: u32,
    /// vec4s of outputs.
    pub(super) columns4: u32,
    pub(super) values: Vec<f32>,
}

/// A weight as artifacts hold it: [outputs, inputs, taps] row-major.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a> {
    pub(super) values: &'a [f32],
    pub(super) outputs: usize,
    /// Inputs that an output sums over: those of its group.
    pub(super) inputs: usize,
    /// Elements of the window.
    pub(super) taps: usize,
}

impl Weight<'_> {
    /// Packs it as one of at least `least_inputs`.
    pub(super) fn pack(&self, panel: usize, least_inputs: usize) -> Packed {
        let &Self { values: from, outputs, inputs, taps } = self;
        let (inputs4, columns4, width) = (inputs.max(least_inputs).div_ceil(4), outputs.div_ceil(4), panel * 4);
        let mut values = vec![0.0; columns4.div_ceil(panel) * taps * inputs4 * 4 * width];
        // A few outputs at a time, so that both sides stay in the cache.
        for block in (0..outputs).step_by(16) {
            for i in 0..inputs {
                for o in block..(block + 16).min(outputs) {
                    for tap in 0..taps {
                        let row = (o / width * taps + tap) * inputs4 * 4 + i;
                        values[row * width + o % width] = from[(o * inputs + i) * taps + tap];
                    }
                }
            }
        }
        Packed { inputs4: inputs4 as u32, columns4: columns4 as u32, values }
    }

    /// [taps][outputs padded to 4], for one input an output.
    pub(super) fn pack_depthwise(&self) -> Vec<f32> {
        let stride = self.outputs.next_multiple_of(4);
        let mut values = vec![0.0; self.taps * stride];
        for (o, kernel) in self.values.chunks_exact(self.taps).enumerate() {
            kernel.iter().enumerate().for_each(|(tap, &x)| values[tap * stride + o] = x);
        }
        values
    }

    /// [outputs][taps][inputs], and zeros up to a whole vec4.
    pub(super) fn pack_grouped(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.values.len() + 3);
        for o in 0..self.outputs {
            for tap in 0..self.taps {
                values.extend((0..self.inputs).map(|i| self.values[(o * self.inputs + i) * self.taps + tap]));
            }
        }
        values.resize(values.len().next_multiple_of(4), 0.0);
        values
    }
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
        /// Packing puts the weight of input i under a tap for output o where its panel says, and zeros everywhere else.
        #[test]
        fn weights_lie_where_kernels_look(outputs in 1usize..90, inputs in 1usize..40, taps in 1usize..5, panel in 1usize..10, least in 0usize..50) {
            let values: Vec<f32> = (0..outputs * inputs * taps).map(|j| (j + 1) as f32).collect();
            let p = Weight { values: &values, outputs, inputs, taps }.pack(panel, least);
            let rows = p.inputs4 as usize * 4;
            prop_assert!(rows >= least);
            prop_assert_eq!(p.values.len(), outputs.div_ceil(panel * 4) * taps * rows * panel * 4);
            for (j, &value) in p.values.iter().enumerate() {
                let (lane, i, rest) = (j % (panel * 4), j / (panel * 4) % rows, j / (panel * 4) / rows);
                let (tap, o) = (rest % taps, rest / taps * panel * 4 + lane);
                let expected = if i < inputs && o < outputs { values[(o * inputs + i) * taps + tap] } else { 0.0 };
                prop_assert_eq!(value, expected);
            }
        }
    }

    #[test]
    fn small_kernels_lie_tap_by_tap() {
        let values: Vec<f32> = (1..=12).map(|x| x as f32).collect();
        let depthwise = Weight { values: &values, outputs: 6, inputs: 1, taps: 2 }.pack_depthwise();
        assert_eq!(depthwise, [1., 3., 5., 7., 9., 11., 0., 0., 2., 4., 6., 8., 10., 12., 0., 0.]);
        let grouped = Weight { values: &values, outputs: 2, inputs: 3, taps: 2 }.pack_grouped();
        assert_eq!(grouped, [1., 3., 5., 2., 4., 6., 7., 9., 11., 8., 10., 12.]);
        assert_eq!(Weight { values: &values[..3], outputs: 1, inputs: 3, taps: 1 }.pack_grouped(), [1., 2., 3., 0.]);
    }

    #[test]
    fn hosts_and_kernels_agree_on_panels() {
        let line = format!("const PANEL = {PANEL}u;");
        assert!(thinfer_shaders::KERNELS.iter().all(|k| k.source().contains(&line)));
    }

    #[test]
    fn a_missing_bias_is_zero() {
        assert_eq!(pack_bias(Some(&[1.0, 2.0, 3.0, 4.0, 5.0]), 5), [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
        assert_eq!(pack_bias(None, 2), [0.0; 4]);
    }
}
