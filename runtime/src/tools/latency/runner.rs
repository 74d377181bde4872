//! A network for a table of times: on a device that cannot time a layer in its network, each is timed as one of its own.

use crate::artifact::Artifact;
use crate::engine::{Choice, Device, Engine, Options};
use crate::error::Result;
use crate::tune::alone::{repeats, single_layer};
use crate::tune::runner::{Round, Rounds, Runner};

/// Runs of a network in turn with the dense one, at least and at most.
const ROUNDS: (usize, usize) = (5, 25);
/// Seconds that the rounds of one network should take where more than the least are made.
const ROUND_SECONDS: f64 = 0.1;
/// What one timing of a layer alone should last at least.
const ALONE_SECONDS: f64 = 1e-3;
/// No timing repeats a layer more often than this.
const MAX_REPEATS: usize = 1000;

/// A network and, where its device has no clock for layers, each layer with a weight as a network of its own, and how often that is
/// repeated.
pub(super) struct TableRunner {
    runner: Runner,
    alone: Vec<Option<(Engine, usize)>>,
}

impl TableRunner {
    pub(super) fn new(device: &Device, artifact: &Artifact, batch: usize, choices: Vec<Choice>) -> Result<Self> {
        let options = Options { batch, keep_factors: true, cache: None, ..Options::default() };
        let (runner, times_layers) = Runner::open(device, artifact, &options, choices.clone())?;
        let mut alone = Vec::new();
        if !times_layers {
            for (layer, choice) in choices.into_iter().enumerate() {
                alone.push(match artifact.model().layers[layer].op.weight() {
                    Some(_) => Some(by_itself(device, &single_layer(artifact, layer)?, &options, choice)?),
                    None => None,
                });
            }
        }
        Ok(Self { runner, alone })
    }

    /// Whether its layers are timed each as a network of its own.
    pub(super) fn is_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// Steps of a run.
    pub(super) fn steps(&self) -> usize {
        self.runner.steps()
    }

    /// How many rounds it is worth.
    pub(super) fn rounds(&mut self) -> Result<usize> {
        Ok(((ROUND_SECONDS * 1e6 / (4.0 * self.runner.run()?).max(1.0)) as usize).clamp(ROUNDS.0, ROUNDS.1))
    }
}

impl Rounds for TableRunner {
    fn round(&mut self) -> Result<Round> {
        if self.alone.is_empty() {
            return self.runner.round();
        }
        let time = |alone: &mut Option<(Engine, usize)>| match alone {
            Some((engine, repeats)) => Ok(engine.time(*repeats)?.as_secs_f64() * 1e6 / *repeats as f64),
            None => Ok(0.0),
        };
        let whole = self.runner.run()?;
        Ok(Round { layers: self.alone.iter_mut().map(time).collect::<Result<_>>()?, whole })
    }
}

/// A layer as a network of its own, and how often it is repeated for one timing.
fn by_itself(device: &Device, layer: &Artifact, options: &Options, choice: Choice) -> Result<(Engine, usize)> {
    let mut engine = Engine::new(device, layer, options, vec![choice])?;
    let repeats = repeats(&mut engine, ALONE_SECONDS, MAX_REPEATS)?;
    Ok((engine, repeats))
}
