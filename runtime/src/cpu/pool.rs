//! Pools on the CPU, pixel by pixel over whole channels.

use super::product::{RowsMut, blocks};
use super::taps::{Place, Taps};
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
        /// Below so many values a second thread costs more than it saves.
        const PARALLEL: usize = 20_000;
        let alone = output.len() * self.taps.count() < PARALLEL;
        blocks(output.len() / self.stride, 64, alone, RowsMut { data: output, stride: self.stride }, |_, range, y, _| {
            let mut at = self.taps.from(range.start);
            y.chunks_exact_mut(self.stride).for_each(|out| self.pixel(at.advance(), input, out));
        });
    }

    fn pixel(&self, place: Place<'_>, input: &[f32], out: &mut [f32]) {
        let mut found = 0;
        for offset in place.offsets().flatten() {
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
            PoolKind::Max => return,
            PoolKind::Average => found,
            PoolKind::AverageWithPadding => self.taps.count(),
        };
        let scale = 1.0 / share.max(1) as f32;
        out.iter_mut().for_each(|y| *y *= scale);
    }
}
