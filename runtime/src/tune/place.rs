//! Times the ways to run layers in runs of the whole network, by the device's timestamps. A layer that is run alone and
//! repeated finds its weights in the nearest cache and computes on artificial values; in use neither holds.
//!
//! Whole networks are run, each layer in one of its ways, until every way has had its turns; layers alike share theirs out. One network
//! that stays the same runs in turn with each: it says how fast the machine was.

use super::group::{Group, MOST_SECONDS, decide};
use super::runner::{Runner, Sample, in_turn, step_us};
use super::ways::Way;
use crate::artifact::Artifact;
use crate::clock::Instant;
use crate::engine::{Choice, Device, Options};
use crate::error::{Error, Result};
use crate::plan::Form;

/// Turns of a way that may be the best, in sessions of their own or in other layers: where buffers happen to lie is worth up to a third of
/// a small layer's time.
const TURNS: usize = 2;
/// How much longer than the best a way may take in its first turn to get another.
const PROMISING: f64 = 1.3;
/// Rounds of a network in turn with the one that stays, at least and at most, and how long they should take together.
const ROUNDS: (usize, usize) = (3, 101);
const PASS_SECONDS: f64 = 0.1;
/// Runs of a network that a pass takes beside its rounds, each of which has two.
const RUNS_BEFORE: usize = 3;

/// The times of a way.
#[derive(Clone, Debug, Default)]
struct Tried {
    /// Microseconds, as if the machine had always been as fast as in the first pass.
    samples: Vec<f64>,
    /// Whether it does not fit on the device or into the budget.
    refused: bool,
}

/// A layer, and the group and the way that it takes.
type Taken = (usize, usize, usize);

struct Bench<'a> {
    device: &'a Device,
    artifact: &'a Artifact,
    options: Options,
    base: &'a [Choice],
    groups: &'a [Group],
    start: Instant,
    /// `None` with a budget, which is for one network at a time.
    reference: Option<Runner>,
    /// The reference's time in the first pass, microseconds.
    usual: Option<f64>,
    tried: Vec<Vec<Tried>>,
    /// Steps, and microseconds beyond the layers, of every network that was run.
    rests: Vec<(f64, f64)>,
}

/// Chooses for each of `groups`, the others as in `base`, which has a choice of least memory for all layers. `None` for those whose turn
/// did not come; `None` instead of all where the device cannot time a layer in its network, or a run takes too long for every way to have
/// a turn. `start` is when the session began to time.
///
/// # Errors
/// [`Error::Limit`] where there is no room for `base`; [`Error::Gpu`] when the device fails.
pub(crate) fn race(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    base: &[Choice],
    groups: &[Group],
    start: Instant,
) -> Result<Option<Vec<Option<Choice>>>> {
    let options = Options { keep_factors: true, cache: None, keep_values: false, ..options.clone() };
    let Some(mut reference) = Runner::in_place(device, artifact, &options, base.to_vec())? else { return Ok(None) };
    let run = 1e-6 * reference.run()?;
    let reference = options.memory.is_none().then_some(reference);
    let tried = groups.iter().map(|g| vec![Tried::default(); g.ways.len()]).collect();
    let mut bench = Bench { device, artifact, options, base, groups, start, reference, usual: None, tried, rests: Vec::new() };
    if !bench.has_time_for_all(run) {
        bench.leave_kernels_to_the_estimate();
    }
    let mut passes = 0;
    loop {
        let taken = bench.next(passes);
        if taken.is_empty() || bench.left() <= 0.0 {
            break;
        }
        let before = bench.left();
        bench.pass(&taken)?;
        passes += 1;
        // The first pass says what dense layers take, too.
        if passes == 1 && !bench.has_time_for_all((before - bench.left()) / (RUNS_BEFORE + 4 * ROUNDS.0) as f64) && bench.is_partial() {
            return Ok(None);
        }
    }
    let mut choices = bench.choices();
    bench.confirm(&mut choices)?;
    Ok(Some(choices))
}

