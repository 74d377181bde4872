//! The mean of each channel on the CPU.

use crate::plan::Slot;

/// Computes `output`, vectors of as many features as the images `input` of shape `slot` have channels.
pub(super) fn run(input: &[f32], slot: Slot, output: &mut [f32]) {
    let (channels, scale) = (slot.channel_stride(), 1.0 / slot.pixels().max(1) as f32);
    for (sample, out) in input.chunks_exact(slot.stride()).zip(output.chunks_exact_mut(channels)) {
        out.fill(0.0);
        for pixel in sample.chunks_exact(channels) {
            out.iter_mut().zip(pixel).for_each(|(y, x)| *y += x);
        }
        out.iter_mut().for_each(|y| *y *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_gets_its_mean() {
        let slot = Slot { buffer: 0, channels: 2, height: 1, width: 2 };
        let mut out = [f32::NAN; 4];
        run(&[1.0, 2.0, 0.0, 0.0, 3.0, 6.0, 0.0, 0.0], slot, &mut out);
        assert_eq!(out, [2.0, 4.0, 0.0, 0.0]);
    }
}
