//! Pools on the CPU, pixel by pixel over whole channels.

use super::conv_tile::Taps;
use crate::artifact::PoolKind;
use crate::plan::{PoolStep, Slot};

/// A pool over images of one shape.
#[derive(Debug)]
pub(super) struct Pool {
    kind: PoolKind,
    taps: Taps,
    /// Elements of a pixel, padding included: padding is zero in, and the mean and the largest of zeros are zero.
    stride: usize,
}

impl Pool {
    /// The pool `step` from images of `input` to those of `output`.
    pub(super) fn new(step: &PoolStep, input: Slot, output: Slot) -> Self {
        Self { kind: step.kind, taps: Taps::new(&step.window, input, output), stride: output.channel_stride() }
    }

    /// Computes all pixels of `output`.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        let mut at = self.taps.from(0);
        for out in output.chunks_exact_mut(self.stride) {
            let mut found = 0;
            for offset in at.advance().offsets().flatten() {
                let x = &input[offset..][..self.stride];
                found += 1;
                match self.kind {
                    _ if found == 1 => out.copy_from_slice(x),
                    // NaN wins, as in training.
                    PoolKind::Max => out.iter_mut().zip(x).for_each(|(y, &x)| *y = if x <= *y { *y } else { x }),
                    PoolKind::Average | PoolKind::AverageWithPadding => out.iter_mut().zip(x).for_each(|(y, x)| *y += x),
                }
            }
            let share = match self.kind {
                PoolKind::Max => continue,
                PoolKind::Average => found,
                PoolKind::AverageWithPadding => self.taps.count(),
            };
            let scale = 1.0 / share.max(1) as f32;
            out.iter_mut().for_each(|y| *y *= scale);
        }
    }
}
