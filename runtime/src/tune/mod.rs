//! Which form each factored layer takes on a device, and on a GPU which kernels run it: measured, kept from an earlier
//! measurement, or by a written-down rule.

pub(crate) mod alone;
mod budget;
mod cache;
pub(crate) mod group;
pub(crate) mod key;
pub(crate) mod place;
mod rule;
pub(crate) mod runner;
#[cfg(feature = "wgpu")]
mod software;
pub(crate) mod ways;

use crate::artifact::Artifact;
use crate::clock::Instant;
use crate::engine::{Choice, Device, Forms, Options};
use crate::error::{Error, Result};
use crate::plan::{Factored, Form, Plan};
use group::Group;
use ways::Allowed;

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
        Forms::Timed | Forms::Ruled => {
            let mut choices = rule::choose(device, artifact, options, &factored, &allowed)?;
            budget::fit(device, artifact, options, &mut choices, || ways::of(device, artifact, options, &factored, &allowed))?;
            Ok(choices)
        }
    }
}

/// Whether a layer multiplied back would take so much more work and memory than its factors that it is not even tried: a
/// small file must not need much memory because of tuning.
fn is_vast(layer: &Factored) -> bool {
    /// Multiply–accumulates for a sample below which a launch may count for more than they do.
    const SMALL: u64 = 1 << 22;
    /// How many times the factors' work.
    const TIMES: u64 = 16;
    layer.dense_macs > SMALL && layer.dense_macs / TIMES > layer.thin_macs
}

/// Times each group of layers that is not in the cache.
fn timed(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    factored: &[Option<Factored>],
    allowed: Allowed<'_>,
) -> Result<Vec<Choice>> {
    let start = Instant::now();
    let mut cache = cache::Cache::open(options.cache.as_deref(), &device.fingerprint());
    let ways = ways::of(device, artifact, options, factored, allowed)?;
    // While others are timed, a layer runs in the form that needs the least memory.
    let least = |ways: &Vec<ways::Way>| ways.iter().min_by_key(|w| w.bytes).map_or_else(|| Choice::of(Form::Dense), |w| w.choice.clone());
    let mut choices: Vec<Choice> = ways.iter().map(least).collect();
    let mut groups: Vec<Group> = Vec::new();
    for (layer, ways) in ways.iter().enumerate().filter(|(_, ways)| ways.len() > 1) {
        let key = key::cache_key(artifact, layer, options);
        match (cache.get(&key), groups.iter_mut().find(|g| g.key == key)) {
            (Some(known), _) if ways.iter().any(|w| w.choice.form == known.form) => choices[layer] = known,
            (_, Some(group)) => group.layers.push(layer),
            _ => groups.push(Group { key, layers: vec![layer], ways: ways.clone() }),
        }
    }
    if !groups.is_empty() {
        budget::fit(device, artifact, options, &mut choices, || Ok(ways.clone()))?;
        let found = match place::race(device, artifact, options, &choices, &groups, start) {
            Ok(Some(found)) => found,
            Ok(None) => alone::all(device, artifact, options, &groups, start)?,
            // Not even the smallest forms fit; opening the session reports it.
            Err(Error::Limit { .. }) => return Ok(choices),
            Err(other) => return Err(other),
        };
        let ruled = match found.iter().any(Option::is_none) {
            true => rule::choose(device, artifact, options, factored, allowed)?,
            false => Vec::new(),
        };
        for (group, found) in groups.into_iter().zip(found) {
            for &layer in &group.layers {
                choices[layer] = match &found {
                    Some(found) => found.clone(),
                    // Dense where it can be: factors that were not timed might be slower.
                    None if group.ways[0].choice.form == Form::Dense => Choice::of(Form::Dense),
                    None => ruled[layer].clone(),
                };
            }
            if let Some(found) = found.filter(|found| !found.measured_us.is_empty()) {
                cache.put(group.key, found);
            }
        }
    }
    cache.close();
    // Each was chosen by itself, or comes from the cache and another network.
    budget::fit(device, artifact, options, &mut choices, || Ok(ways))?;
    Ok(choices)
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
    }
}
