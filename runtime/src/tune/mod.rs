//! Which form each factored layer takes on a device, and on a GPU which kernels run it: measured, kept from an earlier
//! measurement, or by a written-down rule.

mod cache;
mod check;
#[cfg(feature = "gpu")]
mod few;
pub mod latency;
mod measure;
mod rule;
mod runner;
mod variants;

use crate::artifact::{Artifact, Dtype, Layer, Model, Op, Residual, TensorData, Weight, Window};
use crate::bench::Times;
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::plan::{Factored, Form, Plan, weight};
use crate::session::{Device, Forms, Options, Session};
pub(crate) use cache::user_folder;
pub use check::{LayerCheck, against_dense};

/// A layer's form and kernels, and what led to them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) form: Form,
    /// The kernel of each of its steps; `None`, and steps beyond the last, take what the device's estimate gives.
    pub(crate) kernels: Vec<Option<&'static str>>,
    /// Microseconds a run of the whole batch for each form that was timed, with the best of its kernels.
    pub(crate) measured_us: Vec<(Form, f64)>,
}

impl Choice {
    /// A form, its kernels by the device's estimate.
    pub(crate) fn of(form: Form) -> Self {
        Self { form, kernels: Vec::new(), measured_us: Vec::new() }
    }
}

/// The median; 0 of nothing.
fn median(samples: Vec<f64>) -> f64 {
    Times::new(samples).p50()
}

/// Sessions that each contestant is timed in: where buffers happen to lie is worth up to a third of a small layer's time.
const INSTANCES: usize = 2;
/// Rounds of interleaved timings of each; the medians' mean counts.
const ROUNDS: usize = 5;
/// The share of the dense form's time below which factors are taken: a draw goes to dense.
const CLEARLY: f64 = 0.97;
/// What one timing should last at least, so that the clock and the submission do not count.
const ROUND_SECONDS: f64 = 1.5e-3;
/// No timing repeats a layer more often than this.
const MAX_REPEATS: usize = 2000;
/// Seconds after which a session times no further layer; those that are left take the rule, and their turn comes when the
/// next session finds the others in the cache.
const MOST_SECONDS: f64 = 20.0;

/// Sizes and setting of layer `layer`, whatever form its weight is stored in, as one line.
pub(crate) fn shape_of(artifact: &Artifact, layer: usize) -> String {
    let Layer { inputs, op, .. } = &artifact.model().layers[layer];
    let shape = |value: usize| artifact.shapes()[value].iter().map(|n| n.to_string()).collect::<Vec<_>>().join("x");
    let kind = match op {
        Op::Conv { .. } => "conv",
        Op::Linear { .. } => "linear",
        _ => "other",
    };
    let (window, residual) = match op {
        Op::Conv { window: Window { kernel, stride, padding, dilation }, groups, residual, .. } => (
            format!(" kernel {kernel:?} stride {stride:?} padding {padding:?} dilation {dilation:?} groups {groups}"),
            if residual.is_some() { " residual" } else { "" },
        ),
        _ => (String::new(), ""),
    };
    format!("{kind} {} to {}{window}{residual}", shape(inputs[0] as usize), shape(layer + 1))
}

/// What makes two layers cost the same, as one line: the key of a cache.
fn likeness(artifact: &Artifact, layer: usize, options: &Options) -> String {
    let op = &artifact.model().layers[layer].op;
    let weight = weight(op);
    let scheme = weight.map_or("", |w| w.scheme(matches!(op, Op::Conv { .. })));
    let ranks = [weight.and_then(|w| w.input_rank(artifact)), weight.and_then(|w| w.rank(artifact))];
    let ranks: String = ranks.into_iter().flatten().map(|r| format!(" {r}")).collect();
    let half = weight.is_some_and(|w| artifact.model().tensors[w.tensors()[0] as usize].dtype == Dtype::F16);
    format!(
        "{} {scheme}{ranks} batch {}{}{}",
        shape_of(artifact, layer),
        options.batch,
        if options.keep_factors { " factors" } else { "" },
        if half { " f16" } else { "" },
    )
}

