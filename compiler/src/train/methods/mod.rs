//! Training methods, one a file. A method decides which tensors are trained and how a layer's weight is made of them, may
//! add a term to the loss and may act after a step; the loop knows none of them by name.

mod dense;
mod lorita;

use burn::tensor::Tensor;

pub(crate) use dense::Dense;
pub(crate) use lorita::Lorita;
#[cfg(test)]
pub(crate) use lorita::Order;

use super::config::Method;
use super::network::Leaves;
use crate::error::Result;
use crate::graph::{Graph, Linear};
use crate::tensor::Params;

/// A layer with a weight, as it stands in a training step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    /// The node's name; its weight is `NAME.weight`.
    pub name: &'a str,
    /// The layer.
    pub linear: &'a Linear,
    /// Rows of its input in one step: the batch.
    pub rows: usize,
    /// Whether a gradient must pass on to its input: not for the first layer.
    pub input_gradient: bool,
}

impl Site<'_> {
    /// Multiply–accumulates of one step with the dense weight, forward and backward: B·m·n for the output, again for the
    /// weight's gradient and, where needed, for the input's.
    pub(crate) fn dense_macs(&self) -> u64 {
        let passes = if self.input_gradient { 3 } else { 2 };
        passes * (self.rows * self.linear.inputs * self.linear.outputs) as u64
    }
}

/// What a training method does to the parameters, to the loss and around the step.
pub(crate) trait TrainingMethod: Send + Sync {
    /// For people and metadata (`lorita factors=2`).
    fn name(&self) -> String;

    /// The tensors to train: from `dense`, a network's parameters, or drawn anew for `seed`. Running statistics are not
    /// among them. Biases and normalisations keep their names.
    ///
    /// # Errors
    /// A start that this method cannot make its tensors from.
    fn start(&self, graph: &Graph, seed: u64, dense: Option<&Params>) -> Result<Params>;

    /// The weight of a layer as a product of matrices, left to right, whose outer sizes are [outputs, inputs]. The network
    /// applies them to its input from right to left; a single matrix is the dense layer.
    ///
    /// # Errors
    /// A tensor that is missing from `leaves`.
    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Tensor<2>>>;

    /// A term that is added to the loss.
    ///
    /// # Errors
    /// A tensor that is missing from `leaves`.
    fn penalty(&self, _leaves: &Leaves) -> Result<Option<Tensor<1>>> {
        Ok(None)
    }

    /// Called after each step; `step` counts them from 1 over the whole run.
    ///
    /// # Errors
    /// Whatever stops the method from going on.
    fn after_step(&self, _step: u64, _trained: &mut Params) -> Result<()> {
        Ok(())
    }

    /// The trained tensors as the dense network's parameters under PyTorch's names, running statistics left out.
    ///
    /// # Errors
    /// A tensor that is missing from `trained`.
    fn dense(&self, graph: &Graph, trained: &Params) -> Result<Params>;

    /// Predicted multiply–accumulates of one step in this layer, forward and backward.
    fn step_macs(&self, site: &Site<'_>) -> u64;
}

impl Method {
    /// The method that this configuration names.
    pub(crate) fn build(&self) -> Box<dyn TrainingMethod> {
        match *self {
            Method::Dense => Box::new(Dense),
            Method::Lorita { factors } => Box::new(Lorita::new(factors)),
        }
    }
}
