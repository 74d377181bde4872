//! From an ONNX model to a graph with its parameters: one pass over the nodes. Every value is a constant, or a view of a
//! graph value; what only moves elements becomes part of the view, what computes becomes a node.

mod activations;
mod arithmetic;
pub(super) mod attempts;
mod channels;
mod concat;
mod cumulative;
mod declared;
mod dispatch;
mod elementwise;
mod ends;
mod faults;
mod general;
mod index;
mod integers;
mod kept;
mod layers;
mod moves;
mod names;
mod norms;
mod operations;
mod pad;
mod parts;
mod pools;
mod product;
mod ranges;
mod recurrent;
mod reduce;
mod resize;
mod shapes;
mod transformer;
mod transposed;
mod value;
mod written;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::array::Array;
use super::eval::Folding;
use super::model::Model;
use super::names::Names;
use super::node::Node;
use super::view::View;
use crate::graph::{Graph, Node as GraphNode, Op, ValueId};
use crate::import::Ends;
use crate::tensor::{Params, Tensor, count};
use ends::MOST;
pub(super) use ends::{Samples, input_view};
use faults::Failure;
pub(super) use faults::Faults;
use kept::{End, Kept};
use operations::never;
use ranges::{Integers, Ranges};
use value::{OnnxValue, Pads, Step, Stop};

/// The nodes that something was done with, by what was done.
type Notes = BTreeMap<Cow<'static, str>, Vec<String>>;

/// A network with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Converted {
    pub(super) graph: Graph,
    pub(super) params: Params,
    pub(super) ends: Ends,
    /// What was done on the way: the nodes by rule.
    pub(super) notes: Notes,
}

struct Converter<'a> {
    model: &'a Model,
    graph: Graph,
    params: Params,
    /// Of the graph's values.
    shapes: Vec<Vec<usize>>,
    samples: Samples,
    /// How the file sees each input.
    seen: Vec<View>,
    /// For each input the shape that was chosen by whoever reads it.
    chosen: Vec<Option<Vec<usize>>>,
    values: HashMap<&'a str, OnnxValue>,
    /// Computed values whose elements are integers in the file.
    integers: BTreeMap<&'a str, Integers>,
    /// The vector that each graph value was flattened to.
    flat: HashMap<ValueId, ValueId>,
    names: Named,
    notes: Notes,
    /// The rules of the notes, in the order in which they were made.
    noted: Vec<Cow<'static, str>>,
    /// Parts and padded values as they were before they were moved or computed for somebody.
    settled: Vec<(&'a str, OnnxValue)>,
    folding: Folding,
    /// Where nodes that are made on the way are kept.
    kept: &'a End,
    /// All names that are taken, once somebody needs new ones.
    taken: Option<Names>,
    /// Values of nodes that are written out, until those are done.
    passing: Vec<&'a str>,
    /// Elements of the constants that those brought.
    written: usize,
}

/// The names of the graph's nodes.
#[derive(Default)]
struct Named {
    all: BTreeSet<String>,
    /// In the order in which they were taken.
    order: Vec<String>,
}

impl Named {
    fn take(&mut self, name: &str) {
        self.all.insert(name.into());
        self.order.push(name.into());
    }

    /// Forgets all names but the first `count`.
    fn forget(&mut self, count: usize) {
        for name in self.order.drain(count..) {
            self.all.remove(&name);
        }
    }
}

/// How far a conversion had come, so that it can be taken back to there.
#[derive(Clone, Copy)]
struct Mark {
    nodes: usize,
    settled: usize,
    names: usize,
    notes: usize,
}

