//! From an ONNX model to a graph with its parameters: one pass over the nodes. Every value is a constant, or a view of a
//! graph value; what only moves elements becomes part of the view, what computes becomes a node.

mod elementwise;
mod input;
mod layers;
mod moves;
mod operations;
mod pools;
mod shapes;
mod transformer;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::array::Array;
use super::eval::Folding;
use super::model::{Model, Node};
use super::rules::attention::FUSED;
use super::view::View;
use crate::graph::{Graph, Node as GraphNode, Op, ValueId};
use crate::tensor::{Params, Tensor, count};
pub(super) use input::input_view;
use operations::{CONSTANT, KNOWN, PASSING, unknown};

/// The most elements of one sample at any place, as the runtime has it.
const MOST: usize = 1 << 28;

/// A network with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Converted {
    pub(super) graph: Graph,
    pub(super) params: Params,
    /// What was done on the way: the nodes by rule.
    pub(super) notes: BTreeMap<&'static str, Vec<String>>,
}

/// Turns `model` into a graph called `name`.
///
/// # Errors
/// Every node that cannot be, with its operation, its name and the reason.
pub(super) fn convert(model: &Model, name: &str) -> Result<Converted, Vec<String>> {
    match Converter::new(model, name, None).and_then(Converter::run) {
        // The input is an image although its own shape does not say so.
        Err(Failure::Input(shape)) => Converter::new(model, name, Some(shape)).and_then(Converter::run),
        other => other,
    }
    .map_err(|failure| match failure {
        Failure::Faults(faults) => faults,
        Failure::Input(shape) => vec![format!("the input is read as {shape:?} and in another shape")],
    })
}

enum Failure {
    Faults(Vec<String>),
    Input(Vec<usize>),
}

/// Why a node cannot be converted.
enum Stop {
    /// The reason.
    Why(String),
    /// It reads what could not be converted: its own fault is not known.
    Blocked,
    /// The network's input must be an image of this shape.
    Input(Vec<usize>),
}

impl<S: Into<String>> From<S> for Stop {
    fn from(why: S) -> Self {
        Self::Why(why.into())
    }
}

type Step<T> = Result<T, Stop>;

/// An ONNX value.
#[derive(Clone, Debug)]
enum Value {
    Constant(Arc<Array>),
    Computed(View),
    /// Zeros around an image: top, left, bottom, right. Only a window can take them in.
    Padded(View, [usize; 4]),
    /// Some elements of a value, beginning with the one of this number; moved when somebody reads them who needs that.
    Part(View, usize),
}

struct Converter<'a> {
    model: &'a Model,
    graph: Graph,
    params: Params,
    /// Of the graph's values.
    shapes: Vec<Vec<usize>>,
    /// Samples of the file's batch.
    batch: usize,
    values: HashMap<&'a str, Value>,
    /// The vector that each graph value was flattened to.
    flat: HashMap<ValueId, ValueId>,
    names: BTreeSet<String>,
    notes: BTreeMap<&'static str, Vec<String>>,
    folding: Folding,
}

impl<'a> Converter<'a> {
    fn new(model: &'a Model, name: &str, input: Option<Vec<usize>>) -> Result<Self, Failure> {
        let (batch, base, view) = input_view(model, input).map_err(|why| Failure::Faults(vec![why]))?;
        let graph = Graph { name: name.into(), input: base.clone(), nodes: Vec::new() };
        let mut values: HashMap<&str, Value> =
            model.constants.iter().map(|(name, array)| (name.as_str(), Value::Constant(array.clone()))).collect();
        values.insert(&model.input, Value::Computed(view));
        Ok(Self {
            model,
            graph,
            params: Params::new(),
            shapes: vec![base],
            batch,
            values,
            flat: HashMap::new(),
            names: BTreeSet::new(),
            notes: BTreeMap::new(),
            folding: Folding::new(model.opset, model.constants.values().map(|a| a.len()).sum()),
        })
    }

