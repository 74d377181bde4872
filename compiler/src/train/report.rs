//! What a run tells: while it goes on, in RUN_DIR/run.json, and at its end.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::TrainConfig;

/// Where a run stands after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The epoch under way, from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Steps of this epoch that are over.
    pub step: usize,
    /// Steps an epoch.
    pub steps: usize,
    /// Mean loss of this epoch so far.
    pub loss: f32,
    /// Training accuracy of this epoch so far, in percent.
    pub accuracy: f32,
    /// The learning rate of the step.
    pub lr: f64,
    /// Seconds until the end of the run, from the time of the steps so far.
    pub seconds_left: f64,
}

/// What one epoch gave; an entry of `epochs` in run.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Mean training loss, label smoothing included, each batch as the network was at its step.
    pub train_loss: f32,
    /// Training accuracy in percent, likewise.
    pub train_accuracy: f32,
    /// Cross entropy on the held-out images after the epoch; absent without a split.
    pub split_loss: Option<f32>,
    /// Accuracy on the held-out images in percent.
    pub split_accuracy: Option<f32>,
    /// Learning rate of the last step.
    pub lr: f32,
    /// Seconds that the epoch's steps took, interruptions left out.
    pub seconds: f32,
    /// Steps a second.
    pub steps_per_second: f32,
    /// Median milliseconds a step; of the steps since the last interruption.
    pub ms_per_step: f32,
    /// The share of the steps' time that the method took before them: TRP's decompositions, spread over all steps.
    #[serde(default)]
    pub method_share: f32,
    /// What the method measures of itself, if anything.
    #[serde(default)]
    pub gauge: Option<Gauge>,
}

/// A figure of a training method's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gauge {
    /// What is measured.
    pub name: String,
    /// How much of it.
    pub value: f64,
}

/// RUN_DIR/run.json: fields as in [`Summary`], beside the configuration.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RunReport<'a> {
    pub(super) config: &'a TrainConfig,
    /// The method's name with its settings.
    pub(super) method: String,
    /// Whether every epoch is over.
    pub(super) finished: bool,
    /// Images trained on.
    pub(super) train_images: usize,
    /// Images held out.
    pub(super) split_images: usize,
    pub(super) steps_per_epoch: usize,
    pub(super) trained_params: u64,
    pub(super) dense_params: u64,
    pub(super) macs_per_step: u64,
    pub(super) ms_per_step: f32,
    pub(super) epochs: Vec<EpochRecord>,
}

/// What a finished run gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The trained network, dense.
    pub model: PathBuf,
    /// Every epoch.
    pub epochs: Vec<EpochRecord>,
    /// Numbers that were trained (factors, biases, normalisation).
    pub trained_params: u64,
    /// Numbers of the dense network's convs and linear layers.
    pub dense_params: u64,
    /// Predicted multiply–accumulates a step, forward and backward.
    pub macs_per_step: u64,
    /// Median milliseconds a step: the median of the epochs' medians.
    pub ms_per_step: f32,
}

/// Someone who watches a run.
pub trait Progress {
    /// After each step.
    fn step(&mut self, report: &StepReport);
    /// After each epoch.
    fn epoch(&mut self, record: &EpochRecord);
}

/// Nobody watches.
impl Progress for () {
    fn step(&mut self, _: &StepReport) {}
    fn epoch(&mut self, _: &EpochRecord) {}
}

/// The middle value, the upper of two; 0 of none.
pub(super) fn median(values: impl IntoIterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.into_iter().collect();
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
