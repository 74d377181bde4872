//! Operations that are written out as others when they are converted, where their shapes are known. They come after all other ways.

mod attention;
mod choice;
mod fused;
mod images;
mod indices;
mod loops;
mod losses;
mod norms;
mod quantised;
mod signal;
mod small;

use std::sync::Arc;

use super::names::{ATTENTION, CHOICE, FUSED, IMAGES, INDICES, LOOPS, LOSSES, NORMS, QUANTISED, SIGNAL, is_written};
use super::ranges::Ranges;
use super::{Converter, OnnxValue, Step, Stop, kept};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::names::Names;
use crate::import::onnx::node::{Attribute, Node};

/// The most elements of all constants that nodes bring which are written out.
const MOST_WRITTEN: usize = 1 << 28;

/// Outputs, and the integers that each holds, if it does.
pub(super) type Written = (Vec<OnnxValue>, Ranges);

/// Whether the outputs of `op` depend on graphs within it, too.
pub(super) fn reads_graphs(op: &str) -> bool {
    CHOICE.contains(&op) || LOOPS.contains(&op)
}

impl<'a> Converter<'a> {
    /// The outputs of `node` by other nodes, and the integers that each holds, if it does; `None` of an operation that is not written out.
    pub(super) fn written_out(&mut self, node: &'a Node) -> Step<Option<Written>> {
        if !is_written(&node.op) {
            return Ok(None);
        }
        // A fault of what it reads is told there.
        if let Some(missing) = node.reads().find(|name| !self.values.contains_key(name)) {
            return Err(self.missing(missing));
        }
        let before = self.passing.len();
        let made = self.names_of_outputs(node).and_then(|outputs| {
            let value = |name: &&str| self.values.get(name).cloned().ok_or(Stop::Blocked);
            let values = outputs.iter().map(value).collect::<Step<Vec<_>>>()?;
            Ok((values, outputs.iter().map(|name| self.integers_of(name)).collect()))
        });
        for name in self.passing.drain(before..) {
            self.values.remove(name);
            self.integers.remove(name);
        }
        match made {
            Ok(made) => {
                self.note("written out", node);
                Ok(Some(made))
            }
            Err(Stop::Blocked) => Err("is made of a node that reads an output which is not given here".into()),
            Err(other) => Err(other),
        }
    }

    /// Converts the nodes that stand for `node`; the names of what its outputs are.
    fn names_of_outputs(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let op = node.op.as_str();
        if ATTENTION.contains(&op) {
            return self.attention_of(node);
        }
        if CHOICE.contains(&op) {
            return self.choice(node);
        }
        if FUSED.contains(&op) {
            return self.fused(node);
        }
        if IMAGES.contains(&op) {
            return self.images(node);
        }
        if INDICES.contains(&op) {
            return self.by_indices(node).map(|y| vec![y]);
        }
        if LOOPS.contains(&op) {
            return self.unrolled(node);
        }
        if LOSSES.contains(&op) {
            return self.loss(node);
        }
        if NORMS.contains(&op) {
            return self.norm_of(node);
        }
        if QUANTISED.contains(&op) {
            return self.quantised(node);
        }
        if SIGNAL.contains(&op) {
            return self.signal(node).map(|y| vec![y]);
        }
        self.small(node)
    }

    /// All names that are taken, and those that will be.
    fn taken(&mut self) -> &mut Names {
        let model = self.model;
        self.taken.get_or_insert_with(|| {
            let mut names = Names::new(model.constants.values().map(|a| a.len()).sum::<usize>().saturating_mul(4));
            let read = model.nodes.iter().flat_map(|n| n.reads().map(str::to_string)).collect::<Vec<_>>();
            let ends = model.inputs.iter().map(|i| &i.name).chain(&model.outputs);
            let plain =
                model.nodes.iter().flat_map(|n| n.pattern.iter().flat_map(|p| &p.plain)).flat_map(|n| n.inputs.iter().chain(&n.outputs));
            names.take(
                read.iter().chain(model.nodes.iter().flat_map(|n| &n.outputs)).chain(plain).chain(model.constants.keys()).chain(ends),
            );
            names.count_nodes(model.nodes.len());
            names
        })
    }

    /// A name for a value of a node that stands for `node`.
    fn fresh_name(&mut self, node: &Node, kind: &str) -> String {
        let wish = format!("{}/{kind}", node.label());
        self.taken().fresh(&wish)
    }

