//! A network's inputs: vectors or images, where their samples are, and in which order the file sees their elements.

use crate::import::onnx::model::Model;
use crate::import::onnx::view::View;
use crate::tensor::count;

/// The most elements of one sample at any place, as the runtime has it.
pub(super) const MOST: usize = 1 << 28;

/// Where a network's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::import::onnx) enum Samples {
    /// No axis of the file's values: a run of the network is one sample.
    None,
    /// The first axis of inputs that have it free, or of all, of so many in the file's own shapes.
    Along(usize),
}

/// What the first axes of a network's inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstAxis {
    /// Of any number, of one input at least.
    Free,
    /// Of one number above 1, of all inputs, none of which has other axes only.
    Of(usize),
    /// Anything else.
    None,
}

/// What the first axes of the inputs of `model` are.
pub(super) fn first_axis(model: &Model) -> FirstAxis {
    let mut firsts = model.inputs.iter().map(|i| i.dims.first().copied().filter(|_| i.dims.len() > 1));
    if model.inputs.iter().any(|i| i.dims.first() == Some(&None)) {
        return FirstAxis::Free;
    }
    match firsts.next().flatten().flatten() {
        Some(count @ 2..) if firsts.all(|f| f == Some(Some(count))) => FirstAxis::Of(count),
        _ => FirstAxis::None,
    }
}

impl Samples {
    /// Samples in the file's shapes.
    pub(super) fn count(self) -> usize {
        match self {
            Self::None => 1,
            Self::Along(count) => count,
        }
    }
}

/// Input `number` of the graph and how the file sees it. Images stand channels first in the graph, whatever the file says, because
/// that is how images are read.
pub(in crate::import::onnx) fn input_view(
    model: &Model,
    number: usize,
    samples: Samples,
    image: Option<Vec<usize>>,
) -> Result<(Vec<usize>, View), String> {
    let input = &model.inputs[number];
    let name = &input.name;
    let is_sampled = first_axis(model) != FirstAxis::Free || input.dims.first() == Some(&None);
    // An axis of one element in front is that of a batch; the graph's values do not have it.
    let (dims, sample, front) = match (samples, &input.dims[..]) {
        (Samples::Along(_), [_, rest @ ..]) if is_sampled => (rest, Some(0), 1),
        (Samples::None, [None | Some(1), rest @ ..]) if !rest.is_empty() => (rest, None, 1),
        (_, all) => (all, None, 0),
    };
    let sizes: Option<Vec<usize>> = dims.iter().copied().collect();
    let sizes = sizes.ok_or_else(|| {
        let wanted: Vec<String> = input.dims.iter().map(|d| d.map_or("N".into(), |d| d.to_string())).collect();
        format!(
            "its input '{name}' has axes without a size: {} (--shape '{name}={}' with a number for each N fixes them; only the first axis may stay free)",
            input.shown(),
            wanted.join(",")
        )
    })?;
    let len =
        count(&sizes).filter(|n| *n <= MOST).ok_or_else(|| format!("its input '{name}' has the shape {sizes:?}, which is too large"))?;
    let misfit = || format!("its input '{name}' has the shape {sizes:?}");
    let seen = |view: View| if front == 1 && sample.is_none() { view.raised(sizes.len() + 1) } else { view.sampled(sample) };
    let plain = |base: &[usize]| View::plain(number, base).reshaped(&sizes).ok_or_else(misfit);
    if let Some(image) = image {
        let view = plain(&image)?;
        return Ok((image, seen(view)));
    }
    let (base, view) = match sizes[..] {
        [height, width, channels] if is_channels_last(model, name, front) => {
            let base = vec![channels, height, width];
            let view = View::plain(number, &base).permuted(&[1, 2, 0]).ok_or_else(misfit)?;
            (base, view)
        }
        [a, b] if a > 1 && b > 1 => (vec![1, a, b], plain(&[1, a, b])?),
        [_, _, _] => (sizes.clone(), plain(&sizes)?),
        _ => (vec![len], plain(&[len])?),
    };
    Ok((base, seen(view)))
}

/// Whether input `name` of three axes behind `front` others is an image with its channels last, by the first operation that tells.
fn is_channels_last(model: &Model, name: &str, front: usize) -> bool {
    let mut seen = vec![name];
    let mut at = 0;
    while let Some(&value) = seen.get(at) {
        at += 1;
        for node in model.nodes.iter().filter(|n| n.inputs.iter().any(|i| i == value)) {
            match node.op.as_str() {
                "Transpose" => {
                    let order: &[i64] = if front == 1 { &[0, 3, 1, 2] } else { &[2, 0, 1] };
                    return node.ints("perm") == Some(order);
                }
                "Add" | "Sub" | "Mul" | "Div" | "Cast" | "Identity" | "Pad" | "Relu" => {
                    seen.extend(node.outputs.first().map(String::as_str))
                }
                _ => return false,
            }
        }
    }
    false
}
