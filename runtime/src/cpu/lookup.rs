//! Elements at computed indices on the CPU.

use super::pieces::{Piece, Pieces};
use super::walk::Walk;
use crate::plan::{LookupStep, Slot};

/// A step, and how it reads its inputs.
#[derive(Debug)]
pub(super) struct Lookup {
    data: Walk,
    index: Walk,
    /// How many indices there are.
    count: usize,
    /// Elements from one index to the next.
    stride: isize,
    /// The innermost axis of the output, along which data and indices each go by one stride.
    row: usize,
    output: Slot,
}

impl Lookup {
    pub(super) fn new(step: &LookupStep, inputs: [Slot; 2], output: Slot) -> Self {
        let [data, index] = [(&step.data, inputs[0]), (&step.index, inputs[1])].map(|(o, slot)| Walk::new(o, &step.sizes, slot));
        let row = step.sizes.last().copied().unwrap_or(1);
        Self { data, index, count: step.count, stride: step.stride as isize, row, output }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, [data, indices]: [&[f32]; 2], output: &mut [f32]) {
        let pieces = Pieces { len: self.output.len(), stride: self.output.stride(), unit: self.row, cost: 2 };
        // One index for a whole row: its elements lie side by side.
        let slices = self.index.inner() == 0 && self.data.inner() == 1 || self.row == 1;
        pieces.each(output, |_, Piece { sample, first, y }| {
            if slices {
                for (n, y) in (first..).step_by(self.row).zip(y.chunks_exact_mut(self.row)) {
                    match self.index(indices[self.index.place(sample, n) as usize]) {
                        Some(i) => y.copy_from_slice(&data[(self.data.place(sample, n) + i * self.stride) as usize..][..self.row]),
                        None => y.fill(f32::NAN),
                    }
                }
                return;
            }
            self.index.gather(indices, sample, first, y);
            // Each element is read where its own index says, so one at a time.
            self.data.runs(sample, first, y.len(), |run| {
                for (n, y) in (0..).zip(&mut y[run.done..][..run.len]) {
                    let i = self.index(*y);
                    *y = i.map_or(f32::NAN, |i| data[(run.place + n * run.stride + i * self.stride) as usize]);
                }
            });
        });
    }

    /// The element that an index names: a fraction is cut off, a negative one counts from the end.
    #[inline(always)]
    fn index(&self, index: f32) -> Option<isize> {
        let count = self.count as f64;
        let whole = f64::from(index).trunc();
        let from_start = if whole < 0.0 { whole + count } else { whole };
        (from_start >= 0.0 && from_start < count).then_some(from_start as isize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Operand;

    fn plain(n: usize) -> Slot {
        Slot { buffer: 0, channels: n, height: 1, width: 1 }
    }

    fn operand(strides: &[i64], per_sample: bool) -> Operand {
        Operand { offset: 0, strides: strides.to_vec(), per_sample }
    }

    fn same(got: &[f32], want: &[f32]) -> bool {
        got.len() == want.len() && got.iter().zip(want).all(|(g, w)| g == w || g.is_nan() && w.is_nan())
    }

    const NAN: f32 = f32::NAN;

    #[test]
    fn rows_of_a_table_that_is_the_same_for_all_samples() {
        let table: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let step = LookupStep { sizes: vec![3, 4], data: operand(&[0, 1], false), index: operand(&[1, 0], true), count: 3, stride: 4 };
        let indices = [2.9, -3.0, 3.0, 0.0, -0.5, NAN, f32::NEG_INFINITY, 0.0];
        let mut y = [7.0; 24];
        Lookup::new(&step, [plain(12), plain(3)], plain(12)).run([&table, &indices], &mut y);
        let (first, last) = ([0.0, 1.0, 2.0, 3.0], [8.0, 9.0, 10.0, 11.0]);
        assert!(same(&y, &[last, first, [NAN; 4], first, [NAN; 4], [NAN; 4]].concat()), "{y:?}");
    }

    #[test]
    fn each_element_has_an_index_of_its_own() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0];
        let step = LookupStep { sizes: vec![2, 2], data: operand(&[3, 0], true), index: operand(&[2, 1], true), count: 3, stride: 1 };
        let mut y = [7.0; 4];
        Lookup::new(&step, [plain(6), plain(4)], plain(4)).run([&data, &[0.0, -1.0, 1.0, -4.0]], &mut y);
        assert!(same(&y, &[1.0, 3.0, 5.0, NAN]), "{y:?}");
        // Indices along the axis of a vector: the row's stride is the index's own.
        let step = LookupStep { sizes: vec![3], data: operand(&[0], true), index: operand(&[1], true), count: 6, stride: 1 };
        let mut y = [7.0; 4];
        Lookup::new(&step, [plain(6), plain(3)], plain(3)).run([&data, &[5.0, 1.0, 9.0, 0.0]], &mut y);
        assert!(same(&y, &[6.0, 2.0, NAN, 0.0]), "{y:?}");
    }
}