    fn run(mut self) -> Result<Converted, Failure> {
        let model = self.model;
        let mut faults = Vec::new();
        for node in &model.nodes {
            let done = match self.folded(node) {
                Ok(Some(values)) => Ok(values),
                Ok(None) if node.op == "Split" => self.split_of(node),
                Ok(None) | Err(Stop::Blocked) => self.node(node).map(|value| vec![value]),
                Err(stop) => Err(stop),
            };
            match done {
                Ok(values) => node.outputs.iter().zip(values).for_each(|(o, value)| drop(self.values.insert(o, value))),
                Err(Stop::Why(why)) => faults.push(format!("{} '{}' {why}", node.op, node.label())),
                Err(Stop::Blocked) => {}
                Err(Stop::Input(shape)) => return Err(Failure::Input(shape)),
            }
        }
        if !faults.is_empty() {
            return Err(Failure::Faults(faults));
        }
        let end = Node::new("Identity", &model.output, &[], &model.output);
        if let Err(Stop::Why(why)) = self.settle(&end, &model.output) {
            return Err(Failure::Faults(vec![format!("the output '{}' {why}", model.output)]));
        }
        let why = match self.values.get(model.output.as_str()).cloned() {
            Some(Value::Computed(view)) if view.base == 0 && view.is_ordered() => "is the input".into(),
            Some(Value::Computed(view)) => {
                let last = match self.ordered(&end, &view) {
                    Ok(view) => view.base,
                    Err(Stop::Why(why)) => return Err(Failure::Faults(vec![format!("the output '{}' {why}", model.output)])),
                    Err(_) => view.base,
                };
                self.prune(last);
                return Ok(Converted { graph: self.graph, params: self.params, notes: self.notes });
            }
            Some(Value::Constant(_)) => "does not depend on the input".into(),
            Some(Value::Padded(..) | Value::Part(..)) => "is zeros around an image".into(),
            None => "is an output that its node does not give here".to_string(),
        };
        Err(Failure::Faults(vec![format!("the output '{}' {why}", model.output)]))
    }

    /// Drops nodes that value `last` does not depend on, and their parameters.
    fn prune(&mut self, last: ValueId) {
        let mut wanted = vec![false; self.graph.nodes.len() + 1];
        wanted[last] = true;
        for (i, node) in self.graph.nodes.iter().enumerate().rev() {
            if wanted[i + 1] {
                node.inputs.iter().for_each(|&v| wanted[v] = true);
            }
        }
        let (mut now, mut kept) = (vec![0; wanted.len()], Vec::new());
        for (i, mut node) in std::mem::take(&mut self.graph.nodes).into_iter().enumerate() {
            if wanted[i + 1] {
                node.inputs.iter_mut().for_each(|v| *v = now[*v]);
                kept.push(node);
                now[i + 1] = kept.len();
            } else {
                node.op.params(&node.name).iter().for_each(|p| drop(self.params.remove(&p.name)));
            }
        }
        self.graph.nodes = kept;
    }

    fn node(&mut self, node: &'a Node) -> Step<Value> {
        if let Some(why) = self.never(node) {
            return Err(why.into());
        }
        if !PASSING.contains(&node.op.as_str()) {
            node.inputs.iter().try_for_each(|name| self.settle(node, name))?;
        }
        match node.op.as_str() {
            "Conv" => self.conv(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "BatchNormalization" => self.batch_norm(node),
            "LayerNormalization" => self.layer_norm(node),
            "Attention" => self.attention(node),
            FUSED => self.attention_written_out(node),
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.arithmetic(node),
            "Neg" => self.negated(node),
            "Max" | "Min" => self.bounded(node),
            "Relu" | "LeakyRelu" | "PRelu" | "Sigmoid" | "Tanh" | "HardSigmoid" | "HardSwish" | "Silu" | "Gelu" | "Clip" => {
                self.activation(node)
            }
            "Softmax" | "LogSoftmax" => self.softmax(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" => self.global(node),
            "Concat" => self.concat(node),
            "Identity" | "Dropout" | "Cast" => self.identity(node),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" => self.moved(node),
            "Expand" => self.expand(node),
            "Slice" => self.slice(node),
            "Gather" => self.gather(node),
            "Pad" => self.pad(node),
            "Shape" | "Size" => self.shape(node),
            op => Err(unknown(op).into()),
        }
    }

    /// Why a node can never be converted, whatever it reads, so that it is told even behind another fault.
    fn never(&self, node: &Node) -> Option<String> {
        let is_constant = |i: usize| node.input(i).is_some_and(|name| matches!(self.values.get(name), Some(Value::Constant(_))));
        match node.op.as_str() {
            "MatMul" if is_constant(0) || !is_constant(1) => {
                Some("multiplies by a value that is computed and is no part of an attention that is recognised".into())
            }
            op if KNOWN.contains(&op) || CONSTANT.contains(&op) || (0..node.inputs.len()).all(is_constant) => None,
            op => Some(unknown(op)),
        }
    }

    /// The outputs of a node that reads nothing but constants.
    fn folded(&mut self, node: &Node) -> Step<Option<Vec<Value>>> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            match self.values.get(name.as_str()) {
                Some(Value::Constant(array)) => inputs.push(Some(array.clone())),
                Some(_) => return Ok(None),
                None if name.is_empty() => inputs.push(None),
                None => return Err(self.missing(name)),
            }
        }
        match self.folding.evaluate(node, &inputs) {
            None => Ok(None),
            Some(result) => {
                let values = result?.into_iter().map(|array| Value::Constant(Arc::new(array))).collect();
                self.note("constants folded", node);
                Ok(Some(values))
            }
        }
    }

