//! Constants as values of the graph, and values that are outputs without a layer of their own.

use thinfer::artifact::{Binary, Unary};

use super::super::{Converter, Step};
use super::operands::{Piece, Together};
use crate::graph::Op;
use crate::import::onnx::array::Array;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

impl<'a> Converter<'a> {
    /// Appends a constant of `shape`. What is not finite, which no tensor of a file is, is put in by a map.
    pub(in super::super) fn constant_value(&mut self, name: String, shape: &[usize], values: Vec<f32>) -> Step<View> {
        if let Some(at) = values.iter().position(|v| v.is_nan()) {
            return Err(format!("has NaN as element {at} of a constant").into());
        }
        let Some((numbers, kinds)) = finite_and_infinite(&values) else { return self.finite_value(name, shape, values) };
        let (numbers, kinds) =
            (self.finite_value(name.clone(), shape, numbers)?, self.finite_value(format!("{name}.kinds"), shape, kinds)?);
        let pieces = vec![Piece::View(numbers), Piece::View(kinds)];
        let node = Node::new("Constant", &name, &[], &name);
        self.mapped_by(&node, Together { sizes: shape.to_vec(), sample: None, pieces }, |e, n| {
            let (one, above, below) = (e.constant(1.0)?, e.constant(f32::INFINITY)?, e.constant(f32::NEG_INFINITY)?);
            let (is_above, is_finite) = (e.binary(Binary::Equal, n[1], one)?, e.unary(Unary::Not, n[1])?);
            let infinite = e.select(is_above, above, below)?;
            let y = e.select(is_finite, n[0], infinite)?;
            e.result(y)
        })
    }

    fn finite_value(&mut self, name: String, shape: &[usize], values: Vec<f32>) -> Step<View> {
        let name = self.fresh(name);
        let own = if shape.is_empty() { vec![1] } else { shape.to_vec() };
        let base = self.push(&name, Op::Constant { shape: own }, Vec::new(), vec![values])?;
        Ok(View::plain(base, shape))
    }

    /// A copy of `view`, of another graph value.
    pub(in super::super) fn copied(&mut self, node: &Node, view: View) -> Step<View> {
        let together = Together { sizes: view.sizes(), sample: view.sample, pieces: vec![Piece::View(view)] };
        let copy = self.mapped_by(node, together, |_, _| Ok(()))?;
        self.ordered(node, &copy)
    }

    /// A constant as an output.
    pub(in super::super) fn constant_output(&mut self, node: &Node, array: &Array) -> Step<View> {
        if array.len() == 0 {
            return Err(format!("is a constant of {:?}, which has no elements", array.shape).into());
        }
        if array.as_ints().is_some_and(|v| v.iter().any(|v| v.unsigned_abs() > 1 << 24)) {
            return Err("is a constant of integers beyond 2^24, which are not held exactly".into());
        }
        let view = self.constant_value(format!("{}.constant", node.label()), &array.shape, array.held_floats()?)?;
        match self.graph.producer(view.base).map(|n| &n.op) {
            Some(Op::Constant { .. }) => self.copied(node, view),
            _ => Ok(view),
        }
    }
}

/// The finite numbers of `values`, 0 in the place of others, and which those are: 1 for ∞, −1 for −∞.
fn finite_and_infinite(values: &[f32]) -> Option<(Vec<f32>, Vec<f32>)> {
    let kind = |v: &f32| if v.is_finite() { 0.0 } else { v.signum() };
    let number = |v: &f32| if v.is_finite() { *v } else { 0.0 };
    let is_infinite = values.iter().any(|v| !v.is_finite());
    is_infinite.then(|| (values.iter().map(number).collect(), values.iter().map(kind).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_infinite_is_told_apart() {
        assert_eq!(finite_and_infinite(&[1.0, 2.0]), None);
        let (numbers, kinds) = finite_and_infinite(&[1.0, f32::INFINITY, f32::NEG_INFINITY]).unwrap();
        assert_eq!((numbers, kinds), (vec![1.0, 0.0, 0.0], vec![0.0, 1.0, -1.0]));
    }
}
