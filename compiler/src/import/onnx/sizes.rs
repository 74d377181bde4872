//! Shapes as numbers: how large one may become, axes by their numbers, and what two broadcast to.

use std::fmt::Debug;

use crate::tensor::count;

/// The most elements that an operation may make of fewer.
pub(super) const MOST: usize = 1 << 23;

/// The most axes of a value.
pub(super) const AXES: usize = 64;

/// A list for a message: its first elements.
pub(super) fn brief<T: Debug>(list: &[T]) -> String {
    let dots = if list.len() > 8 { ", …" } else { "" };
    let first: Vec<String> = list.iter().take(8).map(|v| format!("{v:?}")).collect();
    format!("[{}{dots}]", first.join(", "))
}

/// `axis` of `rank` axes, counted from the end where negative.
///
/// # Errors
/// A phrase for one that there is not.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(at).ok().filter(|a| *a < rank).ok_or_else(|| format!("names axis {axis} of {rank}"))
}

/// `shape` without the axes of one element, or without those named.
pub(super) fn squeezed(shape: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, String> {
    let Some(axes) = axes else { return Ok(shape.iter().copied().filter(|&d| d != 1).collect()) };
    let gone = axes.iter().map(|&a| axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?;
    if let Some(&a) = gone.iter().find(|&&a| shape[a] != 1) {
        return Err(format!("takes away axis {a} of {shape:?}, which has more than one element"));
    }
    Ok(shape.iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, &d)| d).collect())
}

/// `shape` with axes of one element where `axes` say.
pub(super) fn unsqueezed(shape: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, String> {
    let axes = axes.ok_or("does not say which axes")?;
    let rank = shape.len() + axes.len();
    if rank > AXES {
        return Err(format!("makes {rank} axes, more than {AXES}"));
    }
    let new = axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut old = shape.iter().copied();
    let out: Vec<usize> = (0..rank).map(|i| if new.contains(&i) { 1 } else { old.next().unwrap_or(1) }).collect();
    if old.next().is_some() { Err(format!("names an axis twice: {}", brief(axes))) } else { Ok(out) }
}

/// Elements of `shape`, if an operation may make so many.
pub(super) fn affordable(shape: &[usize]) -> Result<usize, String> {
    count(shape).filter(|n| *n <= MOST).ok_or_else(|| format!("would make a constant of {shape:?}, more than {MOST} elements"))
}

/// The shape that two broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    let one = |i: usize| match (dim(a, i), dim(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("cannot bring {a:?} and {b:?} together")),
    };
    (0..rank).map(one).collect()
}
