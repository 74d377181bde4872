//! Whether any layer of a session runs slower than its dense form.

use super::{Choice, Contestant, race, single_layer};
use crate::artifact::Artifact;
use crate::bench::Times;
use crate::error::{Error, Result};
use crate::plan::{Form, weight};
use crate::session::{Options, Session};

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

/// Times every layer of `session` that `artifact`, of which it was made, holds as factors, against its dense form and that
/// against itself, `rounds` times in turn. With [`Options::ranks`] below 1 the artifact is the one with those ranks.
///
/// # Errors
/// [`crate::Error::Gpu`] when the device fails.
pub fn against_dense(session: &Session, artifact: &Artifact, rounds: usize) -> Result<Vec<LayerCheck>> {
    let (device, batch) = (session.device(), session.batch());
    let mut all = Vec::new();
    for (layer, choice) in session.layers().iter().enumerate() {
        if weight(&artifact.model().layers[layer].op).and_then(|w| w.rank(artifact)).is_none() {
            continue;
        }
        let (name, form) = (choice.name.clone(), choice.form);
        if form == Form::Dense {
            all.push(LayerCheck { name, form, us: 0.0, dense_us: 0.0, ratio: 1.0, noise: 0.0 });
            continue;
        }
        let alone = single_layer(artifact, layer)?;
        let options = Options { batch, keep_factors: true, cache: None, ..Options::default() };
        let dense = race(device, &alone, &options, &[Form::Dense])?;
        let kernels = choice.kernels.iter().map(|k| Some(*k)).collect();
        let taken = Choice { form, kernels, measured_us: Vec::new() };
        if let Err(Error::Limit { .. }) = Contestant::new(device, &alone, &options, dense.clone()) {
            // It cannot be run here as dense.
            all.push(LayerCheck { name, form, us: 0.0, dense_us: f64::INFINITY, ratio: 0.0, noise: 0.0 });
            continue;
        }
        let (mut ratios, mut controls, mut times) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        for _ in 0..INSTANCES {
            let enter = |choice| Contestant::new(device, &alone, &options, choice);
            let mut contestants = [enter(taken.clone())?, enter(dense.clone())?, enter(dense.clone())?];
            for _ in 0..rounds.div_ceil(INSTANCES) {
                for c in &mut contestants {
                    c.time()?;
                }
                let [taken, dense, again] = [0, 1, 2].map(|i: usize| contestants[i].times.last().copied().unwrap_or(0.0));
                ratios.push(taken / dense.max(1e-9));
                controls.push((again / dense.max(1e-9) - 1.0).abs());
                times[0].push(taken);
                times[1].push(dense);
            }
        }
        let [taken, dense] = times.map(|t| Times::new(t).p50());
        let ratio = Times::new(ratios.clone()).p50();
        let own = ratios.iter().map(|r| (r / ratio.max(1e-9) - 1.0).abs()).collect();
        let noise = Times::new(controls).p90().max(Times::new(own).p90());
        all.push(LayerCheck { name, form, us: taken, dense_us: dense, ratio, noise });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;
    use crate::session::{Device, Forms};

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
    }
}
