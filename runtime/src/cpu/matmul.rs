//! Products of matrices that are both computed, on the CPU: the second one is packed as weights are, and its product runs on the
//! tiles of all others. Where that would not pay, rows are summed as they lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::epilogue::Epilogue;
use super::lanes::{LANES, halved};
use super::packed::Packed;
use super::pieces::{Piece, Pieces};
use super::product::{PARALLEL_MACS, Rows, split_off};
use super::simd::vectorized;
use super::threads;
use super::tile::{self, ROWS, Target};
use super::walk::{Run, Walk};
use crate::lock::lock;
use crate::plan::{MatMulStep, Operand, Slot};

/// With fewer rows, packing a matrix costs more than multiplying by it.
const FEW_ROWS: usize = 4;
/// Elements below which a matrix is not worth packing.
const SMALL: usize = 64;
/// Rows of a piece.
const BLOCK: usize = 4 * ROWS;
/// Columns of a row that are summed at once where nothing is packed.
const COLUMNS: usize = 512;
/// Columns that are packed at once where each lies side by side.
const TURNED: usize = 8;

/// The packed second matrices of all samples. Every run writes them before it reads them, so all steps of equal sizes share one.
#[derive(Debug)]
pub(super) struct Workspace {
    packed: Vec<Packed>,
    /// Matrices, columns, inner.
    sizes: [usize; 3],
}

/// A step, and how it reads its inputs.
#[derive(Debug)]
pub(super) struct MatMul {
    rows: usize,
    columns: usize,
    inner: usize,
    a: Matrices,
    b: Matrices,
    /// `None` where nothing is packed.
    workspace: Option<Arc<Mutex<Workspace>>>,
    /// Rows of the first matrix whose elements do not lie side by side, of each thread.
    scratches: Vec<Mutex<Vec<f32>>>,
    output: Slot,
}

/// The matrices of an input.
#[derive(Debug)]
struct Matrices {
    /// Where each different one begins in a sample.
    starts: Vec<isize>,
    /// Which of these each matrix of the output is computed from.
    which: Vec<usize>,
    /// From one row to the next, and from one column to the next.
    strides: [isize; 2],
    /// Elements from one sample to the next; 0 where all read the first one.
    sample: usize,
}

impl Matrices {
    fn new(operand: &Operand, batch: &[usize], slot: Slot) -> Self {
        let (outer, own) = operand.strides.split_at(batch.len());
        let walk = Walk::over(batch, outer, operand.offset as isize, 0);
        let (mut starts, mut known) = (Vec::new(), BTreeMap::new());
        let count: usize = batch.iter().product();
        let which = (0..count).map(|n| {
            let start = walk.place(0, n);
            *known.entry(start).or_insert_with(|| {
                starts.push(start);
                starts.len() - 1
            })
        });
        let which = which.collect();
        let sample = if operand.per_sample { slot.stride() } else { 0 };
        Self { starts, which, strides: [own[0] as isize, own[1] as isize], sample }
    }

    /// Where matrix `n` of the output begins in what it is computed from.
    fn start(&self, sample: usize, n: usize) -> isize {
        (sample * self.sample) as isize + self.starts[self.which[n]]
    }

    /// How many there are in all samples.
    fn count(&self, samples: usize) -> usize {
        self.starts.len() * if self.sample == 0 { 1 } else { samples }
    }
}

/// Whether the second matrix is packed.
fn packs(step: &MatMulStep) -> bool {
    step.rows >= FEW_ROWS && step.inner * step.columns >= SMALL
}

/// Bytes of the workspace for up to `batch` samples.
pub(super) fn workspace_bytes(step: &MatMulStep, batch: usize) -> u64 {
    let product = |sizes: &[usize]| sizes.iter().fold(4u64, |n, &s| n.saturating_mul(s as u64));
    let rows = if step.a.strides.last() == Some(&1) { 0 } else { product(&[threads::count(), BLOCK, step.inner]) };
    let repeats = step.b.strides.iter().zip(&step.batch).filter(|(stride, _)| **stride == 0);
    let same: usize = repeats.map(|(_, size)| size).product();
    let count = step.batch.iter().product::<usize>() / same.max(1) * if step.b.per_sample { batch } else { 1 };
    rows + if packs(step) { product(&[count, step.columns.next_multiple_of(8), step.inner]) } else { 0 }
}

