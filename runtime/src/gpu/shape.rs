//! The operands of a step, and the uniform that describes them to its kernel.

use bytemuck::{Pod, Zeroable};

use crate::artifact::{Activation, Residual, Window};
use crate::plan::Slot;

/// What a step reads and writes, and how its kernel ends.
pub(super) struct Values {
    pub(super) input: Slot,
    pub(super) second: Option<Slot>,
    pub(super) third: Option<Slot>,
    /// How the second input is added, if it is a residual.
    pub(super) residual: Option<Residual>,
    pub(super) output: Slot,
    pub(super) activation: Activation,
}

/// `Shape` of wgsl/shared/shape.wgsl, field by field.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Shape {
    pub(super) inputs4: u32,
    pub(super) input_stride4: u32,
    outputs: u32,
    pub(super) outputs4: u32,
    output_stride4: u32,
    pub(super) rank4: u32,
    pub(super) column_groups: u32,
    pub(super) pixels: u32,
    pub(super) input_size: [u32; 2],
    output_size: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    dilation: [u32; 2],
    pub(super) group_inputs: u32,
    pub(super) group_outputs: u32,
    second_channels: u32,
    second_stride4: u32,
    second_size: [u32; 2],
    residual_step: u32,
    residual_offset: u32,
    slope: f32,
    lowest: f32,
    pub(super) flags: u32,
    bounds: [f32; 2],
    pub(super) heads: u32,
    pub(super) head_size: u32,
    pub(super) keys: u32,
    pub(super) first_key: u32,
    pub(super) first_value: u32,
    pub(super) value_stride4: u32,
    pub(super) number: f32,
}

impl Shape {
    /// A row is a pixel, all input channels are summed over.
    pub(super) fn new(values: &Values, window: &Window) -> Self {
        let &Values { input, second, residual: how, output, activation, .. } = values;
        let size = |height: usize, width: usize| [height as u32, width as u32];
        let second = second.unwrap_or(input);
        let outputs4 = output.channels.div_ceil(4) as u32;
        Self {
            inputs4: input.channels.div_ceil(4) as u32,
            input_stride4: (input.channel_stride() / 4) as u32,
            outputs: output.channels as u32,
            outputs4,
            output_stride4: (output.channel_stride() / 4) as u32,
            rank4: 0,
            column_groups: outputs4,
            pixels: output.pixels() as u32,
            input_size: size(input.height, input.width),
            output_size: size(output.height, output.width),
            kernel: window.kernel,
            stride: window.stride,
            padding: [window.padding[0], window.padding[1]],
            dilation: window.dilation,
            group_inputs: input.channels as u32,
            // All columns belong to the first group.
            group_outputs: outputs4.max(1),
            second_channels: second.channels as u32,
            second_stride4: (second.channel_stride() / 4) as u32,
            second_size: size(second.height, second.width),
            residual_step: how.map_or(1, |how| how.stride),
            residual_offset: how.map_or(0, |how| how.offset),
            slope: match activation {
                Activation::LeakyRelu(parameter) | Activation::Elu(parameter) | Activation::ThresholdedRelu(parameter) => parameter,
                _ => 0.0,
            },
            lowest: f32::NEG_INFINITY,
            flags: 0,
            bounds: match activation {
                Activation::Relu => [0.0, f32::INFINITY],
                Activation::Relu6 => [0.0, 6.0],
                Activation::Clip { low, high } => [low, high],
                // The least above the most: no bounds.
                _ => [1.0, 0.0],
            },
            ..Self::default()
        }
    }

    /// The activation's slope and bounds.
    pub(super) fn activation(&self) -> (f32, [f32; 2]) {
        (self.slope, self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uniform_is_as_long_as_the_kernels_say() {
        let size = size_of::<Shape>() as u32;
        assert!(thinfer_shaders::KERNELS.iter().all(|k| k.bindings[0].min_size == size));
    }
}
