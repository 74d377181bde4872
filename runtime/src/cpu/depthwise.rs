//! Depthwise convolutions: every channel has a kernel of its own, so there is nothing to multiply but vectors.

use super::epilogue::Epilogue;
use super::product::{PARALLEL_MACS, RowsMut, blocks};
#[cfg(target_arch = "x86_64")]
use super::simd::Avx2;
use super::simd::{Base, Level, Vector, level};
use super::taps::Taps;
use crate::artifact::Window;
use crate::plan::Slot;

/// A kernel a channel, packed as [taps, channels].
#[derive(Debug)]
pub(super) struct Depthwise {
    taps: Taps,
    weights: Vec<f32>,
    channels: usize,
    stride: usize,
}

impl Depthwise {
    /// Packs `w`, [channels, 1, height, width].
    pub(super) fn new(w: &[f32], window: &Window, input: Slot, output: Slot) -> Self {
        let taps = Taps::new(window, input, output);
        let (channels, count) = (output.channels, taps.count());
        let weights = (0..count * channels).map(|i| w[i % channels * count + i / channels]).collect();
        Self { taps, weights, channels, stride: output.channel_stride() }
    }

    /// Computes all pixels of `output`.
    pub(super) fn run(&self, input: &[f32], epilogue: Epilogue<'_>, output: &mut [f32]) {
        let pixels = output.len() / self.stride;
        // Ten times as slow a multiplication as a product's: its values are used once.
        let alone = self.weights.len() * pixels * 10 < PARALLEL_MACS;
        blocks(pixels, 64, alone, RowsMut { data: output, stride: self.stride }, |_, range, y, _| match level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx2 => {
                #[target_feature(enable = "avx2,fma")]
                fn avx2(d: &Depthwise, input: &[f32], first: usize, epilogue: Epilogue<'_>, y: &mut [f32]) {
                    d.block::<Avx2>(input, first, epilogue, y);
                }
                // SAFETY: the level says that the features were found.
                unsafe { avx2(self, input, range.start, epilogue, y) }
            }
            Level::Base => self.block::<Base>(input, range.start, epilogue, y),
        });
    }

    /// The pixels of the batch from `first` on, as many as `y` holds.
    #[inline(always)]
    fn block<V: Vector>(&self, input: &[f32], first: usize, epilogue: Epilogue<'_>, y: &mut [f32]) {
        const WIDEST: usize = 8;
        let mut at = self.taps.from(first);
        for (i, out) in y.chunks_exact_mut(self.stride).enumerate() {
            let place = at.advance();
            for channel in (0..self.channels).step_by(V::LANES) {
                let width = V::LANES.min(self.channels - channel);
                let mut sums = [0f32; WIDEST];
                if width == V::LANES {
                    let mut sum = V::splat(0.0);
                    for (offset, weights) in place.offsets().zip(self.weights.chunks_exact(self.channels)) {
                        let Some(offset) = offset else { continue };
                        sum = V::load(&input[offset + channel..]).mul_add(V::load(&weights[channel..]), sum);
                    }
                    sum.store(&mut sums);
                } else {
                    for (offset, weights) in place.offsets().zip(self.weights.chunks_exact(self.channels)) {
                        let Some(offset) = offset else { continue };
                        let (x, w) = (&input[offset + channel..][..width], &weights[channel..][..width]);
                        sums.iter_mut().zip(x.iter().zip(w)).for_each(|(sum, (x, w))| *sum += x * w);
                    }
                }
                let sums = &mut sums[..width];
                epilogue.finish(sums, first + i, channel);
                out[channel..][..width].copy_from_slice(sums);
            }
        }
    }
}