impl Bench<'_> {
    /// Seconds that are left.
    fn left(&self) -> f64 {
        MOST_SECONDS - self.start.elapsed().as_secs_f64()
    }

    /// Ways of a group whose turn is next: first those without, then those that may be the best.
    fn waiting(&self, group: usize) -> Vec<usize> {
        let tried = || self.tried[group].iter().enumerate().filter(|(_, t)| !t.refused);
        let new: Vec<usize> = tried().filter(|(_, t)| t.samples.is_empty()).map(|(w, _)| w).collect();
        if !new.is_empty() {
            return new;
        }
        let least = tried().map(|(_, t)| typical(&t.samples)).fold(f64::INFINITY, f64::min);
        let promising = |t: &Tried| t.samples.len() < TURNS && typical(&t.samples) <= PROMISING * least;
        tried().filter(|(_, t)| promising(t)).map(|(w, _)| w).collect()
    }

    /// Whether some way has had no turn.
    fn is_partial(&self) -> bool {
        self.tried.iter().flatten().any(|t| !t.refused && t.samples.is_empty())
    }

    /// Whether every way can have a turn where a run takes so many seconds.
    fn has_time_for_all(&self, run: f64) -> bool {
        let open = |tried: &Vec<Tried>| tried.iter().filter(|t| !t.refused && t.samples.is_empty()).count();
        let passes = self.tried.iter().zip(self.groups).map(|(tried, g)| open(tried).div_ceil(g.layers.len())).max().unwrap_or(0);
        (passes * (RUNS_BEFORE + 4 * ROUNDS.0)) as f64 * run <= self.left()
    }

    /// Leaves out every way that differs from an earlier one by its kernels alone.
    fn leave_kernels_to_the_estimate(&mut self) {
        for (tried, group) in self.tried.iter_mut().zip(self.groups) {
            for (at, way) in group.ways.iter().enumerate() {
                tried[at].refused |= group.ways[..at].iter().any(|w| w.choice.form == way.choice.form);
            }
        }
    }

    /// What layers take in the next network.
    fn next(&self, pass: usize) -> Vec<Taken> {
        let group = |(g, group): (usize, &Group)| {
            let waiting = self.waiting(g);
            let way = |(i, &layer): (usize, &usize)| Some((layer, g, *waiting.get((pass + i) % waiting.len().max(1))?));
            group.layers.iter().enumerate().filter_map(way).collect::<Vec<_>>()
        };
        self.groups.iter().enumerate().flat_map(group).collect()
    }

    /// Runs the network in which layers take these ways; two with a half of them each where there is no room for all.
    fn pass(&mut self, taken: &[Taken]) -> Result<()> {
        let mut choices = self.base.to_vec();
        for &(layer, group, way) in taken {
            choices[layer] = self.groups[group].ways[way].choice.clone();
        }
        let mut runner = match Runner::in_place(self.device, self.artifact, &self.options, choices) {
            Ok(Some(runner)) => runner,
            Ok(None) | Err(Error::Limit { .. }) => {
                if let [(_, group, way)] = *taken {
                    self.tried[group][way].refused = true;
                    return Ok(());
                }
                let (first, second) = taken.split_at(taken.len() / 2);
                self.pass(first)?;
                return self.pass(second);
            }
            Err(other) => return Err(other),
        };
        let (now, scale) = self.time(&mut runner, 1)?;
        for &(layer, group, way) in taken {
            self.tried[group][way].samples.push(now.layers[layer] * scale);
        }
        Ok(())
    }

    /// What a network takes, by `times` as many rounds as usual, and what that must be multiplied by for it to be as if the machine were
    /// as fast as in the first pass.
    fn time(&mut self, runner: &mut Runner, times: usize) -> Result<(Sample, f64)> {
        let runs = 1e-6 * (runner.run()? + self.reference.as_mut().map_or(Ok(0.0), Runner::run)?);
        let seconds = PASS_SECONDS.min(self.left() / 4.0).max(0.0);
        let rounds = times * ((seconds / (2.0 * runs).max(1e-9)) as usize).clamp(ROUNDS.0, ROUNDS.1);
        let Some(reference) = &mut self.reference else {
            let [now] = in_turn([runner], rounds)?;
            let now = Sample::of(&now, runner.steps());
            self.rests.push(now.rest());
            return Ok((now, 1.0));
        };
        let [now, then] = in_turn([runner, reference], rounds)?;
        let (now, then) = (Sample::of(&now, runner.steps()), Sample::of(&then, reference.steps()));
        let scale = *self.usual.get_or_insert(then.total()) / then.total();
        self.rests.extend([&now, &then].map(|s| (s.rest().0, s.rest().1 * scale)));
        Ok((now, scale))
    }

    /// The best of each group all of whose ways had a turn.
    fn choices(&self) -> Vec<Option<Choice>> {
        let step = step_us(self.device, &self.rests);
        let one = |(group, tried): (&Group, &Vec<Tried>)| {
            let known = || group.ways.iter().zip(tried).filter(|(_, t)| !t.refused);
            let time = |way: &Way, t: &Tried| (typical(&t.samples) + step * way.steps as f64).max(0.0);
            known().all(|(_, t)| !t.samples.is_empty()).then(|| decide(known().map(|(w, t)| (time(w, t), &w.choice)).collect()))
        };
        self.groups.iter().zip(&self.tried).map(one).collect()
    }

    /// Runs the network as it was chosen in turn with the one whose layers are dense where they may be: what takes no less time there than
    /// dense, beside the neighbours that it will have, becomes dense.
    fn confirm(&mut self, choices: &mut [Option<Choice>]) -> Result<()> {
        let mut network = self.base.to_vec();
        for (group, choice) in self.groups.iter().zip(choices.iter()) {
            let Some(choice) = choice else { continue };
            group.layers.iter().for_each(|&layer| network[layer] = choice.clone());
        }
        let mut dense = network.clone();
        let mut judged = Vec::new();
        for (g, choice) in choices.iter().enumerate() {
            let (Some(choice), group) = (choice, &self.groups[g]) else { continue };
            let times = self.groups[g].ways.iter().zip(&self.tried[g]).filter(|(w, t)| w.choice.form == Form::Dense && !t.refused);
            let Some((way, _)) = times.min_by(|a, b| typical(&a.1.samples).total_cmp(&typical(&b.1.samples))) else { continue };
            if choice.form != Form::Dense {
                group.layers.iter().for_each(|&layer| dense[layer] = way.choice.clone());
                judged.push((g, way));
            }
        }
        // With a budget they could not run in turn.
        if judged.is_empty() || self.reference.is_none() || self.left() <= 0.0 {
            return Ok(());
        }
        let enter = |choices| Runner::in_place(self.device, self.artifact, &self.options, choices);
        let (mut network, mut dense) = match (enter(network), enter(dense)) {
            (Ok(Some(network)), Ok(Some(dense))) => (network, dense),
            (Err(Error::Limit { .. }), _) | (_, Err(Error::Limit { .. })) | (Ok(None), _) | (_, Ok(None)) => return Ok(()),
            (Err(other), _) | (_, Err(other)) => return Err(other),
        };
        let runs = 1e-6 * (network.run()? + dense.run()?);
        let rounds = 2 * ((PASS_SECONDS / (2.0 * runs).max(1e-9)) as usize).clamp(ROUNDS.0, ROUNDS.1);
        let [as_chosen, as_dense] = in_turn([&mut network, &mut dense], rounds)?;
        let (as_chosen, as_dense) = (Sample::of(&as_chosen, network.steps()), Sample::of(&as_dense, dense.steps()));
        self.rests.extend([as_chosen.rest(), as_dense.rest()]);
        let step = step_us(self.device, &self.rests);
        for (g, way) in judged {
            let (layers, Some(choice)) = (&self.groups[g].layers, &mut choices[g]) else { continue };
            let sum = |sample: &Sample, steps: usize| layers.iter().map(|&l| sample.layers[l] + step * steps as f64).sum::<f64>();
            let steps = self.groups[g].ways.iter().find(|w| w.choice.form == choice.form).map_or(1, |w| w.steps);
            if sum(&as_chosen, steps) >= sum(&as_dense, way.steps) {
                *choice = Choice { measured_us: std::mem::take(&mut choice.measured_us), ..way.choice.clone() };
            }
        }
        Ok(())
    }
}

