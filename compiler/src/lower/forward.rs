//! Normalisations that stand before a layer: folded into its weight, where that is exact.

use super::folded::{Affine, FoldedLayer, FoldedOp, Weighted};
use thinfer::artifact::Activation;

/// Folds every affine layer without activation into the one layer that reads it, if that is a linear layer or a
/// convolution that pads nothing in (padding is zeros behind the normalisation, and a shift would make them its own). Then
/// nobody but linear layers may read an image that was moved into a vector: those read it as it is.
pub(super) fn fold(layers: Vec<FoldedLayer>) -> Vec<FoldedLayer> {
    let folded = without(layers, |layers, at| {
        let reader = sole_reader(layers, at + 1);
        let FoldedOp::Affine(affine) = &layers[at].op else { return false };
        let affine = affine.clone();
        match reader.and_then(|r| layers.get_mut(r)).map(|l| &mut l.op) {
            Some(FoldedOp::Weighted(w)) => absorb(&affine, w),
            _ => false,
        }
    });
    without(folded, |layers, at| {
        let FoldedOp::Rearrange(r) = &layers[at].op else { return false };
        let linear = |l: &FoldedLayer| l.weighted().is_some_and(|w| w.window.is_none());
        let mut readers = layers.iter().filter(|l| l.inputs.contains(&(at + 1))).peekable();
        // All elements as they are counted: sizes that fit were checked with the graph.
        matches!(r.steps[..], [(size, 1)] if r.offset == 0 && size == r.shape[0]) && readers.peek().is_some() && readers.all(linear)
    })
}

/// The layers without those of which `gone` says so; who read one reads what it read.
fn without(mut layers: Vec<FoldedLayer>, gone: impl Fn(&mut [FoldedLayer], usize) -> bool) -> Vec<FoldedLayer> {
    // Where each value went.
    let mut now = vec![0];
    let mut kept: Vec<FoldedLayer> = Vec::with_capacity(layers.len());
    for at in 0..layers.len() {
        if gone(&mut layers, at) {
            now.push(now[layers[at].inputs[0]]);
            continue;
        }
        let mut layer = layers[at].clone();
        layer.inputs.iter_mut().for_each(|v| *v = now[*v]);
        kept.push(layer);
        now.push(kept.len());
    }
    kept
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
    w.absorbed = Some((0..channels).map(|channel| affine.scale[channel / each]).collect());
    if shifts || w.bias.is_some() {
        w.bias = Some(bias.into_iter().map(|b| b as f32).collect());
    }
    true
}
