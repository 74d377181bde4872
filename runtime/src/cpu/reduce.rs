//! Many elements made one on the CPU, in f64.

use super::exp::exp;
use super::lanes::{LANES, add, halved};
use super::pieces::{Piece, Pieces};
use super::reduce_elements::{Elements, OUTPUTS};
use super::reduce_index;
use super::simd::vectorized;
use super::walk::Run;
use crate::artifact::ReduceKind;
use crate::plan::{ReduceStep, Slot};

/// Elements that are gathered at once where they do not lie side by side.
const GATHERED: usize = 256;

/// A step, and how it reads its input.
#[derive(Debug)]
pub(super) struct Reduce {
    kind: ReduceKind,
    pub(super) elements: Elements,
    output: Slot,
}

impl Reduce {
    pub(super) fn new(step: &ReduceStep, input: Slot, output: Slot) -> Self {
        Self { kind: step.kind, elements: Elements::new(step, input), output }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        let pieces = Pieces { len: self.output.len(), stride: self.output.stride(), unit: 1, cost: self.elements.count };
        pieces.each(output, |_, Piece { sample, first, y }| self.piece(input, sample, first, y));
    }

    fn piece(&self, input: &[f32], sample: usize, first: usize, y: &mut [f32]) {
        for (at, y) in (first..).step_by(OUTPUTS).zip(y.chunks_mut(OUTPUTS)) {
            self.outputs(input, sample, at, y);
        }
    }

    /// Outputs from `first` on, at most [`OUTPUTS`].
    fn outputs(&self, x: &[f32], sample: usize, first: usize, y: &mut [f32]) {
        let all = (x, sample, first);
        let (mut sums, mut most) = ([0f64; OUTPUTS], [0f32; OUTPUTS]);
        let (sums, most) = (&mut sums[..y.len()], &mut most[..y.len()]);
        let count = self.elements.count as f64;
        match self.kind {
            ReduceKind::Sum | ReduceKind::Mean | ReduceKind::LogSum => self.elements.fold(&Sum { kept: u32::MAX }, all, sums, most),
            ReduceKind::L1 => self.elements.fold(&Sum { kept: u32::MAX >> 1 }, all, sums, most),
            ReduceKind::SumSquare | ReduceKind::L2 => self.elements.fold(&Squares, all, sums, most),
            ReduceKind::Product => self.elements.fold(&Product, all, sums, most),
            ReduceKind::Max | ReduceKind::LogSumExp => self.elements.fold(&Largest { sign: 1.0 }, all, sums, most),
            ReduceKind::Min => self.elements.fold(&Largest { sign: -1.0 }, all, sums, most),
            ReduceKind::ArgMax { last } | ReduceKind::ArgMin { last } => {
                let sign = if matches!(self.kind, ReduceKind::ArgMax { .. }) { 1.0 } else { -1.0 };
                return vectorized(
                    #[inline(always)]
                    || reduce_index::outputs(&self.elements, all, sign, last, y),
                );
            }
        }
        if self.kind == ReduceKind::LogSumExp {
            // Powers of what is below the largest one do not overflow. An infinite one is the result itself.
            most.iter_mut().zip(&*sums).for_each(|(m, s)| *m = *s as f32);
            let mut powers = [0f64; OUTPUTS];
            let powers = &mut powers[..y.len()];
            self.elements.fold(&Powers, all, powers, most);
            for (most, power) in sums.iter_mut().zip(powers) {
                *most = if most.is_finite() { *most + power.ln() } else { *most };
            }
        }
        for (y, &sum) in y.iter_mut().zip(&*sums) {
            *y = match self.kind {
                ReduceKind::Min => -sum,
                ReduceKind::Mean => sum / count,
                ReduceKind::L2 => sum.sqrt(),
                ReduceKind::LogSum => sum.ln(),
                _ => sum,
            } as f32;
        }
    }
}