/// The median, of an even number the mean of the two in the middle; 0 of nothing.
fn typical(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |at: usize| sorted.get(at).copied().unwrap_or(0.0);
    (middle(sorted.len().saturating_sub(1) / 2) + middle(sorted.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Activation;
    use crate::conformance::cases::{Case, LayerCase};
    use crate::tune::choose;

    /// 192 → 192 → …, each layer at a rank of its own, so that no two are alike.
    fn network(layers: usize) -> Artifact {
        let layer = |i| LayerCase { outputs: 192, rank: Some(8 + i), form: Form::Dense, bias: true, activation: Activation::Relu };
        Case { key: 1, inputs: 192, layers: (0..layers).map(layer).collect(), batch: 1, rows: 1 }.artifact()
    }

    fn forms(choice: &Choice) -> Vec<Form> {
        choice.measured_us.iter().map(|m| m.0).collect()
    }

    #[test]
    fn every_way_has_its_turn_in_the_network() {
        let options = Options { cache: None, ..Options::default() };
        let choices = choose(&Device::cpu(), &network(3), &options).unwrap();
        for choice in &choices {
            assert_eq!(forms(choice), [Form::Dense, Form::TwoStage, Form::Fused]);
            assert!(choice.measured_us.iter().all(|m| m.1 > 0.0));
            // 23 times fewer multiply–accumulates: no noise makes dense the faster one.
            assert_ne!(choice.form, Form::Dense, "{choice:?}");
        }
    }

    #[test]
    fn what_has_no_room_together_has_its_turns_in_parts() {
        let (device, artifact) = (Device::cpu(), network(4));
        let bytes = |form: Form| {
            let options = Options { forms: crate::Forms::All(form), memory: Some(1), cache: None, ..Options::default() };
            match crate::Session::new(&device, &artifact, &options) {
                Err(Error::Limit { needs, .. }) => needs,
                other => panic!("{other:?}"),
            }
        };
        // Room for one dense layer beside three in factors; then for none.
        let one = bytes(Form::TwoStage) + 192 * 192 * 4;
        let mut options = Options { memory: Some(one), cache: None, ..Options::default() };
        for choice in choose(&device, &artifact, &options).unwrap() {
            assert_eq!(forms(&choice), [Form::Dense, Form::TwoStage, Form::Fused]);
        }
        options.memory = Some(bytes(Form::TwoStage));
        let choices = choose(&device, &artifact, &options).unwrap();
        assert!(choices.iter().all(|c| c.form != Form::Dense && !forms(c).contains(&Form::Dense)), "{choices:?}");
    }

    #[test]
    fn the_typical_sample_is_in_the_middle() {
        assert_eq!([typical(&[]), typical(&[3.0]), typical(&[4.0, 2.0]), typical(&[9.0, 1.0, 2.0])], [0.0, 3.0, 3.0, 2.0]);
    }
}
