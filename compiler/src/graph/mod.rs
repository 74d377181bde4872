//! The one model definition: operations, named parameters, shapes and costs. The trainer runs a graph, `lower` turns
//! it into an artifact, and `cost` counts it; the graph itself knows none of them.

mod activation;
mod attention;
mod cost;
mod embed;
mod init;
mod op;
mod param;
mod rearrange;
mod record;
mod recurrent;
mod window;

pub use activation::Activation;
pub use attention::Attention;
pub use cost::{LayerCost, layer_costs};
pub use embed::{Embed, Positions};
pub use init::{init, uniform};
pub use op::{BatchNorm, Conv2d, Linear, Op, ShortcutA};
pub use param::{ParamSpec, Role};
pub use rearrange::Rearrange;
pub use recurrent::Recurrent;
pub use window::Window;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tensor::Params;

/// Names a value of a graph: first the network's inputs, then the output of each node ([`Graph::value_of`]).
pub type ValueId = usize;

/// One operation of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// PyTorch's module path (`layers.0`): the prefix of its parameters' names. Unique among nodes with parameters.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// The values it reads, each defined before it.
    pub inputs: Vec<ValueId>,
}

/// A network: nodes in execution order, each reading earlier values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "record::Record")]
pub struct Graph {
    /// The name under which `zoo::build` makes it again (`fcn8`, `mlp:784-256-256-10`), or that of an imported file.
    pub name: String,
    /// Shape of one sample of each input, batch axis left out: [features] or [channels, height, width].
    pub inputs: Vec<Vec<usize>>,
    /// Nodes in execution order.
    pub nodes: Vec<Node>,
    /// The values that the network gives.
    pub outputs: Vec<ValueId>,
}

impl Graph {
    /// The value that node `at` defines.
    pub fn value_of(&self, at: usize) -> ValueId {
        self.inputs.len() + at
    }

    /// The node that defines `value`; `None` for an input.
    pub fn producer(&self, value: ValueId) -> Option<&Node> {
        self.nodes.get(value.checked_sub(self.inputs.len())?)
    }

    /// Shape of one sample of the first input, which is the only one of most networks.
    pub fn input(&self) -> &[usize] {
        self.inputs.first().map_or(&[], Vec::as_slice)
    }

    /// Checks that it is a network of one input and one output, which `what` needs.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the network and what it has instead.
    pub fn check_single(&self, what: &str) -> Result<()> {
        match (self.inputs.len(), self.outputs.len()) {
            (1, 1) => Ok(()),
            (inputs, outputs) => {
                Err(Error::invalid(what, format!("{} has {inputs} inputs and {outputs} outputs; one of each is supported", self.name)))
            }
        }
    }

    /// The shape of every value for one sample, the inputs first.
    ///
    /// # Errors
    /// [`Error::Graph`] naming the first node that reads an undefined value or cannot take its input's shape, or the network
    /// itself where it gives an undefined value.
    pub fn shapes(&self) -> Result<Vec<Vec<usize>>> {
        let mut shapes = self.inputs.clone();
        for (at, node) in self.nodes.iter().enumerate() {
            let fail = |why: String| Error::Graph { node: node.name.clone(), why };
            let inputs: Vec<&[usize]> = node
                .inputs
                .iter()
                .map(|&v| shapes.get(v).map(Vec::as_slice).ok_or_else(|| fail(format!("reads value {v} before node {at} defines it"))))
                .collect::<Result<_>>()?;
            let shape = node.op.output_shape(&inputs).map_err(fail)?;
            shapes.push(shape);
        }
        match self.outputs.iter().find(|&&v| v >= shapes.len()) {
            Some(v) => Err(Error::Graph { node: self.name.clone(), why: format!("gives value {v}, of which it defines {}", shapes.len()) }),
            None => Ok(shapes),
        }
    }

