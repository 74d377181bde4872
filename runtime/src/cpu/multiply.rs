//! Products of two values on the CPU, element by element or by a factor a channel.

use super::activation;
use crate::artifact::Activation;
use crate::plan::Slot;

/// Computes `output`, of shape `slot` as `x` is, from `x` and `factors`, whose slot has as many pixels or one.
pub(super) fn run(x: &[f32], (factors, of): (&[f32], Slot), slot: Slot, by: Activation, output: &mut [f32]) {
    let (stride, pixels) = (slot.channel_stride(), slot.pixels().max(1));
    for (i, (x, y)) in x.chunks_exact(stride).zip(output.chunks_exact_mut(stride)).enumerate() {
        let at = if of.is_vector() { i / pixels } else { i } * stride;
        let (values, padding) = y.split_at_mut(slot.channels);
        values.iter_mut().zip(x.iter().zip(&factors[at..])).for_each(|(y, (x, f))| *y = x * f);
        activation::apply(by, values);
        padding.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_a_factor_a_channel() {
        let slot = Slot { buffer: 0, channels: 2, height: 1, width: 2 };
        let (x, mut y) = ([1.0, 2.0, 0.0, 0.0, 3.0, -4.0, 0.0, 0.0], [f32::NAN; 8]);
        run(&x, (&[10.0, 100.0, 0.0, 0.0], Slot { width: 1, ..slot }), slot, Activation::Relu, &mut y);
        assert_eq!(y, [10.0, 200.0, 0.0, 0.0, 30.0, 0.0, 0.0, 0.0]);
        run(&x, (&x, slot), slot, Activation::None, &mut y);
        assert_eq!(y, [1.0, 4.0, 0.0, 0.0, 9.0, 16.0, 0.0, 0.0]);
    }
}
