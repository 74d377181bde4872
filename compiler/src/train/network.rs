//! Runs a graph on Burn tensors: vectors of features, a batch of them a matrix [batch, features].

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::methods::Site;
use super::optimizer::Gradients;
use crate::error::{Error, Result};
use crate::graph::{Activation, BatchNorm, Graph, Op};
use crate::tensor::{Params, Tensor as HostTensor};

/// The trained tensors of one step on Burn's side, by name: matrices as they are, vectors as one row. Names, not Burn's
/// random parameter ids, tell them apart.
#[derive(Clone, Debug)]
pub(crate) struct Leaves(BTreeMap<String, Tensor<2>>);

impl Leaves {
    /// Leaves that gradients are kept for; `device` must be an autodiff one.
    pub(super) fn tracked(params: &Params, device: &Device) -> Self {
        Self(params.iter().map(|(name, t)| (name.clone(), upload(t, device).require_grad())).collect())
    }

    /// The same without gradients.
    pub(super) fn constants(params: &Params, device: &Device) -> Self {
        Self(params.iter().map(|(name, t)| (name.clone(), upload(t, device))).collect())
    }

    /// The tensor called `name`; cheap, the elements are shared.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a tensor that there is not.
    pub(crate) fn get(&self, name: &str) -> Result<Tensor<2>> {
        self.0.get(name).cloned().ok_or_else(|| Error::invalid(name, "is no tensor of this network"))
    }

    /// d(loss)/d(leaf) of every leaf, on the host; zero for a leaf that the loss does not depend on.
    ///
    /// # Errors
    /// What the device said.
    pub(super) fn gradients(&self, loss: &Tensor<1>) -> Result<Gradients> {
        let mut all = loss.backward();
        self.0
            .iter()
            .map(|(name, leaf)| {
                let gradient = match leaf.grad_remove(&mut all) {
                    Some(g) => elements(g)?,
                    None => vec![0.0; leaf.dims().iter().product()],
                };
                Ok((name.clone(), gradient))
            })
            .collect()
    }
}

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
    rows: usize,
    /// [1, channels].
    mean: Tensor<2>,
    /// [1, channels], biased.
    variance: Tensor<2>,
}

/// Checks that every value of `graph` is a vector and that every operation is one that this executor runs.
///
/// # Errors
/// [`Error::Graph`] naming the first node of another kind, and as [`Graph::shapes`].
pub(super) fn supported(graph: &Graph) -> Result<()> {
    let shapes = graph.shapes()?;
    let other = graph.nodes.iter().zip(&shapes[1..]).find(|(_, shape)| shape.len() != 1);
    match other {
        Some((node, shape)) => {
            Err(Error::Graph { node: node.name.clone(), why: format!("gives {shape:?}; only vectors of features can be trained") })
        }
        None => graph.nodes.iter().find(|n| !is_trainable(&n.op)).map_or(Ok(()), |node| Err(untrainable(&node.name))),
    }
}

fn is_trainable(op: &Op) -> bool {
    matches!(op, Op::Linear(_) | Op::BatchNorm(_) | Op::Activation(Activation::Relu) | Op::Flatten)
}

fn untrainable(node: &str) -> Error {
    Error::Graph { node: node.into(), why: "is of a kind that cannot be trained".into() }
}

/// Every layer with a weight as it stands in a step of `rows` samples.
pub(super) fn sites(graph: &Graph, rows: usize) -> Vec<Site<'_>> {
    let mut tracked = vec![false];
    let mut sites = Vec::new();
    for node in &graph.nodes {
        let input_gradient = node.inputs.iter().any(|&v| tracked.get(v) == Some(&true));
        let has_trained = node.op.params(&node.name).iter().any(|p| p.role.is_trained());
        tracked.push(input_gradient || has_trained);
        if let Op::Linear(linear) = &node.op {
            sites.push(Site { name: &node.name, linear, rows, input_gradient });
        }
    }
    sites
}

