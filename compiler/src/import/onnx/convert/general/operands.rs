//! Operands of primitives: values of the file brought to one shape, and the walks by which they are read.

use thinfer::artifact::{Limits, Walk};

use super::super::arithmetic::of_one_sample;
use super::super::{Converter, OnnxValue, Step};
use crate::import::onnx::array::Array;
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::{Atom, View};

/// Values with one axis of samples that broadcast to one shape.
pub(super) struct Together {
    /// Lengths of the axes that they broadcast to, that of the samples left out.
    pub(super) sizes: Vec<usize>,
    /// The axis of the samples among the file's.
    pub(super) sample: Option<usize>,
    /// The values, each with as many axes as there are sizes, of one element where it is repeated.
    pub(super) pieces: Vec<Piece>,
}

impl Together {
    /// Whether all of it is as large as `value` is.
    pub(super) fn is_of(&self, value: &OnnxValue) -> bool {
        let rank = self.sizes.len() + usize::from(self.sample.is_some());
        match value {
            OnnxValue::Computed(view) => {
                let raised = view.raised(rank);
                raised.rank() == view.rank() && raised.len() == self.sizes.iter().product::<usize>()
            }
            OnnxValue::Constant(array) => array.shape.len() == rank && array.len() == self.sizes.iter().product::<usize>(),
            _ => false,
        }
    }
}

/// An operand.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Number(f32),
    View(View),
}

/// An axis of a primitive: its length, and for each operand the elements from one index to the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dim {
    pub(super) size: usize,
    pub(super) strides: Vec<usize>,
}

impl<'a> Converter<'a> {
    /// The values brought together by ONNX's rules of broadcasting.
    pub(super) fn brought_together(&mut self, node: &Node, values: &[OnnxValue]) -> Step<Together> {
        let rank_of = |value: &OnnxValue| match value {
            OnnxValue::Constant(array) => Ok(array.shape.len()),
            OnnxValue::Computed(view) => Ok(view.rank()),
            _ => Err("reads a part of a value"),
        };
        let rank = values.iter().map(rank_of).collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
        let views = values.iter().filter_map(|v| if let OnnxValue::Computed(view) = v { Some(view.raised(rank)) } else { None });
        let sampled = views.clone().find(|v| v.sample.is_some());
        let sample = sampled.as_ref().and_then(|v| v.sample);
        let mut sizes: Vec<usize> = vec![1; rank - usize::from(sample.is_some())];
        let mut pieces = Vec::with_capacity(values.len());
        for value in values {
            let piece = match value {
                OnnxValue::Computed(view) => {
                    let raised = view.raised(rank);
                    let beside = sampled.as_ref().and_then(|other| raised.beside(other));
                    let view = beside.unwrap_or(raised);
                    if view.sample != sample {
                        return Err("brings the samples of one value to another axis of the other".into());
                    }
                    sizes = sizes::broadcast(&sizes, &view.sizes())?;
                    Piece::View(view)
                }
                OnnxValue::Constant(array) => {
                    let (piece, own) = self.constant_operand(node, array, rank, sample)?;
                    sizes = sizes::broadcast(&sizes, &own)?;
                    piece
                }
                _ => return Err("reads a part of a value".into()),
            };
            pieces.push(piece);
        }
        Ok(Together { sizes, sample, pieces })
    }

    /// A constant of one sample with `rank` axes, that of the samples left out: a number where all its elements are one.
    fn constant_operand(&mut self, node: &Node, array: &Array, rank: usize, sample: Option<usize>) -> Step<(Piece, Vec<usize>)> {
        array.held_floats()?;
        let shape = [vec![1; rank - array.shape.len()], array.shape.clone()].concat();
        let one = of_one_sample(&array.reshaped(shape.clone()), sample)
            .ok_or_else(|| format!("has a constant of {:?} that differs from sample to sample", array.shape))?;
        let mut own = shape;
        sample.map(|at| own.remove(at));
        let values = one.to_floats();
        if let Some(&number) = values.first().filter(|n| values.iter().all(|v| v == *n)) {
            return Ok((Piece::Number(number), own));
        }
        let view = self.constant_value(format!("{}.constant", node.label()), &own, values)?;
        Ok((Piece::View(view.sampled(sample)), own))
    }

    /// The axes over which all `views` are read, each one step of each view, the file's axes in their order: those of `sizes`, cut where a
    /// view is read in nested steps. Views whose steps do not fit are moved into their order.
    pub(super) fn dims(&mut self, node: &Node, sizes: &[usize], views: &mut [View]) -> Step<Vec<Dim>> {
        let cuts = match cuts(sizes, views) {
            Some(cuts) => cuts,
            None => {
                for view in views.iter_mut() {
                    *view = self.in_order(node, view)?;
                }
                cuts(sizes, views).ok_or("reads values whose steps do not fit")?
            }
        };
        let mut dims = Vec::new();
        for (axis, cuts) in cuts.iter().enumerate() {
            for pair in cuts.windows(2) {
                let strides = views.iter().map(|v| stride_at(&v.axes[axis], pair[1])).collect();
                dims.push(Dim { size: pair[0] / pair[1], strides });
            }
        }
        Ok(dims)
    }

