//! Values in pieces, shared out over the threads.

use super::product::{BLOCK_VALUES, split_off};
use super::threads;

/// How a value is cut into pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces {
    /// Elements of a sample that are computed.
    pub(super) len: usize,
    /// Elements from one sample to the next; those behind `len` are padding and get 0.
    pub(super) stride: usize,
    /// Elements that must not be parted: a piece has a multiple of it.
    pub(super) unit: usize,
    /// What an element costs, in additions of a vectorised loop.
    pub(super) cost: usize,
}

/// One piece.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The sample that it is of.
    pub(super) sample: usize,
    /// Its first element in the sample.
    pub(super) first: usize,
    /// Its elements.
    pub(super) y: &'a mut [f32],
}

impl Pieces {
    /// Calls `work` with a thread's number and a piece, for all pieces of all samples of `output`.
    pub(super) fn each(self, output: &mut [f32], work: impl Fn(usize, Piece<'_>) + Sync) {
        self.shared_out(output, &work);
    }

    /// The same, compiled once for all kernels.
    fn shared_out(self, output: &mut [f32], work: &(dyn Fn(usize, Piece<'_>) + Sync)) {
        let Self { len, stride, unit, cost } = self;
        let (unit, threads) = (unit.max(1), threads::count());
        if len == 0 || stride == 0 {
            return;
        }
        let samples = output.len() / stride;
        let alone = threads == 1 || (samples * len).saturating_mul(cost) < 2 * BLOCK_VALUES;
        let most = (BLOCK_VALUES / cost.max(1)).max(1024).min((samples * len).div_ceil(threads));
        let piece = if alone { len } else { most.next_multiple_of(unit).min(len) };
        let in_sample = len.div_ceil(piece);
        let cut = |rest, from, to| Cut { rest, next: from, end: to, in_sample, piece, len, stride };
        let count = samples * in_sample;
        if alone {
            return cut(output, 0, count).for_each(|piece| work(0, piece));
        }
        let begin = |n: usize| n / in_sample * stride + n % in_sample * piece;
        let mut rest = output;
        let share = |thread: usize| {
            let [from, to] = [thread, thread + 1].map(|t| t * count / threads);
            cut(split_off(&mut rest, begin(to) - begin(from)), from, to)
        };
        threads::for_each(share, work);
    }
}

/// Pieces from the `next` on, to the one before `end`.
struct Cut<'a> {
    rest: &'a mut [f32],
    next: usize,
    end: usize,
    in_sample: usize,
    piece: usize,
    len: usize,
    stride: usize,
}

impl<'a> Iterator for Cut<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.next == self.end {
            return None;
        }
        let (sample, at) = (self.next / self.in_sample, self.next % self.in_sample);
        let first = at * self.piece;
        let len = self.piece.min(self.len - first);
        let last = at + 1 == self.in_sample;
        let all = split_off(&mut self.rest, if last { self.stride - first } else { len });
        let (y, padding) = all.split_at_mut(len);
        padding.fill(0.0);
        self.next += 1;
        Some(Piece { sample, first, y })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_in_one_piece_and_padding_is_zero() {
        for (samples, len, stride, unit) in
            [(1, 1, 4, 1), (3, 5, 8, 5), (2, 70_000, 70_000, 7), (5, 9000, 9004, 3000), (1, 100_001, 100_004, 1)]
        {
            for cost in [1, 100] {
                let mut output = vec![f32::NAN; samples * stride];
                Pieces { len, stride, unit, cost }.each(&mut output, |_, Piece { sample, first, y }| {
                    assert!(first % unit == 0 && (y.len() % unit == 0 || first + y.len() == len));
                    y.iter_mut().enumerate().for_each(|(i, y)| *y = ((sample * len + first + i) % 1000 + 1) as f32);
                });
                for (n, got) in output.iter().enumerate() {
                    let (sample, at) = (n / stride, n % stride);
                    assert_eq!(*got, if at < len { ((sample * len + at) % 1000 + 1) as f32 } else { 0.0 }, "{n}");
                }
            }
        }
    }
}
