//! The network's ends: whether its input is a vector or an image, in which order the file sees its elements, and what the file
//! declares of input and output.

use std::collections::BTreeSet;

use thinfer::artifact::{Element, InputKind, Stride, TensorSpec};

use super::MOST;
use crate::graph::Graph;
use crate::import::Ends;
use crate::import::onnx::model::{Model, Node};
use crate::import::onnx::view::View;
use crate::tensor::count;

/// Operations that only move elements.
const MOVING: [&str; 8] = ["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Shape", "Size"];

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

/// What the file declares of the ends of `graph`: of the input, which it sees as `seen`, and of the output, whose samples have
/// `sizes` and lie in order. Samples stand along the first axis of both.
pub(super) fn ends(model: &Model, graph: &Graph, seen: &View, sizes: &[usize]) -> Result<Ends, String> {
    let small = |n: usize| u32::try_from(n).map_err(|_| format!("has an axis of {n} elements, which is too large"));
    let samples = model.dims.first().copied().flatten().unwrap_or(0);
    let spec = |name: &str, sizes: &[usize], types: i32, order: Vec<Stride>| {
        let shape = std::iter::once(&samples).chain(sizes).map(|&n| small(n)).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, String>(TensorSpec { name: name.into(), element: element(types, name)?, shape, sample_axis: Some(0), order })
    };
    let order = if seen.is_ordered() {
        Vec::new()
    } else {
        seen.atoms().iter().map(|a| Ok(Stride { size: small(a.size)?, stride: small(a.stride)? })).collect::<Result<_, String>>()?
    };
    let input = spec(&model.input, &seen.sizes(), model.types.input, order)?;
    let output = spec(&model.output, sizes, model.types.output, Vec::new())?;
    let declared = seen.sizes();
    let is_image = match (&graph.input[..], &declared[..]) {
        ([1 | 3, _, _], [_, _, _] | [_]) => true,
        ([1, height, width], [a, b]) => [height, width] == [a, b],
        _ => false,
    };
    let kind = if is_image && graph.reads_an_image() { InputKind::Image } else { InputKind::Features };
    Ok(Ends { input, kind, output })
}

/// An element type as ONNX numbers it.
fn element(number: i32, name: &str) -> Result<Element, String> {
    Ok(match number {
        // Not said.
        0 | 1 => Element::F32,
        2 => Element::U8,
        3 => Element::I8,
        4 => Element::U16,
        5 => Element::I16,
        6 => Element::I32,
        7 => Element::I64,
        9 => Element::Bool,
        10 => Element::F16,
        11 => Element::F64,
        12 => Element::U32,
        13 => Element::U64,
        16 => Element::Bf16,
        other => return Err(format!("'{name}' has elements of ONNX's type {other}, which is no number that is read")),
    })
}

/// Nodes that compute with the integers of an integer input before a Cast makes floats of them: with integers a sum wraps and a
/// quotient is cut off, which floats do not.
pub(super) fn integer_faults(model: &Model) -> Vec<String> {
    let Some(kind) = element(model.types.input, "").ok().filter(|e| e.range().is_some()) else { return Vec::new() };
    let mut integers = BTreeSet::from([model.input.as_str()]);
    let mut faults = Vec::new();
    for node in &model.nodes {
        if !node.inputs.iter().any(|i| integers.contains(i.as_str())) {
            continue;
        }
        match node.op.as_str() {
            "Cast" if matches!(node.int("to", 1), 1 | 10 | 11 | 16) => {}
            op if MOVING.contains(&op) => integers.extend(node.outputs.iter().map(String::as_str)),
            op => {
                let why = "floats give other values: a Cast to float must stand before it";
                faults.push(format!("{op} '{}' computes with the {} input '{}', where {why}", node.label(), kind.name(), model.input));
            }
        }
    }
    faults
}

/// `model`, if its input has no axis of samples but is given one by whoever reads it, with such an axis in the file; and whether
/// the output loses it again.
pub(super) fn batched(model: &Model) -> Option<(Model, bool)> {
    let readers: Vec<&Node> = model.nodes.iter().filter(|n| n.inputs.contains(&model.input)).collect();
    if readers.is_empty() || model.dims.contains(&None) || !readers.iter().all(|n| n.op == "Unsqueeze" && axes(model, n) == Some(vec![0])) {
        return None;
    }
    let mut model = model.clone();
    model.dims.insert(0, Some(1));
    let squeezes = |n: &Node| {
        n.op == "Squeeze" && n.outputs.first() == Some(&model.output) && n.input(0).is_some() && axes(&model, n) == Some(vec![0])
    };
    let last = model.nodes.iter().position(squeezes);
    for (i, node) in model.nodes.iter_mut().enumerate() {
        if node.inputs.contains(&model.input) || last == Some(i) {
            *node = Node::new("Identity", &node.name, &[&node.inputs[0]], &node.outputs[0]);
        }
    }
    Some((model, last.is_some()))
}

/// The axes that a node names, by attribute or by a constant.
fn axes(model: &Model, node: &Node) -> Option<Vec<i64>> {
    match node.ints("axes") {
        Some(axes) => Some(axes.to_vec()),
        None => model.constants.get(node.input(1)?)?.as_ints().map(<[i64]>::to_vec),
    }
}

/// What was declared where [`batched`] put an axis of samples in: one sample without it, and an output with an axis of one
/// element unless that was `dropped`.
pub(super) fn without_samples(ends: &mut Ends, dropped: bool) {
    ends.input.shape.remove(0);
    if dropped {
        ends.output.shape.remove(0);
    }
    (ends.input.sample_axis, ends.output.sample_axis) = (None, None);
}