impl<'a> Converter<'a> {
    /// `chosen` has the shape of each input that its reader chose, if one did.
    fn new(model: &'a Model, name: &str, samples: Samples, chosen: Vec<Option<Vec<usize>>>, kept: &'a Kept) -> Result<Self, Failure> {
        let (mut shapes, mut seen, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (number, chosen) in chosen.iter().enumerate() {
            match input_view(model, number, samples, chosen.clone()) {
                Ok((base, view)) => {
                    shapes.push(base);
                    seen.push(view);
                }
                Err(why) => faults.push(why),
            }
        }
        if !faults.is_empty() {
            // No node's shapes are known: what can never be converted is told all the same.
            let nodes = model
                .nodes
                .iter()
                .filter_map(|n| Some(format!("{} '{}' {}", n.op, n.label(), never(n, |i| model.constants.contains_key(i))?)));
            return Err(Failure::Faults(Faults { ends: faults, nodes: nodes.collect() }));
        }
        let graph = Graph { name: name.into(), inputs: shapes.clone(), nodes: Vec::new(), outputs: Vec::new() };
        let mut values: HashMap<&str, OnnxValue> =
            model.constants.iter().map(|(name, array)| (name.as_str(), OnnxValue::Constant(array.clone()))).collect();
        values.extend(model.inputs.iter().zip(&seen).map(|(input, view)| (input.name.as_str(), OnnxValue::Computed(view.clone()))));
        Ok(Self {
            model,
            graph,
            params: Params::new(),
            shapes,
            samples,
            seen,
            chosen,
            values,
            integers: model.inputs.iter().filter_map(|i| Some((i.name.as_str(), Integers::of(i.integers()?)))).collect(),
            flat: HashMap::new(),
            names: Named::default(),
            notes: BTreeMap::new(),
            noted: Vec::new(),
            settled: Vec::new(),
            folding: Folding::new(model.opset, model.constants.values().map(|a| a.len()).sum()),
            kept: kept.end(),
            taken: None,
            passing: Vec::new(),
            written: 0,
        })
    }

    fn run(mut self) -> Result<Converted, Failure> {
        let model = self.model;
        let mut faults = Vec::new();
        for node in &model.nodes {
            self.convert(node, &mut faults)?;
        }
        if !faults.is_empty() {
            return Err(Failure::Faults(Faults { ends: Vec::new(), nodes: faults }));
        }
        let (mut given, mut faults) = (Vec::new(), Vec::new());
        for name in &model.outputs {
            match self.output(name) {
                Ok(view) => given.push(view),
                Err(Stop::Input(number, shape)) => return Err(Failure::Input(number, shape)),
                Err(Stop::Why(why)) => faults.push(format!("its output '{name}' {why}")),
                Err(Stop::Blocked) => faults.push(format!("its output '{name}' is given by no node that is imported")),
            }
        }
        let refuse = |ends: Vec<String>| Failure::Faults(Faults { ends, nodes: Vec::new() });
        if !faults.is_empty() {
            return Err(refuse(faults));
        }
        self.graph.outputs = given.iter().map(|view| view.base).collect();
        self.prune();
        let ends = declared::ends(model, &self.graph, self.samples, &self.seen, &given).map_err(|why| refuse(vec![why]))?;
        Ok(Converted { graph: self.graph, params: self.params, ends, notes: self.notes })
    }

    /// Converts `node`, or the nodes that a rule put it in the place of where its own conversion does not apply.
    fn convert(&mut self, node: &'a Node, faults: &mut Vec<String>) -> Result<(), Failure> {
        let mark = self.mark();
        match self.define(node) {
            Ok(()) => {
                if let Some(pattern) = &node.pattern {
                    self.note(pattern.rule.name, node);
                }
            }
            Err(Stop::Input(number, shape)) => return Err(Failure::Input(number, shape)),
            Err(stop) => match (node.pattern.as_ref(), stop) {
                (Some(pattern), _) => {
                    self.take_back(&mark);
                    self.note(format!("left as written ({}): it would need {}", pattern.rule.name, pattern.rule.requires), node);
                    for plain in &pattern.plain {
                        if !plain.outputs.iter().any(|o| self.values.contains_key(o.as_str())) {
                            self.convert(plain, faults)?;
                        }
                    }
                }
                (None, Stop::Why(why)) => {
                    let fault = format!("{} '{}' {why}", node.op, node.label());
                    // Nodes in the places of several patterns are told once.
                    if !faults.contains(&fault) {
                        faults.push(fault);
                    }
                }
                (None, _) => {}
            },
        }
        Ok(())
    }

    /// Converts `node` and gives its outputs their values.
    fn define(&mut self, node: &'a Node) -> Step<()> {
        let (values, integers) = self.tried(node)?;
        let integers = integers.unwrap_or_else(|| vec![self.gives_integers(node); values.len()]);
        for ((name, value), integers) in node.outputs.iter().zip(values).zip(integers).filter(|((name, _), _)| !name.is_empty()) {
            if let (Some(integers), false) = (integers, matches!(value, OnnxValue::Constant(_))) {
                self.integers.insert(name, integers);
            }
            self.values.insert(name, value);
        }
        Ok(())
    }

    /// The outputs of `node` by the first way that applies: its own, by primitives, or written out as other nodes. Of the last, the
    /// integers that each holds.
    fn tried(&mut self, node: &'a Node) -> Step<(Vec<OnnxValue>, Option<Ranges>)> {
        let mark = self.mark();
        let first = match self.outputs(node) {
            // What no rule put there may still be made otherwise.
            Err(Stop::Why(why)) if node.pattern.is_none() => why,
            other => return other.map(|values| (values, None)),
        };
        self.take_back(&mark);
        let second = match self.general(node) {
            Ok(Some(values)) => return Ok((values, None)),
            Ok(None) => None,
            Err(Stop::Why(why)) => Some(why),
            Err(stop) => return Err(stop),
        };
        self.take_back(&mark);
        let why = match self.written_out(node) {
            Ok(Some((values, integers))) => return Ok((values, Some(integers))),
            Ok(None) => second,
            Err(Stop::Why(why)) => Some(why),
            Err(stop) => return Err(stop),
        };
        // Of an attention the full form says what is wrong.
        Err(Stop::Why(why.filter(|_| !operations::has_its_own(&node.op) || node.op == "Attention").unwrap_or(first)))
    }

    fn mark(&self) -> Mark {
        Mark { nodes: self.graph.nodes.len(), settled: self.settled.len(), names: self.names.order.len(), notes: self.noted.len() }
    }

    /// Forgets the nodes that were made since `mark`.
    fn take_back(&mut self, mark: &Mark) {
        for node in self.graph.nodes.drain(mark.nodes..) {
            node.op.params(&node.name).iter().for_each(|p| drop(self.params.remove(&p.name)));
        }
        self.shapes.truncate(self.graph.value_of(mark.nodes));
        let left = self.shapes.len();
        self.flat.retain(|_, flat| *flat < left);
        self.values.extend(self.settled.drain(mark.settled..));
        self.names.forget(mark.names);
        for rule in self.noted.drain(mark.notes..) {
            if let Some(nodes) = self.notes.get_mut(&rule) {
                nodes.pop();
                if nodes.is_empty() {
                    self.notes.remove(&rule);
                }
            }
        }
    }

    /// The output called `name`, whose elements lie in the order in which the file sees them.
    fn output(&mut self, name: &'a str) -> Step<View> {
        let end = Node::new("Identity", name, &[], name);
        self.settle(&end, name)?;
        match self.values.get(name).cloned() {
            // Inputs and constants are copied: an output is what a layer computes.
            Some(OnnxValue::Computed(view)) if view.base < self.chosen.len() && view.is_ordered() => self.copied(&end, view),
            Some(OnnxValue::Computed(view)) => self.ordered(&end, &view),
            Some(OnnxValue::Constant(array)) => self.constant_output(&end, &array),
            Some(OnnxValue::Padded(..) | OnnxValue::Part(..)) => Err("is a part of a value".into()),
            None => Err(Stop::Blocked),
        }
    }

    /// Drops nodes that no output depends on, and their parameters.
    fn prune(&mut self) {
        let inputs = self.graph.inputs.len();
        let mut wanted = vec![false; inputs + self.graph.nodes.len()];
        self.graph.outputs.iter().for_each(|&v| wanted[v] = true);
        for (i, node) in self.graph.nodes.iter().enumerate().rev() {
            if wanted[inputs + i] {
                node.inputs.iter().for_each(|&v| wanted[v] = true);
            }
        }
        let mut now: Vec<ValueId> = (0..inputs).collect();
        let mut kept = Vec::new();
        for (i, mut node) in std::mem::take(&mut self.graph.nodes).into_iter().enumerate() {
            now.push(inputs + kept.len());
            if wanted[inputs + i] {
                node.inputs.iter_mut().for_each(|v| *v = now[*v]);
                kept.push(node);
            } else {
                node.op.params(&node.name).iter().for_each(|p| drop(self.params.remove(&p.name)));
            }
        }
        self.graph.outputs.iter_mut().for_each(|v| *v = now[*v]);
        self.graph.nodes = kept;
    }

    fn note(&mut self, rule: impl Into<Cow<'static, str>>, node: &Node) {
        let rule = rule.into();
        self.noted.push(rule.clone());
        self.notes.entry(rule).or_default().push(node.label().into());
    }

    /// Whether somebody may read the output called `name`. Who reads a node within a graph of another one is not known before it is converted.
    fn is_read(&self, name: &str) -> bool {
        !name.is_empty() && (self.model.reads(name) || self.passing.contains(&name))
    }

    /// Why there is no value called `name`: a fault already told, or an output that its node gives nobody here.
    fn missing(&self, name: &str) -> Stop {
        match self.model.producer(name) {
            Some(from) if from.outputs.first().is_some_and(|o| self.values.contains_key(o.as_str())) => {
                format!("reads '{name}', an output that {} '{}' does not give here", from.op, from.label()).into()
            }
            _ => Stop::Blocked,
        }
    }

    fn value(&self, node: &Node, i: usize) -> Step<&OnnxValue> {
        let name = node.input(i).ok_or_else(|| format!("lacks input {i}"))?;
        self.values.get(name).ok_or_else(|| self.missing(name))
    }

    /// Input `i`, which must be computed.
    fn computed(&self, node: &Node, i: usize) -> Step<View> {
        match self.value(node, i)? {
            OnnxValue::Computed(view) => Ok(view.clone()),
            OnnxValue::Constant(_) => Err(format!("has a constant as input {i}, where only a computed value is supported").into()),
            OnnxValue::Part(..) => Err(format!("has a part of a value as input {i}").into()),
            OnnxValue::Padded(..) => Err(format!("has a padded value as input {i}").into()),
        }
    }

    /// Input `i`, which must be a constant.
    fn constant(&self, node: &Node, i: usize) -> Step<Arc<Array>> {
        match self.value(node, i)? {
            OnnxValue::Constant(array) => Ok(array.clone()),
            _ => Err(format!("has a computed input {i}, where only a constant is supported").into()),
        }
    }

    /// Input `i`, a constant if it is given.
    fn optional(&self, node: &Node, i: usize) -> Step<Option<Arc<Array>>> {
        node.input(i).map(|_| self.constant(node, i)).transpose()
    }

    /// Whether input `i` is a constant.
    fn is_constant(&self, node: &Node, i: usize) -> bool {
        matches!(self.value(node, i), Ok(OnnxValue::Constant(_)))
    }

    /// The shape of a view as ONNX has it.
    fn full_shape(&self, view: &View) -> Vec<usize> {
        let mut full = view.sizes();
        if let Some(sample) = view.sample {
            full.insert(sample, self.samples.count());
        }
        full
    }

    /// The place among the axes of `view` of the file's axis `axis` of a value with as many axes, which is not that of the samples.
    fn own_axis(&self, view: &View, axis: i64) -> Step<usize> {
        let at = super::sizes::axis(axis, view.rank())?;
        view.own(at).ok_or_else(|| format!("runs over the samples (axis {at} of {:?})", self.full_shape(view)).into())
    }

    /// The same of a list of axes, in rising order, each once.
    fn own_axes(&self, view: &View, axes: &[i64]) -> Step<Vec<usize>> {
        let own: BTreeSet<usize> = axes.iter().map(|&a| self.own_axis(view, a)).collect::<Step<_>>()?;
        Ok(own.into_iter().collect())
    }

    /// A name for a layer: what stands before `.weight` in its weight's name, as PyTorch writes it, else the node's own.
    fn layer_name(&mut self, node: &Node, weight: usize) -> String {
        let name = node.input(weight).and_then(|w| w.strip_suffix(".weight")).filter(|n| !n.is_empty()).unwrap_or(node.label()).to_string();
        self.fresh(name)
    }

    /// `name`, or if that is taken, with a number.
    fn fresh(&mut self, name: String) -> String {
        let numbered = (2..).map(|i| format!("{name}#{i}"));
        let fresh = std::iter::once(name.clone()).chain(numbered).find(|n| !self.names.all.contains(n)).unwrap_or(name);
        self.names.take(&fresh);
        fresh
    }

    /// Appends an operation with its parameters, `(suffix, elements)` in the order of [`Op::params`]; the value it gives.
    fn push(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, tensors: Vec<Vec<f32>>) -> Step<ValueId> {
        let read: Vec<&[usize]> = inputs.iter().map(|&v| &self.shapes[v][..]).collect();
        let shape = op.output_shape(&read)?;
        if count(&shape).is_none_or(|n| n > MOST) {
            return Err(format!("would give a value of {shape:?}, more than {MOST} elements").into());
        }
        let by_channel = matches!(
            op,
            Op::Affine { .. } | Op::BatchNorm(_) | Op::Concat | Op::Embed(_) | Op::LayerNorm { .. } | Op::Multiply | Op::Softmax { .. }
        );
        if let Some(other) = read.iter().find(|shape| by_channel && !matches!(shape.len(), 1 | 3)) {
            return Err(format!("reads a value of {other:?} as an image or a vector").into());
        }
        let mut params = Vec::with_capacity(tensors.len());
        for (spec, data) in op.params(name).into_iter().zip(tensors) {
            let len = data.len();
            let misfit = || format!("has {len} elements for '{}' of {:?}", spec.name, spec.shape);
            let tensor = Tensor::new(spec.shape.clone(), data).ok_or_else(misfit)?;
            if let Some(at) = tensor.data().iter().position(|x| !x.is_finite()) {
                return Err(format!("has {} as element {at} of '{}'", tensor.data()[at], spec.name).into());
            }
            params.push((spec.name, tensor));
        }
        self.params.extend(params);
        self.graph.nodes.push(GraphNode { name: name.into(), op, inputs });
        self.shapes.push(shape);
        Ok(self.shapes.len() - 1)
    }

    /// Appends `op` without parameters behind what `view` sees; the elements stay where they are.
    fn behind(&mut self, name: String, op: Op, view: &View) -> Step<View> {
        let name = self.fresh(name);
        let base = self.push(&name, op, vec![view.base], Vec::new())?;
        Ok(View { base, ..view.clone() })
    }

    /// The graph value `base` as a vector.
    fn flattened(&mut self, node: &Node, base: ValueId) -> Step<ValueId> {
        if self.shapes[base].len() == 1 {
            return Ok(base);
        }
        if let Some(&flat) = self.flat.get(&base) {
            return Ok(flat);
        }
        let name = self.fresh(format!("{}.flatten", node.label()));
        let flat = self.push(&name, Op::Flatten, vec![base], Vec::new())?;
        self.flat.insert(base, flat);
        Ok(flat)
    }
}
