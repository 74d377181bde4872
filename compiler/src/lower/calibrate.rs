//! Calibration on training images: moments of each layer's inputs for data-aware cuts, and regressions that correct a layer
//! for the cuts before it.

use rayon::prelude::*;
use thinfer::artifact::Cell;

use super::folded::{Folded, FoldedLayer, FoldedOp, Weighted};
use super::patches;
use super::stage::Stage;
use super::values::{Activations, LiveValues};
use super::weights::Written;
use crate::error::{Error, Result};
use crate::factor::{LayerMoments, Moments, Regression};

/// The largest patch whose moments are kept; for larger ones the moments of the layer's outputs are used.
const WIDEST: usize = 2304;
/// Groups that images are split into; fixed, so that sums do not depend on the machine's cores.
const PARTS: usize = 4;

/// Training images as the network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    input: Activations,
}

impl Images {
    /// `data` is image after image, each of `shape` ([features] or [channels, height, width]), preprocessed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no image or the last is not whole.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Result<Self> {
        if ![1, 3].contains(&shape.len()) {
            let why = format!("takes networks of images or of vectors; samples of this one are {shape:?}");
            return Err(Error::invalid("--calibrate", why));
        }
        let input = Activations { shape: shape.to_vec(), data };
        if input.len() == 0 || input.data.is_empty() || !input.data.len().is_multiple_of(input.len()) {
            return Err(Error::invalid("calibration images", format!("{} values for images of {shape:?}", input.data.len())));
        }
        Ok(Self { input })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.input.images()
    }
}

/// Moments of the inputs of each weighted layer in the dense network, in layer order; `None` for others and for grouped ones.
/// `progress` is called with the number of layers done.
///
/// # Errors
/// [`Error::Invalid`] for images that are not what the network takes.
pub(super) fn moments(network: &Folded, images: &Images, progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Option<LayerMoments>>> {
    let mut values = LiveValues::new(network, &images.input)?;
    let mut all = Vec::with_capacity(network.layers.len());
    for (i, layer) in network.layers.iter().enumerate() {
        let inputs = values.of(layer)?;
        let value = match layer.weighted().filter(|w| w.is_factorable()) {
            Some(w) if layer.is_recurrent() => {
                let value = Stage::whole(layer, Some(&w.dense()), &inputs)?.value(&inputs)?;
                all.push(recurrent_moments(layer, &inputs, &value));
                value
            }
            Some(w) if w.kernel.columns() > WIDEST => {
                let (value, bare) = Stage::with_bare(layer, w, &w.dense(), &inputs)?.both(&inputs)?;
                all.push(Some(LayerMoments::Outputs(moments_of(&bare, w.kernel.outputs, |image, seen| seen.extend_from_slice(image)))));
                value
            }
            factorable => {
                let seen = factorable.map(|w| moments_of(inputs[0], w.kernel.columns(), |image, seen| patches::extract(w, image, seen)));
                all.push(seen.map(LayerMoments::Patches));
                let dense = layer.weighted().map(Weighted::dense);
                Stage::whole(layer, dense.as_ref(), &inputs)?.value(&inputs)?
            }
        };
        values.push(value);
        progress(i + 1);
    }
    Ok(all)
}

/// Moments of the hidden states that a recurrent weight is multiplied by: those of the steps before, of which `value` is what the layer gives;
/// before the first step the initial ones. None where a part of the weight is multiplied by something else.
fn recurrent_moments(layer: &FoldedLayer, inputs: &[&Activations], value: &Activations) -> Option<LayerMoments> {
    let FoldedOp::Recurrent(r) = &layer.op else { return None };
    let ([steps, sequences], hidden) = (r.weighted.input_size, r.settings.hidden);
    if hidden > WIDEST || r.settings.cell == (Cell::Gru { reset_after: false }) {
        return None;
    }
    let initial = inputs.get(1).filter(|_| r.settings.initial);
    let positions = steps * sequences;
    // Rows of the output: the steps, and the states behind them.
    let stride = value.len() / hidden.max(1);
    let seen = |image: usize, seen: &mut Vec<f32>| {
        seen.resize(hidden * positions, 0.0);
        let y = value.image(image);
        for (i, line) in seen.chunks_exact_mut(positions).enumerate() {
            for (t, row) in line.chunks_exact_mut(sequences).enumerate() {
                let before = if r.settings.reverse { Some(t + 1).filter(|t| *t < steps) } else { t.checked_sub(1) };
                match (before, initial) {
                    (Some(before), _) => row.copy_from_slice(&y[i * stride + before * sequences..][..sequences]),
                    (None, Some(initial)) => {
                        row.iter_mut().enumerate().for_each(|(n, h)| *h = initial.image(image)[n * hidden + i]);
                    }
                    (None, None) => row.fill(0.0),
                }
            }
        }
    };
    Some(LayerMoments::Patches(moments_by(value.images(), hidden, seen)))
}

/// Walks through the network in order and replaces each weighted layer by what `cut` returns, so that later layers see the
/// cuts before them. `cut` gets the layer's index and the regression of its DENSE output (with the error of its residual) on
/// its CUT input; no regression for grouped layers and very wide patches.
///
/// # Errors
/// Whatever `cut` returns; [`Error::Invalid`] as [`moments`].
pub(super) fn in_sequence(
    network: &Folded,
    images: &Images,
    mut cut: impl FnMut(usize, &Weighted, Option<&Regression>) -> Result<Written>,
) -> Result<Vec<Option<Written>>> {
    let (mut dense, mut thin) = (LiveValues::new(network, &images.input)?, LiveValues::new(network, &images.input)?);
    let mut all = Vec::with_capacity(network.layers.len());
    for (i, layer) in network.layers.iter().enumerate() {
        let (inputs, cut_inputs) = (dense.of(layer)?, thin.of(layer)?);
        let (value, cut_value) = match layer.weighted() {
            Some(w) => {
                let (value, seen) = if w.is_factorable() && w.kernel.columns() <= WIDEST && !layer.is_recurrent() {
                    let with_lossy: Vec<&Activations> = inputs.iter().chain(cut_inputs.get(1)).copied().collect();
                    let (value, target) = Stage::with_target(layer, w, &w.dense(), &with_lossy)?.both(&with_lossy)?;
                    (value, Some(regression(w, cut_inputs[0], &target)))
                } else {
                    (Stage::whole(layer, Some(&w.dense()), &inputs)?.value(&inputs)?, None)
                };
                let written = cut(i, w, seen.as_ref())?;
                let cut_value = Stage::whole(layer, Some(&written), &cut_inputs)?.value(&cut_inputs)?;
                all.push(Some(written));
                (value, cut_value)
            }
            None => {
                all.push(None);
                let mut stage = Stage::whole(layer, None, &inputs)?;
                (stage.value(&inputs)?, stage.value(&cut_inputs)?)
            }
        };
        dense.push(value);
        thin.push(cut_value);
    }
    Ok(all)
}

/// Mean and variance of the product of a layer's weight, before bias, residual and activation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statistics {
    /// Of each output, [out].
    pub(super) mean: Vec<f64>,
    /// Of each output, [out]; unbiased, as PyTorch keeps it.
    pub(super) variance: Vec<f64>,
}

