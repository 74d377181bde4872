//! From a graph and its parameters to fused layers: batch norm is folded into the weight before or behind it; bias, residual
//! and activation are fused behind the weight. A value that another node reads is never fused away.

use std::collections::BTreeSet;

use thinfer::artifact::{Activation as Fused, PoolKind, Primitive, Residual};

use super::activation::fused;
use super::folded::{Affine, Folded, FoldedLayer, FoldedOp, LayerNorm, Norm, Recurrent, Table, Weighted};
use super::forward;
use super::moved;
use super::node::{self, fused_window, refuse, small, tensor};
use super::per_channel::PerChannel;
use crate::error::{Error, Result};
use crate::graph::{Embed, Graph, Node, Op, Rearrange, ValueId};
use crate::rank::Pool;
use crate::tensor::{Params, Tensor};

/// A residual that is added as it is.
const AS_IT_IS: Residual = Residual { stride: 1, offset: 0 };

/// Folds `graph`, whose parameters must have passed [`Graph::check`].
///
/// # Errors
/// [`Error::Graph`] naming a node that can neither be fused nor be a layer; as [`Graph::shapes`].
pub(super) fn fold(graph: &Graph, params: &Params) -> Result<Folded> {
    let shapes = graph.shapes()?;
    let mut readers = vec![0; shapes.len()];
    graph.nodes.iter().flat_map(|n| &n.inputs).for_each(|&v| readers[v] += 1);
    // An output of the network counts as one more reader, so it is never fused away.
    graph.outputs.iter().for_each(|&v| readers[v] += 1);
    let inputs = 0..graph.inputs.len();
    let mut fold = Fold {
        graph,
        params,
        attentive: attentive(graph),
        shapes,
        readers,
        values: inputs.map(|folded| FoldedValue::Plain { folded, open: false }).collect(),
        inputs: graph.inputs.len(),
        folded_shapes: graph.inputs.clone(),
        layers: Vec::new(),
    };
    for node in &graph.nodes {
        let value = fold.node(node)?;
        fold.values.push(value);
    }
    let outputs = graph.outputs.iter().map(|&v| fold.plain(&graph.name, v)).collect::<Result<_>>()?;
    if fold.layers.is_empty() {
        return Err(Error::Graph { node: graph.name.clone(), why: "computes nothing".into() });
    }
    let elements = fold.folded_shapes.iter().map(|shape| shape.iter().product()).collect();
    Ok(forward::fold(Folded { inputs: graph.inputs.clone(), layers: fold.layers, outputs }, elements))
}

/// Where a value of the graph is found in the folded network.
#[derive(Clone, Copy, Debug)]
enum FoldedValue {
    /// It is a folded value.
    Plain {
        /// First the inputs, then the output of each layer.
        folded: usize,
        /// Whether a node may still be fused into its layer: nothing reads the layer's output as it is now.
        open: bool,
    },
    /// A folded value seen through an option A shortcut, which additions take in.
    Shortcut {
        /// The folded value.
        folded: usize,
        /// How it is added.
        residual: Residual,
    },
}

struct Fold<'a> {
    graph: &'a Graph,
    params: &'a Params,
    /// Linear layers that give attention its queries, keys and values, or read what it gives.
    attentive: BTreeSet<&'a str>,
    /// Of the graph's values.
    shapes: Vec<Vec<usize>>,
    /// How often each of the graph's values is read.
    readers: Vec<usize>,
    /// Of the graph's values so far.
    values: Vec<FoldedValue>,
    /// How many of the values are inputs.
    inputs: usize,
    /// Of the folded values: they differ from the graph's behind a Flatten.
    folded_shapes: Vec<Vec<usize>>,
    layers: Vec<FoldedLayer>,
}