    fn note(&mut self, rule: &'static str, node: &Node) {
        self.notes.entry(rule).or_default().push(node.label().into());
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

    fn value(&self, node: &Node, i: usize) -> Step<&Value> {
        let name = node.input(i).ok_or_else(|| format!("lacks input {i}"))?;
        self.values.get(name).ok_or_else(|| self.missing(name))
    }

    /// Input `i`, which must be computed.
    fn computed(&self, node: &Node, i: usize) -> Step<View> {
        match self.value(node, i)? {
            Value::Computed(view) => Ok(view.clone()),
            Value::Constant(_) => Err(format!("has a constant as input {i}").into()),
            Value::Part(..) => Err(format!("has a part of a value as input {i}").into()),
            Value::Padded(..) => Err("reads zeros around an image, which only a convolution or a pool takes in".into()),
        }
    }

    /// Input 0, which must be computed, with the zeros around it.
    fn padded(&self, node: &Node) -> Step<(View, [usize; 4])> {
        if let Value::Padded(view, zeros) = self.value(node, 0)? {
            return Ok((view.clone(), *zeros));
        }
        Ok((self.computed(node, 0)?, [0; 4]))
    }

    /// Input `i`, which must be a constant.
    fn constant(&self, node: &Node, i: usize) -> Step<Arc<Array>> {
        match self.value(node, i)? {
            Value::Constant(array) => Ok(array.clone()),
            _ => Err(format!("has a computed input {i}, where only a constant can be read").into()),
        }
    }

    /// Input `i`, a constant if it is given.
    fn optional(&self, node: &Node, i: usize) -> Step<Option<Arc<Array>>> {
        node.input(i).map(|_| self.constant(node, i)).transpose()
    }

    /// All inputs that are constants.
    fn constants(&self, node: &Node) -> Vec<Option<Arc<Array>>> {
        let constant = |name: &String| if let Some(Value::Constant(a)) = self.values.get(name.as_str()) { Some(a.clone()) } else { None };
        node.inputs.iter().map(constant).collect()
    }

    /// The shape of a view as ONNX has it, batch first.
    fn full_shape(&self, view: &View) -> Vec<usize> {
        [&[self.batch], &view.sizes()[..]].concat()
    }

    /// A name for a layer: what stands before `.weight` in its weight's name, as PyTorch writes it, else the node's own.
    fn layer_name(&mut self, node: &Node, weight: usize) -> String {
        let name = node.input(weight).and_then(|w| w.strip_suffix(".weight")).unwrap_or(node.label()).to_string();
        self.fresh(name)
    }

    /// `name`, or if that is taken, with a number.
    fn fresh(&mut self, name: String) -> String {
        let numbered = (2..).map(|i| format!("{name}#{i}"));
        let fresh = std::iter::once(name.clone()).chain(numbered).find(|n| !self.names.contains(n)).unwrap_or(name);
        self.names.insert(fresh.clone());
        fresh
    }

    /// Appends an operation with its parameters, `(suffix, elements)` in the order of [`Op::params`]; the value it gives.
    fn push(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, tensors: Vec<Vec<f32>>) -> Step<ValueId> {
        let read: Vec<&[usize]> = inputs.iter().map(|&v| &self.shapes[v][..]).collect();
        let shape = op.output_shape(&read)?;
        if count(&shape).is_none_or(|n| n > MOST) {
            return Err(format!("would give a value of {shape:?}, more than {MOST} elements").into());
        }
        for (spec, data) in op.params(name).into_iter().zip(tensors) {
            let len = data.len();
            let misfit = || format!("has {len} elements for '{}' of {:?}", spec.name, spec.shape);
            let tensor = Tensor::new(spec.shape.clone(), data).ok_or_else(misfit)?;
            if let Some(at) = tensor.data().iter().position(|x| !x.is_finite()) {
                return Err(format!("has {} as element {at} of '{}'", tensor.data()[at], spec.name).into());
            }
            self.params.insert(spec.name, tensor);
        }
        self.graph.nodes.push(GraphNode { name: name.into(), op, inputs });
        self.shapes.push(shape);
        Ok(self.graph.nodes.len())
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

    /// The graph value that `view` is an image of, channels first; moved there if it lies in another order.
    fn image(&mut self, node: &Node, view: &View) -> Step<ValueId> {
        let (shape, sizes) = (&self.shapes[view.base], view.sizes());
        if shape.len() == 3 && view.is_plain(shape) {
            return Ok(view.base);
        }
        if sizes.len() != 3 {
            return Err(format!("reads a value of {:?}, which is no image", self.full_shape(view)).into());
        }
        if view.base == 0 && view.is_ordered() {
            return Err(Stop::Input(sizes));
        }
        self.moved_to(node, view, sizes)
    }
}