    /// `view` moved into the order in which it is read, where that is another one.
    pub(super) fn in_order(&mut self, node: &Node, view: &View) -> Step<View> {
        if view.axes.iter().all(|atoms| atoms.len() <= 1) {
            return Ok(view.clone());
        }
        let vector = self.moved_to(node, view, vec![view.len()])?;
        Ok(View::plain(vector, &view.sizes()).sampled(view.sample))
    }

    /// The graph value of `shape`, one axis at least, whose elements lie in the order in which `view` reads them.
    pub(super) fn shaped(&mut self, node: &Node, view: &View, shape: &[usize]) -> Step<usize> {
        let shape = if shape.is_empty() { vec![1] } else { shape.to_vec() };
        let whole = view.len() == self.shapes[view.base].iter().product::<usize>();
        if self.shapes[view.base] == shape && view.is_ordered() && whole {
            return Ok(view.base);
        }
        self.moved_to(node, view, shape)
    }
}

/// For each axis the numbers of elements behind which steps of the views end, from all of the axis to 1: each divides the one before.
/// `None` where they do not.
fn cuts(sizes: &[usize], views: &[View]) -> Option<Vec<Vec<usize>>> {
    let mut all = Vec::with_capacity(sizes.len());
    for (axis, &size) in sizes.iter().enumerate() {
        let mut cuts = vec![size, 1];
        for view in views {
            let mut inner = 1;
            for atom in view.axes[axis].iter().rev() {
                inner *= atom.size;
                cuts.push(inner);
            }
        }
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        cuts.dedup();
        if cuts.windows(2).any(|pair| !pair[0].is_multiple_of(pair[1])) {
            return None;
        }
        all.push(cuts);
    }
    Some(all)
}

/// Elements of the graph value from one step to the next that goes over `inner` elements of an axis; 0 where the axis is repeated.
fn stride_at(atoms: &[Atom], inner: usize) -> usize {
    let mut before = 1;
    for atom in atoms.iter().rev() {
        if inner < before * atom.size {
            return atom.stride * (inner / before);
        }
        before *= atom.size;
    }
    0
}

/// Neighbours that are one step for all operands made one, and axes of one element left out.
pub(super) fn coalesced(dims: Vec<Dim>) -> Vec<Dim> {
    let mut out: Vec<Dim> = Vec::new();
    for dim in dims.into_iter().filter(|d| d.size != 1) {
        match out.last_mut() {
            Some(last) if last.strides.iter().zip(&dim.strides).all(|(a, b)| *a == b * dim.size) => {
                *last = Dim { size: last.size * dim.size, strides: dim.strides };
            }
            _ => out.push(dim),
        }
    }
    out
}

/// The walk of operand `at` over `dims`.
pub(super) fn walk(dims: &[Dim], at: usize) -> Step<Walk> {
    if dims.len() > Limits::AXES {
        return Err(format!("reads a value along {} axes, more than {}", dims.len(), Limits::AXES).into());
    }
    let small = |n: usize| i32::try_from(n).map_err(|_| format!("has a step of {n} elements"));
    let strides: Vec<i32> = dims.iter().map(|d| small(d.strides[at])).collect::<Result<_, _>>()?;
    Ok(Walk { offset: 0, strides: if strides.is_empty() { vec![0] } else { strides } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_cut_where_a_view_steps() {
        // [6, 4] read as it is, and [2, 3] turned and flattened.
        let plain = View::plain(0, &[6, 4]);
        let turned = View { axes: vec![vec![Atom { size: 3, stride: 1 }, Atom { size: 2, stride: 3 }], vec![]], ..View::plain(1, &[6, 1]) };
        let all = cuts(&[6, 4], &[plain.clone(), turned.clone()]).unwrap();
        assert_eq!(all, [vec![6, 2, 1], vec![4, 1]]);
        assert_eq!((stride_at(&plain.axes[0], 2), stride_at(&turned.axes[0], 2), stride_at(&turned.axes[0], 1)), (8, 1, 3));
        assert_eq!(stride_at(&turned.axes[1], 1), 0);
        let other = View { axes: vec![vec![Atom { size: 2, stride: 1 }, Atom { size: 3, stride: 2 }], vec![]], ..plain };
        assert_eq!(cuts(&[6, 4], &[other, turned]), None);
    }

    #[test]
    fn neighbours_that_are_one_step_become_one() {
        let dim = |size, strides: &[usize]| Dim { size, strides: strides.to_vec() };
        let dims = vec![dim(2, &[12, 0]), dim(1, &[5, 5]), dim(3, &[4, 0]), dim(4, &[1, 1])];
        assert_eq!(coalesced(dims), [dim(6, &[4, 0]), dim(4, &[1, 1])]);
        assert_eq!(coalesced(vec![dim(1, &[0])]), []);
    }
}