impl MatMul {
    /// Prepares `step` for runs of `batch` samples. Steps of equal sizes share one of `workspaces`; a new one is added where none fits.
    pub(super) fn new(
        step: &MatMulStep,
        [a, b]: [Slot; 2],
        output: Slot,
        batch: usize,
        workspaces: &mut Vec<Arc<Mutex<Workspace>>>,
    ) -> Self {
        let &MatMulStep { rows, columns, inner, .. } = step;
        let [a, b] = [(&step.a, a), (&step.b, b)].map(|(operand, slot)| Matrices::new(operand, &step.batch, slot));
        let workspace = packs(step).then(|| {
            let sizes = [b.count(batch), columns, inner];
            if let Some(shared) = workspaces.iter().find(|w| lock(w).sizes == sizes) {
                return Arc::clone(shared);
            }
            let packed = (0..sizes[0]).map(|_| Packed::new(columns, inner, |_, _| 0.0)).collect();
            let new = Arc::new(Mutex::new(Workspace { packed, sizes }));
            workspaces.push(Arc::clone(&new));
            new
        });
        let gathered = if a.strides[1] == 1 && a.strides[0] >= 0 { 0 } else { BLOCK.min(rows) * inner };
        let scratches = (0..threads::count()).map(|_| Mutex::new(vec![0.0; gathered])).collect();
        Self { rows, columns, inner, a, b, workspace, scratches, output }
    }

    /// Fills everything that a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        if let Some(workspace) = &self.workspace {
            lock(workspace).packed.iter_mut().for_each(Packed::poison);
        }
        for scratch in &mut self.scratches {
            scratch.get_mut().unwrap_or_else(PoisonError::into_inner).fill(f32::NAN);
        }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, [a, b]: [&[f32]; 2], output: &mut [f32]) {
        let Some(workspace) = &self.workspace else {
            return self.pieces(1).each(output, |thread, piece| self.unpacked([a, b], &mut lock(&self.scratches[thread]), piece));
        };
        let samples = output.len() / self.output.stride().max(1);
        let workspace = &mut *lock(workspace);
        self.pack(b, &mut workspace.packed[..self.b.count(samples)], output.len());
        let packed = &workspace.packed;
        // As many rows as a panel is worth reading for, or a thread has.
        let share = (samples * self.a.which.len() * self.rows).div_ceil(threads::count()).next_multiple_of(ROWS);
        self.pieces(BLOCK.min(share) * self.columns).each(output, |thread, Piece { sample, first, y }| {
            let scratch = &mut lock(&self.scratches[thread])[..];
            let (mut row, mut left) = (first / self.columns, y);
            while !left.is_empty() {
                // A piece may end one matrix and begin the next.
                let (matrix, at) = (row / self.rows, row % self.rows);
                let count = (self.rows - at).min(left.len() / self.columns).min(BLOCK);
                let y = split_off(&mut left, count * self.columns);
                let of_sample = if self.b.sample == 0 { 0 } else { sample * self.b.starts.len() };
                let w = &packed[of_sample + self.b.which[matrix]];
                let begin = self.a.start(sample, matrix) + at as isize * self.a.strides[0];
                let source = if scratch.is_empty() {
                    Rows { data: &a[begin as usize..], stride: self.a.strides[0] as usize, width: self.inner }
                } else {
                    let all = self.gather(a, begin, count, scratch);
                    Rows { data: all, stride: self.inner, width: self.inner }
                };
                tile::block(source, w, 0..count, w.panels(), Epilogue::NONE, Target { y, stride: self.columns, first_column: 0 });
                row += count;
            }
        });
    }

    fn pieces(&self, unit: usize) -> Pieces {
        Pieces { len: self.output.len(), stride: self.output.stride(), unit, cost: self.inner.div_ceil(8) }
    }

    /// Copies `count` rows of the first input from `begin` on to `to`, side by side.
    fn gather<'a>(&self, a: &[f32], begin: isize, count: usize, to: &'a mut [f32]) -> &'a [f32] {
        let to = &mut to[..count * self.inner];
        let [down, right] = self.a.strides;
        for (r, line) in (0..).zip(to.chunks_exact_mut(self.inner)) {
            let mut place = begin + r * down;
            for y in line {
                *y = a[place as usize];
                place += right;
            }
        }
        to
    }

    /// Packs the second matrices of all samples.
    fn pack(&self, b: &[f32], packed: &mut [Packed], outputs: usize) {
        let one = |(at, packed): (usize, &mut Packed)| {
            let (sample, which) = (at / self.b.starts.len(), at % self.b.starts.len());
            let start = (sample * self.b.sample) as isize + self.b.starts[which];
            packed.refill_panels(|panel, columns, weights| fill(b, start, self.b.strides, (panel.column, columns), weights, panel.width));
        };
        let count = packed.len();
        if threads::count() == 1 || outputs.saturating_mul(self.inner) < PARALLEL_MACS {
            return packed.iter_mut().enumerate().for_each(one);
        }
        let mut rest = packed;
        let share = |thread: usize| {
            let [from, to] = [thread, thread + 1].map(|t| t * count / threads::count());
            (from..).zip(split_off(&mut rest, to - from))
        };
        threads::for_each(share, |_, item| one(item));
    }

    /// Elements of a sample row by row, without packing.
    fn unpacked(&self, [a, b]: [&[f32]; 2], scratch: &mut [f32], Piece { sample, first, y }: Piece<'_>) {
        let (mut n, mut left) = (first, y);
        while !left.is_empty() {
            let (row, column) = (n / self.columns, n % self.columns);
            let (matrix, at) = (row / self.rows, row % self.rows);
            let count = (self.columns - column).min(left.len()).min(COLUMNS);
            let y = split_off(&mut left, count);
            n += count;
            let begin = self.a.start(sample, matrix) + at as isize * self.a.strides[0];
            let line = if scratch.is_empty() { &a[begin as usize..][..self.inner] } else { self.gather(a, begin, 1, scratch) };
            let [down, right] = self.b.strides;
            let begin = self.b.start(sample, matrix) + column as isize * right;
            vectorized(
                #[inline(always)]
                || match [down, right] {
                    [_, 1] => combine(line, b, begin, down, y),
                    [1, _] => {
                        for (c, y) in (0..).zip(y) {
                            *y = dot(line, &b[(begin + c * right) as usize..][..line.len()]);
                        }
                    }
                    // Nothing lies side by side.
                    _ => {
                        for (c, y) in (0..).zip(y) {
                            let at = |k: isize| b[(begin + c * right + k * down) as usize];
                            *y = (0..).zip(line).map(|(k, a)| a * at(k)).sum();
                        }
                    }
                },
            );
        }
    }
}