    /// Shape of each output for one sample.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn output_shapes(&self) -> Result<Vec<Vec<usize>>> {
        let shapes = self.shapes()?;
        Ok(self.outputs.iter().map(|&v| shapes[v].clone()).collect())
    }

    /// [`Graph::output_shapes`] of the first output, which is the only one of most networks.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn output_shape(&self) -> Result<Vec<usize>> {
        Ok(self.output_shapes()?.into_iter().next().unwrap_or_default())
    }

    /// Whether input `input` is an image rather than features that happen to have three axes: whether a window or a mean over
    /// pixels reads it, directly or through operations that keep its pixels apart.
    pub fn reads_an_image(&self, input: ValueId) -> bool {
        let Some(&[_, height, width]) = self.inputs.get(input).map(Vec::as_slice) else { return false };
        let mut seen = BTreeSet::from([input]);
        self.nodes.iter().enumerate().any(|(at, node)| {
            if !node.inputs.iter().any(|v| seen.contains(v)) {
                return false;
            }
            let passes = match &node.op {
                Op::Activation(_) | Op::BatchNorm(_) | Op::Affine { .. } | Op::Add | Op::Multiply => true,
                // These only change the channels of each pixel.
                Op::Rearrange(r) => r.shape[1..] == [height, width],
                _ => false,
            };
            if passes {
                seen.insert(self.value_of(at));
            }
            matches!(node.op, Op::Conv2d(_) | Op::MaxPool(_) | Op::AvgPool { .. } | Op::GlobalAvgPool)
        })
    }

    /// Every parameter and buffer the network needs, in node order, under its full PyTorch name.
    pub fn params(&self) -> Vec<ParamSpec> {
        self.nodes.iter().flat_map(|node| node.op.params(&node.name)).collect()
    }

    /// Checks that `params` holds exactly the tensors that this graph needs, each of its shape and finite.
    ///
    /// # Errors
    /// [`Error::Params`] listing every missing, left-over, misshapen and non-finite tensor by name.
    pub fn check(&self, params: &Params) -> Result<()> {
        let specs = self.params();
        let known: BTreeSet<&str> = specs.iter().map(|s| s.name.as_str()).collect();
        let extra: Vec<&String> = params.keys().filter(|k| !known.contains(k.as_str())).collect();
        let mut faults = Vec::new();
        for spec in &specs {
            match params.get(&spec.name) {
                None => {
                    let near = nearest(&spec.name, extra.iter().copied());
                    faults.push(format!(
                        "missing tensor '{}'{}",
                        spec.name,
                        near.map(|n| format!(" (nearest in the file: '{n}')")).unwrap_or_default()
                    ));
                }
                Some(t) if t.shape() != spec.shape => {
                    faults.push(format!("tensor '{}' has shape {:?}, the network needs {:?}", spec.name, t.shape(), spec.shape));
                }
                Some(t) => {
                    if let Some(at) = t.data().iter().position(|x| !x.is_finite()) {
                        faults.push(format!("tensor '{}' holds {} at element {at}", spec.name, t.data()[at]));
                    }
                }
            }
        }
        faults.extend(extra.iter().map(|name| format!("extra tensor '{name}' that the network does not have")));
        if faults.is_empty() { Ok(()) } else { Err(Error::Params { model: self.name.clone(), faults }) }
    }
}

/// The candidate closest to `name` by edit distance, if it is close enough to be a likely slip.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    candidates.map(|c| (edit_distance(name, c), c)).min().filter(|(d, _)| *d <= name.len().div_ceil(2)).map(|(_, c)| c)
}

/// Levenshtein's distance over bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Builds a graph front to back: each call appends a node that reads the latest value.
#[derive(Clone, Debug)]
pub struct Builder {
    graph: Graph,
}

impl Builder {
    /// Starts a network called `name` that takes samples of shape `input`.
    pub fn new(name: impl Into<String>, input: impl Into<Vec<usize>>) -> Self {
        Self { graph: Graph { name: name.into(), inputs: vec![input.into()], nodes: Vec::new(), outputs: Vec::new() } }
    }

    /// Appends `op` as `name`, reading the latest value; returns the value it defines.
    pub fn push(&mut self, name: impl Into<String>, op: Op) -> ValueId {
        self.push_from(name, op, vec![self.latest()])
    }

    /// Appends `op` as `name`, reading `inputs`; returns the value it defines.
    pub fn push_from(&mut self, name: impl Into<String>, op: Op, inputs: Vec<ValueId>) -> ValueId {
        self.graph.nodes.push(Node { name: name.into(), op, inputs });
        self.latest()
    }

