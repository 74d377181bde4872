//! What a training method is.

use burn::tensor::Tensor;

use crate::error::Result;
use crate::graph::Graph;
use crate::tensor::Params;
use crate::train::leaves::Leaves;
use crate::train::optimizer::Gradients;
use crate::train::report::Gauge;
use crate::train::site::{Factor, Site};

/// What a training method does to the parameters, to the loss and around the step.
pub(crate) trait TrainingMethod: Send + Sync {
    /// For people and metadata (`lorita factors=2`).
    fn name(&self) -> String;

    /// The tensors to train: from `start`, a network's parameters, or drawn anew for `seed`. Running statistics are not
    /// among them. Biases and normalisations keep their names. `start` is dense unless [`TrainingMethod::takes_factors`].
    ///
    /// # Errors
    /// A start that this method cannot make its tensors from, or that it needs and was not given.
    fn start(&self, graph: &Graph, seed: u64, start: Option<&Params>) -> Result<Params>;

    /// Whether it starts from factors as they are; else a factored start is multiplied out before.
    fn takes_factors(&self) -> bool {
        false
    }

    /// The weight of a layer as a product of factors, left to right, whose outer sizes are the layer's. The network
    /// applies them to its input from right to left; a single factor is the dense layer.
    ///
    /// # Errors
    /// A tensor that is missing from `leaves`.
    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Factor>>;

    /// A term that is added to the loss.
    ///
    /// # Errors
    /// A tensor that is missing from `leaves`.
    fn penalty(&self, _leaves: &Leaves) -> Result<Option<Tensor<1>>> {
        Ok(None)
    }

    /// Called before each step, which `step` counts from 1 over the whole run: may change the tensors, and returns what is
    /// to be added to the gradients of this step.
    ///
    /// # Errors
    /// Whatever stops the method from going on.
    fn before_step(&self, _step: u64, _graph: &Graph, _trained: &mut Params, _running: &Params) -> Result<Gradients> {
        Ok(Gradients::new())
    }

    /// The trained tensors as the dense network's parameters under PyTorch's names, running statistics left out.
    ///
    /// # Errors
    /// A tensor that is missing from `trained` or `running`.
    fn dense(&self, graph: &Graph, trained: &Params, running: &Params) -> Result<Params>;

    /// The trained tensors with layers as factors `NAME.u`, `NAME.core` and `NAME.v`, running statistics left out, for
    /// methods that train factors which ship.
    fn factors<'a>(&self, _trained: &'a Params) -> Option<&'a Params> {
        None
    }

    /// What the method means to bring about, measured on the trained tensors after each epoch.
    fn gauge(&self, _trained: &Params) -> Option<Gauge> {
        None
    }

    /// Predicted multiply–accumulates of one step in this layer, forward and backward.
    fn step_macs(&self, site: &Site<'_>, trained: &Params) -> u64;
}
