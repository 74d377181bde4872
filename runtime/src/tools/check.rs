//! Whether any layer of a session runs slower than its dense form.

use std::collections::BTreeMap;

use super::times::Times;
use crate::artifact::Artifact;
use crate::clock::Instant;
use crate::engine::{Choice, Device, Options};
use crate::error::{Error, Result};
use crate::plan::{Form, Plan};
use crate::session::Session;
use crate::tune::alone::{self, Contestant, single_layer};
use crate::tune::group::Group;
use crate::tune::runner::{Round, Runner, Sample, in_turn, step_us};
use crate::tune::ways::{self, Way};
use crate::tune::{key, place};

/// A layer that is stored as factors against its dense form, timed in turn.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCheck {
    /// The layer's name.
    pub name: String,
    /// The form in which the session runs it.
    pub form: Form,
    /// Microseconds a run of the batch in that form, the median.
    pub us: f64,
    /// The same of its dense form, by the kernels that are fastest for it.
    pub dense_us: f64,
    /// The median of the two's ratio, round by round; 1 for a layer that runs dense.
    pub ratio: f64,
    /// How far nine of ten rounds lie from it, and those of dense against dense from 1, whichever is more.
    pub noise: f64,
}

impl LayerCheck {
    /// Whether it runs slower than dense, and not by chance.
    pub fn is_slower(&self) -> bool {
        self.ratio > 1.0 + self.noise
    }
}

/// Sessions of each: where their buffers happen to lie is part of the noise.
const INSTANCES: usize = 3;
/// Runs whose median is a round, at most, and how long they should take together: other work on the machine then disturbs few rounds.
const RUNS: usize = 15;
const ROUND_SECONDS: f64 = 0.02;

/// Times every layer of `session` that `artifact`, of which it was made, holds as factors, against its dense form and that
/// against itself, `rounds` times in turn: in runs of the whole network, where the device can time a layer in them. With
/// [`Options::ranks`] below 1 the artifact is the one with those ranks.
///
/// # Errors
/// [`crate::Error::Gpu`] when the device fails.
pub fn against_dense(session: &Session, artifact: &Artifact, rounds: usize) -> Result<Vec<LayerCheck>> {
    let (device, batch) = (session.device(), session.batch());
    let options = Options { batch, keep_factors: true, cache: None, ..Options::default() };
    let taken = session.layers().iter().map(|l| {
        let kernels = l.kernels.iter().map(|k| Some(*k)).collect();
        Choice { form: l.form, kernels, measured_us: Vec::new() }
    });
    let taken: Vec<Choice> = taken.collect();
    let is_factored = |&layer: &usize| artifact.model().layers[layer].op.weight().and_then(|w| w.rank(artifact)).is_some();
    let factored: Vec<usize> = (0..taken.len()).filter(is_factored).collect();
    let judged: Vec<usize> = factored.iter().copied().filter(|&l| taken[l].form != Form::Dense).collect();
    let mut check = Check { device, artifact, options, rounds, steps: Vec::new(), dense: Vec::new(), taken, found: BTreeMap::new() };
    if !judged.is_empty() {
        check.prepare(&judged)?;
        if Runner::in_place(device, artifact, &check.options, check.taken.clone())?.is_some() {
            check.in_place(&judged)?;
        } else {
            judged.iter().try_for_each(|&layer| check.alone(layer))?;
        }
    }
    let as_dense = Figures { us: 0.0, dense_us: 0.0, ratio: 1.0, noise: 0.0 };
    let one = |layer: usize| {
        let Figures { us, dense_us, ratio, noise } = check.found.get(&layer).copied().unwrap_or(as_dense);
        LayerCheck { name: session.layers()[layer].name.clone(), form: check.taken[layer].form, us, dense_us, ratio, noise }
    };
    Ok(factored.into_iter().map(one).collect())
}

/// A layer's figures, as [`LayerCheck`] has them.
#[derive(Clone, Copy)]
struct Figures {
    us: f64,
    dense_us: f64,
    ratio: f64,
    noise: f64,
}

/// It cannot be run here as dense.
const NO_ROOM: Figures = Figures { us: 0.0, dense_us: f64::INFINITY, ratio: 0.0, noise: 0.0 };

