//! How a CPU kernel reads a value by strides: runs along the innermost axis, one after the other.

use crate::artifact::Limits;
use crate::plan::{Operand, Slot, coalesce};

/// The most axes of a walk: those that stay and those that vanish of a reduction.
const AXES: usize = 2 * Limits::AXES;

/// Fewer elements are copied one by one sooner than by a call to the library.
const SHORT: usize = 16;

/// Elements of a value, counted row-major over axes; the index (i₀, i₁, …) is at offset + Σ iₖ·strideₖ.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    offset: isize,
    /// Lengths of the axes, at least one.
    sizes: Vec<usize>,
    strides: Vec<isize>,
    /// Elements from one sample to the next; 0 where all samples read the first one.
    sample: usize,
}

/// Consecutive elements of a walk along its innermost axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many elements were walked before.
    pub(super) done: usize,
    /// Where the first element lies.
    pub(super) place: isize,
    /// How many elements there are.
    pub(super) len: usize,
    /// From one element to the next.
    pub(super) stride: isize,
}

impl Walk {
    /// `operand` of a value in `slot` over axes of `sizes`.
    pub(super) fn new(operand: &Operand, sizes: &[usize], slot: Slot) -> Self {
        let sample = if operand.per_sample { slot.stride() } else { 0 };
        Self::over(sizes, &operand.strides, operand.offset as isize, sample)
    }

    /// A walk over axes of `sizes`; those that are one walk are joined.
    pub(super) fn over(sizes: &[usize], strides: &[i64], offset: isize, sample: usize) -> Self {
        let (mut sizes, mut strides) = (sizes.to_vec(), strides.to_vec());
        if sizes.is_empty() {
            (sizes, strides) = (vec![1], vec![0]);
        }
        coalesce(&mut sizes, &mut [&mut strides]);
        Self { offset, sizes, strides: strides.into_iter().map(|s| s as isize).collect(), sample }
    }

    /// Whether all elements lie side by side.
    pub(super) fn is_contiguous(&self) -> bool {
        self.sizes.len() == 1 && (self.strides[0] == 1 || self.sizes[0] == 1)
    }

    /// From one element to the next along the innermost axis.
    pub(super) fn inner(&self) -> isize {
        self.strides[self.strides.len() - 1]
    }

    /// Length of the innermost axis.
    pub(super) fn row(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// Where a sample begins.
    pub(super) fn start(&self, sample: usize) -> isize {
        (sample * self.sample) as isize + self.offset
    }

    /// Where element `n` of a sample lies.
    pub(super) fn place(&self, sample: usize, n: usize) -> isize {
        let mut left = n;
        let axes = self.sizes.iter().zip(&self.strides).rev();
        axes.fold(self.start(sample), |place, (&size, &stride)| {
            let index = left % size;
            left /= size;
            place + index as isize * stride
        })
    }

    /// Calls `work` for the runs of `count` elements from element `first` of a sample on.
    #[inline(always)]
    pub(super) fn runs(&self, sample: usize, first: usize, count: usize, mut work: impl FnMut(Run)) {
        let last = self.sizes.len() - 1;
        let (row, stride) = (self.sizes[last], self.strides[last]);
        let (mut index, mut place) = ([0usize; AXES], self.start(sample));
        let mut left = first / row;
        for axis in (0..last).rev() {
            index[axis] = left % self.sizes[axis];
            left /= self.sizes[axis];
            place += index[axis] as isize * self.strides[axis];
        }
        let (mut at, mut done) = (first % row, 0);
        while done < count {
            let len = (row - at).min(count - done);
            work(Run { done, place: place + at as isize * stride, len, stride });
            (at, done) = (0, done + len);
            for axis in (0..last).rev() {
                index[axis] += 1;
                place += self.strides[axis];
                if index[axis] < self.sizes[axis] {
                    break;
                }
                place -= self.strides[axis] * self.sizes[axis] as isize;
                index[axis] = 0;
            }
        }
    }

    /// Copies elements of a sample of `x`, from element `first` on, to `to`.
    pub(super) fn gather(&self, x: &[f32], sample: usize, first: usize, to: &mut [f32]) {
        let row = self.row();
        if self.sizes.len() == 2 && self.strides[0] == 0 && to.len() > 2 * row {
            // The same row again and again: twice as many each time.
            self.gather(x, sample, first, &mut to[..row]);
            let mut filled = row;
            while filled < to.len() {
                let more = filled.min(to.len() - filled);
                to.copy_within(..more, filled);
                filled += more;
            }
            return;
        }
        self.runs(sample, first, to.len(), |run| run.copy(x, &mut to[run.done..][..run.len]));
    }
}

impl Run {
    /// The elements, if they lie side by side in `x`.
    #[inline(always)]
    pub(super) fn slice<'a>(&self, x: &'a [f32]) -> Option<&'a [f32]> {
        (self.stride == 1).then(|| &x[self.place as usize..][..self.len])
    }

    /// Copies the elements to `to`, which is as long.
    #[inline(always)]
    pub(super) fn copy(&self, x: &[f32], to: &mut [f32]) {
        match self.stride {
            1 if self.len >= SHORT => to.copy_from_slice(&x[self.place as usize..][..self.len]),
            0 if self.len >= SHORT => to.fill(x[self.place as usize]),
            stride => {
                let mut place = self.place;
                for y in to {
                    *y = x[place as usize];
                    place += stride;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_walked_from_any_element_on() {
        let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
        for (sizes, strides, offset) in [
            (&[2, 3, 4][..], &[12, 4, 1][..], 0),
            (&[2, 3, 4], &[1, 20, 4], 3),
            (&[3, 4], &[0, -2], 50),
            (&[5], &[0], 7),
            (&[9, 2], &[0, 3], 5),
            (&[], &[], 9),
            (&[4, 1, 3], &[5, 77, 0], 1),
        ] {
            let operand = Operand { offset, strides: strides.to_vec(), per_sample: true };
            let walk = Walk::new(&operand, sizes, Slot { buffer: 0, channels: 4, height: 1, width: 1 });
            let count: usize = sizes.iter().product();
            for first in 0..count {
                for len in 0..=count - first {
                    let mut to = vec![f32::NAN; len];
                    walk.gather(&x, 2, first, &mut to);
                    for (at, &got) in to.iter().enumerate() {
                        let (mut left, mut place) = (first + at, 8 + offset);
                        for (&size, &stride) in sizes.iter().zip(strides).rev() {
                            place += (left % size) as i64 * stride;
                            left /= size;
                        }
                        assert_eq!((got, walk.place(2, first + at)), (place as f32, place as isize), "{sizes:?} {strides:?} {first} {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_read_as_it_lies_is_contiguous() {
        assert!(Walk::over(&[2, 3, 4], &[12, 4, 1], 0, 0).is_contiguous() && Walk::over(&[1], &[0], 0, 0).is_contiguous());
        assert!(!Walk::over(&[2, 3], &[4, 1], 0, 0).is_contiguous() && !Walk::over(&[2], &[0], 0, 0).is_contiguous());
    }
}