impl Fold<'_> {
    /// Folds one node; returns where its value is found.
    fn node(&mut self, node: &Node) -> Result<FoldedValue> {
        match &node.op {
            Op::Constant { shape } => {
                let values = tensor(self.params, node, "value")?.to_vec();
                let constant = Tensor::new(shape.clone(), values).ok_or_else(|| refuse(node, "has a value of another shape"))?;
                return Ok(self.push(node, Vec::new(), FoldedOp::Constant(constant), shape.clone()));
            }
            Op::Primitive(p) => {
                let inputs = node.inputs.iter().map(|&v| self.in_graph_shape(node, v)).collect::<Result<_>>()?;
                let shape = self.shapes[self.values.len()].clone();
                return Ok(self.push(node, inputs, FoldedOp::Primitive(p.clone()), shape));
            }
            Op::Recurrent(settings) => {
                let inputs = node.inputs.iter().map(|&v| self.in_graph_shape(node, v)).collect::<Result<_>>()?;
                let weighted = node::recurrent(self.params, node, settings, &self.shapes[node.inputs[0]])?;
                let peepholes = settings.peepholes.then(|| tensor(self.params, node, "peepholes").map(<[f32]>::to_vec)).transpose()?;
                let op = FoldedOp::Recurrent(Box::new(Recurrent { settings: settings.clone(), weighted, peepholes }));
                return Ok(self.push(node, inputs, op, self.shapes[self.values.len()].clone()));
            }
            _ => {}
        }
        let value = node.inputs[0];
        match &node.op {
            Op::Add => return self.add(node),
            Op::Concat => return self.concat(node),
            Op::Multiply => {
                let [a, b] = [node.inputs[0], node.inputs[1]];
                let inputs = vec![self.in_graph_shape(node, a)?, self.in_graph_shape(node, b)?];
                let shape = self.shapes[a].clone();
                return Ok(self.push(node, inputs, FoldedOp::Multiply(Fused::None), shape));
            }
            Op::Attention(attention) => {
                let inputs = node.inputs.iter().map(|&v| self.in_graph_order(node, v)).collect::<Result<_>>()?;
                let shape = self.shapes[self.values.len()].clone();
                return Ok(self.push(node, inputs, FoldedOp::Attention(attention.clone()), shape));
            }
            _ => {}
        }
        let input = self.plain(&node.name, value)?;
        let open = matches!(self.values[value], FoldedValue::Plain { open: true, .. });
        let op = match &node.op {
            Op::Linear(linear) => {
                let pool = if self.attentive.contains(node.name.as_str()) { Pool::Attention } else { Pool::Linear };
                FoldedOp::Weighted(node::linear(self.params, node, linear, &self.shapes[value], pool)?)
            }
            Op::Conv2d(conv) => {
                FoldedOp::Weighted(node::conv(self.params, node, conv, &self.shapes[value], &self.shapes[self.values.len()])?)
            }
            Op::MaxPool(window) => FoldedOp::Pool(PoolKind::Max, fused_window(node, window)?),
            Op::AvgPool { window, count_include_pad } => {
                let kind = if *count_include_pad { PoolKind::AverageWithPadding } else { PoolKind::Average };
                FoldedOp::Pool(kind, fused_window(node, window)?)
            }
            Op::GlobalAvgPool => FoldedOp::GlobalAveragePool,
            Op::Flatten => return Ok(FoldedValue::Plain { folded: input, open: open && self.readers[value] == 1 }),
            Op::ShortcutA(s) => {
                let residual = Residual { stride: small(node, s.stride)?, offset: small(node, s.offset())? };
                return Ok(FoldedValue::Shortcut { folded: input, residual });
            }
            Op::BatchNorm(norm) => return self.per_channel(node, node::normalisation(self.params, node, norm)?, value),
            Op::Affine { channels } => {
                let [k, beta] = ["weight", "bias"].map(|s| node::wide(self.params, node, s));
                return self.per_channel(node, PerChannel { k: k?, mean: vec![0.0; *channels], beta: beta?, eps: None }, value);
            }
            Op::Softmax { log } => {
                let input = self.in_graph_order(node, value)?;
                let shape = self.shapes[value].clone();
                return Ok(self.push(node, vec![input], FoldedOp::Softmax { log: *log }, shape));
            }
            Op::Activation(activation) => {
                let activation = fused(*activation);
                let source = self.before_moves(value);
                if let Some(place) = self.open_layer(source).and_then(activation_of) {
                    *place = activation;
                    return Ok(self.values[value]);
                }
                FoldedOp::Activate(activation)
            }
            Op::Rearrange(r) => FoldedOp::Rearrange(r.clone()),
            Op::LayerNorm { eps, .. } => {
                let (scale, shift) = (tensor(self.params, node, "weight")?.to_vec(), tensor(self.params, node, "bias")?.to_vec());
                let (input, shape) = (self.in_graph_order(node, value)?, self.shapes[value].clone());
                return Ok(self.push(node, vec![input], FoldedOp::LayerNorm(LayerNorm { scale, shift, eps: *eps }), shape));
            }
            Op::Embed(embed) => return self.embed(node, embed, value),
            // Matched above.
            Op::Add | Op::Attention(_) | Op::Concat | Op::Multiply | Op::Constant { .. } | Op::Primitive(_) | Op::Recurrent(_) => {
                return Err(refuse(node, "is folded in another way"));
            }
        };
        // Behind a Flatten an activation keeps its input's folded shape; everything else gives its own.
        let shape = match op {
            FoldedOp::Activate(_) => self.folded_shapes[input].clone(),
            _ => self.shapes[self.values.len()].clone(),
        };
        Ok(self.push(node, vec![input], op, shape))
    }

    fn push(&mut self, node: &Node, inputs: Vec<usize>, op: FoldedOp, shape: Vec<usize>) -> FoldedValue {
        self.layers.push(FoldedLayer { name: node.name.clone(), inputs, op });
        self.folded_shapes.push(shape);
        FoldedValue::Plain { folded: self.latest(), open: true }
    }

    /// The folded value that the last layer gives.
    fn latest(&self) -> usize {
        self.inputs + self.layers.len() - 1
    }

    /// The layer that gives graph value `value`, if the one node that reads it may be fused into that layer.
    fn open_layer(&mut self, value: ValueId) -> Option<&mut FoldedOp> {
        match self.values[value] {
            FoldedValue::Plain { folded, open: true } if self.readers[value] == 1 => {
                self.layers.get_mut(folded.checked_sub(self.inputs)?).map(|l| &mut l.op)
            }
            _ => None,
        }
    }

    /// The value whose elements `value` has in other places, where nothing else reads it: what is done to each element alone can be done
    /// before they are moved. `value` itself if it was not moved.
    fn before_moves(&self, value: ValueId) -> ValueId {
        let mut value = self.before_fused(value);
        while let Some(node) = self.graph.producer(value).filter(|_| self.is_read_once(value))
            && match &node.op {
                Op::Primitive(Primitive::Pick(pick)) => !moved::has_gaps(pick),
                Op::Rearrange(_) => true,
                _ => false,
            }
            && self.is_read_once(node.inputs[0])
        {
            value = self.before_fused(node.inputs[0]);
        }
        value
    }

    /// The value whose layer took in the nodes between it and `value`, which keep its shape.
    fn before_fused(&self, value: ValueId) -> ValueId {
        let folded = |value: ValueId| match self.values[value] {
            FoldedValue::Plain { folded, .. } => Some(folded),
            FoldedValue::Shortcut { .. } => None,
        };
        let mut value = value;
        while self.is_read_once(value)
            && let Some(&before) = self.graph.producer(value).and_then(|node| node.inputs.first())
            && folded(before).is_some_and(|before| folded(value) == Some(before))
            && self.is_read_once(before)
            && self.shapes[before] == self.shapes[value]
        {
            value = before;
        }
        value
    }

    /// Whether one node reads graph value `value`, which may be fused into its layer.
    fn is_read_once(&self, value: ValueId) -> bool {
        self.readers[value] == 1 && matches!(self.values[value], FoldedValue::Plain { open: true, .. })
    }

    /// The value that a pick made `value` of, and `by` for its channels, if they all have one.
    fn before_pick(&self, by: &PerChannel, value: ValueId) -> Option<(ValueId, PerChannel)> {
        let value = Some(self.before_fused(value)).filter(|_| self.is_read_once(value))?;
        let node = self.graph.producer(value).filter(|_| self.is_read_once(value))?;
        let Op::Primitive(Primitive::Pick(pick)) = &node.op else { return None };
        let from = node.inputs[0];
        let owners = moved::channels(pick, &self.shapes[from]).filter(|_| self.is_read_once(from))?;
        Some((from, by.for_channels(&owners)))
    }

    /// Adds a table to the one before it, or makes a layer of it.
    fn embed(&mut self, node: &Node, embed: &Embed, value: ValueId) -> Result<FoldedValue> {
        let named =
            |name: &str| self.params.get(name).map(|t| t.data().to_vec()).ok_or_else(|| refuse(node, format!("has no tensor '{name}'")));
        let table = embed.table(named)?;
        if let Some(FoldedOp::Embed(before)) = self.open_layer(value)
            && before.table.len() == table.len()
        {
            before.table.iter_mut().zip(&table).for_each(|(b, t)| *b += t);
            return Ok(self.values[value]);
        }
        let (input, shape) = (self.in_graph_order(node, value)?, self.shapes[self.values.len()].clone());
        Ok(self.push(node, vec![input], FoldedOp::Embed(Table { channels: embed.channels, table }), shape))
    }

    /// Folds a normalisation into the weight of the layer that gives `value`; whether it could.
    fn fold_into_weight(&mut self, node: &Node, by: &PerChannel, value: ValueId, moved: bool) -> bool {
        match self.open_layer(value) {
            Some(FoldedOp::Weighted(layer))
                if layer.activation == Fused::None && layer.residual.is_none() && layer.kernel.outputs == by.k.len() =>
            {
                by.fold_into(layer);
                layer.norms.push(Norm { name: node.name.clone(), eps: by.eps, moved });
                true
            }
            _ => false,
        }
    }

    /// Folds a normalisation into the layer before it, or makes a layer of it.
    fn per_channel(&mut self, node: &Node, by: PerChannel, value: ValueId) -> Result<FoldedValue> {
        let folded_in = self.fold_into_weight(node, &by, value, false)
            || self.before_pick(&by, value).is_some_and(|(from, by)| self.fold_into_weight(node, &by, from, true));
        if folded_in {
            return Ok(self.values[value]);
        }
        if let Some(FoldedOp::Affine(layer)) = self.open_layer(value)
            && layer.activation == Fused::None
            && layer.scale.len() == by.k.len()
        {
            layer.shift.iter_mut().enumerate().for_each(|(c, t)| *t = by.of(c, *t));
            layer.scale.iter_mut().zip(&by.k).for_each(|(s, k)| *s *= k);
            return Ok(self.values[value]);
        }
        let folded = self.in_graph_order(node, value)?;
        let shape = self.shapes[value].clone();
        let affine = Affine { shift: by.shift(), scale: by.k, activation: Fused::None };
        Ok(self.push(node, vec![folded], FoldedOp::Affine(affine), shape))
    }

    /// Puts channels together two values at a time.
    fn concat(&mut self, node: &Node) -> Result<FoldedValue> {
        let mut joined: Option<(usize, Vec<usize>)> = None;
        for (at, &value) in node.inputs.iter().enumerate() {
            let folded = self.in_graph_shape(node, value)?;
            let Some((before, mut shape)) = joined else {
                joined = Some((folded, self.shapes[value].clone()));
                continue;
            };
            shape[0] += self.shapes[value][0];
            self.push(node, vec![before, folded], FoldedOp::Concat(Fused::None), shape.clone());
            // The last one has the node's own name.
            if let (true, Some(layer)) = (at + 1 < node.inputs.len(), self.layers.last_mut()) {
                layer.name = format!("{}.{at}", node.name);
            }
            joined = Some((self.latest(), shape));
        }
        Ok(FoldedValue::Plain { folded: self.latest(), open: true })
    }

    /// The folded value of graph value `value`. A shortcut that others than a sum read is made a value of its own: every so-many-th pixel, with
    /// channels of zeros around.
    fn plain(&mut self, reader: &str, value: ValueId) -> Result<usize> {
        let (folded, residual) = match self.values[value] {
            FoldedValue::Plain { folded, .. } => return Ok(folded),
            FoldedValue::Shortcut { folded, residual } => (folded, residual),
        };
        let shape = self.shapes[value].clone();
        let pick = moved::shortcut(&self.folded_shapes[folded], &shape, residual)
            .ok_or_else(|| Error::Graph { node: reader.into(), why: "reads a shortcut too large to be counted".into() })?;
        self.layers.push(FoldedLayer {
            name: format!("{reader}.shortcut{}", self.layers.len()),
            inputs: vec![folded],
            op: FoldedOp::Primitive(Primitive::Pick(pick)),
        });
        self.folded_shapes.push(shape);
        self.values[value] = FoldedValue::Plain { folded: self.latest(), open: false };
        Ok(self.latest())
    }

    /// The folded value of graph value `value` with its elements in the graph's order: an image that was flattened is moved
    /// into a vector, which only linear layers do not need.
    fn in_graph_order(&mut self, node: &Node, value: ValueId) -> Result<usize> {
        let folded = self.plain(&node.name, value)?;
        if self.shapes[value][0] == self.folded_shapes[folded][0] { Ok(folded) } else { self.in_graph_shape(node, value) }
    }

    /// The same in the graph's shape, which distinguishes a vector from an image of one pixel.
    fn in_graph_shape(&mut self, node: &Node, value: ValueId) -> Result<usize> {
        let folded = self.plain(&node.name, value)?;
        if self.shapes[value] == self.folded_shapes[folded] {
            return Ok(folded);
        }
        let (elements, shape) = (self.shapes[value].iter().product(), self.shapes[value].clone());
        self.layers.push(FoldedLayer {
            name: format!("{}.flatten{}", node.name, self.layers.len()),
            inputs: vec![folded],
            op: FoldedOp::Rearrange(Rearrange::flatten(elements)),
        });
        self.folded_shapes.push(shape);
        Ok(self.latest())
    }

    /// Fuses an addition into the convolution that is computed last of the two, or makes a layer of it.
    fn add(&mut self, node: &Node) -> Result<FoldedValue> {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        if [a, b].iter().all(|&v| matches!(self.values[v], FoldedValue::Shortcut { .. })) {
            self.plain(&node.name, a)?;
        }
        // The side that something is added to, and the folded value that is added to it.
        let candidates = [(a, b), (b, a)].map(|(onto, other)| match (self.values[onto], self.values[other]) {
            (FoldedValue::Plain { folded, .. }, FoldedValue::Plain { folded: other, .. }) => Some((onto, folded, other, AS_IT_IS)),
            (FoldedValue::Plain { folded, .. }, FoldedValue::Shortcut { folded: other, residual }) => Some((onto, folded, other, residual)),
            (FoldedValue::Shortcut { .. }, _) => None,
        });
        // A residual must be there when its convolution runs: only the later of the two can take the other in.
        for (onto, folded, other, residual) in candidates.into_iter().flatten() {
            let same_shape = residual != AS_IT_IS || self.folded_shapes[folded] == self.folded_shapes[other];
            if other >= folded || !same_shape {
                continue;
            }
            if let Some(FoldedOp::Weighted(layer)) = self.open_layer(onto)
                && layer.window.is_some()
                && layer.residual.is_none()
                && layer.activation == Fused::None
            {
                layer.residual = Some(residual);
                if let Some(layer) = self.layers.get_mut(folded - self.inputs) {
                    layer.inputs.push(other);
                }
                return Ok(self.values[onto]);
            }
        }
        let Some((_, folded, other, residual)) = candidates.into_iter().flatten().next() else {
            return Err(refuse(node, "adds two shortcuts without weights"));
        };
        let (mut folded, mut other, mut shape) = (folded, other, self.folded_shapes[folded].clone());
        if residual == AS_IT_IS && shape != self.folded_shapes[other] {
            (folded, other, shape) = (self.in_graph_shape(node, a)?, self.in_graph_shape(node, b)?, self.shapes[a].clone());
        }
        Ok(self.push(node, vec![folded, other], FoldedOp::Add(residual, Fused::None), shape))
    }
}

