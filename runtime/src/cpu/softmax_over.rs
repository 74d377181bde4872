//! Softmax along any axis on the CPU.

use super::exp::exp;
use super::lanes::{larger, largest, sum};
use super::pieces::{Piece, Pieces};
use super::simd::vectorized;
use super::walk::Walk;
use crate::plan::{Slot, SoftmaxStep};

/// Elements that are read before they are worked on, if rows are short.
const GATHERED: usize = 4096;
/// Powers that are summed at once where they are not kept.
const BLOCK: usize = 256;
/// Columns that go side by side where the axis is not the innermost one.
const COLUMNS: usize = 64;

/// A step and how it reads its input in the order of its output.
#[derive(Debug)]
pub(super) struct SoftmaxOver {
    operand: Walk,
    /// Length of the axis.
    length: usize,
    /// Elements from one index of the axis to the next in the output.
    inner: usize,
    log: bool,
    output: Slot,
}

impl SoftmaxOver {
    pub(super) fn new(step: &SoftmaxStep, input: Slot, output: Slot) -> Self {
        let last = step.sizes.len() - 1;
        let (length, inner) = (step.sizes[last], step.output.strides[last] as usize);
        // The axis goes back to where it stands in the output: behind those whose steps are larger.
        let mut axes: Vec<usize> = (0..=last).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse((step.output.strides[axis], step.sizes[axis] == 1)));
        let sizes: Vec<usize> = axes.iter().map(|&axis| step.sizes[axis]).collect();
        let strides: Vec<i64> = axes.iter().map(|&axis| step.operand.strides[axis]).collect();
        let sample = if step.operand.per_sample { input.stride() } else { 0 };
        let operand = Walk::over(&sizes, &strides, step.operand.offset as isize, sample);
        Self { operand, length, inner, log: step.log, output }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        let (slab, log) = (self.length * self.inner, self.log);
        let pieces = Pieces { len: self.output.len(), stride: self.output.stride(), unit: slab, cost: 8 };
        pieces.each(output, |_, Piece { sample, first, y }| {
            // As many as stay in a near cache.
            let some = (GATHERED / slab).max(1) * slab;
            for (at, y) in (first..).step_by(some).zip(y.chunks_mut(some)) {
                self.operand.gather(input, sample, at, y);
                vectorized(
                    #[inline(always)]
                    || {
                        for y in y.chunks_exact_mut(slab) {
                            if self.inner == 1 {
                                row(y, log);
                                continue;
                            }
                            for at in (0..self.inner).step_by(COLUMNS) {
                                columns(y, self.inner, at, log);
                            }
                        }
                    },
                );
            }
        });
    }
}

/// e^x for x ≤ 0; what [`exp`] does not reach is 0, so that what is masked by −∞ weighs nothing.
#[inline(always)]
fn raised(x: f32) -> f32 {
    if x < -87.3 { 0.0 } else { exp(x) }
}

/// Softmax of consecutive values in their place.
#[inline(always)]
fn row(y: &mut [f32], log: bool) {
    // Subtracted first, so that nothing overflows.
    let most = largest(y, |x| x);
    if log {
        let (mut total, mut powers) = (0.0, [0f32; BLOCK]);
        for y in y.chunks(BLOCK) {
            let powers = &mut powers[..y.len()];
            for (power, x) in powers.iter_mut().zip(y) {
                *power = raised(*x - most);
            }
            total += sum(powers);
        }
        let less = total.ln();
        y.iter_mut().for_each(|x| *x = *x - most - less);
        return;
    }
    for x in &mut *y {
        *x = raised(*x - most);
    }
    let by = 1.0 / sum(y);
    y.iter_mut().for_each(|x| *x *= by);
}

/// Softmax of each of up to [`COLUMNS`] columns from `first` on, in their place; lines are `stride` apart.
#[inline(always)]
fn columns(y: &mut [f32], stride: usize, first: usize, log: bool) {
    let count = COLUMNS.min(stride - first);
    let (mut most, mut sums) = ([f32::NEG_INFINITY; COLUMNS], [0f32; COLUMNS]);
    for line in y.chunks_exact(stride) {
        for (most, &x) in most.iter_mut().zip(&line[first..][..count]) {
            *most = larger(*most, x);
        }
    }
    for line in y.chunks_exact_mut(stride) {
        for ((x, most), sum) in line[first..][..count].iter_mut().zip(&most).zip(&mut sums) {
            let power = raised(*x - most);
            *sum += power;
            *x = if log { *x - most } else { power };
        }
    }
    sums.iter_mut().for_each(|sum| *sum = if log { sum.ln() } else { 1.0 / *sum });
    for line in y.chunks_exact_mut(stride) {
        for (x, k) in line[first..][..count].iter_mut().zip(&sums) {
            *x = if log { *x - k } else { *x * k };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Operand;

    fn run(x: &[f32], [outer, length, inner]: [usize; 3], log: bool) -> Vec<f32> {
        let slot = Slot { buffer: 0, channels: x.len(), height: 1, width: 1 };
        let strides = vec![(length * inner) as i64, 1, inner as i64];
        let operand = Operand { offset: 0, strides, per_sample: true };
        let step = SoftmaxStep { sizes: vec![outer, inner, length], log, output: operand.clone(), operand };
        let mut input = x.to_vec();
        input.resize(slot.stride(), 0.0);
        let mut y = vec![f32::NAN; slot.stride()];
        SoftmaxOver::new(&step, slot, slot).run(&input, &mut y);
        assert!(y[x.len()..].iter().all(|&pad| pad == 0.0));
        y.truncate(x.len());
        y
    }

    #[test]
    fn every_axis_gives_what_its_definition_does() {
        for sizes in [[1, 5, 1], [3, 37, 1], [2, 3, 5], [1, 4, 131], [7, 1, 6], [4, 9, 1], [40, 197, 2]] {
            let [outer, length, inner] = sizes;
            let x: Vec<f32> = (0..outer * length * inner).map(|i| ((i * 7919) % 101) as f32 / 10.0 - 5.0).collect();
            let (y, logs) = (run(&x, sizes, false), run(&x, sizes, true));
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let at = |l: usize| (o * length + l) * inner + i;
                let sum: f64 = (0..length).map(|l| f64::from(x[at(l)]).exp()).sum();
                for l in 0..length {
                    let want = f64::from(x[at(l)]).exp() / sum;
                    assert!((f64::from(y[at(l)]) - want).abs() < 1e-6 && (f64::from(logs[at(l)]) - want.ln()).abs() < 1e-5, "{sizes:?}");
                }
            }
        }
    }

    #[test]
    fn infinities_weigh_nothing_and_nan_spreads() {
        const LESS: f32 = f32::NEG_INFINITY;
        for inner in [1, 2] {
            let each = |x: &[f32]| x.iter().flat_map(|&x| vec![x; inner]).collect::<Vec<f32>>();
            let of = |x: &[f32], log| run(&each(x), [1, x.len(), inner], log);
            assert_eq!(of(&[1000.0, LESS, 1000.0, -1000.0], false), each(&[0.5, 0.0, 0.5, 0.0]));
            assert_eq!(of(&[LESS, 3.0], true), each(&[LESS, 0.0]));
            assert!(of(&[LESS, LESS], false).iter().all(|y| y.is_nan()));
            assert!(of(&[1.0, f32::NAN, 2.0], false).iter().all(|y| y.is_nan()));
            assert!(of(&[1.0, f32::INFINITY, 2.0], false)[inner..2 * inner].iter().all(|y| y.is_nan()));
        }
    }
}
