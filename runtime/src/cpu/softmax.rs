//! Softmax on the CPU, pixel by pixel over the channels.

use crate::plan::Slot;

/// Computes `output` from `input`, both of shape `slot`: the softmax of each pixel's channels, or its logarithm.
pub(super) fn run(input: &[f32], slot: Slot, log: bool, output: &mut [f32]) {
    let stride = slot.channel_stride();
    for (x, y) in input.chunks_exact(stride).zip(output.chunks_exact_mut(stride)) {
        let (values, padding) = y.split_at_mut(slot.channels);
        let x = &x[..slot.channels];
        // The largest first, so that nothing overflows.
        let largest = x.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        let sum: f32 = x.iter().map(|v| (v - largest).exp()).sum();
        if log {
            let log = sum.ln();
            values.iter_mut().zip(x).for_each(|(y, x)| *y = x - largest - log);
        } else {
            values.iter_mut().zip(x).for_each(|(y, x)| *y = (x - largest).exp() / sum);
        }
        padding.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_do_not_overflow() {
        let slot = Slot { buffer: 0, channels: 3, height: 1, width: 1 };
        let (mut y, mut log) = ([f32::NAN; 4], [f32::NAN; 4]);
        run(&[1000.0, 1000.0, -1000.0, 0.0], slot, false, &mut y);
        run(&[1000.0, 1000.0, -1000.0, 0.0], slot, true, &mut log);
        assert_eq!(y, [0.5, 0.5, 0.0, 0.0]);
        assert!((log[0] + 2f32.ln()).abs() < 1e-6 && (log[2] + 2000.0).abs() < 1.0 && log[3] == 0.0, "{log:?}");
    }
}