struct Check<'a> {
    device: &'a Device,
    artifact: &'a Artifact,
    options: Options,
    rounds: usize,
    /// As the session runs its layers.
    taken: Vec<Choice>,
    /// Steps of each layer as taken.
    steps: Vec<usize>,
    /// Each layer as dense, where it is judged.
    dense: Vec<Choice>,
    found: BTreeMap<usize, Figures>,
}

impl Check<'_> {
    /// Finds the dense kernels that are fastest for each of `judged`.
    fn prepare(&mut self, judged: &[usize]) -> Result<()> {
        let (device, artifact, options) = (self.device, self.artifact, &self.options);
        let mut factored = vec![None; self.taken.len()];
        let plan = Plan::new(artifact, options.batch, |f| {
            factored[f.layer] = Some(f.clone());
            self.taken[f.layer].form
        })?;
        self.steps = (0..factored.len()).map(|layer| plan.steps.iter().filter(|s| s.layer == layer).count()).collect();
        let dense_ways = ways::of(device, artifact, options, &factored, &|f, form| form == Form::Dense && judged.contains(&f.layer))?;
        self.dense = vec![Choice::of(Form::Dense); self.taken.len()];
        let mut groups: Vec<Group> = Vec::new();
        for (&layer, ways) in judged.iter().zip(judged.iter().map(|&l| &dense_ways[l])) {
            let key = key::cache_key(artifact, layer, options);
            match (&ways[..], groups.iter_mut().find(|g| g.key == key)) {
                ([] | [_], _) => self.dense[layer] = ways.first().map_or_else(|| Choice::of(Form::Dense), |w: &Way| w.choice.clone()),
                (_, Some(group)) => group.layers.push(layer),
                _ => groups.push(Group { key, layers: vec![layer], ways: ways.clone() }),
            }
        }
        if groups.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let found = match place::race(device, artifact, options, &self.taken, &groups, start)? {
            Some(found) => found,
            None => alone::all(device, artifact, options, &groups, start)?,
        };
        for (group, found) in groups.iter().zip(found) {
            let choice = found.filter(|c| c.form == Form::Dense).unwrap_or_else(|| group.ways[0].choice.clone());
            group.layers.iter().for_each(|&layer| self.dense[layer] = choice.clone());
        }
        Ok(())
    }

    /// Judges `layers` in runs of the whole network; a half after the other where there is no room for all of them as dense.
    fn in_place(&mut self, layers: &[usize]) -> Result<()> {
        let mut dense = self.taken.clone();
        layers.iter().for_each(|&layer| dense[layer] = self.dense[layer].clone());
        // For each layer of each round: as taken, as dense, as dense again.
        let mut times: Vec<Vec<[f64; 3]>> = vec![Vec::new(); layers.len()];
        for _ in 0..INSTANCES {
            let enter = |choices: &[Choice]| Runner::in_place(self.device, self.artifact, &self.options, choices.to_vec());
            let Some(mut taken) = enter(&self.taken)? else { return Ok(()) };
            let (mut once, mut again) = match (enter(&dense), enter(&dense)) {
                (Ok(Some(once)), Ok(Some(again))) => (once, again),
                (Err(Error::Limit { .. }), _) | (_, Err(Error::Limit { .. })) | (Ok(None), _) | (_, Ok(None)) => {
                    if let [layer] = *layers {
                        self.found.insert(layer, NO_ROOM);
                        return Ok(());
                    }
                    let (first, second) = layers.split_at(layers.len() / 2);
                    self.in_place(first)?;
                    return self.in_place(second);
                }
                (Err(other), _) | (_, Err(other)) => return Err(other),
            };
            let runs = ((ROUND_SECONDS * 1e6 / once.run()?.max(1.0)) as usize).clamp(1, RUNS);
            let steps = [taken.steps(), once.steps(), again.steps()];
            let all = in_turn([&mut taken, &mut once, &mut again], runs * self.rounds.div_ceil(INSTANCES))?;
            let all = all.map(|all| all.chunks(runs).map(middle).collect::<Vec<_>>());
            let rest = |round: &Round, steps: usize| (steps as f64, round.whole - round.layers.iter().sum::<f64>());
            let rests: Vec<_> = all.iter().zip(steps).flat_map(|(rounds, steps)| rounds.iter().map(move |r| rest(r, steps))).collect();
            let step = step_us(self.device, &rests);
            let [taken, once, again] = all;
            for ((taken, once), again) in taken.iter().zip(&once).zip(&again) {
                for (&layer, times) in layers.iter().zip(&mut times) {
                    let us = |round: &Round, steps: usize| (round.layers[layer] + step * steps as f64).max(1e-3);
                    times.push([us(taken, self.steps[layer]), us(once, 1), us(again, 1)]);
                }
            }
        }
        self.found.extend(layers.iter().copied().zip(times.into_iter().map(figures)));
        Ok(())
    }

    /// Judges a layer as a network of its own.
    fn alone(&mut self, layer: usize) -> Result<()> {
        let network = single_layer(self.artifact, layer)?;
        let enter = |choice: &Choice| Contestant::new(self.device, &network, &self.options, choice.clone());
        let mut times = Vec::new();
        for _ in 0..INSTANCES {
            let once = match enter(&self.dense[layer]) {
                Err(Error::Limit { .. }) => {
                    self.found.insert(layer, NO_ROOM);
                    return Ok(());
                }
                other => other?,
            };
            let mut contestants = [enter(&self.taken[layer])?, once, enter(&self.dense[layer])?];
            for _ in 0..self.rounds.div_ceil(INSTANCES) {
                contestants.iter_mut().try_for_each(Contestant::time)?;
                times.push([0, 1, 2].map(|i: usize| contestants[i].times.last().copied().unwrap_or(0.0).max(1e-3)));
            }
        }
        self.found.insert(layer, figures(times));
        Ok(())
    }
}

