//! Runs a graph on Burn tensors: batches of vectors [batch, features] and of images [batch, channels, height, width].

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::leaves::{Leaves, elements, upload};
use super::ops;
use super::site::{Factor, Site, sites};
use super::tokens;
use crate::error::{Error, Result};
use crate::graph::{BatchNorm, Graph, Node, Op, Rearrange};
use crate::tensor::Params;

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Those of the batch, which are reported for the running ones.
    Train,
    /// The running ones.
    Eval,
}

/// Statistics of one batch at one normalisation.
#[derive(Clone, Debug)]
pub(super) struct BatchStatistics {
    name: String,
    momentum: f32,
    /// Values of each channel.
    count: usize,
    /// [1, channels, 1].
    mean: Tensor<3>,
    /// [1, channels, 1], biased.
    variance: Tensor<3>,
}

/// A batch of one of the network's values.
#[derive(Clone, Debug)]
pub(super) enum BatchTensor {
    /// Vectors, [batch, features].
    Rows(Tensor<2>),
    /// Images, [batch, channels, height, width].
    Images(Tensor<4>),
}

impl BatchTensor {
    /// `batch` samples for the input of `graph`, one after the other in `elements`.
    pub(super) fn input(graph: &Graph, batch: usize, elements: Vec<f32>, device: &Device) -> Self {
        match graph.input()[..] {
            [channels, height, width] => {
                Self::Images(Tensor::from_data(TensorData::new(elements, [batch, channels, height, width]), device))
            }
            _ => {
                let features = elements.len() / batch.max(1);
                Self::Rows(Tensor::from_data(TensorData::new(elements, [batch, features]), device))
            }
        }
    }

    /// The shape of images.
    fn shape(&self) -> Option<[usize; 4]> {
        match self {
            Self::Rows(_) => None,
            Self::Images(x) => Some(x.dims()),
        }
    }

    /// [`BatchTensor::channels`] back as what had this shape.
    fn of_channels(x: Tensor<3>, shape: Option<[usize; 4]>) -> Self {
        match shape {
            None => Self::Rows(x.squeeze_dim(2)),
            Some(shape) => Self::Images(x.reshape(shape)),
        }
    }

