//! What a run is asked to do.

use std::path::Path;
use std::time::Duration;

use thinfer::Artifact;

use super::config::TrainConfig;
use crate::data::Dataset;
use crate::import::Checkpoint;

/// One call of [`train`](super::train).
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What to do.
    pub config: &'a TrainConfig,
    /// Parameters to start from instead of random ones, dense or with layers as factors.
    pub start: Option<&'a Checkpoint>,
    /// Compiled networks that `config.distil` names, in its order.
    pub teachers: &'a [Artifact],
    /// The training images; a held-out split is taken from them. Test images have no place here.
    pub data: &'a Dataset,
    /// The folder that everything is written to.
    pub run_dir: &'a Path,
    /// Go on with the run in `run_dir` instead of starting one.
    pub resume: bool,
    /// Time between checkpoints within an epoch; at the end of each epoch there is one anyway.
    pub checkpoint_every: Duration,
}
