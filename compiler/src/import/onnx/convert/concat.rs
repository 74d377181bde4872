//! Values one after the other along an axis.

use super::{Converter, OnnxValue, Step};
use crate::graph::Op;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View, canonical};

impl<'a> Converter<'a> {
    pub(super) fn concat(&mut self, node: &'a Node) -> Step<OnnxValue> {
        if (0..node.inputs.len()).any(|i| matches!(self.value(node, i), Ok(OnnxValue::Constant(c)) if c.len() == 0)) {
            return Err("has an input without elements".into());
        }
        let is_constant = |i: usize| self.is_constant(node, i);
        let last = node.inputs.len().checked_sub(1).ok_or("has no inputs")?;
        if is_constant(0) && !is_constant(last) {
            let view = self.computed(node, last)?;
            let at = self.own_axis(&view, node.int("axis", 0))?;
            return self.with_class_tokens(node, at);
        }
        let views = (0..node.inputs.len()).map(|i| self.computed(node, i)).collect::<Step<Vec<_>>>()?;
        let [first, rest @ ..] = &views[..] else { return Err("has no inputs".into()) };
        let at = self.own_axis(first, node.int("axis", 0))?;
        let alike = |v: &View| {
            v.axes.len() == first.axes.len()
                && v.sample == first.sample
                && v.sizes().iter().zip(first.sizes()).enumerate().all(|(i, (a, b))| i == at || *a == b)
        };
        if !views.iter().all(alike) {
            return Err(format!("puts together values of {:?}", views.iter().map(|v| self.full_shape(v)).collect::<Vec<_>>()).into());
        }
        if rest.is_empty() {
            return Ok(OnnxValue::Computed(first.clone()));
        }
        // Along the channels, all else alike: what lies that way can be put one after the other.
        let (mut bases, mut channels, mut pixels) = (Vec::new(), 0, None);
        for view in &views {
            let all = view.len();
            // A flattened image is one axis of all its elements.
            let base =
                if view.axes[at] == canonical([Atom { size: all, stride: 1 }]) { self.flattened(node, view.base)? } else { view.base };
            let each: usize = self.shapes[base][1..].iter().product();
            let along = canonical([Atom { size: self.shapes[base][0], stride: each }]);
            let beside =
                |v: &View| -> Vec<Vec<Atom>> { v.axes.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, a)| a.clone()).collect() };
            let same_space = bases.first().is_none_or(|&b: &usize| self.shapes[b][1..] == self.shapes[base][1..]);
            if view.axes[at] != along || beside(view) != beside(first) || *pixels.get_or_insert(each) != each || !same_space {
                return self.joined(node, &views, at).map(OnnxValue::Computed);
            }
            channels += self.shapes[base][0];
            bases.push(base);
        }
        let name = self.fresh(node.label().into());
        let base = self.push(&name, Op::Concat, bases, Vec::new())?;
        let mut axes = first.axes.clone();
        axes[at] = canonical([Atom { size: channels, stride: pixels.unwrap_or(1) }]);
        Ok(OnnxValue::Computed(View { base, axes, sample: first.sample }))
    }

    /// Values whose channels do not lie along axis `at`: moved so that they do, put together, and read back.
    fn joined(&mut self, node: &'a Node, views: &[View], at: usize) -> Step<View> {
        let rank = views[0].axes.len();
        let order: Vec<usize> = std::iter::once(at).chain((0..rank).filter(|&i| i != at)).collect();
        let (mut bases, mut channels) = (Vec::new(), 0);
        let rest: Vec<usize> = order[1..].iter().map(|&i| views[0].sizes()[i]).collect();
        let pixels: usize = rest.iter().product();
        for view in views {
            let turned = view.permuted(&order).ok_or("has no such axis")?;
            let size = turned.sizes()[0];
            channels += size;
            bases.push(self.moved_to(node, &turned, if rest.is_empty() { vec![size] } else { vec![size, pixels, 1] })?);
        }
        let name = self.fresh(node.label().into());
        let value = self.push(&name, Op::Concat, bases, Vec::new())?;
        let joined = View::plain(value, &[&[channels], &rest[..]].concat());
        Ok(joined.restored(&order).ok_or("has no such axis")?.sampled(views[0].sample))
    }
}