/// [`Statistics`] of each weighted layer, in layer order, layers in the forms of `written`, one a layer; `None` for others.
///
/// # Errors
/// [`Error::Invalid`] as [`moments`].
pub(super) fn statistics(network: &Folded, images: &Images, written: &[Option<Written>]) -> Result<Vec<Option<Statistics>>> {
    Ok(through(network, images, written)?.0)
}

fn statistics_of(bare: &Activations) -> Statistics {
    let outputs = bare.shape.first().copied().unwrap_or(0);
    let positions = (bare.len() / outputs.max(1)).max(1);
    let count = (bare.images() * positions).max(1) as f64;
    let over = |o: usize, f: &dyn Fn(f64) -> f64| -> f64 {
        let planes = (0..bare.images()).map(|i| &bare.image(i)[o * positions..(o + 1) * positions]);
        planes.map(|plane| plane.iter().map(|&x| f(f64::from(x))).sum::<f64>()).sum()
    };
    let mean: Vec<f64> = (0..outputs).map(|o| over(o, &|x| x) / count).collect();
    let variance = (0..outputs).map(|o| over(o, &|x| (x - mean[o]).powi(2)) / (count - 1.0).max(1.0)).collect();
    Statistics { mean, variance }
}

/// [`statistics`], and the network's output for every image.
pub(super) fn through(network: &Folded, images: &Images, written: &[Option<Written>]) -> Result<(Vec<Option<Statistics>>, Vec<f32>)> {
    let mut values = LiveValues::new(network, &images.input)?;
    let (mut all, mut last) = (Vec::with_capacity(network.layers.len()), Vec::new());
    for (i, layer) in network.layers.iter().enumerate() {
        let inputs = values.of(layer)?;
        let value = match (layer.weighted(), written.get(i).and_then(Option::as_ref)) {
            (Some(w), Some(written)) if !layer.is_recurrent() => {
                let (value, bare) = Stage::with_bare(layer, w, written, &inputs)?.both(&inputs)?;
                all.push(Some(statistics_of(&bare)));
                value
            }
            (_, written) => {
                all.push(None);
                Stage::whole(layer, written, &inputs)?.value(&inputs)?
            }
        };
        if i + 1 == network.layers.len() {
            last.clone_from(&value.data);
        }
        values.push(value);
    }
    Ok((all, last))
}

/// The images of each part.
fn parts(images: usize) -> Vec<std::ops::Range<usize>> {
    (0..PARTS).map(|p| p * images / PARTS..(p + 1) * images / PARTS).collect()
}

/// Moments of what `columns` makes of each image of `input`, [len, n] row-major.
fn moments_of(input: &Activations, len: usize, columns: impl Fn(&[f32], &mut Vec<f32>) + Sync) -> Moments {
    moments_by(input.images(), len, |i, seen| columns(input.image(i), seen))
}

/// The same of what `columns` makes of an image by its number.
fn moments_by(images: usize, len: usize, columns: impl Fn(usize, &mut Vec<f32>) + Sync) -> Moments {
    let each = |range: std::ops::Range<usize>| {
        let mut m = Moments::new(len);
        let mut seen = Vec::new();
        for i in range {
            seen.clear();
            columns(i, &mut seen);
            m.add(&seen);
        }
        m
    };
    let parts: Vec<Moments> = parts(images).into_par_iter().map(each).collect();
    let mut sum = Moments::new(len);
    parts.iter().for_each(|m| sum.merge(m));
    sum
}

fn regression(w: &Weighted, input: &Activations, target: &Activations) -> Regression {
    let (columns, outputs) = (w.kernel.columns(), w.kernel.outputs);
    let each = |range: std::ops::Range<usize>| {
        let mut r = Regression::new(outputs, columns);
        let mut seen = Vec::new();
        for i in range {
            patches::extract(w, input.image(i), &mut seen);
            r.add(&seen, target.image(i));
        }
        r
    };
    let parts: Vec<Regression> = parts(input.images()).into_par_iter().map(each).collect();
    let mut sum = Regression::new(outputs, columns);
    parts.iter().for_each(|r| sum.merge(r));
    sum
}
