//! Fits the forms of all layers into the memory of a session: each was chosen by itself, and only their sum is bounded.

use super::ways::Way;
use crate::artifact::Artifact;
use crate::engine::{Choice, Device, Engine, Options, check_memory};
use crate::error::{Error, Result};
use crate::plan::Form;

/// Replaces chosen forms by smaller ones until all layers together fit into the budget and this machine. Next is always the
/// layer that loses least time for each byte saved; a layer that was not timed counts as losing none. If even the smallest
/// forms do not fit, opening the session reports it.
pub(super) fn fit(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    choices: &mut [Choice],
    ways: impl FnOnce() -> Result<Vec<Vec<Way>>>,
) -> Result<()> {
    let has_room = |choices: &[Choice]| match check_memory(device, artifact, &Engine::plan(artifact, options, choices)?, options.memory) {
        Ok(()) => Ok(true),
        Err(Error::Limit { .. }) => Ok(false),
        Err(other) => Err(other),
    };
    if has_room(choices)? {
        return Ok(());
    }
    let ways = ways()?;
    while let Some((layer, way)) = next(choices, &ways) {
        let measured_us = std::mem::take(&mut choices[layer].measured_us);
        choices[layer] = Choice { measured_us, ..way.choice.clone() };
        if has_room(choices)? {
            break;
        }
    }
    Ok(())
}

/// The next layer to give a smaller form, with that form; `None` when all have their smallest.
fn next<'a>(choices: &[Choice], ways: &'a [Vec<Way>]) -> Option<(usize, &'a Way)> {
    let moves = choices.iter().zip(ways).enumerate().flat_map(|(layer, (choice, ways))| {
        let time = |form: Form| choice.measured_us.iter().find(|m| m.0 == form).map(|m| m.1);
        let now = ways.iter().find(|w| w.choice.form == choice.form).map_or(0, |w| w.bytes);
        ways.iter().filter(move |w| w.bytes < now).map(move |way| {
            let slower = time(way.choice.form).zip(time(choice.form)).map_or(0.0, |(then, now)| (then - now).max(0.0));
            (slower / (now - way.bytes) as f64, now - way.bytes, layer, way)
        })
    });
    let best = moves.min_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    best.map(|(_, _, layer, way)| (layer, way))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::cases::{Case, LayerCase};
    use crate::{Forms, Session};

    fn way(form: Form, bytes: u64) -> Way {
        Way { choice: Choice::of(form), bytes, steps: 1 }
    }

    fn timed(form: Form, dense: f64, fused: f64) -> Choice {
        Choice { form, kernels: Vec::new(), measured_us: vec![(Form::Dense, dense), (Form::Fused, fused)] }
    }

    #[test]
    fn who_loses_least_for_a_byte_goes_first() {
        let ways = vec![vec![way(Form::Dense, 100), way(Form::Fused, 50)]; 3];
        let choices = [timed(Form::Dense, 1.0, 3.0), timed(Form::Dense, 1.0, 2.0), timed(Form::Fused, 2.0, 1.0)];
        assert_eq!(next(&choices, &ways).map(|(layer, way)| (layer, way.choice.form)), Some((1, Form::Fused)));
        // Not timed: it is not known to lose anything.
        let untimed = [choices[0].clone(), choices[1].clone(), Choice::of(Form::Dense)];
        assert_eq!(next(&untimed, &ways).map(|m| m.0), Some(2));
        let smallest = [timed(Form::Fused, 1.0, 3.0), Choice::of(Form::Fused), Choice::of(Form::Fused)];
        assert!(next(&smallest, &ways).is_none());
    }

    #[test]
    fn layers_that_fit_one_by_one_must_fit_together() {
        let layer =
            LayerCase { outputs: 256, rank: Some(8), form: Form::Dense, bias: false, activation: crate::artifact::Activation::Relu };
        let artifact = Case { key: 1, inputs: 256, layers: vec![layer; 4], batch: 1, rows: 1 }.artifact();
        let device = Device::cpu();
        let needs = |forms: Forms| {
            let options = Options { forms, memory: Some(1), cache: None, ..Options::default() };
            match Session::new(&device, &artifact, &options) {
                Err(Error::Limit { needs, .. }) => needs,
                other => panic!("{other:?}"),
            }
        };
        let (dense, thin) = (needs(Forms::All(Form::Dense)), needs(Forms::All(Form::Fused)));
        // A dense layer has 256 KiB: two of four have room.
        let memory = thin + 2 * (256 << 10);
        assert!(memory < dense);
        let mut choices: Vec<Choice> = [3.0, 9.0, 2.0, 5.0].map(|fused| timed(Form::Dense, 1.0, fused)).to_vec();
        let options = Options { memory: Some(memory), ..Options::default() };
        let ways = || Ok(vec![vec![way(Form::Dense, 256 << 10), way(Form::Fused, 16 << 10)]; 4]);
        fit(&device, &artifact, &options, &mut choices, ways).unwrap();
        assert_eq!(choices.iter().map(|c| c.form).collect::<Vec<_>>(), [Form::Fused, Form::Dense, Form::Fused, Form::Dense]);
    }

    #[test]
    fn a_cached_choice_that_has_no_room_is_made_anew() {
        let layer =
            LayerCase { outputs: 256, rank: Some(120), form: Form::Dense, bias: false, activation: crate::artifact::Activation::Relu };
        let network = |layers: usize| Case { key: 2, inputs: 256, layers: vec![layer; layers], batch: 1, rows: 1 }.artifact();
        let folder = tempfile::tempdir().unwrap();
        let device = Device::cpu();
        let options = |memory| Options { memory, cache: Some(folder.path().into()), ..Options::default() };
        let smallest = |artifact: &Artifact| match Session::new(&device, artifact, &Options { forms: Forms::Ruled, ..options(Some(1)) }) {
            Err(Error::Limit { needs, .. }) => needs,
            other => panic!("{other:?}"),
        };
        // As much as the longer network takes in its smallest forms.
        let memory = smallest(&network(3));
        let short = Session::new(&device, &network(1), &options(Some(memory))).unwrap();
        assert!(short.layers().iter().all(|l| l.measured_us.len() == 3), "all three have room");
        let long = Session::new(&device, &network(3), &options(Some(memory))).unwrap();
        assert_eq!(long.layers().iter().map(|l| l.rank).collect::<Vec<_>>(), [Some(120); 3]);
        assert!(Session::new(&device, &network(3), &options(Some(memory - 1))).is_err());
    }
}