/// What is joined of each element, in any order.
trait Term: Copy {
    /// What is joined with the first element.
    const START: f64;
    /// What is joined of element `x`; `c` is a constant of its output.
    fn term(self, x: f32, c: f32) -> f64;
    /// Two that are made one.
    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        a + b
    }
}

/// The loops over elements that lie side by side. The walks that call them are compiled once, not for each kind of term and each
/// level of instructions.
trait Fold {
    /// What is joined with the first element.
    fn start(&self) -> f64;
    /// Joins each of `sums` with an element of its own.
    fn across(&self, sums: &mut [f64], x: &[f32], constants: &[f32]);
    /// Joins `lanes` of one output with its elements.
    fn along(&self, lanes: &mut [f64; LANES], x: &[f32], constant: f32);
    /// One of all lanes.
    fn end(&self, lanes: [f64; LANES]) -> f64;
}

impl<T: Term> Fold for T {
    fn start(&self) -> f64 {
        T::START
    }

    fn across(&self, sums: &mut [f64], x: &[f32], constants: &[f32]) {
        vectorized(
            #[inline(always)]
            || {
                for ((sum, &x), &c) in sums.iter_mut().zip(x).zip(constants) {
                    *sum = T::join(*sum, self.term(x, c));
                }
            },
        );
    }

    fn along(&self, lanes: &mut [f64; LANES], x: &[f32], constant: f32) {
        vectorized(
            #[inline(always)]
            || {
                add(
                    lanes,
                    x,
                    #[inline(always)]
                    |sum, x| T::join(sum, self.term(x, constant)),
                );
            },
        );
    }

    fn end(&self, lanes: [f64; LANES]) -> f64 {
        halved(lanes, T::join)
    }
}

/// Σx, or Σ|x| where the sign is not kept.
#[derive(Clone, Copy)]
struct Sum {
    /// The bits that are kept of each element.
    kept: u32,
}

/// Σx².
#[derive(Clone, Copy)]
struct Squares;

/// Πx.
#[derive(Clone, Copy)]
struct Product;

/// The largest x·sign, or NaN where one is.
#[derive(Clone, Copy)]
struct Largest {
    sign: f32,
}

/// Σeˣ⁻ᶜ.
#[derive(Clone, Copy)]
struct Powers;

impl Term for Sum {
    const START: f64 = 0.0;

    #[inline(always)]
    fn term(self, x: f32, _: f32) -> f64 {
        f32::from_bits(x.to_bits() & self.kept).into()
    }
}

impl Term for Squares {
    const START: f64 = 0.0;

    #[inline(always)]
    fn term(self, x: f32, _: f32) -> f64 {
        f64::from(x) * f64::from(x)
    }
}

impl Term for Product {
    const START: f64 = 1.0;

    #[inline(always)]
    fn term(self, x: f32, _: f32) -> f64 {
        x.into()
    }

    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        a * b
    }
}

impl Term for Largest {
    const START: f64 = f64::NEG_INFINITY;

    #[inline(always)]
    fn term(self, x: f32, _: f32) -> f64 {
        (x * self.sign).into()
    }

    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        if (b > a) | b.is_nan() { b } else { a }
    }
}

impl Term for Powers {
    const START: f64 = 0.0;

    #[inline(always)]
    fn term(self, x: f32, c: f32) -> f64 {
        exp(x - c).into()
    }
}

impl Elements {
    /// Makes one of the elements of each output of `sums`, of those from `first` of a sample on; `constants` has one for each.
    fn fold(&self, f: &dyn Fold, (x, sample, first): (&[f32], usize, usize), sums: &mut [f64], constants: &[f32]) {
        sums.fill(f.start());
        self.kept.runs(sample, first, sums.len(), |outputs| {
            let sums = &mut sums[outputs.done..][..outputs.len];
            let constants = &constants[outputs.done..][..outputs.len];
            if self.across {
                return self.over.runs(0, 0, self.count, |run| {
                    for n in 0..run.len as isize {
                        let place = outputs.place + run.place + n * run.stride;
                        f.across(sums, &x[place as usize..][..sums.len()], constants);
                    }
                });
            }
            for (at, (sum, &c)) in sums.iter_mut().zip(constants).enumerate() {
                let mut lanes = [f.start(); LANES];
                self.blocks(x, outputs.place + at as isize * outputs.stride, |_, block| f.along(&mut lanes, block, c));
                *sum = f.end(lanes);
            }
        });
    }