    /// What `f` makes of [batch, channels, pixels].
    fn map_channels(self, f: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Self {
        let shape = self.shape();
        Self::of_channels(f(self.channels()), shape)
    }

    /// Channel by channel, [batch, channels, pixels].
    fn channels(self) -> Tensor<3> {
        match self {
            Self::Rows(x) => x.unsqueeze_dim(2),
            Self::Images(x) => x.flatten(2, 3),
        }
    }
}

/// Checks that this executor runs every operation of `graph` and that it gives a vector.
///
/// # Errors
/// [`Error::Graph`] naming the first node that it cannot run, and as [`Graph::shapes`].
pub(super) fn supported(graph: &Graph) -> Result<()> {
    let fail = |node: &str, why: String| Err(Error::Graph { node: node.into(), why });
    let shapes = graph.shapes()?;
    graph.check_single("training")?;
    if graph.outputs != [graph.nodes.len()] {
        return fail(&graph.name, "gives a value that is not its last node's".into());
    }
    for (node, shape) in graph.nodes.iter().zip(&shapes[1..]) {
        match (&node.op, shape.len()) {
            (_, 0 | 2 | 4..) => return fail(&node.name, format!("gives {shape:?}; only vectors and images can be trained")),
            (Op::AvgPool { window, .. }, _) if window.dilation != [1, 1] => {
                return fail(&node.name, "is a mean pool with dilation, which cannot be trained".into());
            }
            (Op::Recurrent(r), _) => return fail(&node.name, format!("is recurrent ({}), which cannot be trained", r.cell.name())),
            _ => {}
        }
    }
    match shapes.last() {
        Some(shape) if shape.len() == 1 => Ok(()),
        other => fail(&graph.name, format!("gives {:?}, not one vector of logits", other.map_or(&[][..], Vec::as_slice))),
    }
}

/// Gives a layer's weight as a product, left to right.
pub(super) type WeightOf<'a> = &'a dyn Fn(&Site<'_>) -> Result<Vec<Factor>>;

/// The logits [batch, classes] for `input` and, in training, each normalisation's batch statistics. `batch` is the run's
/// batch size, which decides how weights are composed: a short last batch is treated alike.
///
/// # Errors
/// A parameter or statistic that is missing; an operation that [`supported`] refuses.
pub(super) fn forward(
    graph: &Graph,
    leaves: &Leaves,
    running: &Params,
    weight_of: WeightOf<'_>,
    input: BatchTensor,
    batch: usize,
    mode: Mode,
) -> Result<(Tensor<2>, Vec<BatchStatistics>)> {
    let sites = sites(graph, batch)?.into_iter();
    let mut pass = Pass { leaves, running, weight_of, mode, sites, statistics: Vec::new() };
    let last_read = last_reads(graph);
    let mut values = vec![Some(input)];
    for (at, node) in graph.nodes.iter().enumerate() {
        let read = |&v: &usize| values.get(v).cloned().flatten().ok_or_else(|| undefined(node));
        let mut inputs = node.inputs.iter().map(read).collect::<Result<Vec<_>>>()?.into_iter();
        // What nobody reads again frees its memory now, or is written over in place.
        node.inputs.iter().filter(|&&v| last_read[v] == at).for_each(|&v| values[v] = None);
        let x = inputs.next().ok_or_else(|| undefined(node))?;
        // The loss takes logits.
        let is_logits = matches!(node.op, Op::Softmax { .. }) && at + 1 == graph.nodes.len();
        values.push(Some(if is_logits { x } else { pass.node(node, x, inputs)? }));
    }
    match values.pop().flatten() {
        Some(BatchTensor::Rows(logits)) => Ok((logits, pass.statistics)),
        _ => Err(Error::Graph { node: graph.name.clone(), why: "gives no vector of logits".into() }),
    }
}

fn fail(node: &Node, why: &str) -> Error {
    Error::Graph { node: node.name.clone(), why: why.into() }
}

fn undefined(node: &Node) -> Error {
    fail(node, "reads a value that is not defined")
}

/// What the nodes of one forward pass share.
struct Pass<'a> {
    leaves: &'a Leaves,
    running: &'a Params,
    weight_of: WeightOf<'a>,
    mode: Mode,
    /// Of the layers with a weight that are still to come.
    sites: std::vec::IntoIter<Site<'a>>,
    statistics: Vec<BatchStatistics>,
}

impl Pass<'_> {
    /// What a node gives for its first input `x` and the `others`.
    fn node(&mut self, node: &Node, x: BatchTensor, mut others: impl Iterator<Item = BatchTensor>) -> Result<BatchTensor> {
        Ok(match (&node.op, x) {
            (Op::Linear(linear), BatchTensor::Images(x)) => {
                let y = self.factors(node)?.into_iter().rev().fold(tokens::columns(x.clone()), |x, w| w.matrix.matmul(x));
                let y = if linear.bias { y + self.leaf(node, "bias")?.reshape([linear.outputs, 1]) } else { y };
                BatchTensor::Images(tokens::images(y, &x))
            }
            (Op::LayerNorm { channels, eps }, x) => {
                let (scale, shift) = self.per_channel(node, *channels)?;
                x.map_channels(|x| tokens::layer_norm(x, f64::from(*eps)) * scale + shift)
            }
            (Op::Attention(attention), BatchTensor::Images(x)) => {
                let others: Vec<_> = others.filter_map(|v| if let BatchTensor::Images(v) = v { Some(v) } else { None }).collect();
                BatchTensor::Images(tokens::attention(x, others, attention).ok_or_else(|| fail(node, "reads neither 1 nor 3 images"))?)
            }
            (Op::Embed(embed), BatchTensor::Images(x)) => BatchTensor::Images(tokens::embed(x, embed, &|name| self.leaves.get(name))?),
            (Op::Linear(linear), BatchTensor::Rows(x)) => {
                // (W·xᵀ)ᵀ, not x·Wᵀ: so the gradient of W comes as W lies, not transposed, and is read back without a
                // strided copy.
                let y = self.factors(node)?.into_iter().rev().fold(x.transpose(), |x, w| w.matrix.matmul(x)).transpose();
                BatchTensor::Rows(if linear.bias { y + self.leaf(node, "bias")? } else { y })
            }
            (Op::Conv2d(conv), BatchTensor::Images(x)) => {
                let y = self.factors(node)?.into_iter().rev().fold(x, ops::convolve);
                BatchTensor::Images(if conv.bias { y + self.leaf(node, "bias")?.reshape([1, conv.outputs, 1, 1]) } else { y })
            }
            (Op::BatchNorm(norm), x) => self.batch_norm(node, norm, x)?,
            (Op::Activation(f), BatchTensor::Rows(x)) => BatchTensor::Rows(ops::activate(x, *f)),
            (Op::Activation(f), BatchTensor::Images(x)) => BatchTensor::Images(ops::activate(x, *f)),
            (Op::MaxPool(window), BatchTensor::Images(x)) => BatchTensor::Images(ops::max_pool(x, window)),
            (Op::AvgPool { window, count_include_pad }, BatchTensor::Images(x)) => {
                BatchTensor::Images(ops::avg_pool(x, window, *count_include_pad))
            }
            (Op::GlobalAvgPool, x @ BatchTensor::Images(_)) => BatchTensor::Rows(x.channels().mean_dim(2).squeeze_dim(2)),
            (Op::Add, x) => match (x, others.next().ok_or_else(|| undefined(node))?) {
                (BatchTensor::Rows(a), BatchTensor::Rows(b)) => BatchTensor::Rows(a + b),
                (BatchTensor::Images(a), BatchTensor::Images(b)) => BatchTensor::Images(a + b),
                _ => return Err(fail(node, "adds an image and a vector")),
            },
            (Op::ShortcutA(shortcut), BatchTensor::Images(x)) => BatchTensor::Images(ops::shortcut(x, shortcut)),
            (Op::Flatten, BatchTensor::Images(x)) => BatchTensor::Rows(x.flatten(1, 3)),
            (Op::Flatten, x) => x,
            (Op::Affine { channels }, x) => {
                let (scale, shift) = self.per_channel(node, *channels)?;
                x.map_channels(|x| x * scale + shift)
            }
            (Op::Concat, first) => {
                joined(std::iter::once(first).chain(others)).ok_or_else(|| fail(node, "puts images and vectors together"))?
            }
            (Op::Rearrange(r), x) => rearranged(r, x),
            (Op::Multiply, x) => {
                let by = others.next().ok_or_else(|| undefined(node))?;
                multiplied(x, by).ok_or_else(|| fail(node, "multiplies a vector by an image"))?
            }
            (Op::Softmax { log }, x) => x.map_channels(|x| if *log { log_softmax(x, 1) } else { softmax(x, 1) }),
            _ => return Err(fail(node, "cannot take a value of this kind")),
        })
    }

