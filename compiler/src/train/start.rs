//! How a run begins, or goes on from its latest checkpoint.

use super::balance::balanced;
use super::checkpoint::{self, Position, State};
use super::methods::TrainingMethod;
use super::optimizer::Optimizer;
use super::run::Job;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files::make_dir;
use crate::graph::{self, Graph};
use crate::import::composed;

/// The state of a new run in a folder that holds none.
pub(super) fn started(job: &Job<'_>, graph: &Graph, method: &dyn TrainingMethod) -> Result<State> {
    if checkpoint::holds_run(job.run_dir) {
        return Err(Error::Run { path: job.run_dir.into(), why: "already holds a run: --resume goes on with it".into() });
    }
    // What goes on as it is may at least have weights that a learning rate suits.
    let even = job.start.filter(|_| method.takes_factors()).map(|c| balanced(graph, &c.params));
    let given = even.as_ref().or(job.start.map(|c| &c.params));
    let dense = given.map(|params| composed(graph, params)).transpose()?;
    if let Some(params) = &dense {
        graph.check(params)?;
    }
    let trained = method.start(graph, job.config.seed, if method.takes_factors() { given } else { dense.as_ref() })?;
    let mut running = dense.unwrap_or_else(|| graph::init(graph, job.config.seed));
    let buffers: Vec<String> = graph.params().into_iter().filter(|s| !s.role.is_trained()).map(|s| s.name).collect();
    running.retain(|name, _| buffers.contains(name));
    let moments = Optimizer::new(job.config.optimizer, job.config.weight_decay, &trained).moments;
    let config = serde_json::to_value(job.config).map_err(|e| Error::Run { path: job.run_dir.into(), why: e.to_string() })?;
    make_dir(job.run_dir)?;
    checkpoint::sweep(job.run_dir);
    let averages = if job.config.ema.is_some() { vec![trained.clone(), running.clone()] } else { Vec::new() };
    Ok(State { position: Position { config, data: fingerprint(job.data), ..Position::default() }, trained, running, moments, averages })
}

/// The latest state of the run in the folder, which must be the same run.
pub(super) fn resumed(job: &Job<'_>) -> Result<State> {
    let fail = |why: String| Err(Error::Run { path: job.run_dir.into(), why });
    if !checkpoint::holds_run(job.run_dir) {
        return fail("holds no run to resume".into());
    }
    let state = checkpoint::load_latest(job.run_dir)?;
    let differences = job.config.differences(&state.position.config);
    if !differences.is_empty() {
        return fail(format!("the run was started with another configuration: {}", differences.join("; ")));
    }
    if state.position.data != fingerprint(job.data) {
        return fail(format!("the run was started with other images than those of {}", job.data.name));
    }
    checkpoint::sweep(job.run_dir);
    Ok(state)
}

/// A checksum of everything that training reads of `data`.
fn fingerprint(data: &Dataset) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for n in data.shape {
        hasher.update(&(n as u64).to_le_bytes());
    }
    data.labels.iter().for_each(|l| hasher.update(&l.to_le_bytes()));
    hasher.update(&data.images);
    hasher.finalize()
}
