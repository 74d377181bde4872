//! The index of the largest or the least element on the CPU.

use super::lanes::largest;
use super::reduce_elements::{Elements, OUTPUTS};

/// Elements of a block whose largest one is found before its index.
const SEARCHED: usize = 256;

/// For each output of `y`, of those from `first` of a sample on: the index of the largest of its elements times `sign`, the
/// first one or the `last` one of several. NaN is larger than all numbers, as in numpy.
#[inline(always)]
pub(super) fn outputs(elements: &Elements, (x, sample, first): (&[f32], usize, usize), sign: f32, last: bool, y: &mut [f32]) {
    let (mut best, mut indices) = ([f32::NEG_INFINITY; OUTPUTS], [0u32; OUTPUTS]);
    elements.kept.runs(
        sample,
        first,
        y.len(),
        #[inline(always)]
        |outputs| {
            let best = &mut best[outputs.done..][..outputs.len];
            let indices = &mut indices[outputs.done..][..outputs.len];
            if elements.across {
                return elements.over.runs(
                    0,
                    0,
                    elements.count,
                    #[inline(always)]
                    |run| {
                        for n in 0..run.len {
                            let place = outputs.place + run.place + n as isize * run.stride;
                            let x = &x[place as usize..][..best.len()];
                            for ((best, index), &x) in best.iter_mut().zip(&mut *indices).zip(x) {
                                let x = x * sign;
                                let better = is_better(x, *best, last);
                                *best = if better { x } else { *best };
                                *index = if better { (run.done + n) as u32 } else { *index };
                            }
                        }
                    },
                );
            }
            for (at, (best, index)) in best.iter_mut().zip(indices).enumerate() {
                elements.blocks(
                    x,
                    outputs.place + at as isize * outputs.stride,
                    #[inline(always)]
                    |before, block| {
                        for (before, block) in (before..).step_by(SEARCHED).zip(block.chunks(SEARCHED)) {
                            // The largest as vectors find it; where it is, only if it is the best so far.
                            let most = largest(block, |x| x * sign);
                            if is_better(most, *best, last) {
                                let is_it = |x: &f32| (*x * sign == most) | (x.is_nan() & most.is_nan());
                                let found = if last { block.iter().rposition(is_it) } else { block.iter().position(is_it) };
                                (*best, *index) = (most, (before + found.unwrap_or(0)) as u32);
                            }
                        }
                    },
                );
            }
        },
    );
    y.iter_mut().zip(indices).for_each(|(y, index)| *y = index as f32);
}

#[inline(always)]
fn is_better(x: f32, best: f32, last: bool) -> bool {
    let equal = (x == best) | (x.is_nan() & best.is_nan());
    (x > best) | (x.is_nan() & !best.is_nan()) | (last & equal)
}

#[cfg(test)]
mod tests {
    use super::super::reduce::tests::run;
    use crate::artifact::ReduceKind::{ArgMax, ArgMin};

    const INF: f32 = f32::INFINITY;

    #[test]
    fn the_first_or_the_last_of_several() {
        let x = [3.0, 7.0, -1.0, 7.0, -1.0];
        for (shape, vanish) in [([1, 1, 5], [false, false, true]), ([5, 1, 1], [true, false, false])] {
            let of = |kind, x: &[f32]| run(kind, x, shape, vanish)[0];
            assert_eq!([false, true].map(|last| of(ArgMax { last }, &x)), [1.0, 3.0]);
            assert_eq!([false, true].map(|last| of(ArgMin { last }, &x)), [2.0, 4.0]);
            assert_eq!([false, true].map(|last| of(ArgMax { last }, &[-INF; 5])), [0.0, 4.0]);
            assert_eq!([false, true].map(|last| of(ArgMin { last }, &[INF; 5])), [0.0, 4.0]);
            let nan = [1.0, f32::NAN, INF, f32::NAN, 2.0];
            assert_eq!([false, true].map(|last| of(ArgMax { last }, &nan)), [1.0, 3.0]);
            assert_eq!([false, true].map(|last| of(ArgMin { last }, &nan)), [1.0, 3.0]);
        }
    }

    #[test]
    fn indices_are_counted_over_all_axes_that_vanish() {
        let mut x = vec![0.0; 4 * 30 * 3];
        // Of the middle axis' last index, three times.
        for (outer, inner) in [(0, 2), (2, 1), (3, 0)] {
            x[(outer * 30 + 29) * 3 + inner] = 1.0;
        }
        let first = ArgMax { last: false };
        assert_eq!(run(first, &x, [4, 30, 3], [true, false, true])[29], 2.0);
        assert_eq!(run(ArgMax { last: true }, &x, [4, 30, 3], [true, false, true])[29], 9.0);
        assert_eq!(run(first, &x, [4, 30, 3], [false, true, true]), [89.0, 0.0, 88.0, 87.0]);
        assert_eq!(run(first, &x, [4, 30, 3], [true, true, false]), [119.0, 89.0, 29.0]);
    }
}