    /// Calls `work` for consecutive elements of the output whose first one lies at `begin`, with how many were before.
    #[inline(always)]
    pub(super) fn blocks(&self, x: &[f32], begin: isize, mut work: impl FnMut(usize, &[f32])) {
        let mut gathered = [0f32; GATHERED];
        self.over.runs(
            0,
            0,
            self.count,
            #[inline(always)]
            |run| {
                let run = Run { place: begin + run.place, ..run };
                let most = if run.stride == 1 { run.len } else { GATHERED };
                for at in (0..run.len).step_by(most) {
                    let part = Run { place: run.place + at as isize * run.stride, len: most.min(run.len - at), ..run };
                    let block = part.slice(x).unwrap_or_else(|| {
                        part.copy(x, &mut gathered[..part.len]);
                        &gathered[..part.len]
                    });
                    work(run.done + at, block);
                }
            },
        );
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::Operand;

    /// `kind` of `x`, of [a, b, c], over the axes that `vanish` says, all samples the same.
    pub(crate) fn run(kind: ReduceKind, x: &[f32], shape: [usize; 3], vanish: [bool; 3]) -> Vec<f32> {
        let strides = [shape[1] * shape[2], shape[2], 1];
        let pick = |which: bool| (0..3).filter(|&i| vanish[i] == which).map(|i| (shape[i], strides[i] as i64)).unzip();
        let (mut sizes, mut kept): (Vec<usize>, Vec<i64>) = pick(false);
        let (over, mut vanishing): (Vec<usize>, Vec<i64>) = pick(true);
        if sizes.is_empty() {
            (sizes, kept) = (vec![1], vec![0]);
        }
        kept.append(&mut vanishing);
        let count = sizes.iter().product();
        let (from, to) = [x.len(), count].map(|channels| Slot { buffer: 0, channels, height: 1, width: 1 }).into();
        let step = ReduceStep { kind, sizes, over, operand: Operand { offset: 0, strides: kept, per_sample: true } };
        let mut input = x.to_vec();
        input.resize(from.stride(), f32::NAN);
        let mut y = vec![f32::NAN; 2 * to.stride()];
        Reduce::new(&step, from, to).run(&[&input[..], &input[..]].concat(), &mut y);
        for sample in y.chunks(to.stride()) {
            assert!(sample[count..].iter().all(|&pad| pad == 0.0));
            assert!(sample.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        y.truncate(count);
        y
    }

    /// The same by its definition, element by element.
    fn by_definition(kind: ReduceKind, x: &[f32], shape: [usize; 3], vanish: [bool; 3]) -> Vec<f64> {
        let mut groups: std::collections::BTreeMap<Vec<usize>, Vec<f64>> = std::collections::BTreeMap::new();
        for (n, &x) in x.iter().enumerate() {
            let index = [n / (shape[1] * shape[2]), n / shape[2] % shape[1], n % shape[2]];
            let key = (0..3).filter(|&i| !vanish[i]).map(|i| index[i]).collect();
            groups.entry(key).or_default().push(x.into());
        }
        let one = |x: &Vec<f64>| {
            let sum = |f: fn(f64) -> f64| x.iter().map(|&x| f(x)).sum::<f64>();
            match kind {
                ReduceKind::Sum => sum(|x| x),
                ReduceKind::Mean => sum(|x| x) / x.len() as f64,
                ReduceKind::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                ReduceKind::Min => x.iter().copied().fold(f64::INFINITY, f64::min),
                ReduceKind::Product => x.iter().product(),
                ReduceKind::L1 => sum(f64::abs),
                ReduceKind::L2 => sum(|x| x * x).sqrt(),
                ReduceKind::SumSquare => sum(|x| x * x),
                ReduceKind::LogSum => sum(|x| x).ln(),
                ReduceKind::LogSumExp => sum(f64::exp).ln(),
                ReduceKind::ArgMax { .. } | ReduceKind::ArgMin { .. } => unreachable!("tested elsewhere"),
            }
        };
        groups.values().map(one).collect()
    }

    #[test]
    fn every_kind_over_any_axes_gives_what_its_definition_does() {
        let kinds = [
            ReduceKind::Sum,
            ReduceKind::Mean,
            ReduceKind::Max,
            ReduceKind::Min,
            ReduceKind::Product,
            ReduceKind::L1,
            ReduceKind::L2,
            ReduceKind::SumSquare,
            ReduceKind::LogSum,
            ReduceKind::LogSumExp,
        ];
        for shape in [[2, 3, 4], [5, 1, 37], [3, 300, 2], [2, 5, 150], [1, 1, 1], [4, 40, 3]] {
            let count = shape.iter().product::<usize>();
            let x: Vec<f32> = (0..count).map(|i| ((i * 7919) % 101) as f32 / 101.0 + 0.5).collect();
            for axes in 1..8 {
                let vanish = [axes & 1 != 0, axes & 2 != 0, axes & 4 != 0];
                for kind in kinds {
                    let (got, want) = (run(kind, &x, shape, vanish), by_definition(kind, &x, shape, vanish));
                    assert_eq!(got.len(), want.len());
                    for (got, want) in got.iter().zip(want) {
                        let near = (f64::from(*got) - want).abs() <= 2e-7 * want.abs().max(1.0);
                        assert!(near || want > f32::MAX.into() && got.is_infinite(), "{kind:?} {shape:?} {vanish:?}: {got} {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn sums_do_not_lose_small_terms() {
        // One after the other in f32 the ones would vanish.
        let mut x = vec![1.0; 4097];
        x[0] = 1e8;
        for (shape, vanish) in [([1, 1, 4097], [false, false, true]), ([4097, 1, 1], [true, false, false])] {
            assert_eq!(run(ReduceKind::Sum, &x, shape, vanish), [100_004_096.0]);
        }
    }

    #[test]
    fn infinities_and_nan() {
        const INF: f32 = f32::INFINITY;
        for (shape, vanish) in [([1, 1, 3], [false, false, true]), ([3, 1, 1], [true, false, false])] {
            let of = |kind, x: [f32; 3]| run(kind, &x, shape, vanish)[0];
            assert_eq!(of(ReduceKind::LogSumExp, [-INF; 3]), -INF);
            assert_eq!(of(ReduceKind::LogSumExp, [1.0, INF, -INF]), INF);
            assert_eq!(of(ReduceKind::LogSumExp, [-INF, 2.0, -INF]), 2.0);
            assert!((of(ReduceKind::LogSumExp, [1000.0; 3]) - 1000.0 - 3f32.ln()).abs() < 1e-4);
            assert_eq!(of(ReduceKind::L2, [3e30, 4e30, 0.0]), 5e30);
            assert_eq!(of(ReduceKind::SumSquare, [3e30, 4e30, 0.0]), INF);
            assert_eq!(of(ReduceKind::LogSum, [0.0; 3]), -INF);
            for at in 0..3 {
                let mut x = [1.0, -2.0, 3.0];
                x[at] = f32::NAN;
                for kind in [ReduceKind::Max, ReduceKind::Min, ReduceKind::Sum, ReduceKind::LogSumExp] {
                    assert!(of(kind, x).is_nan(), "{kind:?} {at}");
                }
            }
        }
    }
}
