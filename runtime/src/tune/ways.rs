//! The ways to run each layer that are worth timing: the forms that it may take, and the kernels that promise most for each.

use crate::artifact::Artifact;
use crate::engine::{Choice, Device, Options, resident_bytes};
use crate::error::Result;
use crate::plan::{Factored, Form, Plan, Step};

/// Whether a layer may take a form.
pub(crate) type Allowed<'a> = &'a dyn Fn(&Factored, Form) -> bool;

/// A way to run a layer.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) choice: Choice,
    /// What a session keeps for its steps, values apart.
    pub(crate) bytes: u64,
    pub(crate) steps: usize,
}

/// The ways of every layer, dense ones first; none for a layer without a weight. `factored` are those that have a choice of forms, and
/// `allowed` says of which.
pub(crate) fn of(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    factored: &[Option<Factored>],
    allowed: Allowed<'_>,
) -> Result<Vec<Vec<Way>>> {
    let mut ways: Vec<Vec<Way>> = vec![Vec::new(); factored.len()];
    for form in [Form::Dense, Form::TwoStage, Form::Fused] {
        let plan = Plan::new(artifact, options.batch, |f| if allowed(f, form) { form } else { Form::TwoStage })?;
        for (layer, ways) in ways.iter_mut().enumerate() {
            let may = factored[layer].as_ref().map_or(form == Form::Dense, |f| allowed(f, form));
            if !may || artifact.model().layers[layer].op.weight().is_none() {
                continue;
            }
            let steps: Vec<&Step> = plan.steps.iter().filter(|s| s.layer == layer).collect();
            let bytes = steps.iter().map(|step| resident_bytes(device, artifact, step, options.batch)).fold(0, u64::saturating_add);
            let way = |kernels| Way { choice: Choice { form, kernels, measured_us: Vec::new() }, bytes, steps: steps.len() };
            ways.extend(kernels(device, options.batch, &steps).into_iter().map(way));
        }
    }
    Ok(ways)
}

/// The sets of kernels that a layer's steps are timed with: the estimate's, and with one step each by another kernel that is estimated to
/// take not much longer.
#[cfg(feature = "wgpu")]
pub(crate) fn kernels(device: &Device, batch: usize, steps: &[&Step]) -> Vec<Vec<Option<&'static str>>> {
    /// Kernels of a step that are tried, and how much longer than the best they may be estimated to take.
    const TRIED: usize = 3;
    const LONGER: f64 = 1.5;
    let Some(gpu) = device.gpu() else { return vec![Vec::new()] };
    let promising = |step: &&Step| -> Vec<&'static str> {
        let mut all = crate::gpu::candidates(gpu, batch, step);
        all.sort_by_key(|c| c.time);
        let least = all.first().map_or(0, |c| c.time) as f64;
        all.iter().filter(|c| c.time as f64 <= least * LONGER).take(TRIED).map(|c| c.kernel.name).collect()
    };
    let steps: Vec<_> = steps.iter().map(promising).collect();
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

#[cfg(not(feature = "wgpu"))]
pub(crate) fn kernels(_: &Device, _: usize, _: &[&Step]) -> Vec<Vec<Option<&'static str>>> {
    vec![Vec::new()]
}
