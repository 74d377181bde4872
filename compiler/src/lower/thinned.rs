//! A network cut once, from which its artifact is written, and its factors for a trainer to go on with.
//!
//! The artifact has batch norm folded in; training wants it back. A layer's weight is divided by the factor that it was
//! folded with, κ = γ/√(var + ε), and the norm behind it is set so that in evaluation it gives exactly what the artifact
//! does. In training it normalises by the batch instead, so with images as training will show them (augmented) its running
//! statistics become those of the CUT layer on them, γ = κ·√(var + ε), and β the mean that the layer gives: then both
//! modes agree from the first step on, and the statistics have nowhere to drift to. Without images they stay the dense
//! network's.

use thinfer::artifact::{Artifact, Dtype};

use super::calibrate::{self, Images, Statistics};
use super::emit::{self, Identity};
use super::folded::{Folded, Norm, Weighted};
use super::weights::{Form, Written};
use crate::error::{Error, Result};
use crate::import::Place;
use crate::rank::Pool;
use crate::tensor::{Params, Tensor};

/// A κ below this share of its layer's largest counts as zero and is not divided by.
const SMALLEST: f64 = 1e-6;

/// A cut network.
#[derive(Debug)]
pub struct Thinned<'a> {
    pub(super) identity: Identity,
    pub(super) network: &'a Folded,
    /// One a layer; none for a layer without a weight.
    pub(super) written: Vec<Option<Written>>,
}

impl Thinned<'_> {
    /// The same, and the artifact says which device its ranks were chosen for.
    #[must_use]
    pub fn chosen_for(mut self, device: &str, batch: usize) -> Self {
        self.identity.policy = format!("{} for {device}, batch {batch}", self.identity.policy);
        self
    }

    /// The same, and the artifact says which images decided its ranks.
    #[must_use]
    pub fn judged_on(mut self, images: &str) -> Self {
        self.identity.policy = format!("{} judged on {images}", self.identity.policy);
        self
    }

    /// The artifact, weights stored as `dtype`.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the network breaks a rule of the format.
    pub fn artifact(&self, dtype: Dtype) -> Result<Artifact> {
        Ok(self.artifact_and_denormals(dtype)?.0)
    }

    /// [`Thinned::artifact`], and how many of its values were denormal as f32 and are written as zero.
    ///
    /// # Errors
    /// As [`Thinned::artifact`].
    pub fn artifact_and_denormals(&self, dtype: Dtype) -> Result<(Artifact, usize)> {
        emit::emit(self.identity.clone(), self.network, &self.written, dtype)
    }

    /// The same function as a checkpoint's tensors, cut layers as factors ([`Place`]) and batch norm unfolded; `dense` are
    /// the tensors that the network was folded from, `images` such as training will show.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a layer whose fitted bias has no tensor to go to; [`Error::Params`]'s tensors missing.
    pub fn factors(&self, dense: &Params, images: Option<&Images>) -> Result<Params> {
        let statistics = match images {
            Some(images) => calibrate::statistics(self.network, images, &self.written)?,
            None => vec![None; self.network.layers.len()],
        };
        let mut params = dense.clone();
        for ((layer, written), statistics) in self.network.layers.iter().zip(&self.written).zip(&statistics) {
            let (Some(w), Some(written)) = (layer.weighted(), written) else { continue };
            if w.absorbed.is_some() {
                let why = "took in the normalisation before it and cannot be taken apart from it again";
                return Err(Error::invalid(format!("layer '{}'", layer.name), why));
            }
            let divisor = match &w.norms[..] {
                [] => {
                    set_bias(&layer.name, written, &mut params)?;
                    vec![1.0; w.kernel.outputs]
                }
                [norm] if norm.moved => {
                    let why =
                        format!("took in '{}' from behind a movement of its pixels and cannot be taken apart from it again", norm.name);
                    return Err(Error::invalid(format!("layer '{}'", layer.name), why));
                }
                [norm] => unfold(&layer.name, w, norm, written, statistics.as_ref(), &mut params)?,
                _ => {
                    return Err(Error::invalid(
                        format!("layer '{}'", layer.name),
                        "has two normalisations, which cannot be told apart again",
                    ));
                }
            };
            let inverse: Vec<f64> = divisor.iter().map(|k| 1.0 / k).collect();
            let weight = format!("{}.weight", layer.name);
            match &written.form {
                // Unchanged weights are copied bit for bit.
                Form::Dense(values) if *values == w.folded_weight() && w.scale.as_ref().is_none_or(|scale| *scale == divisor) => {}
                Form::Dense(values) => {
                    let columns = w.kernel.columns();
                    let values = values.iter().enumerate().map(|(at, x)| (f64::from(*x) * inverse[at / columns]) as f32).collect();
                    let tensor = Tensor::new(w.kernel.shape(w.pool != Pool::Conv), values);
                    params.insert(weight.clone(), tensor.ok_or_else(|| Error::invalid(weight, "has another size"))?);
                }
                Form::Factors(factors) => {
                    params.remove(&weight);
                    let place = Place { name: &layer.name, kernel: w.kernel, is_linear: w.pool != Pool::Conv, is_grouped: false };
                    params.extend(place.write(&factors.scaled(&inverse)));
                }
            }
        }
        Ok(params)
    }
}

