//! Folds normalisations before a layer into its weight, where that is exact.

use super::folded::{Affine, Folded, FoldedLayer, FoldedOp, Weighted};
use thinfer::artifact::Activation;

/// Folds every affine layer without activation into the one layer that reads it, if that is a linear layer or a
/// convolution that pads nothing in (padding is zeros behind the normalisation, and a shift would make them its own). Then
/// nobody but linear layers may read an image that was moved into a vector: those read it as it is. `elements` says how many each value has.
pub(super) fn fold(network: Folded, elements: Vec<usize>) -> Folded {
    let (folded, elements) = without(network, elements, |network, _, at| {
        let reader = sole_reader(network, network.inputs.len() + at);
        let FoldedOp::Affine(affine) = &network.layers[at].op else { return false };
        let affine = affine.clone();
        match reader.and_then(|r| network.layers.get_mut(r)).map(|l| &mut l.op) {
            Some(FoldedOp::Weighted(w)) => absorb(&affine, w),
            _ => false,
        }
    });
    without(folded, elements, |network, elements, at| {
        let FoldedOp::Rearrange(r) = &network.layers[at].op else { return false };
        let value = network.inputs.len() + at;
        let linear = |l: &FoldedLayer| !l.is_recurrent() && l.weighted().is_some_and(|w| w.window.is_none());
        let mut readers = network.layers.iter().filter(|l| l.inputs.contains(&value)).peekable();
        // All elements as they are counted; the first of them alone are another value.
        matches!(r.steps[..], [(size, 1)] if r.offset == 0 && size == r.shape[0] && size == elements[network.layers[at].inputs[0]])
            && !network.outputs.contains(&value)
            && readers.peek().is_some()
            && readers.all(linear)
    })
    .0
}

/// The network without the layers that `gone` marks, and the elements of its values; their readers read those layers' inputs instead.
fn without(mut network: Folded, elements: Vec<usize>, gone: impl Fn(&mut Folded, &[usize], usize) -> bool) -> (Folded, Vec<usize>) {
    let inputs = network.inputs.len();
    let mut left = elements[..inputs].to_vec();
    // The new number of each value.
    let mut now: Vec<usize> = (0..inputs).collect();
    let mut kept: Vec<FoldedLayer> = Vec::with_capacity(network.layers.len());
    for at in 0..network.layers.len() {
        if gone(&mut network, &elements, at) {
            now.push(now[network.layers[at].inputs[0]]);
            continue;
        }
        let mut layer = network.layers[at].clone();
        layer.inputs.iter_mut().for_each(|v| *v = now[*v]);
        now.push(inputs + kept.len());
        kept.push(layer);
        left.push(elements[inputs + at]);
    }
    let outputs = network.outputs.iter().map(|&v| now[v]).collect();
    (Folded { layers: kept, outputs, ..network }, left)
}

/// The layer that alone reads `value`, and reads it as its first input only; none where the network gives it.
fn sole_reader(network: &Folded, value: usize) -> Option<usize> {
    if network.outputs.contains(&value) {
        return None;
    }
    let mut readers = network.layers.iter().enumerate().filter(|(_, l)| l.inputs.contains(&value));
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