/// Names of the linear layers around attention.
fn attentive(graph: &Graph) -> BTreeSet<&str> {
    let linear = |node: &'_ Node| matches!(node.op, Op::Linear(_));
    let attends = |value: ValueId| graph.producer(value).is_some_and(|n| matches!(n.op, Op::Attention(_)));
    let before = graph.nodes.iter().filter(|n| matches!(n.op, Op::Attention(_))).flat_map(|n| &n.inputs);
    let before = before.filter_map(|&v| graph.producer(v));
    let behind = graph.nodes.iter().filter(|n| n.inputs.iter().any(|&v| attends(v)));
    before.chain(behind).filter(|n| linear(n)).map(|n| n.name.as_str()).collect()
}

/// The activation of a layer that has none yet.
fn activation_of(op: &mut FoldedOp) -> Option<&mut Fused> {
    match op {
        FoldedOp::Weighted(Weighted { activation, .. })
        | FoldedOp::Affine(Affine { activation, .. })
        | FoldedOp::Add(_, activation)
        | FoldedOp::Concat(activation)
        | FoldedOp::Multiply(activation) => Some(activation),
        FoldedOp::Activate(_) | FoldedOp::Pool(..) | FoldedOp::GlobalAveragePool => None,
        FoldedOp::Softmax { .. } | FoldedOp::Rearrange(_) => None,
        FoldedOp::LayerNorm(_) | FoldedOp::Attention(_) | FoldedOp::Embed(_) => None,
        FoldedOp::Constant(_) | FoldedOp::Primitive(_) | FoldedOp::Recurrent(_) => None,
    }
    .filter(|a| **a == Fused::None)
}
