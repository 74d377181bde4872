//! For software adapters, which compile a kernel at its first run and take as long for it as for many runs: forms and kernels together.

mod fewest;

use super::ways::Allowed;
use crate::artifact::{Artifact, Op};
use crate::engine::{Choice, Options};
use crate::error::Result;
use crate::gpu::{Gpu, pipelines_of};
use crate::plan::{Factored, Form, Plan};
use fewest::Way;

/// What compiling one more kernel is worth, in cycles of every run: 100 ms a kernel, shared by some two hundred runs.
const PIPELINE: u64 = 1_500_000;
/// What launching a kernel costs, in cycles: 50 µs.
const LAUNCH: u64 = 170_000;

/// A form and kernels for every layer of `artifact`, so that few different kernels are compiled.
pub(super) fn choose(
    gpu: &Gpu,
    artifact: &Artifact,
    options: &Options,
    factored: &[Option<Factored>],
    allowed: Allowed<'_>,
) -> Result<Vec<Choice>> {
    const FORMS: [Form; 3] = [Form::Dense, Form::TwoStage, Form::Fused];
    /// A form, and the kernels that could run each of its steps.
    type Kernels = (Form, Vec<Vec<&'static str>>);
    let mut ways: Vec<Vec<Way>> = vec![Vec::new(); factored.len()];
    let mut names: Vec<Vec<Kernels>> = vec![Vec::new(); factored.len()];
    let mut pipelines = Vec::new();
    for form in FORMS {
        let plan = Plan::new(artifact, options.batch, |f| if allowed(f, form) { form } else { Form::TwoStage })?;
        for (layer, f) in factored.iter().enumerate() {
            // A map is a kernel of its own, and other primitives have one that serves: there is nothing to choose.
            if matches!(artifact.model().layers[layer].op, Op::Primitive(_)) {
                continue;
            }
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
    let choice = |(layer, taken): (usize, Option<fewest::Taken>)| {
        let Some(taken) = taken else { return Choice::of(Form::TwoStage) };
        let (form, called) = &names[layer][taken.way];
        let kernels = called.iter().zip(&taken.steps).map(|(names, &at)| Some(names[at])).collect();
        Choice { form: *form, kernels, measured_us: Vec::new() }
    };
    Ok(fewest::choose(&ways, PIPELINE).into_iter().enumerate().map(choice).collect())
}
