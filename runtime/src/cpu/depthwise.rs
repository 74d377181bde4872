//! Depthwise convolutions: every channel has a kernel of its own, so there is nothing to multiply but vectors.

use rayon::prelude::*;

use super::conv_tile::Taps;
use super::epilogue::Epilogue;
use super::gemm::{COLUMNS, PARALLEL_MACS, multiply_add};
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
        // Rows of pixels, so that a thread has more than a few to do.
        const PIXELS: usize = 64;
        let work = |(i, y): (usize, &mut [f32])| block(self, input, i * PIXELS, epilogue, y);
        // Ten times as slow a multiplication as a product's: its values are used once.
        if self.weights.len() * (output.len() / self.stride) * 10 >= PARALLEL_MACS && rayon::current_num_threads() > 1 {
            output.par_chunks_mut(PIXELS * self.stride).enumerate().for_each(work);
        } else {
            output.chunks_mut(PIXELS * self.stride).enumerate().for_each(work);
        }
    }
}

/// The pixels of the batch from `first` on, as many as `y` holds, with the widest vectors that this machine has.
fn block(d: &Depthwise, input: &[f32], first: usize, epilogue: Epilogue<'_>, y: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(d: &Depthwise, input: &[f32], first: usize, epilogue: Epilogue<'_>, y: &mut [f32]) {
            generic::<true>(d, input, first, epilogue, y);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: both features were just found.
            return unsafe { avx2(d, input, first, epilogue, y) };
        }
    }
    generic::<{ cfg!(target_arch = "aarch64") }>(d, input, first, epilogue, y);
}

#[inline(always)]
fn generic<const FMA: bool>(d: &Depthwise, input: &[f32], first: usize, epilogue: Epilogue<'_>, y: &mut [f32]) {
    let mut at = d.taps.from(first);
    for (i, out) in y.chunks_exact_mut(d.stride).enumerate() {
        let place = at.advance();
        for channel in (0..d.channels).step_by(COLUMNS) {
            let width = COLUMNS.min(d.channels - channel);
            let mut sums = [0f32; COLUMNS];
            for (offset, weights) in place.offsets().zip(d.weights.chunks_exact(d.channels)) {
                let Some(offset) = offset else { continue };
                let (x, w) = (&input[offset + channel..][..width], &weights[channel..][..width]);
                if width == COLUMNS {
                    for c in 0..COLUMNS {
                        sums[c] = multiply_add::<FMA>(x[c], w[c], sums[c]);
                    }
                } else {
                    for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
                        *sum = multiply_add::<FMA>(*x, *w, *sum);
                    }
                }
            }
            let sums = &mut sums[..width];
            epilogue.finish(sums, first + i, channel);
            out[channel..][..width].copy_from_slice(sums);
        }
    }
}