/// The tensor called `name`.
fn tensor<'a>(params: &'a mut Params, name: &str) -> Result<&'a mut [f32]> {
    params.get_mut(name).map(Tensor::data_mut).ok_or_else(|| Error::invalid(name, "is missing"))
}

/// The bias of a layer without batch norm, which the cut may have moved.
fn set_bias(layer: &str, written: &Written, params: &mut Params) -> Result<()> {
    let Some(bias) = &written.bias else { return Ok(()) };
    match tensor(params, &format!("{layer}.bias")) {
        Ok(stored) => {
            stored.iter_mut().zip(bias).for_each(|(b, x)| *b = *x);
            Ok(())
        }
        Err(_) if bias.iter().all(|x| *x == 0.0) => Ok(()),
        Err(_) => {
            let why = format!("has neither a bias nor a batch norm to take its correction: --skip {layer}, or cut without --calibrate");
            Err(Error::invalid(format!("layer '{layer}'"), why))
        }
    }
}

/// Sets the normalisation behind a layer, and says what the layer's outputs must be divided by.
fn unfold(layer: &str, w: &Weighted, norm: &Norm, written: &Written, seen: Option<&Statistics>, params: &mut Params) -> Result<Vec<f64>> {
    let outputs = w.kernel.outputs;
    let zeros = || vec![0.0f32; outputs];
    let bias = params.get(&format!("{layer}.bias")).map_or_else(zeros, |t| t.data().to_vec());
    let folded = written.bias.clone().unwrap_or_else(zeros);
    let scale = w.scale.clone().unwrap_or_else(|| vec![1.0; outputs]);
    let Some(eps) = norm.eps else {
        // Without statistics the scale stays as it is, and the shift takes up the new bias.
        let beta = (0..outputs).map(|o| (f64::from(folded[o]) - f64::from(bias[o]) * scale[o]) as f32);
        tensor(params, &format!("{}.bias", norm.name))?.iter_mut().zip(beta).for_each(|(t, x)| *t = x);
        return match scale.iter().all(|k| *k != 0.0) {
            true => Ok(scale),
            false => Err(Error::invalid(format!("layer '{layer}'"), "has a channel that is scaled to nothing")),
        };
    };
    let floor = SMALLEST * scale.iter().fold(0.0f64, |m, k| m.max(k.abs()));
    let [mean, variance] = ["running_mean", "running_var"].map(|s| tensor(params, &format!("{}.{s}", norm.name)).map(|t| t.to_vec()));
    let (mut mean, mut variance) = (mean?, variance?);
    let mut divisor = Vec::with_capacity(outputs);
    let (mut gamma, mut beta) = (Vec::with_capacity(outputs), Vec::with_capacity(outputs));
    for o in 0..outputs {
        let k = if scale[o].abs() > floor { scale[o] } else { 1.0 };
        if let Some(seen) = seen {
            mean[o] = (seen.mean[o] / k + f64::from(bias[o])) as f32;
            variance[o] = (seen.variance[o] / (k * k)) as f32;
        }
        let deviation = (f64::from(variance[o]) + f64::from(eps)).sqrt();
        gamma.push((k * deviation) as f32);
        beta.push((f64::from(folded[o]) - (f64::from(bias[o]) - f64::from(mean[o])) * k) as f32);
        divisor.push(k);
    }
    for (suffix, values) in [("running_mean", mean), ("running_var", variance), ("weight", gamma), ("bias", beta)] {
        tensor(params, &format!("{}.{suffix}", norm.name))?.iter_mut().zip(values).for_each(|(t, x)| *t = x);
    }
    Ok(divisor)
}
