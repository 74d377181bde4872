//! Values one after the other along any axis, constants among them.

use thinfer::artifact::{Limits, Primitive};

use super::super::{Converter, OnnxValue, Step};
use super::lengths::small;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

impl<'a> Converter<'a> {
    pub(super) fn concatenated(&mut self, node: &'a Node) -> Step<View> {
        let values = (0..node.inputs.len()).map(|i| self.value(node, i).cloned()).collect::<Step<Vec<_>>>()?;
        let is_empty = |v: &OnnxValue| matches!(v, OnnxValue::Constant(array) if array.len() == 0);
        let values: Vec<OnnxValue> = values.into_iter().filter(|v| !is_empty(v)).collect();
        let first = values.iter().find_map(|v| if let OnnxValue::Computed(view) = v { Some(view.clone()) } else { None });
        let first = first.ok_or("has no computed input")?;
        let at = self.own_axis(&first, node.int("axis", 0))?;
        let (rank, sample) = (first.rank(), first.sample);
        let mut views = Vec::with_capacity(values.len());
        for value in &values {
            let view = match value {
                OnnxValue::Constant(array) if array.shape.len() == rank => {
                    array.held_floats()?;
                    let one = super::super::arithmetic::of_one_sample(array, sample);
                    let one = one.ok_or_else(|| format!("has a constant of {:?} that differs from sample to sample", array.shape))?;
                    let mut own = one.shape.clone();
                    sample.map(|s| own.remove(s));
                    self.constant_value(format!("{}.constant", node.label()), &own, one.to_floats())?.sampled(sample)
                }
                OnnxValue::Computed(view) if view.rank() == rank => view.beside(&first).unwrap_or(view.clone()),
                _ => return Err("puts values of different numbers of axes together".into()),
            };
            let (sizes, wanted) = (view.sizes(), first.sizes());
            if view.sample != sample || sizes.iter().zip(&wanted).enumerate().any(|(i, (a, b))| i != at && a != b) {
                return Err(format!("puts values of {wanted:?} and {sizes:?} together").into());
            }
            views.push(view);
        }
        if let [one] = &views[..] {
            return Ok(one.clone());
        }
        self.joined_along(node, &views, at)
    }

    /// `views` one after the other along axis `at` of their own; all other axes are alike.
    pub(super) fn joined_along(&mut self, node: &Node, views: &[View], at: usize) -> Step<View> {
        let mut sizes = views[0].sizes();
        let mut parts = Vec::with_capacity(views.len());
        for view in views {
            let shape = view.sizes();
            parts.push((self.shaped(node, view, &shape)?, shape[at]));
        }
        // As many at a time as one layer takes.
        while parts.len() > 1 {
            let mut next = Vec::new();
            for group in parts.chunks(Limits::OPERANDS) {
                let total = group.iter().map(|p| p.1).sum();
                next.push(match group {
                    [one] => *one,
                    _ => {
                        let inputs = group.iter().map(|p| p.0).collect();
                        (self.primitive(node.label().into(), Primitive::Join { axis: small(at)? }, inputs)?, total)
                    }
                });
            }
            parts = next;
        }
        let (base, total) = parts[0];
        sizes[at] = total;
        Ok(View::plain(base, &sizes).sampled(views[0].sample))
    }
}