    /// Converts `made`, whose outputs have names of their own, and the names of those.
    fn put_node(&mut self, made: Node) -> Step<Vec<&'a str>> {
        if self.written > MOST_WRITTEN {
            return Err("would make more constants than are supported".into());
        }
        self.taken().count_node()?;
        let made = kept::keep(&mut self.kept, Some(made), Vec::new());
        let Some(made) = &made.node else { return Err("lacks a node".into()) };
        self.passing.extend(made.outputs.iter().filter(|o| !o.is_empty()).map(String::as_str));
        self.define(made)?;
        Ok(made.outputs.iter().map(String::as_str).collect())
    }

    /// Converts a node of `op` in the place of `node`; the names of its first `outputs` outputs.
    fn put_all(&mut self, node: &Node, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)], outputs: usize) -> Step<Vec<&'a str>> {
        let outputs: Vec<String> = (0..outputs).map(|_| self.fresh_name(node, op)).collect();
        let mut made = Node::new(op, &outputs[0], inputs, "");
        made.outputs = outputs;
        made.attributes = attributes.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        self.put_node(made)
    }

    /// The same of a node with one output.
    fn put_with(&mut self, node: &Node, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> Step<&'a str> {
        self.put_all(node, op, inputs, attributes, 1)?.first().copied().ok_or(Stop::Blocked)
    }

    /// The same without attributes.
    fn put(&mut self, node: &Node, op: &str, inputs: &[&str]) -> Step<&'a str> {
        self.put_with(node, op, inputs, &[])
    }

    /// A constant under a name of its own.
    fn put_constant(&mut self, node: &Node, array: impl Into<Arc<Array>>) -> &'a str {
        let name = self.fresh_name(node, "constant");
        self.put_named(name, array.into())
    }

    /// A constant called `name`, which nothing else is.
    fn put_named(&mut self, name: String, array: Arc<Array>) -> &'a str {
        self.written = self.written.saturating_add(array.len());
        let made = kept::keep(&mut self.kept, None, vec![name]);
        let name = made.names.first().map_or("", String::as_str);
        self.passing.push(name);
        self.values.insert(name, OnnxValue::Constant(array));
        name
    }

    /// One float.
    fn put_number(&mut self, node: &Node, number: f32) -> &'a str {
        self.put_constant(node, Array { shape: vec![], data: Data::Floats(vec![number]) })
    }

    /// A vector of integers.
    fn put_ints(&mut self, node: &Node, ints: Vec<i64>) -> &'a str {
        self.put_constant(node, Array::ints(ints))
    }

    /// `name` in another shape of as many elements.
    fn put_reshape(&mut self, node: &Node, name: &str, shape: &[usize]) -> Step<&'a str> {
        if self.shape_of(name)? == shape {
            return self.put(node, "Identity", &[name]);
        }
        let shape = self.put_ints(node, shape.iter().map(|&d| d as i64).collect());
        self.put(node, "Reshape", &[name, shape])
    }

    /// `name` with its axes in another order.
    fn put_transpose(&mut self, node: &Node, name: &str, order: &[usize]) -> Step<&'a str> {
        let order: Vec<i64> = order.iter().map(|&a| a as i64).collect();
        self.put_with(node, "Transpose", &[name], &[("perm", order[..].into())])
    }

    /// The elements `range` along `axis`.
    fn put_slice(&mut self, node: &Node, name: &str, axis: usize, range: std::ops::Range<usize>) -> Step<&'a str> {
        let one = |n: usize| Array::ints(vec![n as i64]);
        let inputs = [one(range.start), one(range.end), one(axis)].map(|array| self.put_constant(node, array));
        self.put(node, "Slice", &[name, inputs[0], inputs[1], inputs[2]])
    }

    /// `op` over `axes`, which keep one element each.
    fn put_reduce(&mut self, node: &Node, op: &str, name: &str, axes: &[usize]) -> Step<&'a str> {
        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
        self.put_with(node, op, &[name], &[("axes", axes[..].into()), ("keepdims", 1.into())])
    }

    /// `name` with an axis of one element at each of `axes`.
    fn put_unsqueeze(&mut self, node: &Node, name: &str, axes: &[usize]) -> Step<&'a str> {
        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
        self.put_with(node, "Unsqueeze", &[name], &[("axes", axes[..].into())])
    }

    /// `name` as floats.
    fn put_floats(&mut self, node: &Node, name: &str) -> Step<&'a str> {
        self.put_with(node, "Cast", &[name], &[("to", 1.into())])
    }

    /// The shape of a value as the file has it.
    fn shape_of(&self, name: &str) -> Step<Vec<usize>> {
        match self.values.get(name) {
            Some(OnnxValue::Constant(array)) => Ok(array.shape.clone()),
            Some(OnnxValue::Computed(view) | OnnxValue::Part(view, _)) => Ok(self.full_shape(view)),
            Some(OnnxValue::Padded(view, pads)) => {
                let mut full = self.full_shape(view);
                for (own, amount) in pads.amounts.iter().enumerate() {
                    full[view.axis_of(own)] += amount.0 + amount.1;
                }
                Ok(full)
            }
            None => Err(self.missing(name)),
        }
    }

    /// The constant called `name`, if it is one.
    fn constant_called(&self, name: &str) -> Option<Arc<Array>> {
        if let Some(OnnxValue::Constant(array)) = self.values.get(name) { Some(array.clone()) } else { None }
    }

    /// Whether the elements of `name` are integers or truths in the file.
    fn holds_integers(&self, name: &str) -> bool {
        self.integers_of(name).is_some()
    }

    /// The name of input `i`, which must be given.
    fn input_name(&self, node: &'a Node, i: usize) -> Step<&'a str> {
        Ok(node.input(i).ok_or_else(|| format!("lacks input {i}"))?)
    }
}
