//! A network on a device, and what a run and its layers take.

use super::{Choice, median, single_layer};
use crate::artifact::Artifact;
use crate::bench::noise;
use crate::clock::Instant;
use crate::error::Result;
use crate::plan::{Plan, weight};
use crate::session::{Device, Options, Session};

/// Runs of a network in turn with the dense one, at least and at most.
const ROUNDS: (usize, usize) = (5, 25);
/// Seconds that the rounds of one network should take where more than the least are made.
const ROUND_SECONDS: f64 = 0.1;
/// What one timing of a layer alone should last at least.
const ALONE_SECONDS: f64 = 1e-3;

/// A network and what it is run on.
pub(super) struct Runner {
    session: Session,
    input: Vec<f32>,
    steps: usize,
    /// Where the device has no clock of its own: each layer with a weight as a network of its own, and how often it is
    /// repeated.
    alone: Vec<Option<(Session, usize)>>,
}

/// One network's times, microseconds.
pub(super) struct Sample {
    pub(super) layers: Vec<f64>,
    pub(super) whole: f64,
    pub(super) steps: usize,
}

impl Sample {
    pub(super) fn total(&self) -> f64 {
        self.layers.iter().sum::<f64>().max(1e-9)
    }
}

impl Runner {
    pub(super) fn new(device: &Device, artifact: &Artifact, batch: usize, choices: Vec<Choice>) -> Result<Self> {
        let options = Options { batch, keep_factors: true, cache: None, ..Options::default() };
        let steps = Plan::new(artifact, batch, |f| choices[f.layer].form)?.steps.len();
        let mut session = Session::with(device, artifact, &options, choices.clone())?;
        let input = noise(session.input_len() * batch);
        // The first run compiles shaders and warms caches.
        session.run(&input)?;
        let mut alone = Vec::new();
        if session.layer_times()?.is_none() {
            for (layer, choice) in choices.into_iter().enumerate() {
                alone.push(match weight(&artifact.model().layers[layer].op) {
                    Some(_) => Some(by_itself(device, &single_layer(artifact, layer)?, &options, choice)?),
                    None => None,
                });
            }
        }
        Ok(Self { session, input, steps, alone })
    }

    /// Whether its layers are timed each as a network of its own.
    pub(super) fn is_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// How many rounds it is worth.
    pub(super) fn rounds(&mut self) -> Result<usize> {
        Ok(((ROUND_SECONDS * 1e6 / (4.0 * self.run()?).max(1.0)) as usize).clamp(ROUNDS.0, ROUNDS.1))
    }

    /// Microseconds of a whole run, upload and readback too.
    fn run(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.session.run(&self.input)?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    }

    /// Microseconds of each layer in one run.
    fn layers(&mut self) -> Result<Vec<f64>> {
        if let Some(times) = self.session.layer_times()? {
            return Ok(times.into_iter().map(|t| t.as_secs_f64() * 1e6).collect());
        }
        let time = |alone: &mut Option<(Session, usize)>| match alone {
            Some((session, repeats)) => Ok(session.time(*repeats)?.as_secs_f64() * 1e6 / *repeats as f64),
            None => Ok(0.0),
        };
        self.alone.iter_mut().map(time).collect()
    }
}

/// A layer as a network of its own, and how often it is repeated for one timing.
fn by_itself(device: &Device, layer: &Artifact, options: &Options, choice: Choice) -> Result<(Session, usize)> {
    let mut session = Session::with(device, layer, options, vec![choice])?;
    session.time(1)?;
    let once = session.time(2)?.as_secs_f64() / 2.0;
    Ok((session, ((ALONE_SECONDS / once.max(1e-9)) as usize).clamp(1, 1000)))
}

/// Runs two networks in turn; the medians of each.
pub(super) fn in_turn(a: &mut Runner, b: &mut Runner, rounds: usize) -> Result<(Sample, Sample)> {
    let mut layers = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
    let mut whole = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
    let mut both = [a, b];
    for _ in 0..rounds {
        for (runner, layers) in both.iter_mut().zip(&mut layers) {
            layers.push(runner.layers()?);
        }
        for (runner, whole) in both.iter_mut().zip(&mut whole) {
            whole.push(runner.run()?);
        }
    }
    let [first, second] = layers;
    let [whole_a, whole_b] = whole;
    let sample = |layers: Vec<Vec<f64>>, whole: Vec<f64>, steps: usize| Sample {
        layers: (0..layers[0].len()).map(|l| median(layers.iter().map(|round| round[l]).collect())).collect(),
        whole: median(whole),
        steps,
    };
    Ok((sample(first, whole_a, both[0].steps), sample(second, whole_b, both[1].steps)))
}
