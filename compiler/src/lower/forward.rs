//! Normalisations that stand before a layer: folded into its weight, where that is exact.

use super::folded::{Affine, FoldedLayer, FoldedOp, Weighted};
use crate::error::{Error, Result};
use thinfer::artifact::Activation;

/// Folds every affine layer without activation into the one layer that reads it, if that is a linear layer or a
/// convolution that pads nothing in (padding is zeros behind the normalisation, and a shift would make them its own), and
/// refuses those that can neither be folded nor stand alone. `shapes` are those of the folded values.
///
/// # Errors
/// [`Error::Graph`] naming a normalisation of a flattened image that no linear layer can take in.
pub(super) fn fold(mut layers: Vec<FoldedLayer>, shapes: &[Vec<usize>]) -> Result<Vec<FoldedLayer>> {
    // Where each value went: that of a layer folded away is what the layer read.
    let mut now = vec![0];
    let mut kept: Vec<FoldedLayer> = Vec::with_capacity(layers.len());
    for at in 0..layers.len() {
        let reader = sole_reader(&layers, at + 1);
        let FoldedOp::Affine(affine) = &layers[at].op else {
            keep(&mut kept, &mut now, layers[at].clone());
            continue;
        };
        let (affine, read) = (affine.clone(), layers[at].inputs[0]);
        if let Some(FoldedOp::Weighted(w)) = reader.and_then(|r| layers.get_mut(r)).map(|l| &mut l.op)
            && absorb(&affine, w)
        {
            now.push(now[read]);
            continue;
        }
        if shapes[read].first() != Some(&affine.scale.len()) {
            let why =
                format!("normalises each element of an image of {:?}, which only a linear layer right behind it can take in", shapes[read]);
            return Err(Error::Graph { node: layers[at].name.clone(), why });
        }
        keep(&mut kept, &mut now, layers[at].clone());
    }
    Ok(kept)
}

fn keep(kept: &mut Vec<FoldedLayer>, now: &mut Vec<usize>, mut layer: FoldedLayer) {
    layer.inputs.iter_mut().for_each(|v| *v = now[*v]);
    kept.push(layer);
    now.push(kept.len());
}

/// The layer that alone reads `value`, and reads it as its first input only.
fn sole_reader(layers: &[FoldedLayer], value: usize) -> Option<usize> {
    let mut readers = layers.iter().enumerate().filter(|(_, l)| l.inputs.contains(&value));
    let (at, layer) = readers.next()?;
    let once = layer.inputs.iter().filter(|v| **v == value).count() == 1 && layer.inputs[0] == value;
    (once && readers.next().is_none()).then_some(at)
}

/// W·(k·x + t) + b = (W·diag k)·x + (b + W·t); says whether that is exact.
fn absorb(affine: &Affine, w: &mut Weighted) -> bool {
    let pads = w.window.is_some_and(|window| window.padding != [0; 4]);
    let shifts = affine.shift.iter().any(|t| *t != 0.0);
    let (taps, columns) = (w.kernel.height * w.kernel.width, w.kernel.columns());
    let channels = w.kernel.inputs * w.groups.max(1);
    // A linear layer behind a flattened image reads `each` elements of a channel one after the other.
    let each =
        if w.window.is_none() && channels.is_multiple_of(affine.scale.len().max(1)) { channels / affine.scale.len().max(1) } else { 1 };
    if affine.activation != Activation::None || (pads && shifts) || affine.scale.len() * each != channels {
        return false;
    }
    let share = w.kernel.outputs / w.groups.max(1);
    let mut bias: Vec<f64> = w.bias.as_ref().map_or(vec![0.0; w.kernel.outputs], |b| b.iter().map(|&b| f64::from(b)).collect());
    for (o, row) in w.weight.chunks_exact_mut(columns.max(1)).enumerate() {
        let first = o / share.max(1) * w.kernel.inputs;
        let scale = w.scale.as_ref().map_or(1.0, |s| s[o]);
        for (i, x) in row.iter_mut().enumerate() {
            let channel = (first + i / taps.max(1)) / each;
            bias[o] += scale * f64::from(*x) * affine.shift[channel];
            *x = (f64::from(*x) * affine.scale[channel]) as f32;
        }
    }
    w.absorbed = true;
    if shifts || w.bias.is_some() {
        w.bias = Some(bias.into_iter().map(|b| b as f32).collect());
    }
    true
}