/// Chooses for every layer of `artifact`.
pub(crate) fn choose(device: &Device, artifact: &Artifact, options: &Options) -> Result<Vec<Choice>> {
    let mut factored: Vec<Option<Factored>> = vec![None; artifact.model().layers.len()];
    Plan::new(artifact, options.batch, |layer| {
        factored[layer.layer] = Some(layer.clone());
        Form::TwoStage
    })?;
    let forced = |layer: usize| match (&options.forms, &factored[layer]) {
        (_, None) => Some(Form::Dense),
        (Forms::All(form), Some(_)) => Some(*form),
        (Forms::Each(forms), Some(_)) => Some(forms.get(layer).copied().unwrap_or(Form::Dense)),
        (Forms::Timed | Forms::Ruled, Some(_)) => None,
    };
    let allowed = |layer: &Factored, form: Form| match form {
        Form::Dense => !options.keep_factors && !is_vast(layer),
        _ => device.supports(form, layer),
    };
    match options.forms {
        Forms::All(_) | Forms::Each(_) => {
            let form = |(i, f): (usize, &Option<Factored>)| {
                let form = forced(i).unwrap_or(Form::Dense);
                Choice::of(if f.as_ref().is_none_or(|f| device.supports(form, f)) { form } else { Form::TwoStage })
            };
            Ok(factored.iter().enumerate().map(form).collect())
        }
        Forms::Timed if device.can_wait() => timed(device, artifact, options, &factored, &allowed),
        Forms::Timed | Forms::Ruled => rule::choose(device, artifact, options, &factored, &allowed),
    }
}

/// Whether a layer multiplied back would take so much more work and memory than its factors that it is not even tried: what
/// a small file asks for must not be made large by us.
fn is_vast(layer: &Factored) -> bool {
    /// Multiply–accumulates for a sample below which a launch may count for more than they do.
    const SMALL: u64 = 1 << 22;
    /// How many times the factors' work.
    const TIMES: u64 = 16;
    layer.dense_macs > SMALL && layer.dense_macs / TIMES > layer.thin_macs
}

/// Whether a layer may take a form.
type Allowed<'a> = &'a dyn Fn(&Factored, Form) -> bool;

/// Times what is in neither the cache nor known from a layer alike.
fn timed(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    factored: &[Option<Factored>],
    allowed: Allowed<'_>,
) -> Result<Vec<Choice>> {
    let start = Instant::now();
    let mut cache = cache::Cache::open(options.cache.as_deref(), &device.fingerprint());
    let mut ruled = None;
    let mut choices = Vec::with_capacity(factored.len());
    for (layer, factored_layer) in factored.iter().enumerate() {
        let Some(_) = weight(&artifact.model().layers[layer].op) else {
            choices.push(Choice::of(Form::Dense));
            continue;
        };
        let forms: Vec<Form> = match factored_layer {
            Some(f) => [Form::Dense, Form::TwoStage, Form::Fused].into_iter().filter(|&form| allowed(f, form)).collect(),
            None => vec![Form::Dense],
        };
        let key = likeness(artifact, layer, options);
        if let Some(known) = cache.get(&key).filter(|c| forms.contains(&c.form)) {
            choices.push(known);
            continue;
        }
        if start.elapsed().as_secs_f64() > MOST_SECONDS {
            // Dense where it can be: factors that were not timed might be slower.
            if forms.first() == Some(&Form::Dense) {
                choices.push(Choice::of(Form::Dense));
                continue;
            }
            let by_rule: &Vec<Choice> = match &mut ruled {
                Some(known) => known,
                none => none.insert(rule::choose(device, artifact, options, factored, allowed)?),
            };
            choices.push(by_rule[layer].clone());
            continue;
        }
        let choice = race(device, &single_layer(artifact, layer)?, options, &forms)?;
        if !choice.measured_us.is_empty() {
            cache.put(key, choice.clone());
        }
        choices.push(choice);
    }
    cache.close();
    Ok(choices)
}

/// A way to run a one-layer network against others.
struct Contestant {
    session: Session,
    /// Runs that one timing takes together.
    repeats: usize,
    /// Microseconds of a run, each turn.
    times: Vec<f64>,
}

impl Contestant {
    fn new(device: &Device, artifact: &Artifact, options: &Options, choice: Choice) -> Result<Self> {
        let mut session = Session::with(device, artifact, options, vec![choice])?;
        // The first run compiles shaders and warms caches.
        session.time(1)?;
        let once = session.time(2)?.as_secs_f64() / 2.0;
        let repeats = ((ROUND_SECONDS / once.max(1e-9)) as usize).clamp(1, MAX_REPEATS);
        Ok(Self { session, repeats, times: Vec::with_capacity(ROUNDS) })
    }

    /// Takes its turn.
    fn time(&mut self) -> Result<()> {
        self.times.push(self.session.time(self.repeats)?.as_secs_f64() * 1e6 / self.repeats as f64);
        Ok(())
    }
}

