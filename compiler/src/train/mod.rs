//! Training: runs a [`Graph`](crate::graph::Graph) under Burn's autodiff, with training methods that make the
//! network become low-rank. Burn lives in this folder only; parameters, optimiser and checkpoints are plain host tensors,
//! so that a resumed run goes on bit for bit and a checkpoint holds everything under a name.
//!
//! One step: the method may change the tensors and turns them into each layer's weight, `network` runs the graph, `loss`
//! compares, Burn gives the gradients, `optimizer` moves the tensors.

mod average;
mod batches;
mod checkpoint;
mod config;
mod device;
mod equalize;
mod eval;
#[cfg(test)]
mod host;
mod job;
mod leaves;
mod loss;
mod methods;
mod network;
mod ops;
mod optimizer;
#[cfg(test)]
mod reference;
mod report;
mod run;
mod schedule;
mod settings;
mod site;
mod start;
mod teacher;
#[cfg(test)]
mod tests;
mod tokens;

pub use batches::split;
pub use config::{Distil, OptimizerKind, Schedule, TrainConfig};
pub use device::TrainDevice;
pub use eval::logits;
pub use job::Job;
pub use report::{EpochRecord, Gauge, Progress, StepReport, Summary};
pub use run::train;
pub use settings::{ElrtSettings, Method, Ortho, Scheme, TrpSettings};
