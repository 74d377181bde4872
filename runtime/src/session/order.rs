//! Between arrays as a network's source declared them and values as executors have them: samples one after the other, images
//! channels first.

use crate::artifact::TensorSpec;

/// How a declared array is cut into samples and how a sample's elements are moved.
#[derive(Debug)]
pub(super) struct Order {
    /// Elements of one sample.
    len: usize,
    /// Steps along the axes before that of the samples.
    outer: usize,
    /// Elements behind it.
    inner: usize,
    /// Nested loops over a sample, the longest last: size, stride in the declared sample, stride in the value. None where both
    /// lie alike.
    loops: Vec<[usize; 3]>,
    /// Whether arrays hold samples at all.
    pub(super) sampled: bool,
}

impl Order {
    pub(super) fn new(spec: &TensorSpec) -> Self {
        let shape = spec.sample_shape();
        let len: usize = shape.iter().product();
        let outer: usize = shape[..(spec.sample_axis.unwrap_or(0) as usize).min(shape.len())].iter().product();
        let mut stride = len;
        let step = |step: &crate::artifact::Stride| {
            stride /= (step.size as usize).max(1);
            [step.size as usize, stride, step.stride as usize]
        };
        let mut loops: Vec<[usize; 3]> = spec.order.iter().map(step).filter(|l| l[0] > 1).collect();
        if loops.iter().all(|[_, declared, own]| declared == own) {
            loops.clear();
        }
        loops.sort_by_key(|l| l[0]);
        Self { len, outer, inner: len / outer.max(1), loops, sampled: spec.sample_axis.is_some() }
    }

    /// Whether an array lies as executors want it.
    pub(super) fn is_plain(&self) -> bool {
        self.outer == 1 && self.loops.is_empty()
    }

    /// Samples `first`… of an array of `samples` into `values`, which has room for as many as are wanted.
    pub(super) fn take<T: Copy>(&self, array: &[T], samples: usize, first: usize, values: &mut [T]) {
        for (at, value) in values.chunks_exact_mut(self.len).enumerate() {
            self.each(|declared, own| value[own] = array[self.place(declared, samples, first + at)]);
        }
    }

    /// The samples in `values` as those from `first` on of an array of `samples`.
    pub(super) fn put<T: Copy>(&self, values: &[T], samples: usize, first: usize, array: &mut [T]) {
        for (at, value) in values.chunks_exact(self.len).enumerate() {
            self.each(|declared, own| array[self.place(declared, samples, first + at)] = value[own]);
        }
    }

    /// Where element `declared` of sample `sample` stands in an array of `samples`.
    fn place(&self, declared: usize, samples: usize, sample: usize) -> usize {
        match self.outer {
            1 => sample * self.len + declared,
            _ => (declared / self.inner * samples + sample) * self.inner + declared % self.inner,
        }
    }

    /// Calls `f` with the place of each element in the declared sample and in the value.
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let Some((&[size, declared, own], around)) = self.loops.split_last() else { return (0..self.len).for_each(|i| f(i, i)) };
        let mut at = vec![0; around.len()];
        loop {
            let from = |stride: usize| at.iter().zip(around).map(|(&i, l)| i * l[stride]).sum::<usize>();
            let (first, own_first) = (from(1), from(2));
            (0..size).for_each(|i| f(first + i * declared, own_first + i * own));
            // The next place of the loops around, the innermost of them first.
            let Some(turned) = (0..around.len()).rev().find(|&k| at[k] + 1 < around[k][0]) else { return };
            at[turned] += 1;
            at[turned + 1..].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Stride;

    fn order(shape: &[u32], sample_axis: Option<u32>, steps: &[(u32, u32)]) -> Order {
        let order = steps.iter().map(|&(size, stride)| Stride { size, stride }).collect();
        Order::new(&TensorSpec { shape: shape.to_vec(), sample_axis, order, ..TensorSpec::new("x", &[]) })
    }

    /// Whatever was taken and put again is what it was, and each sample has its own elements.
    fn there_and_back(order: &Order, samples: usize) -> Vec<Vec<usize>> {
        let array: Vec<usize> = (0..samples * order.len).collect();
        let mut again = vec![usize::MAX; array.len()];
        let mut seen = Vec::new();
        for first in (0..samples).step_by(2) {
            let mut values = vec![0; order.len * (samples - first).min(2)];
            order.take(&array, samples, first, &mut values);
            order.put(&values, samples, first, &mut again);
            seen.extend(values.chunks(order.len).map(<[usize]>::to_vec));
        }
        assert_eq!(again, array);
        seen
    }

    #[test]
    fn pixels_become_planes() {
        // [N, 2, 2, 3] of [3, 2, 2].
        let nhwc = order(&[0, 2, 2, 3], Some(0), &[(4, 1), (3, 4)]);
        assert!(!nhwc.is_plain());
        let seen = there_and_back(&nhwc, 3);
        assert_eq!(seen[1], [12, 15, 18, 21, 13, 16, 19, 22, 14, 17, 20, 23]);
        // Three axes turned around.
        let turned = order(&[0, 2, 3, 4], Some(0), &[(2, 1), (3, 2), (4, 6)]);
        assert_eq!(there_and_back(&turned, 1)[0][..7], [0, 12, 4, 16, 8, 20, 1]);
    }

    #[test]
    fn samples_may_stand_along_any_axis() {
        let plain = order(&[0, 2, 3], Some(0), &[]);
        assert!(plain.is_plain() && order(&[0, 2, 3], Some(0), &[(2, 3), (3, 1)]).is_plain() && order(&[2, 3], None, &[]).is_plain());
        assert_eq!(there_and_back(&plain, 2), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]);
        // [2, N, 3].
        let second = order(&[2, 0, 3], Some(1), &[]);
        assert_eq!(there_and_back(&second, 3)[1], [3, 4, 5, 12, 13, 14]);
        let last = order(&[2, 3, 0], Some(2), &[(2, 1), (3, 2)]);
        assert_eq!(there_and_back(&last, 5)[4], [4, 19, 9, 24, 14, 29]);
        // An axis of one before it changes nothing.
        assert!(order(&[1, 0, 6], Some(1), &[]).is_plain());
    }
}
