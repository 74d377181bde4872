//! Which form each factored layer takes on a device: measured, or by a written-down rule.

use crate::artifact::{Artifact, Layer, Model, Op, TensorData, Weight, Window};
use crate::device::DeviceClass;
use crate::error::Result;
use crate::plan::{Factored, Form, Plan, weight};
use crate::session::{Device, Forms, Options, Session};

/// A layer's form, and what led to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) form: Form,
    /// Microseconds a run of the whole batch for each form that was timed.
    pub(crate) measured_us: Vec<(Form, f64)>,
}

/// Rounds of interleaved timings; the median of a form's rounds counts.
const ROUNDS: usize = 7;
/// What one timing should last at least, so that the clock and the submission do not count.
const ROUND_SECONDS: f64 = 1.5e-3;
/// No timing repeats a layer more often than this.
const MAX_REPEATS: usize = 2000;

/// What makes two layers cost the same.
#[derive(PartialEq)]
struct Likeness {
    input: Vec<usize>,
    output: Vec<usize>,
    window: Option<Window>,
    scheme: &'static str,
    ranks: [Option<usize>; 2],
}

impl Likeness {
    fn of(artifact: &Artifact, layer: usize) -> Self {
        let Layer { inputs, op, .. } = &artifact.model().layers[layer];
        let window = if let Op::Conv { window, .. } = op { Some(*window) } else { None };
        let weight = weight(op);
        Self {
            input: artifact.shapes()[inputs[0] as usize].clone(),
            output: artifact.shapes()[layer + 1].clone(),
            window,
            scheme: weight.map_or("", |w| w.scheme(window.is_some())),
            ranks: [weight.and_then(|w| w.rank(artifact)), weight.and_then(|w| w.input_rank(artifact))],
        }
    }
}

/// Chooses a form for every layer of `artifact`.
pub(crate) fn choose(device: &Device, artifact: &Artifact, options: &Options) -> Result<Vec<Choice>> {
    let mut choices = vec![Choice { form: Form::Dense, measured_us: Vec::new() }; artifact.model().layers.len()];
    let mut factored = Vec::new();
    Plan::new(artifact, options.batch, |layer| {
        factored.push(layer.clone());
        Form::TwoStage
    })?;
    let mut known: Vec<(Likeness, Choice)> = Vec::new();
    for layer in &factored {
        // Layers of one shape are timed once; what a caller states is stated for each.
        let likeness = Likeness::of(artifact, layer.layer);
        let choice = match known.iter().find(|k| options.forms == Forms::Timed && k.0 == likeness) {
            Some((_, choice)) => choice.clone(),
            None => choose_one(device, artifact, layer, options)?,
        };
        known.push((likeness, choice.clone()));
        choices[layer.layer] = choice;
    }
    Ok(choices)
}

fn choose_one(device: &Device, artifact: &Artifact, layer: &Factored, options: &Options) -> Result<Choice> {
    let allowed = |form: Form| (form != Form::Dense || !options.keep_factors) && device.supports(form, layer);
    let fixed = |form| Choice { form, measured_us: Vec::new() };
    let forced = match &options.forms {
        Forms::All(form) => Some(*form),
        Forms::Each(forms) => Some(forms.get(layer.layer).copied().unwrap_or(Form::Dense)),
        Forms::Timed | Forms::Ruled => None,
    };
    if let Some(form) = forced {
        return Ok(fixed(if device.supports(form, layer) { form } else { Form::TwoStage }));
    }
    let candidates: Vec<Form> = [Form::Dense, Form::TwoStage, Form::Fused].into_iter().filter(|&f| allowed(f)).collect();
    if options.forms == Forms::Ruled {
        return Ok(fixed(rule(device.info().class, layer, options.batch, &candidates)));
    }
    let alone = single_layer(artifact, layer.layer)?;
    let measured_us = race(device, &alone, options.batch, &candidates)?;
    let best = measured_us.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(Form::TwoStage, |m| m.0);
    Ok(Choice { form: best, measured_us })
}

/// Times `forms` of a one-layer artifact against each other, in turn, so that a drift of the machine meets all alike.
fn race(device: &Device, artifact: &Artifact, batch: usize, forms: &[Form]) -> Result<Vec<(Form, f64)>> {
    let mut runs = Vec::with_capacity(forms.len());
    for &form in forms {
        let mut session =
            Session::new(device, artifact, &Options { batch, forms: Forms::All(form), keep_factors: true, ..Options::default() })?;
        // The first run compiles shaders and warms caches.
        session.time(1)?;
        let once = session.time(2)?.as_secs_f64() / 2.0;
        let repeats = ((ROUND_SECONDS / once.max(1e-9)) as usize).clamp(1, MAX_REPEATS);
        runs.push((form, session, repeats, Vec::with_capacity(ROUNDS)));
    }
    for _ in 0..ROUNDS {
        for (_, session, repeats, times) in &mut runs {
            times.push(session.time(*repeats)?.as_secs_f64() * 1e6 / *repeats as f64);
        }
    }
    Ok(runs
        .into_iter()
        .map(|(form, _, _, mut times)| {
            times.sort_by(f64::total_cmp);
            (form, times[ROUNDS / 2])
        })
        .collect())
}

/// Without a clock: dense where factors save nothing; else fused where a batch gives it enough rows to share out.
///
/// On the CPU a fused step shares out blocks of rows, so it needs some for every thread. On a GPU the fused kernel has
/// one workgroup a few rows, which leaves a wide GPU idle at small batches; a software adapter has only a few cores.
fn rule(class: DeviceClass, layer: &Factored, batch: usize, candidates: &[Form]) -> Form {
    let (thin, dense) = (layer.thin_macs, layer.dense_macs);
    let enough_rows = match class {
        DeviceClass::Cpu => 24,
        DeviceClass::Software => 16,
        DeviceClass::Integrated => 256,
        DeviceClass::Discrete | DeviceClass::Other => 1024,
    };
    let wanted = if thin as f64 > 0.9 * dense as f64 {
        Form::Dense
    } else if batch.saturating_mul(layer.pixels) >= enough_rows {
        Form::Fused
    } else {
        Form::TwoStage
    };
    if candidates.contains(&wanted) { wanted } else { Form::TwoStage }
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
    // A network of one layer has one value to read: what a residual costs is the same in every form.
    if let Op::Conv { residual, .. } = &mut op {
        *residual = None;
    }
    let inputs = if matches!(op, Op::Add { .. }) { vec![0, 0] } else { vec![0] };
    let input = artifact.shapes()[source.inputs[0] as usize].iter().map(|&d| d as u32).collect();
    let layers = vec![Layer { name: source.name.clone(), inputs, op }];
    let model = Model { input, layers, tensors: Vec::new(), preprocess: Default::default(), ..artifact.model().clone() };
    Artifact::build(model, tensors).map_err(|source| crate::error::Error::Format { path: "<memory>".into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;

    #[test]
    fn forms_are_forced_ruled_and_measured() {
        let (device, artifact) = (Device::cpu(), two_layers());
        let options = |forms, keep_factors| Options { batch: 4, forms, keep_factors, ..Options::default() };
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
