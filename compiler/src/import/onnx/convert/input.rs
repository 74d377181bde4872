//! The network's input: a vector or an image, and in which order the file sees its elements.

use super::MOST;
use crate::import::onnx::model::Model;
use crate::import::onnx::view::View;
use crate::tensor::count;

/// Samples of the batch, the graph's input and how the file sees it. Images stand channels first in the graph, whatever
/// the file says, because that is how images are read.
pub(in crate::import::onnx) fn input_view(model: &Model, image: Option<Vec<usize>>) -> Result<(usize, Vec<usize>, View), String> {
    let name = &model.input;
    let Some((batch, rest)) = model.dims.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(format!("input '{name}' has {} axes; a batch and at least one more are needed", model.dims.len()));
    };
    let sizes: Option<Vec<usize>> = rest.iter().copied().collect();
    let sizes = sizes.ok_or_else(|| format!("input '{name}' has an axis beside the batch whose size is no number"))?;
    let len = count(&sizes).filter(|n| *n <= MOST).ok_or_else(|| format!("input '{name}' has the shape {sizes:?}, which is too large"))?;
    let batch = batch.unwrap_or(1);
    let view = |base: &[usize]| View::plain(0, base).reshaped(&sizes).ok_or_else(|| format!("input '{name}' has the shape {sizes:?}"));
    if let Some(image) = image {
        return Ok((batch, image.clone(), view(&image)?));
    }
    match sizes[..] {
        [height, width, channels] if is_channels_last(model, &sizes) => {
            let base = vec![channels, height, width];
            let view = View::plain(0, &base).permuted(&[1, 2, 0]).ok_or("input is no image")?;
            Ok((batch, base, view))
        }
        [a, b] if a > 1 && b > 1 => Ok((batch, vec![1, a, b], view(&[1, a, b])?)),
        [_, _, _] => Ok((batch, sizes.clone(), View::plain(0, &sizes))),
        _ => Ok((batch, vec![len], view(&[len])?)),
    }
}

/// Whether an input of these three axes has its channels last: by the first operation that tells, else if only the last
/// axis is as small as channels are.
fn is_channels_last(model: &Model, sizes: &[usize]) -> bool {
    let mut seen = vec![model.input.as_str()];
    let mut at = 0;
    while let Some(&value) = seen.get(at) {
        at += 1;
        for node in model.nodes.iter().filter(|n| n.inputs.iter().any(|i| i == value)) {
            match node.op.as_str() {
                "Transpose" => return node.ints("perm") == Some(&[0, 3, 1, 2]),
                "Conv" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "BatchNormalization" => return false,
                "Add" | "Sub" | "Mul" | "Div" | "Cast" | "Identity" | "Pad" | "Relu" => {
                    seen.extend(node.outputs.first().map(String::as_str))
                }
                _ => {}
            }
        }
    }
    sizes[2] <= 4 && sizes[0] > 4
}
