//! What the layers see on training images: moments for cuts that know their data, and weights corrected for what the
//! cuts before them have done.

use rayon::prelude::*;

use super::folded::{FoldedLayer, FoldedOp, Weighted};
use super::host::{self, Value, Values};
use super::patches;
use crate::error::{Error, Result};
use crate::factor::{LayerMoments, Moments, Regression, multiply};

/// Patches of more values than this are not kept moments of: those of their layer's outputs must do.
const WIDEST: usize = 2304;
/// Groups that images are split into; fixed, so that sums do not depend on the machine's cores.
const PARTS: usize = 4;

/// Training images as the network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    input: Value,
}

impl Images {
    /// `data` is image after image, each of `shape` ([features] or [channels, height, width]), preprocessed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no image or the last is not whole.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Result<Self> {
        let shape = match *shape {
            [features] => [features, 1, 1],
            [c, h, w] => [c, h, w],
            _ => return Err(Error::invalid("calibration images", format!("have shape {shape:?}"))),
        };
        let input = Value { shape, data };
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

/// A weight in the place of a layer's own, and its bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// W', [out, in·kh·kw].
    pub weight: Vec<f32>,
    /// b', [out].
    pub bias: Option<Vec<f32>>,
}

/// Moments of what each weighted layer sees in the dense network, in layer order; `None` for others and for grouped
/// ones. `progress` hears how many layers are done.
///
/// # Errors
/// [`Error::Invalid`] naming a layer whose input is not what the network says.
pub fn moments(layers: &[FoldedLayer], images: &Images, progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Option<LayerMoments>>> {
    let mut values = Values::new(layers, images.input.clone());
    let mut all = Vec::with_capacity(layers.len());
    for (i, layer) in layers.iter().enumerate() {
        let inputs = inputs_of(&values, layer)?;
        let mut found = None;
        let value = match &layer.op {
            FoldedOp::Weighted(w) => {
                check(&layer.name, w, inputs[0])?;
                if w.is_factorable() {
                    found = Some(layer_moments(w, inputs[0]));
                }
                let bare = host::bare(w, &w.folded_weight(), inputs[0]);
                host::finish(w, w.bias.as_deref(), bare, inputs.get(1).copied())
            }
            op => host::plain(op, &inputs).ok_or_else(|| missing(layer))?,
        };
        all.push(found);
        values.push(value);
        progress(i + 1);
    }
    Ok(all)
}

/// Goes through the network with every layer before already replaced, and asks `cut` for each weighted layer in turn
/// what it becomes (`None`: what it was). `cut` gets the layer's place and the regression of its DENSE output, what the
/// residual has lost included, on its CUT input; no regression for grouped layers and very wide patches.
///
/// # Errors
/// Whatever `cut` returns; [`Error::Invalid`] as [`moments`].
pub fn in_sequence(
    layers: &[FoldedLayer],
    images: &Images,
    mut cut: impl FnMut(usize, Option<&Regression>) -> Result<Option<Replacement>>,
) -> Result<Vec<Option<Replacement>>> {
    let (mut dense, mut thin) = (Values::new(layers, images.input.clone()), Values::new(layers, images.input.clone()));
    let mut all = Vec::with_capacity(layers.len());
    for (i, layer) in layers.iter().enumerate() {
        let (inputs, cut_inputs) = (inputs_of(&dense, layer)?, inputs_of(&thin, layer)?);
        let mut replaced = None;
        let (value, thin_value) = match &layer.op {
            FoldedOp::Weighted(w) => {
                check(&layer.name, w, inputs[0])?;
                let bare = host::bare(w, &w.folded_weight(), inputs[0]);
                let mut seen = None;
                if w.is_factorable() && w.kernel.columns() <= WIDEST {
                    let mut target = bare.clone();
                    if let (Some(how), Some(whole), Some(lossy)) = (&w.residual, inputs.get(1), cut_inputs.get(1)) {
                        host::add(&mut target, how, whole, 1.0);
                        host::add(&mut target, how, lossy, -1.0);
                    }
                    seen = Some(regression(w, cut_inputs[0], &target));
                }
                replaced = cut(i, seen.as_ref())?;
                let value = host::finish(w, w.bias.as_deref(), bare, inputs.get(1).copied());
                let thin_value = match &replaced {
                    Some(r) => host::finish(w, r.bias.as_deref(), host::bare(w, &r.weight, cut_inputs[0]), cut_inputs.get(1).copied()),
                    None => {
                        host::finish(w, w.bias.as_deref(), host::bare(w, &w.folded_weight(), cut_inputs[0]), cut_inputs.get(1).copied())
                    }
                };
                (value, thin_value)
            }
            op => (host::plain(op, &inputs).ok_or_else(|| missing(layer))?, host::plain(op, &cut_inputs).ok_or_else(|| missing(layer))?),
        };
        dense.push(value);
        thin.push(thin_value);
        all.push(replaced);
    }
    Ok(all)
}

/// The network's output for every image, layers replaced where `replaced` says so; `replaced` may be shorter than the
/// network.
///
/// # Errors
/// [`Error::Invalid`] as [`moments`].
pub fn outputs(layers: &[FoldedLayer], images: &Images, replaced: &[Option<Replacement>]) -> Result<Vec<f32>> {
    through(layers, images, replaced, |_, _| ())
}

/// Mean and variance of what a layer's weight gives, before bias, residual and activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Of each output, [out].
    pub mean: Vec<f64>,
    /// Of each output, [out]; unbiased, as PyTorch keeps it.
    pub variance: Vec<f64>,
}

