//! Where elements lie: strides, walks over an array's elements in another order, and broadcasting.

/// Elements between neighbours along each axis of a row-major array.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

/// For each index into `shape`, row-major, `start` and the sum of index · step over the axes.
pub(super) fn walk<'a>(shape: &'a [usize], steps: &'a [i64], start: i64) -> impl Iterator<Item = usize> + 'a {
    let mut index = vec![0; shape.len()];
    let mut at = start;
    (0..shape.iter().product()).map(move |_: usize| {
        let now = at as usize;
        for (axis, i) in index.iter_mut().enumerate().rev() {
            *i += 1;
            at = at.wrapping_add(steps[axis]);
            if *i < shape[axis] {
                break;
            }
            at = at.wrapping_sub(steps[axis].wrapping_mul(shape[axis] as i64));
            *i = 0;
        }
        now
    })
}

/// Steps through an array of `of`, which broadcasts to `shape`, for [`walk`].
pub(super) fn broadcast_steps(of: &[usize], shape: &[usize]) -> Vec<i64> {
    let own = strides(of);
    let step = |i: usize| match (i + of.len()).checked_sub(shape.len()) {
        Some(i) if of[i] != 1 => own[i] as i64,
        _ => 0,
    };
    (0..shape.len()).map(step).collect()
}

/// For each element of an array of `shape`, the index of the element of an array of `of` that broadcasts to it.
pub(in crate::import::onnx) fn broadcast_offsets(of: &[usize], shape: &[usize]) -> Vec<usize> {
    walk(shape, &broadcast_steps(of, shape), 0).collect()
}

/// How an axis divides an array: elements before it, along it and behind it.
pub(super) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_go_row_by_row() {
        assert_eq!(walk(&[3, 2], &[1, 3], 0).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(walk(&[2, 2], &[2, -1], 1).collect::<Vec<_>>(), [1, 0, 3, 2]);
        assert_eq!((walk(&[], &[], 4).collect::<Vec<_>>(), walk(&[2, 0], &[0, 0], 0).count()), (vec![4], 0));
        assert_eq!(broadcast_offsets(&[2, 1], &[2, 2, 3]), [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
        assert_eq!((strides(&[2, 3, 4]), around(&[2, 3, 4], 1)), (vec![12, 4, 1], (2, 3, 4)));
    }
}