/// Times forms, and the kernels that promise most for each, of a one-layer artifact against each other, in turn, so that a
/// drift of the machine meets all alike. Nothing is timed where there is nothing to choose. What the device, or the session's
/// budget, has no room for does not take part.
fn race(device: &Device, artifact: &Artifact, options: &Options, forms: &[Form]) -> Result<Choice> {
    let mut entered = Vec::new();
    for &form in forms {
        let plan = Plan::new(artifact, options.batch, |_| form)?;
        entered.extend(kernels(device, &plan).into_iter().map(|kernels| Choice { form, kernels, measured_us: Vec::new() }));
    }
    if let [only] = &entered[..] {
        return Ok(only.clone());
    }
    // A budget is for one of them at a time.
    let together = if options.memory.is_some() { 1 } else { entered.len().max(1) };
    let options = Options { keep_factors: true, cache: None, forms: Forms::Ruled, ranks: 1.0, keep_values: false, ..options.clone() };
    let mut entered: Vec<(Option<f64>, Choice)> = entered.into_iter().map(|choice| (Some(0.0), choice)).collect();
    for _ in 0..INSTANCES {
        for part in entered.chunks_mut(together) {
            let mut contestants = Vec::with_capacity(part.len());
            for (time, choice) in part {
                match Contestant::new(device, artifact, &options, choice.clone()) {
                    Ok(contestant) => contestants.push((contestant, time)),
                    Err(Error::Limit { .. }) => *time = None,
                    Err(other) => return Err(other),
                }
            }
            for _ in 0..ROUNDS {
                for (contestant, _) in &mut contestants {
                    contestant.time()?;
                }
            }
            for (contestant, time) in contestants {
                *time = time.map(|sum| sum + Times::new(contestant.times).p50() / INSTANCES as f64);
            }
        }
    }
    let mut results: Vec<(f64, Choice)> = entered.into_iter().filter_map(|(time, choice)| Some((time?, choice))).collect();
    results.sort_by(|a, b| a.0.total_cmp(&b.0));
    let best = |&form: &Form| results.iter().find(|r| r.1.form == form).map(|r| (form, r.0));
    let measured_us = forms.iter().filter_map(best).collect();
    let dense = results.iter().find(|r| r.1.form == Form::Dense).filter(|d| results[0].0 > CLEARLY * d.0);
    Ok(dense.or(results.first()).map_or_else(|| Choice::of(Form::TwoStage), |r| Choice { measured_us, ..r.1.clone() }))
}

/// The sets of kernels that a plan of one layer is timed with: the estimate's, and with one step each by another kernel
/// that is estimated to take not much longer.
#[cfg(feature = "gpu")]
fn kernels(device: &Device, plan: &Plan) -> Vec<Vec<Option<&'static str>>> {
    /// Kernels of a step that are tried, and how much longer than the best they may be estimated to take.
    const TRIED: usize = 3;
    const LONGER: f64 = 1.5;
    let Some(gpu) = device.gpu() else { return vec![Vec::new()] };
    let steps: Vec<Vec<&'static str>> = plan
        .steps
        .iter()
        .map(|step| {
            let mut all = crate::gpu::candidates(gpu, plan.batch, step);
            all.sort_by_key(|c| c.time);
            let least = all.first().map_or(0, |c| c.time) as f64;
            all.iter().filter(|c| c.time as f64 <= least * LONGER).take(TRIED).map(|c| c.kernel.name).collect()
        })
        .collect();
    let first: Vec<_> = steps.iter().map(|s| s.first().copied()).collect();
    let mut sets = vec![first.clone()];
    for (at, step) in steps.iter().enumerate() {
        for &kernel in step.iter().skip(1) {
            let mut other = first.clone();
            other[at] = Some(kernel);
            sets.push(other);
        }
    }
    sets
}

#[cfg(not(feature = "gpu"))]
fn kernels(_: &Device, _: &Plan) -> Vec<Vec<Option<&'static str>>> {
    vec![Vec::new()]
}

