//! Values one after the other on the CPU.

use super::pieces::{Piece, Pieces};
use crate::plan::{JoinStep, Slot};

/// A step, and from where it reads.
#[derive(Debug)]
pub(super) struct Join {
    /// Elements of a turn of each input, and elements from one sample to the next, 0 where all read the first one.
    inputs: Vec<[usize; 2]>,
    /// Elements of a turn of all.
    turn: usize,
    outer: usize,
    output: Slot,
}

impl Join {
    pub(super) fn new(step: &JoinStep, inputs: &[Slot], output: Slot) -> Self {
        let samples = step.per_sample.iter().zip(inputs).map(|(&own, slot)| if own { slot.stride() } else { 0 });
        let inputs = step.blocks.iter().copied().zip(samples).map(|(block, sample)| [block, sample]).collect();
        Self { inputs, turn: step.blocks.iter().sum(), outer: step.outer, output }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let pieces = Pieces { len: self.outer * self.turn, stride: self.output.stride(), unit: self.turn, cost: 1 };
        pieces.each(output, |_, Piece { sample, first, y }| {
            let mut at = 0;
            for (&[block, stride], x) in self.inputs.iter().zip(inputs) {
                let blocks = x[sample * stride + first / self.turn * block..].chunks_exact(block);
                y.chunks_exact_mut(self.turn).zip(blocks).for_each(|(y, x)| y[at..][..block].copy_from_slice(x));
                at += block;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_take_turns_and_one_may_be_the_same_for_all() {
        let plain = |n: usize| Slot { buffer: 0, channels: n, height: 1, width: 1 };
        let step = JoinStep { outer: 2, blocks: vec![1, 2], per_sample: vec![true, false] };
        let mut y = [f32::NAN; 16];
        let (a, b) = ([1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0], [10.0, 20.0, 30.0, 40.0]);
        Join::new(&step, &[plain(2), plain(4)], plain(6)).run(&[&a, &b], &mut y);
        assert_eq!(y, [1.0, 10.0, 20.0, 2.0, 30.0, 40.0, 0.0, 0.0, 3.0, 10.0, 20.0, 4.0, 30.0, 40.0, 0.0, 0.0]);
    }

    #[test]
    fn many_turns_are_shared_out() {
        let plain = |n: usize| Slot { buffer: 0, channels: n, height: 1, width: 1 };
        let step = JoinStep { outer: 20_000, blocks: vec![3, 2], per_sample: vec![true; 2] };
        let (a, b): (Vec<f32>, Vec<f32>) = ((0..60_000).map(|i| i as f32).collect(), (0..40_000).map(|i| -(i as f32)).collect());
        let mut y = vec![f32::NAN; 100_000];
        Join::new(&step, &[plain(60_000), plain(40_000)], plain(100_000)).run(&[&a, &b], &mut y);
        for (n, &y) in y.iter().enumerate() {
            let (turn, at) = (n / 5, n % 5);
            assert_eq!(y, if at < 3 { (turn * 3 + at) as f32 } else { -((turn * 2 + at - 3) as f32) });
        }
    }
}