/// The median of several rounds.
fn middle(rounds: &[Round]) -> Round {
    let Sample { layers, whole, .. } = Sample::of(rounds, 0);
    Round { layers, whole }
}

/// Of rounds: as taken, as dense, as dense again, microseconds each.
fn figures(rounds: Vec<[f64; 3]>) -> Figures {
    let of = |value: &dyn Fn(&[f64; 3]) -> f64| Times::new(rounds.iter().map(value).collect());
    let ratio = of(&|[taken, dense, _]| taken / dense).p50();
    let control = of(&|[_, dense, again]| (again / dense - 1.0).abs()).p90();
    let own = of(&|[taken, dense, _]| (taken / dense / ratio.max(1e-9) - 1.0).abs()).p90();
    Figures { us: of(&|r| r[0]).p50(), dense_us: of(&|r| r[1]).p50(), ratio, noise: control.max(own) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;
    use crate::{Device, Forms, Session};

    #[test]
    fn only_factored_layers_are_checked_in_the_form_they_run_in() {
        let artifact = two_layers();
        let check = |form| {
            let options = Options { forms: Forms::All(form), cache: None, ..Options::default() };
            against_dense(&Session::new(&Device::cpu(), &artifact, &options).unwrap(), &artifact, 3).unwrap()
        };
        let (dense, fused) = (check(Form::Dense), check(Form::Fused));
        assert_eq!((dense.len(), dense[0].name.as_str(), dense[0].is_slower()), (1, "b", false));
        assert!(fused[0].form == Form::Fused && fused[0].us > 0.0 && fused[0].dense_us > 0.0);
    }

    #[test]
    fn slower_is_slower_beyond_the_noise() {
        let layer = |ratio, noise| LayerCheck { name: "x".into(), form: Form::Fused, us: 1.0, dense_us: 1.0, ratio, noise };
        assert!(layer(1.2, 0.1).is_slower());
        assert!(!layer(1.05, 0.1).is_slower() && !layer(0.5, 0.0).is_slower());
        let steady = figures(vec![[2.0, 1.0, 1.0]; 9]);
        assert_eq!((steady.us, steady.dense_us, steady.ratio, steady.noise), (2.0, 1.0, 2.0, 0.0));
        assert_eq!(figures(vec![[2.0, 1.0, 1.5], [2.0, 1.0, 1.5]]).noise, 0.5);
    }
}