/// Gives a layer's weight as a product, left to right.
pub(super) type WeightOf<'a> = &'a dyn Fn(&Site<'_>) -> Result<Vec<Tensor<2>>>;

/// The logits [batch, classes] for `x` [batch, features] and, in training, each normalisation's batch statistics.
/// `rows` is the run's batch size, which decides how weights are composed: a short last batch is treated alike.
///
/// # Errors
/// A parameter or statistic that is missing.
pub(super) fn forward(
    graph: &Graph,
    leaves: &Leaves,
    running: &Params,
    weight_of: WeightOf<'_>,
    x: Tensor<2>,
    rows: usize,
    mode: Mode,
) -> Result<(Tensor<2>, Vec<BatchStatistics>)> {
    let mut sites = sites(graph, rows).into_iter();
    let mut statistics = Vec::new();
    let mut values = vec![x];
    for node in &graph.nodes {
        let undefined = || Error::Graph { node: node.name.clone(), why: "reads a value that is not defined".into() };
        let x = node.inputs.first().and_then(|&v| values.get(v)).cloned().ok_or_else(undefined)?;
        let leaf = |suffix: &str| leaves.get(&format!("{}.{suffix}", node.name));
        let y = match &node.op {
            Op::Linear(linear) => {
                let factors = weight_of(&sites.next().ok_or_else(undefined)?)?;
                // (W·xᵀ)ᵀ, not x·Wᵀ: so the gradient of W comes as W lies, not transposed, and is read back without a
                // strided copy.
                let y = factors.into_iter().rev().fold(x.transpose(), |x, w| w.matmul(x)).transpose();
                if linear.bias { y + leaf("bias")? } else { y }
            }
            Op::BatchNorm(norm) => {
                let (mean, variance) = match mode {
                    Mode::Train => {
                        let batch = batch_statistics(&node.name, norm, &x);
                        statistics.push(batch.clone());
                        (batch.mean, batch.variance)
                    }
                    Mode::Eval => {
                        let stored = |suffix: &str| {
                            let name = format!("{}.{suffix}", node.name);
                            let host = running.get(&name).ok_or_else(|| Error::invalid(&name, "is missing"))?;
                            Ok::<_, Error>(upload(host, &x.device()))
                        };
                        (stored("running_mean")?, stored("running_var")?)
                    }
                };
                (x - mean) / variance.add_scalar(norm.eps).sqrt() * leaf("weight")? + leaf("bias")?
            }
            Op::Activation(Activation::Relu) => burn::tensor::activation::relu(x),
            // A sample is a row already, whatever its shape.
            Op::Flatten => x,
            _ => return Err(untrainable(&node.name)),
        };
        values.push(y);
    }
    let logits = values.pop().ok_or_else(|| Error::Graph { node: graph.name.clone(), why: "is empty".into() })?;
    Ok((logits, statistics))
}

fn batch_statistics(name: &str, norm: &BatchNorm, x: &Tensor<2>) -> BatchStatistics {
    let mean = x.clone().mean_dim(0);
    let centred = x.clone() - mean.clone();
    let variance = centred.square().mean_dim(0);
    BatchStatistics { name: name.into(), momentum: norm.momentum, rows: x.dims()[0], mean, variance }
}

/// Moves running statistics as PyTorch does: r ← (1−momentum)·r + momentum·batch, with the UNBIASED variance of the batch
/// although the forward pass divides by the biased one.
///
/// # Errors
/// A statistic that is missing, or what the device said.
pub(super) fn update_running(running: &mut Params, batches: Vec<BatchStatistics>) -> Result<()> {
    for batch in batches {
        let unbiased = batch.rows as f32 / (batch.rows as f32 - 1.0);
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

fn upload(tensor: &HostTensor, device: &Device) -> Tensor<2> {
    let (rows, columns) = if tensor.shape().len() == 1 { (1, tensor.data().len()) } else { tensor.unfolded() };
    Tensor::from_data(TensorData::new(tensor.data().to_vec(), [rows, columns]), device)
}

/// A matrix back on the host.
///
/// # Errors
/// What the device said.
pub(super) fn read(tensor: Tensor<2>) -> Result<HostTensor> {
    let shape = tensor.dims();
    HostTensor::new(shape, elements(tensor)?).ok_or_else(|| Error::invalid("device", "gave back another number of elements"))
}

/// A tensor's elements on the host, row-major.
///
/// # Errors
/// What the device said.
pub(super) fn elements<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|e| Error::invalid("device", e.to_string()))
}