/// Copies `count` columns from column `first` on of the matrix that begins at `start` of `b` to `lines` of `width`, one a row.
fn fill(b: &[f32], start: isize, [down, right]: [isize; 2], (first, count): (usize, usize), lines: &mut [f32], width: usize) {
    let begin = start + first as isize * right;
    if down == 1 {
        // A column lies side by side: several of them at once, so that each line is written in few turns.
        let rows = lines.len() / width;
        let column = |c: usize| &b[(begin + c as isize * right) as usize..][..rows];
        let whole = count / TURNED * TURNED;
        for first in (0..whole).step_by(TURNED) {
            let columns: [&[f32]; TURNED] = std::array::from_fn(|c| column(first + c));
            for (row, line) in lines.chunks_exact_mut(width).enumerate() {
                line[first..][..TURNED].copy_from_slice(&columns.map(|column| column[row]));
            }
        }
        for c in whole..count {
            lines.chunks_exact_mut(width).zip(column(c)).for_each(|(line, b)| line[c] = *b);
        }
        return;
    }
    for (row, line) in (0..).zip(lines.chunks_exact_mut(width)) {
        Run { done: 0, place: begin + row * down, len: count, stride: right }.copy(b, &mut line[..count]);
    }
}

/// y = Σₖ aₖ · the row of `b` that begins at `begin` + k·`down`.
#[inline(always)]
fn combine(a: &[f32], b: &[f32], begin: isize, down: isize, y: &mut [f32]) {
    let len = y.len();
    let row = |k: usize| &b[(begin + k as isize * down) as usize..][..len];
    y.fill(0.0);
    let mut fours = a.chunks_exact(4);
    for (at, a) in (&mut fours).enumerate() {
        let [b0, b1, b2, b3] = [0, 1, 2, 3].map(|k| row(4 * at + k));
        for (n, y) in y.iter_mut().enumerate() {
            *y += (a[0] * b0[n] + a[1] * b1[n]) + (a[2] * b2[n] + a[3] * b3[n]);
        }
    }
    let rest = fours.remainder();
    for (k, a) in (a.len() - rest.len()..).zip(rest) {
        y.iter_mut().zip(row(k)).for_each(|(y, b)| *y += a * b);
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    halved(lanes, |a, b| a + b) + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(n: usize) -> Slot {
        Slot { buffer: 0, channels: n, height: 1, width: 1 }
    }

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed) % 201) as f32 / 100.0 - 1.0).collect()
    }

    /// A batch of two by three matrices of `sizes` rows, inner and columns, `a` and `b` transposed or not, `b` the same for the
    /// axis of three, for `b_per_sample` samples or all.
    fn check([rows, inner, columns]: [usize; 3], [a_turned, b_turned]: [bool; 2], b_per_sample: bool) {
        let strides = |rows: usize, columns: usize, turned: bool| if turned { [1, rows as i64] } else { [columns as i64, 1] };
        let (of_a, of_b) = ((rows * inner) as i64, (inner * columns) as i64);
        let a = Operand { offset: 0, strides: [&[3 * of_a, of_a], &strides(rows, inner, a_turned)[..]].concat(), per_sample: true };
        let b = Operand { offset: 4, strides: [&[of_b, 0], &strides(inner, columns, b_turned)[..]].concat(), per_sample: b_per_sample };
        let slots = [plain(6 * rows * inner), plain(2 * inner * columns + 4)];
        let (output, samples) = (plain(6 * rows * columns), 2);
        let (x, w) = (values(samples * slots[0].stride(), 3), values(samples * slots[1].stride(), 50));
        let step = MatMulStep { batch: vec![2, 3], rows, columns, inner, a: a.clone(), b: b.clone() };
        let mut product = MatMul::new(&step, slots, output, samples, &mut Vec::new());
        product.poison();
        let mut y = vec![f32::NAN; samples * output.stride()];
        product.run([&x, &w], &mut y);
        let at = |operand: &Operand, slot: Slot, sample: usize, index: [usize; 4]| {
            let first = if operand.per_sample { (sample * slot.stride()) as i64 } else { 0 };
            (first + operand.offset + index.iter().zip(&operand.strides).map(|(&i, s)| i as i64 * s).sum::<i64>()) as usize
        };
        for (n, &got) in y.iter().enumerate() {
            let (sample, n) = (n / output.stride(), n % output.stride());
            if n >= output.len() {
                assert_eq!(got, 0.0);
                continue;
            }
            let (matrix, row, column) = (n / columns / rows, n / columns % rows, n % columns);
            let (i, j) = (matrix / 3, matrix % 3);
            let term = |k: usize| {
                f64::from(x[at(&a, slots[0], sample, [i, j, row, k])]) * f64::from(w[at(&b, slots[1], sample, [i, j, k, column])])
            };
            let want: f64 = (0..inner).map(term).sum();
            assert!((f64::from(got) - want).abs() <= 1e-6 * inner as f64, "{rows}x{inner}x{columns} {a_turned} {b_turned}: {got} {want}");
        }
    }

    #[test]
    fn products_of_any_sizes_and_strides() {
        for sizes in [[1, 1, 1], [2, 3, 5], [7, 5, 9], [1, 70, 600], [3, 64, 33], [20, 17, 40], [53, 64, 50], [4, 100, 3], [130, 9, 20]] {
            for turned in [[false, false], [true, false], [false, true], [true, true]] {
                check(sizes, turned, true);
                check(sizes, turned, false);
            }
        }
    }

    #[test]
    fn strides_may_be_negative_zero_or_neither_one() {
        // a = [1, 2], read backwards in rows; b repeats one element along columns.
        for rows in [2, 5] {
            let a = Operand { offset: 4, strides: vec![-1, 0], per_sample: true };
            let b = Operand { offset: 0, strides: vec![2, 0], per_sample: true };
            let step = MatMulStep { batch: Vec::new(), rows, columns: 40, inner: 2, a, b };
            let mut y = vec![f32::NAN; rows * 40];
            let x = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0];
            MatMul::new(&step, [plain(5), plain(3)], plain(rows * 40), 1, &mut Vec::new()).run([&x, &[10.0, 99.0, 20.0, 0.0]], &mut y);
            for (n, &y) in y.iter().enumerate() {
                assert_eq!(y, x[4 - n / 40] * 30.0);
            }
        }
    }

    #[test]
    fn a_matrix_that_all_share_is_packed_once() {
        let operand = |strides: &[i64], per_sample| Operand { offset: 0, strides: strides.to_vec(), per_sample };
        let (a, b) = (operand(&[64, 8, 1], true), operand(&[0, 8, 1], false));
        let step = MatMulStep { batch: vec![5], rows: 8, columns: 8, inner: 8, a, b };
        let mut workspaces = Vec::new();
        let slots = [plain(320), plain(64)];
        let one = MatMul::new(&step, slots, plain(320), 3, &mut workspaces);
        let _other = MatMul::new(&step, slots, plain(320), 3, &mut workspaces);
        assert_eq!((workspaces.len(), lock(&workspaces[0]).packed.len()), (1, 1));
        assert_eq!(workspace_bytes(&step, 3), 4 * lock(&workspaces[0]).packed[0].len() as u64);
        let x: Vec<f32> = values(960, 1);
        let unit: Vec<f32> = (0..64).map(|i| if i % 9 == 0 { 1.0 } else { 0.0 }).collect();
        let mut y = vec![f32::NAN; 960];
        one.run([&x, &unit], &mut y);
        assert_eq!(y, x);
    }
}
