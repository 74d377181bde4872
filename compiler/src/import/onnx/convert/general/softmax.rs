//! Softmax along any axis.

use thinfer::artifact::{Primitive, ReduceKind, SoftmaxOver};

use super::super::{Converter, Step};
use super::lengths::{axes, small};
use super::operands::{Dim, Piece, Together, walk};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;
use thinfer::artifact::Binary;

impl<'a> Converter<'a> {
    pub(super) fn softmax_over(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        let (view, axis) = self.softmax_axis(node, view)?;
        self.softmax_along(node, &view, axis, node.op == "LogSoftmax")
    }

    /// The axis of its own that elements sum to 1 along. Before operator set 13 that was all axes from one on, as one.
    fn softmax_axis(&mut self, node: &Node, view: View) -> Step<(View, usize)> {
        let is_old = self.model.opset < 13;
        let axis = crate::import::onnx::sizes::axis(node.int("axis", if is_old { 1 } else { -1 }), view.rank())?;
        let own = self.own_axis(&view, axis as i64)?;
        if is_old && view.sizes()[own + 1..].iter().any(|d| *d != 1) {
            return Err("runs over several axes at once, as before operator set 13, which is not supported here".into());
        }
        Ok((view, own))
    }

    /// Softmax along axis `axis` of the view's own.
    pub(super) fn softmax_along(&mut self, node: &Node, view: &View, axis: usize, log: bool) -> Step<View> {
        let view = self.in_order(node, view)?;
        let sizes = view.sizes();
        let dims: Vec<Dim> =
            view.axes.iter().zip(&sizes).map(|(atoms, &size)| Dim { size, strides: vec![atoms.first().map_or(0, |a| a.stride)] }).collect();
        let softmax = SoftmaxOver { shape: axes(&sizes)?, axis: small(axis)?, log, operand: walk(&dims, 0)? };
        let base = self.primitive(node.label().into(), Primitive::Softmax(softmax), vec![view.base])?;
        Ok(View::plain(base, &sizes).sampled(view.sample))
    }

    /// 1 where the first of the largest elements along an axis is, else 0.
    pub(super) fn hardmax(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        let (view, axis) = self.softmax_axis(node, view)?;
        let sizes = view.sizes();
        let largest = self.reduced_over(node, &view, &[axis], ReduceKind::ArgMax { last: false })?;
        let mut line = vec![1; sizes.len()];
        line[axis] = sizes[axis];
        let numbers = (0..sizes[axis]).map(|i| i as f32).collect();
        let places = self.constant_value(format!("{}.places", node.label()), &line, numbers)?.sampled(view.sample);
        let together = Together { sizes, sample: view.sample, pieces: vec![Piece::View(largest), Piece::View(places)] };
        self.mapped_by(node, together, |e, n| {
            let y = e.binary(Binary::Equal, n[0], n[1])?;
            e.result(y)
        })
    }
}
