//! Without a clock: what is known of a class of devices.

use super::ways::Allowed;
use crate::artifact::Artifact;
use crate::device::DeviceClass;
use crate::engine::{Choice, Device, Options};
use crate::error::Result;
use crate::plan::{Factored, Form};

/// A form for every layer of `artifact`; where kernels are compiled at the first run and that takes as long as many runs,
/// kernels as well, few different ones.
pub(super) fn choose(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    factored: &[Option<Factored>],
    allowed: Allowed<'_>,
) -> Result<Vec<Choice>> {
    #[cfg(feature = "gpu")]
    if let Some(gpu) = device.gpu().filter(|gpu| gpu.compiles_slowly()) {
        return few_pipelines(gpu, artifact, options, factored, allowed);
    }
    let class = device.info().class;
    let form = |f: &Option<Factored>| match f {
        None => Form::Dense,
        Some(f) => Some(form(class, f, options.batch)).filter(|&form| allowed(f, form)).unwrap_or(Form::TwoStage),
    };
    // Forms follow from what is known of each layer; only kernels need the artifact.
    let _ = artifact;
    Ok(factored.iter().map(|f| Choice::of(form(f))).collect())
}

/// Dense where factors save nothing; else fused where a batch gives it enough rows to share out.
///
/// On the CPU a fused step shares out blocks of rows, so it needs some for every thread. On a GPU the fused kernel has
/// one workgroup a few rows, which leaves a wide GPU idle at small batches; a software adapter has only a few cores.
fn form(class: DeviceClass, layer: &Factored, batch: usize) -> Form {
    let enough_rows = match class {
        DeviceClass::Cpu => 24,
        DeviceClass::Software => 16,
        DeviceClass::Integrated => 256,
        DeviceClass::Discrete | DeviceClass::Other => 1024,
    };
    if layer.thin_macs as f64 > 0.9 * layer.dense_macs as f64 {
        Form::Dense
    } else if batch.saturating_mul(layer.pixels) >= enough_rows {
        Form::Fused
    } else {
        Form::TwoStage
    }
}

/// What compiling one more kernel is worth, in cycles of every run: 100 ms a kernel, shared by some two hundred runs.
#[cfg(feature = "gpu")]
const PIPELINE: u64 = 1_500_000;
/// What launching a kernel costs, in cycles: 50 µs.
#[cfg(feature = "gpu")]
const LAUNCH: u64 = 170_000;

#[cfg(feature = "gpu")]
fn few_pipelines(
    gpu: &crate::gpu::Gpu,
    artifact: &Artifact,
    options: &Options,
    factored: &[Option<Factored>],
    allowed: Allowed<'_>,
) -> Result<Vec<Choice>> {
    use super::few::{self, Way};
    use crate::gpu::pipelines_of;
    use crate::plan::Plan;

    const FORMS: [Form; 3] = [Form::Dense, Form::TwoStage, Form::Fused];
    /// A form, and the kernels that could run each of its steps.
    type Kernels = (Form, Vec<Vec<&'static str>>);
    let mut ways: Vec<Vec<Way>> = vec![Vec::new(); factored.len()];
    let mut names: Vec<Vec<Kernels>> = vec![Vec::new(); factored.len()];
    let mut pipelines = Vec::new();
    for form in FORMS {
        let plan = Plan::new(artifact, options.batch, |f| if allowed(f, form) { form } else { Form::TwoStage })?;
        for (layer, f) in factored.iter().enumerate() {
            if !f.as_ref().map_or(form == Form::Dense, |f| allowed(f, form) && plan.forms[layer] == form) {
                continue;
            }
            let (mut way, mut called) = (Way::new(), Vec::new());
            for step in plan.steps.iter().filter(|s| s.layer == layer) {
                let mut candidates = Vec::new();
                let mut kernels = Vec::new();
                for (pipeline, name, time) in pipelines_of(gpu, artifact, options.batch, step) {
                    let known = pipelines.iter().position(|p| *p == pipeline);
                    candidates.push((known.unwrap_or(pipelines.len()), time + LAUNCH));
                    kernels.push(name);
                    if known.is_none() {
                        pipelines.push(pipeline);
                    }
                }
                way.push(candidates);
                called.push(kernels);
            }
            ways[layer].push(way);
            names[layer].push((form, called));
        }
    }
    let choice = |(layer, taken): (usize, Option<few::Taken>)| {
        let Some(taken) = taken else { return Choice::of(Form::TwoStage) };
        let (form, called) = &names[layer][taken.way];
        let kernels = called.iter().zip(&taken.steps).map(|(names, &at)| Some(names[at])).collect();
        Choice { form: *form, kernels, measured_us: Vec::new() }
    };
    Ok(few::choose(&ways, PIPELINE).into_iter().enumerate().map(choice).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_where_there_are_rows_for_it() {
        let layer =
            |pixels, thin_macs| Factored { layer: 0, inputs: 64, outputs: 64, rank: 8, pixels, dense_macs: 100, thin_macs, fused: None };
        assert_eq!(form(DeviceClass::Cpu, &layer(64, 95), 1), Form::Dense);
        assert_eq!(form(DeviceClass::Cpu, &layer(64, 20), 1), Form::Fused);
        assert_eq!(form(DeviceClass::Cpu, &layer(1, 20), 1), Form::TwoStage);
        assert_eq!(form(DeviceClass::Discrete, &layer(64, 20), 1), Form::TwoStage);
        assert_eq!(form(DeviceClass::Discrete, &layer(64, 20), 16), Form::Fused);
    }
}
