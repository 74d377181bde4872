//! Multiply–accumulates of a layer, from its shapes alone.

use super::{Model, Op, Recurrent, TensorId, Weight};

/// Multiply–accumulates for one sample of layer `index` of `model`, whose values have `shapes`: as stored, and if it were dense.
/// Only weights count, as in papers.
pub(crate) fn layer_macs(model: &Model, shapes: &[Vec<usize>], index: usize) -> (u64, u64) {
    let layer = &model.layers[index];
    let axis = |id: TensorId, at: usize| model.tensors.get(id as usize).and_then(|t| t.shape.get(at)).map_or(1, |&n| u64::from(n));
    let product = |sizes: &[u64]| sizes.iter().fold(1u64, |n, &s| n.saturating_mul(s));
    let shape = |value: usize| shapes.get(value).map_or(&[][..], Vec::as_slice);
    let (input, output) = (shape(layer.inputs.first().map_or(0, |&v| v as usize)), shape(model.inputs.len() + index));
    let of = |shape: &[usize], at: usize| shape.get(at).map_or(1, |&n| n as u64);
    let (inputs, outputs, kernel, from, to) = match &layer.op {
        Op::Linear { .. } => (product(&input.iter().map(|&n| n as u64).collect::<Vec<_>>()), of(output, 0), [1, 1], [1, 1], [1, 1]),
        Op::Conv { window, groups, .. } => {
            let inputs = of(input, 0) / u64::from(*groups).max(1);
            (inputs, of(output, 0), window.kernel.map(u64::from), [of(input, 1), of(input, 2)], [of(output, 1), of(output, 2)])
        }
        // R at each step of each sequence.
        Op::Recurrent(Recurrent { cell, .. }) => {
            let image = [of(input, 1), of(input, 2)];
            (of(input, 0) / cell.gates() as u64, of(input, 0), [1, 1], image, image)
        }
        _ => return (0, 0),
    };
    let pixels = to[0].saturating_mul(to[1]);
    let dense = product(&[outputs, inputs, kernel[0], kernel[1], pixels]);
    let stored = match layer.op.weight() {
        None | Some(Weight::Dense(_)) => dense,
        Some(Weight::LowRank { v, .. }) => {
            let rank = axis(*v, 0);
            product(&[rank, inputs, kernel[0], kernel[1], pixels]).saturating_add(product(&[outputs, rank, pixels]))
        }
        // Columns first: the height is the output's then, the width still the input's.
        Some(Weight::Spatial { v, .. }) => {
            let rank = axis(*v, 0);
            product(&[rank, inputs, kernel[0], to[0], from[1]]).saturating_add(product(&[outputs, rank, kernel[1], pixels]))
        }
        Some(Weight::Tucker2 { core, .. }) => {
            let (rank_out, rank_in) = (axis(*core, 0), axis(*core, 1));
            let first = product(&[rank_in, inputs, from[0], from[1]]);
            let middle = product(&[rank_out, rank_in, kernel[0], kernel[1], pixels]);
            first.saturating_add(middle).saturating_add(product(&[outputs, rank_out, pixels]))
        }
    };
    (stored, dense)
}
