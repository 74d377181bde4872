//! A network on a device, and what a run and its layers take.

use crate::artifact::Artifact;
use crate::clock::Instant;
use crate::device::DeviceClass;
use crate::engine::{Choice, Device, Engine, Noise, Options};
use crate::error::Result;
use crate::plan::Plan;
use crate::times::median;

/// A network and what it is run on.
pub(crate) struct Runner {
    engine: Engine,
    noise: Noise,
    steps: usize,
}

/// What one run of a network took, microseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round {
    pub(crate) layers: Vec<f64>,
    /// From upload to readback.
    pub(crate) whole: f64,
}

/// One network's times, microseconds: medians over rounds.
pub(crate) struct Sample {
    pub(crate) layers: Vec<f64>,
    pub(crate) whole: f64,
    pub(crate) steps: usize,
}

impl Sample {
    /// Of a network of so many steps; of at least one round.
    pub(crate) fn of(rounds: &[Round], steps: usize) -> Self {
        let layers = rounds.first().map_or(0, |r| r.layers.len());
        Self {
            layers: (0..layers).map(|l| median(rounds.iter().map(|r| r.layers[l]).collect())).collect(),
            whole: median(rounds.iter().map(|r| r.whole).collect()),
            steps,
        }
    }

    pub(crate) fn total(&self) -> f64 {
        self.layers.iter().sum::<f64>().max(1e-9)
    }

    /// Steps, and microseconds that a run takes beyond its layers.
    pub(crate) fn rest(&self) -> (f64, f64) {
        (self.steps as f64, self.whole - self.total())
    }
}

impl Runner {
    /// `None` where a layer cannot be timed in its network: the device has no clock for it, or, in a browser, one too coarse.
    pub(crate) fn in_place(device: &Device, artifact: &Artifact, options: &Options, choices: Vec<Choice>) -> Result<Option<Self>> {
        let (runner, times_layers) = Self::open(device, artifact, options, choices)?;
        Ok((times_layers && cfg!(not(target_family = "wasm"))).then_some(runner))
    }

    /// And whether its device times layers.
    pub(crate) fn open(device: &Device, artifact: &Artifact, options: &Options, choices: Vec<Choice>) -> Result<(Self, bool)> {
        let steps = Plan::new(artifact, options.batch, |f| choices[f.layer].form)?.steps.len();
        let mut engine = Engine::new(device, artifact, options, choices)?;
        let noise = engine.noise();
        // The first run compiles shaders and warms caches.
        engine.run_noise(&noise)?;
        let times_layers = engine.layer_times()?.is_some();
        Ok((Self { engine, noise, steps }, times_layers))
    }

    /// Steps of a run.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Microseconds of a whole run, upload and readback too.
    pub(crate) fn run(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.engine.run_noise(&self.noise)?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    }

    /// Microseconds of each layer in one run.
    fn layers(&mut self) -> Result<Vec<f64>> {
        let times = self.engine.layer_times()?.unwrap_or_default().0;
        Ok(times.into_iter().map(|t| t.as_secs_f64() * 1e6).collect())
    }
}

/// What [`in_turn`] runs. Layers are timed behind a run of their own network, which left in the caches what it leaves there in use, and
/// values as it computes them.
pub(crate) trait Rounds {
    /// Runs the network and times its layers.
    fn round(&mut self) -> Result<Round>;
}

impl Rounds for Runner {
    fn round(&mut self) -> Result<Round> {
        let whole = self.run()?;
        Ok(Round { layers: self.layers()?, whole })
    }
}

/// Runs networks in turn; the rounds of each.
pub(crate) fn in_turn<R: Rounds, const N: usize>(runners: [&mut R; N], rounds: usize) -> Result<[Vec<Round>; N]> {
    let mut runners = runners;
    let mut all = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (runner, rounds) in runners.iter_mut().zip(&mut all) {
            rounds.push(runner.round()?);
        }
    }
    Ok(all)
}

/// The line y = a·x + b through the points, b not negative: (a, b). The slope is the median of all pairs' (Theil and Sen), so
/// that a few runs that were disturbed do not turn it.
pub(crate) fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let pairs = points.iter().enumerate().flat_map(|(i, a)| points[..i].iter().map(move |b| (a.0 - b.0, a.1 - b.1)));
    let slope = median(pairs.filter(|d| d.0 != 0.0).map(|d| d.1 / d.0).collect());
    let at_zero = median(points.iter().map(|p| p.1 - slope * p.0).collect());
    if at_zero >= 0.0 { (slope, at_zero) } else { (median(points.iter().map(|p| p.1 / p.0.max(1.0)).collect()), 0.0) }
}

/// What each step of a network takes on `device` beside what its own clock says, microseconds, by [`Sample::rest`] of many runs. The CPU
/// goes from one step to the next at once.
pub(crate) fn step_us(device: &Device, rests: &[(f64, f64)]) -> f64 {
    if device.info().class == DeviceClass::Cpu { 0.0 } else { line(rests).0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_through_their_points() {
        let (a, b) = line(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]);
        assert!((a - 2.0).abs() < 1e-12 && (b - 3.0).abs() < 1e-12);
        // Below zero at the start: through the origin instead.
        let (a, b) = line(&[(2.0, 1.0), (4.0, 6.0)]);
        assert!(b == 0.0 && [0.5, 1.5].contains(&a));
        assert_eq!(line(&[(2.0, 6.0)]), (0.0, 6.0));
        let (a, b) = line(&[(1.0, 5.0), (2.0, 7.0), (3.0, 900.0), (4.0, 11.0), (5.0, 13.0)]);
        assert!((a - 2.0).abs() < 1e-12 && (b - 3.0).abs() < 1e-12);
    }
}