/// Layer `layer` of `artifact` as a network of its own.
pub(crate) fn single_layer(artifact: &Artifact, layer: usize) -> Result<Artifact> {
    let source = &artifact.model().layers[layer];
    let mut tensors = Vec::new();
    let mut copy = |id: u32| {
        let info = &artifact.model().tensors[id as usize];
        let shape = info.shape.iter().map(|&d| d as usize).collect();
        tensors.push(TensorData { name: info.name.clone(), dtype: info.dtype, shape, values: artifact.tensor(id).into_owned() });
        (tensors.len() - 1) as u32
    };
    let mut stored = |weight: &Weight| match *weight {
        Weight::Dense(id) => Weight::Dense(copy(id)),
        Weight::LowRank { v, u, sigma, tail_energy } => Weight::LowRank { v: copy(v), u: copy(u), sigma: copy(sigma), tail_energy },
        Weight::Spatial { v, u, sigma, tail_energy } => Weight::Spatial { v: copy(v), u: copy(u), sigma: copy(sigma), tail_energy },
        Weight::Tucker2 { a, core, b, tail_energy } => Weight::Tucker2 { a: copy(a), core: copy(core), b: copy(b), tail_energy },
    };
    let mut op = source.op.clone();
    if let Op::Linear { weight, .. } | Op::Conv { weight, .. } = &mut op {
        *weight = stored(weight);
    }
    if let Op::Linear { bias, .. } | Op::Conv { bias, .. } = &mut op {
        *bias = bias.map(copy);
    }
    // A network of one layer has one value to read: it is the residual too, where it has fewer channels and the size fits.
    let (before, after) = (&artifact.shapes()[source.inputs[0] as usize], &artifact.shapes()[layer + 1]);
    if let Op::Conv { residual: residual @ Some(_), window, .. } = &mut op {
        let fits = |stride: u32| before[0] <= after[0] && (1..3).all(|i| before[i].div_ceil(stride as usize) == after[i]);
        *residual = [1, window.stride[0]].into_iter().find(|&s| fits(s)).map(|stride| Residual { stride, offset: 0 });
    }
    let inputs = match op {
        Op::Add { .. } | Op::Conv { residual: Some(_), .. } => vec![0, 0],
        _ => vec![0],
    };
    let input: Vec<u32> = artifact.shapes()[source.inputs[0] as usize].iter().map(|&d| d as u32).collect();
    let layers = vec![Layer { name: source.name.clone(), inputs, op }];
    let model = Model::new(artifact.model().name.clone(), &input, layers);
    Artifact::build(model, tensors).map_err(|source| crate::error::Error::Format { path: "<memory>".into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;

    #[test]
    fn forms_are_forced_ruled_and_measured() {
        let (device, artifact) = (Device::cpu(), two_layers());
        let options = |forms, keep_factors| Options { batch: 4, forms, keep_factors, cache: None, ..Options::default() };
        let forms = |o: Options| choose(&device, &artifact, &o).unwrap().into_iter().map(|c| c.form).collect::<Vec<_>>();
        assert_eq!(forms(options(Forms::All(Form::Fused), false)), [Form::Dense, Form::Fused]);
        assert_eq!(forms(options(Forms::Each(vec![Form::Dense, Form::TwoStage]), false)), [Form::Dense, Form::TwoStage]);
        // 4 → 3 at rank 2 costs 14 instead of 12: dense.
        assert_eq!(forms(options(Forms::Ruled, false)), [Form::Dense, Form::Dense]);
        assert_eq!(forms(options(Forms::Ruled, true)), [Form::Dense, Form::TwoStage]);
        let measured = choose(&device, &artifact, &options(Forms::Timed, true)).unwrap();
        assert_eq!(measured[1].measured_us.iter().map(|m| m.0).collect::<Vec<_>>(), [Form::TwoStage, Form::Fused]);
    }

    #[test]
    fn a_second_session_takes_what_the_first_measured() {
        let (device, artifact) = (Device::cpu(), two_layers());
        let folder = tempfile::tempdir().unwrap();
        let options = Options { batch: 4, cache: Some(folder.path().join("not/yet")), ..Options::default() };
        let first = choose(&device, &artifact, &options).unwrap();
        assert_eq!(choose(&device, &artifact, &options).unwrap().len(), first.len());
        // To a thousandth of a microsecond, as the file says.
        let again = choose(&device, &artifact, &options).unwrap();
        for (a, b) in first.iter().zip(&again) {
            assert_eq!((a.form, &a.kernels), (b.form, &b.kernels));
            assert!(a.measured_us.iter().zip(&b.measured_us).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-3));
        }
        // Another batch is another measurement.
        let key = |batch| likeness(&artifact, 1, &Options { batch, ..options.clone() });
        assert!(key(4) != key(5) && !key(4).contains(['\t', '\n']));
    }

    #[test]
    fn a_single_layer_computes_what_it_did_in_its_network() {
        let artifact = two_layers();
        let alone = single_layer(&artifact, 1).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0];
        let options = Options { forms: Forms::Ruled, ..Options::default() };
        let y = Session::new(&Device::cpu(), &alone, &options).unwrap().run(&x).unwrap();
        // V = 0…7 as [2, 4], Uᵀ = 0…5 as [2, 3].
        let h = [x.iter().enumerate().map(|(i, v)| i as f32 * v).sum::<f32>(), x.iter().enumerate().map(|(i, v)| (i + 4) as f32 * v).sum()];
        assert_eq!(y, [3.0 * h[1], h[0] + 4.0 * h[1], 2.0 * h[0] + 5.0 * h[1]]);
    }
}