/// [`Statistics`] of each weighted layer, in layer order, layers replaced as for [`outputs`]; `None` for others.
///
/// # Errors
/// [`Error::Invalid`] as [`moments`].
pub fn statistics(layers: &[FoldedLayer], images: &Images, replaced: &[Option<Replacement>]) -> Result<Vec<Option<Statistics>>> {
    let mut all = vec![None; layers.len()];
    through(layers, images, replaced, |i, bare| all[i] = Some(statistics_of(bare)))?;
    Ok(all)
}

fn statistics_of(bare: &Value) -> Statistics {
    let [outputs, height, width] = bare.shape;
    let (positions, count) = ((height * width).max(1), (bare.images() * height * width).max(1) as f64);
    let over = |o: usize, f: &dyn Fn(f64) -> f64| -> f64 {
        let planes = (0..bare.images()).map(|i| &bare.image(i)[o * positions..(o + 1) * positions]);
        planes.map(|plane| plane.iter().map(|&x| f(f64::from(x))).sum::<f64>()).sum()
    };
    let mean: Vec<f64> = (0..outputs).map(|o| over(o, &|x| x) / count).collect();
    let variance = (0..outputs).map(|o| over(o, &|x| (x - mean[o]).powi(2)) / (count - 1.0).max(1.0)).collect();
    Statistics { mean, variance }
}

/// Runs the network, layers replaced where `replaced` says so, and shows what each weight gives.
fn through(
    layers: &[FoldedLayer],
    images: &Images,
    replaced: &[Option<Replacement>],
    mut see: impl FnMut(usize, &Value),
) -> Result<Vec<f32>> {
    let mut values = Values::new(layers, images.input.clone());
    let mut last = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let inputs = inputs_of(&values, layer)?;
        let value = match &layer.op {
            FoldedOp::Weighted(w) => {
                check(&layer.name, w, inputs[0])?;
                let (bare, bias) = match replaced.get(i).and_then(Option::as_ref) {
                    Some(r) => (host::bare(w, &r.weight, inputs[0]), r.bias.as_deref()),
                    None => (host::bare(w, &w.folded_weight(), inputs[0]), w.bias.as_deref()),
                };
                see(i, &bare);
                host::finish(w, bias, bare, inputs.get(1).copied())
            }
            op => host::plain(op, &inputs).ok_or_else(|| missing(layer))?,
        };
        if i + 1 == layers.len() {
            last.clone_from(&value.data);
        }
        values.push(value);
    }
    Ok(last)
}

fn inputs_of<'a>(values: &'a Values, layer: &FoldedLayer) -> Result<Vec<&'a Value>> {
    values.of(layer).filter(|v| !v.is_empty()).ok_or_else(|| missing(layer))
}

fn missing(layer: &FoldedLayer) -> Error {
    Error::invalid(format!("layer '{}'", layer.name), "reads a value that is not there")
}

fn check(name: &str, w: &Weighted, input: &Value) -> Result<()> {
    let wanted = w.kernel.inputs * w.groups * w.input_size.iter().product::<usize>();
    if input.len() == wanted {
        Ok(())
    } else {
        Err(Error::invalid(format!("layer '{name}'"), format!("takes {wanted} values, the images give it {}", input.len())))
    }
}

/// Which images each part takes.
fn parts(images: usize) -> Vec<std::ops::Range<usize>> {
    (0..PARTS).map(|p| p * images / PARTS..(p + 1) * images / PARTS).collect()
}

fn layer_moments(w: &Weighted, input: &Value) -> LayerMoments {
    let columns = w.kernel.columns();
    let whole = columns <= WIDEST;
    let weight = if whole { Vec::new() } else { w.folded_weight() };
    let each = |range: std::ops::Range<usize>| {
        let mut m = Moments::new(if whole { columns } else { w.kernel.outputs });
        let mut seen = Vec::new();
        for i in range {
            patches::extract(w, 0, input.image(i), &mut seen);
            if whole {
                m.add(&seen);
            } else {
                m.add(&multiply(&weight, &seen, columns));
            }
        }
        m
    };
    let parts: Vec<Moments> = parts(input.images()).into_par_iter().map(each).collect();
    let mut sum = Moments::new(if whole { columns } else { w.kernel.outputs });
    parts.iter().for_each(|m| sum.merge(m));
    if whole { LayerMoments::Patches(sum) } else { LayerMoments::Outputs(sum) }
}

fn regression(w: &Weighted, input: &Value, target: &Value) -> Regression {
    let (columns, outputs) = (w.kernel.columns(), w.kernel.outputs);
    let each = |range: std::ops::Range<usize>| {
        let mut r = Regression::new(outputs, columns);
        let mut seen = Vec::new();
        for i in range {
            patches::extract(w, 0, input.image(i), &mut seen);
            r.add(&seen, target.image(i));
        }
        r
    };
    let parts: Vec<Regression> = parts(input.images()).into_par_iter().map(each).collect();
    let mut sum = Regression::new(outputs, columns);
    parts.iter().for_each(|r| sum.merge(r));
    sum
}