    /// The latest value.
    pub fn latest(&self) -> ValueId {
        self.graph.inputs.len() + self.graph.nodes.len() - 1
    }

    /// Ends the network, which gives the latest value, and checks its shapes.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn finish(mut self) -> Result<Graph> {
        self.graph.outputs = vec![self.latest()];
        self.graph.shapes()?;
        Ok(self.graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn small() -> Graph {
        let mut b = Builder::new("small", [4]);
        b.push("layers.0", Op::Linear(Linear { inputs: 4, outputs: 3, bias: true }));
        b.push("layers.1", Op::BatchNorm(BatchNorm::new(3)));
        b.push("layers.2", Op::Activation(Activation::Relu));
        b.push("layers.3", Op::Linear(Linear { inputs: 3, outputs: 2, bias: false }));
        b.finish().unwrap()
    }

    #[test]
    fn shapes_and_params_follow_the_nodes() {
        let g = small();
        assert_eq!(g.shapes().unwrap(), vec![vec![4], vec![3], vec![3], vec![3], vec![2]]);
        let names: Vec<String> = g.params().into_iter().map(|p| p.name).collect();
        let expected = [
            "layers.0.weight",
            "layers.0.bias",
            "layers.1.weight",
            "layers.1.bias",
            "layers.1.running_mean",
            "layers.1.running_var",
            "layers.3.weight",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn an_image_is_told_by_who_reads_it() {
        let of = |input: &[usize], first: &[Op]| {
            let mut b = Builder::new("net", input);
            for (i, op) in first.iter().enumerate() {
                b.push(format!("{i}"), op.clone());
            }
            b.finish().unwrap().reads_an_image(0)
        };
        let linear = Op::Linear(Linear { inputs: 12, outputs: 2, bias: false });
        assert!(of(&[3, 2, 2], &[Op::Activation(Activation::Relu), Op::GlobalAvgPool]));
        assert!(!of(&[3, 2, 2], &[Op::Flatten, linear.clone()]) && !of(&[12], &[linear]));
        assert!(!of(&[3, 2, 2], &[Op::Softmax { log: false }, Op::GlobalAvgPool]));
    }

    #[test]
    fn inputs_come_before_nodes() {
        let node = |name: &str, inputs: &[usize]| Node { name: name.into(), op: Op::Add, inputs: inputs.to_vec() };
        let nodes = vec![node("a", &[0, 1]), node("b", &[2, 0])];
        let graph = Graph { name: "two".into(), inputs: vec![vec![3], vec![3]], nodes, outputs: vec![3, 2] };
        assert_eq!((graph.shapes().unwrap().len(), graph.output_shapes().unwrap().len()), (4, 2));
        assert_eq!((graph.value_of(1), graph.producer(2).map(|n| n.name.as_str()), graph.producer(1)), (3, Some("a"), None));
        assert!(graph.check_single("train").unwrap_err().to_string().contains("2 inputs and 2 outputs"));
        assert!(Graph { outputs: vec![4], ..graph }.shapes().unwrap_err().to_string().contains("gives value 4"));
    }

    #[test]
    fn a_layer_that_cannot_take_its_input_is_named() {
        let mut b = Builder::new("bad", [4]);
        b.push("layers.0", Op::Linear(Linear { inputs: 5, outputs: 3, bias: true }));
        let error = b.finish().unwrap_err().to_string();
        assert!(error.contains("layers.0") && error.contains('5') && error.contains('4'), "{error}");
    }

    #[test]
    fn every_fault_of_a_checkpoint_is_reported_at_once() {
        let g = small();
        let mut params = init(&g, 0);
        params.remove("layers.0.bias");
        params.insert("layers.0.bia".into(), Tensor::full([3], 0.0));
        params.insert("layers.1.weight".into(), Tensor::full([4], 1.0));
        params.insert("layers.3.weight".into(), Tensor::full([2, 3], f32::NAN));
        let error = g.check(&params).unwrap_err().to_string();
        for part in [
            "missing tensor 'layers.0.bias'",
            "nearest in the file: 'layers.0.bia'",
            "'layers.1.weight' has shape [4]",
            "'layers.3.weight' holds NaN",
            "extra tensor 'layers.0.bia'",
        ] {
            assert!(error.contains(part), "{part} not in {error}");
        }
    }
}
