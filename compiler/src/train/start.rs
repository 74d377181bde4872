//! How a run begins, or goes on from its latest checkpoint.

use std::fs::File;

use thinfer::artifact::Preprocess;

use super::checkpoint::{self, Position, State};
use super::equalize::equalized;
use super::job::Job;
use super::methods::TrainingMethod;
use super::optimizer::Optimizer;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::{self, Graph};
use crate::import::composed;

/// The state of a new run in a folder that holds none, and the lock on that folder.
pub(super) fn started(job: &Job<'_>, graph: &Graph, method: &dyn TrainingMethod, preprocess: &Preprocess) -> Result<(State, File)> {
    let check_free = || match checkpoint::holds_run(job.run_dir) {
        true => Err(Error::Run { path: job.run_dir.into(), why: "already holds a run: --resume goes on with it".into() }),
        false => Ok(()),
    };
    check_free()?;
    // What goes on as it is may at least have weights that a learning rate suits.
    let even = job.start.filter(|_| method.takes_factors()).map(|c| equalized(graph, &c.params));
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
    let lock = checkpoint::lock(job.run_dir)?;
    // Another process may have begun and ended here since.
    check_free()?;
    checkpoint::sweep(job.run_dir);
    let averages = if job.config.ema.is_some() { vec![trained.clone(), running.clone()] } else { Vec::new() };
    let (data, start, preprocess) = (fingerprint(job.data), start_fingerprint(job), Some(preprocess.clone()));
    let position = Position { config, data, start, preprocess, ..Position::default() };
    Ok((State { position, trained, running, moments, averages }, lock))
}

/// The latest state of the run in the folder, which must be the same run, and the lock on that folder.
pub(super) fn resumed(job: &Job<'_>, preprocess: &Preprocess) -> Result<(State, File)> {
    let fail = |why: String| Err(Error::Run { path: job.run_dir.into(), why });
    if !checkpoint::holds_run(job.run_dir) {
        return fail("holds no run to resume".into());
    }
    let lock = checkpoint::lock(job.run_dir)?;
    let state = checkpoint::load_latest(job.run_dir)?;
    let differences = job.config.differences(&state.position.config);
    if !differences.is_empty() {
        return fail(format!("the run was started with another configuration: {}", differences.join("; ")));
    }
    if state.position.data != fingerprint(job.data) {
        return fail(format!("the run was started with other images than those of {}", job.data.name));
    }
    // What a run of an earlier version did not write down is not compared.
    let Position { start, preprocess: seen, .. } = &state.position;
    if start.is_some_and(|then| Some(then) != start_fingerprint(job)) {
        return fail(format!("the run was started from other tensors than {} now holds", job.config.from.as_deref().unwrap_or("--from")));
    }
    if let Some(then) = seen.as_ref().filter(|then| *then != preprocess) {
        return fail(format!("the run was started with pixels as {then}, not {preprocess}: --range, --channels, --mean and --std"));
    }
    checkpoint::sweep(job.run_dir);
    Ok((state, lock))
}

/// A checksum of the tensors that the run starts from.
fn start_fingerprint(job: &Job<'_>) -> Option<u32> {
    let params = &job.start?.params;
    let mut hasher = crc32fast::Hasher::new();
    for (name, tensor) in params {
        hasher.update(name.as_bytes());
        tensor.shape().iter().for_each(|n| hasher.update(&(*n as u64).to_le_bytes()));
        tensor.data().iter().for_each(|x| hasher.update(&x.to_le_bytes()));
    }
    Some(hasher.finalize())
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