    /// The weight of the next layer that has one.
    fn factors(&mut self, node: &Node) -> Result<Vec<Factor>> {
        (self.weight_of)(&self.sites.next().ok_or_else(|| fail(node, "is no site"))?)
    }

    /// A parameter of `node` that is a vector.
    fn leaf(&self, node: &Node, suffix: &str) -> Result<Tensor<2>> {
        self.leaves.get(&format!("{}.{suffix}", node.name))
    }

    /// Factor and addend of each channel, [1, channels, 1] both.
    fn per_channel(&self, node: &Node, channels: usize) -> Result<(Tensor<3>, Tensor<3>)> {
        let of = |suffix: &str| self.leaf(node, suffix).map(|t| t.reshape([1, channels, 1]));
        Ok((of("weight")?, of("bias")?))
    }

    fn batch_norm(&mut self, node: &Node, norm: &BatchNorm, x: BatchTensor) -> Result<BatchTensor> {
        let per_channel = |t: Tensor<2>| t.reshape([1, norm.channels, 1]);
        let shape = x.shape();
        let x = x.channels();
        let (centred, variance) = match self.mode {
            Mode::Train => {
                let (centred, batch) = batch_statistics(&node.name, norm, x);
                let variance = batch.variance.clone();
                self.statistics.push(batch);
                (centred, variance)
            }
            Mode::Eval => {
                let stored = |suffix: &str| {
                    let name = format!("{}.{suffix}", node.name);
                    let host = self.running.get(&name).ok_or_else(|| Error::invalid(&name, "is missing"))?;
                    Ok::<_, Error>(per_channel(upload(host, &x.device())))
                };
                let (mean, variance) = (stored("running_mean")?, stored("running_var")?);
                (x - mean, variance)
            }
        };
        let scale = per_channel(self.leaf(node, "weight")?) / variance.add_scalar(norm.eps).sqrt();
        let y = centred * scale + per_channel(self.leaf(node, "bias")?);
        Ok(BatchTensor::of_channels(y, shape))
    }
}

/// Elements at the source_indices that `r` names.
fn rearranged(r: &Rearrange, x: BatchTensor) -> BatchTensor {
    let x = match x {
        BatchTensor::Rows(x) => x,
        BatchTensor::Images(x) => x.flatten(1, 3),
    };
    let source_indices: Vec<i64> = r.source_indices().into_iter().map(|p| p as i64).collect();
    let (rows, device) = (x.dims()[0], x.device());
    let count = source_indices.len();
    let y = x.select(1, Tensor::<1, Int>::from_data(TensorData::new(source_indices, [count]), &device));
    match r.shape[..] {
        [channels, height, width] => BatchTensor::Images(y.reshape([rows, channels, height, width])),
        _ => BatchTensor::Rows(y),
    }
}

