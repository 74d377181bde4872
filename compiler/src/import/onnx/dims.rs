//! What nodes name: axes, ranges, orders, and the shapes that they ask for.

use std::sync::Arc;

use super::array::Array;
use super::node::Node;
use super::sizes::{axis, brief};
use crate::tensor::count;

/// The axes that a node names by attribute or, since operator set 13, by input.
pub(super) fn axes(node: &Node, input: Option<&Array>) -> Result<Option<Vec<i64>>, String> {
    match (node.ints("axes"), input) {
        (Some(axes), _) => Ok(Some(axes.to_vec())),
        (None, Some(array)) => Ok(Some(array.as_ints().ok_or("names its axes by no integers")?.to_vec())),
        (None, None) => Ok(None),
    }
}

/// The dimensions that `target` asks for, of a value of `shape`.
pub(super) fn target_shape(node: &Node, shape: &[usize], target: &Array) -> Result<Vec<usize>, String> {
    let target = target.as_ints().ok_or("has a target shape of no integers")?;
    let copies = node.int("allowzero", 0) == 0;
    let mut out = Vec::with_capacity(target.len());
    for (i, &d) in target.iter().enumerate() {
        out.push(match d {
            0 if copies => *shape.get(i).ok_or_else(|| format!("copies axis {i} of {shape:?}"))?,
            -1 => 1,
            d => usize::try_from(d).map_err(|_| format!("has the target shape {}", brief(target)))?,
        });
    }
    let misfit = || format!("cannot make {} of {shape:?}", brief(target));
    let (all, known) = (count(shape).ok_or_else(misfit)?, count(&out).ok_or_else(misfit)?);
    match target.iter().filter(|d| **d == -1).count() {
        0 if all == known => {}
        1 if known > 0 && all.is_multiple_of(known) => {
            if let Some(at) = target.iter().position(|d| *d == -1) {
                out[at] = all / known;
            }
        }
        _ => return Err(misfit()),
    }
    Ok(out)
}

/// The shape that a constant's elements are.
pub(super) fn dims(shape: &Array) -> Result<Vec<usize>, String> {
    let ints = shape.as_ints().ok_or("has a shape of no integers")?;
    ints.iter().map(|&d| usize::try_from(d).map_err(|_| format!("has the shape {}", brief(ints)))).collect()
}

/// The order of axes that a Transpose of `rank` axes names.
pub(super) fn permutation(node: &Node, rank: usize) -> Result<Vec<usize>, String> {
    let Some(order) = node.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let order = order.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.into_iter().eq(0..rank) { Ok(order) } else { Err(format!("has the order {} for {rank} axes", brief(&order))) }
}

/// What a Slice takes of each axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranges {
    /// First index, number of elements and step, axis by axis.
    pub(super) axes: Vec<(usize, usize, i64)>,
}

impl Ranges {
    /// Of a node that slices a value of `shape`: by attributes, or by inputs 1 to 4.
    ///
    /// # Errors
    /// A phrase for ranges that are no constants or do not fit.
    pub(super) fn of(node: &Node, inputs: &[Option<Arc<Array>>], shape: &[usize]) -> Result<Self, String> {
        let get = |name: &str, i: usize| -> Result<Option<Vec<i64>>, String> {
            match (node.ints(name), inputs.get(i).cloned().flatten()) {
                (Some(v), _) => Ok(Some(v.to_vec())),
                (None, Some(a)) => a.as_ints().map(|v| Some(v.to_vec())).ok_or_else(|| format!("has {name} of no integers")),
                (None, None) => Ok(None),
            }
        };
        let starts = get("starts", 1)?.ok_or("does not say where it starts")?;
        let ends = get("ends", 2)?.ok_or("does not say where it ends")?;
        let axes = get("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = get("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err("has starts, ends, axes and steps of different lengths".into());
        }
        if starts.len() > shape.len() {
            return Err(format!("has {} ranges for {} axes", starts.len(), shape.len()));
        }
        let mut out: Vec<(usize, usize, i64)> = shape.iter().map(|&n| (0, n, 1)).collect();
        for (((start, end), a), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
            let at = axis(a, shape.len())?;
            let n = shape[at] as i64;
            if n == 0 {
                continue;
            }
            let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
            let (start, end) = match step {
                0 => return Err("has a step of 0".into()),
                1.. => (from_end(start).clamp(0, n), from_end(end).clamp(0, n)),
                _ => (from_end(start).clamp(0, n - 1), from_end(end).clamp(-1, n - 1)),
            };
            let count = if step > 0 { (end - start).max(0) as u64 } else { (start - end).max(0) as u64 }.div_ceil(step.unsigned_abs());
            out[at] = (start.max(0) as usize, count as usize, step);
        }
        Ok(Self { axes: out })
    }
}