/// A product by a value of the same shape, or of images by a number for each channel.
fn multiplied(x: BatchTensor, by: BatchTensor) -> Option<BatchTensor> {
    Some(match (x, by) {
        (BatchTensor::Rows(a), BatchTensor::Rows(b)) => BatchTensor::Rows(a * b),
        (BatchTensor::Images(a), BatchTensor::Images(b)) => BatchTensor::Images(a * b),
        (BatchTensor::Images(a), BatchTensor::Rows(b)) => {
            let [rows, channels] = b.dims();
            BatchTensor::Images(a * b.reshape([rows, channels, 1, 1]))
        }
        (BatchTensor::Rows(_), BatchTensor::Images(_)) => return None,
    })
}

/// The channels of values of one kind, one after the other.
fn joined(values: impl Iterator<Item = BatchTensor>) -> Option<BatchTensor> {
    let (mut rows, mut images) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            BatchTensor::Rows(x) => rows.push(x),
            BatchTensor::Images(x) => images.push(x),
        }
    }
    match (rows.is_empty(), images.is_empty()) {
        (false, true) => Some(BatchTensor::Rows(Tensor::cat(rows, 1))),
        (true, false) => Some(BatchTensor::Images(Tensor::cat(images, 1))),
        _ => None,
    }
}

/// For each value the last node that reads it.
fn last_reads(graph: &Graph) -> Vec<usize> {
    let mut last = vec![0; graph.nodes.len() + 1];
    for (at, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&v| last[v] = at);
    }
    last
}

/// `x` [batch, channels, pixels] less its mean over the batch and all pixels, and the statistics.
fn batch_statistics(name: &str, norm: &BatchNorm, x: Tensor<3>) -> (Tensor<3>, BatchStatistics) {
    let [batch, _, pixels] = x.dims();
    // The longer, contiguous axis first.
    let mean = |x: Tensor<3>| if pixels > 1 { x.mean_dim(2).mean_dim(0) } else { x.mean_dim(0) };
    let average = mean(x.clone());
    let centred = x - average.clone();
    let variance = mean(centred.clone().square());
    let statistics = BatchStatistics { name: name.into(), momentum: norm.momentum, count: batch * pixels, mean: average, variance };
    (centred, statistics)
}

/// Moves running statistics as PyTorch does: r ← (1−momentum)·r + momentum·batch, with the UNBIASED variance of the batch
/// although the forward pass divides by the biased one.
///
/// # Errors
/// A statistic that is missing, or what the device said.
pub(super) fn update_running(running: &mut Params, batches: Vec<BatchStatistics>) -> Result<()> {
    for batch in batches {
        let unbiased = batch.count as f32 / (batch.count as f32 - 1.0);
        for (suffix, value, correction) in [("running_mean", batch.mean, 1.0), ("running_var", batch.variance, unbiased)] {
            let name = format!("{}.{suffix}", batch.name);
            let stored = running.get_mut(&name).ok_or_else(|| Error::invalid(&name, "is missing"))?;
            for (r, b) in stored.data_mut().iter_mut().zip(elements(value.inner())?) {
                *r = (1.0 - batch.momentum) * *r + batch.momentum * (b * correction);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Window};
    use crate::zoo;

    #[test]
    fn every_network_of_the_zoo_can_be_trained_and_costs_what_its_shapes_say() {
        for name in ["fcn10", "resnet20", "resnet110", "vgg16", "resnet18-cifar", "resnet50", "vit-tiny"] {
            let graph = zoo::build(name).unwrap();
            supported(&graph).unwrap();
            let sites = sites(&graph, 1).unwrap();
            let macs: u64 = sites.iter().map(Site::dense_macs).sum();
            let forward: u64 = crate::graph::layer_costs(&graph).unwrap().iter().map(|c| c.macs).sum();
            let first = sites[0].dense_macs() / 2;
            assert_eq!(macs, 3 * forward - first, "{name}");
            assert_eq!(sites.iter().filter(|s| !s.input_gradient).count(), 1);
        }
    }

    #[test]
    fn what_cannot_be_trained_is_named() {
        let refuse = |op: Op, part: &str| {
            let mut b = Builder::new("net", [3, 8, 8]);
            b.push("odd", op);
            let error = supported(&b.finish().unwrap()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let window = Window { dilation: [2, 2], ..Window::square(2, 1, 0) };
        refuse(Op::AvgPool { window, count_include_pad: true }, "odd");
        refuse(Op::MaxPool(Window::square(2, 2, 0)), "not one vector");
    }
}
