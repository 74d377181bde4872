//! What the file declares of the arrays that the network takes and gives.

use thinfer::artifact::{Element, InputKind, Stride, TensorSpec};

use super::Samples;
use super::ends::{self, FirstAxis};
use crate::graph::Graph;
use crate::import::onnx::model::{Input, Model};
use crate::import::onnx::view::View;
use crate::import::{Declared, Ends};

/// What the file declares of the ends of `graph`: of the inputs, which it sees as `seen`, and of the outputs, whose elements it sees
/// in the order in which they lie as `given`. Samples stand along the axis that the views have for them; where the file has room
/// for one sample and all arrays have an axis of one element in front, along that: whoever has more runs one by one.
pub(super) fn ends(model: &Model, graph: &Graph, samples: Samples, seen: &[View], given: &[View]) -> Result<Ends, String> {
    let count = match (samples, ends::first_axis(model)) {
        (Samples::Along(count), FirstAxis::Of(_)) => count,
        (Samples::Along(_), _) => 0,
        (Samples::None, _) => 1,
    };
    let in_front = samples == Samples::None && seen.iter().chain(given).all(|v| v.sizes().len() > 1 && v.sizes()[0] == 1);
    let spec = |name: &str, view: &View, number: i32, order: Vec<Stride>| {
        let mut shape = view.sizes().iter().map(|&d| small(d)).collect::<Result<Vec<_>, _>>()?;
        let sample = if in_front { shape.splice(..1, []).next().map(|_| 0) } else { view.sample };
        if let Some(at) = sample {
            shape.insert(at, small(count)?);
        }
        let sample_axis = sample.map(small).transpose()?;
        Ok::<_, String>(TensorSpec { name: name.into(), element: element(number, name)?, shape, sample_axis, order })
    };
    let input = |(number, (input, view)): (usize, (&Input, &View))| {
        let order = match view.is_ordered() {
            true => Vec::new(),
            false => {
                let atoms = view.atoms().into_iter();
                atoms.map(|a| Ok(Stride { size: small(a.size)?, stride: small(a.stride)? })).collect::<Result<_, String>>()?
            }
        };
        let spec = spec(&input.name, view, input.element, order)?;
        // One axis that is cut into an image is one, and two are one of a single channel.
        let is_image = match (&graph.inputs[number][..], &spec.sample_shape()[..]) {
            ([1 | 3, _, _], [_, _, _] | [_]) => true,
            ([1, height, width], [a, b]) => [height, width] == [a, b],
            _ => false,
        };
        let kind = if is_image && graph.reads_an_image(number) { InputKind::Image } else { InputKind::Features };
        Ok::<_, String>(Declared { spec, kind })
    };
    let inputs = model.inputs.iter().zip(seen).enumerate().map(input).collect::<Result<_, _>>()?;
    let outputs = model.outputs.iter().zip(given).enumerate();
    let outputs = outputs.map(|(at, (name, view))| spec(name, view, model.output_types.get(at).copied().unwrap_or(0), Vec::new()));
    Ok(Ends { inputs, outputs: outputs.collect::<Result<_, _>>()? })
}

fn small(n: usize) -> Result<u32, String> {
    u32::try_from(n).map_err(|_| format!("an axis of {n} elements is too long"))
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
        other => return Err(format!("'{name}' has elements of ONNX's type {other}, which is not supported")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Op};
    use crate::import::onnx::rules::tests::model;

    fn of(dims: &[Option<usize>], samples: Samples, seen: View, given: View) -> Ends {
        let mut b = Builder::new("net", [3, 2, 4]);
        b.push("pool", Op::GlobalAvgPool);
        let graph = b.finish().unwrap();
        let mut model = model(&[("Relu", &["x"], "y")]);
        model.inputs[0].dims = dims.to_vec();
        ends(&model, &graph, samples, &[seen], &[given]).unwrap()
    }

    #[test]
    fn samples_stand_where_the_file_has_them() {
        let plain = |shape: &[usize]| View::plain(0, shape);
        let last = || plain(&[3, 2, 4]).permuted(&[1, 2, 0]).unwrap();
        let free = of(&[None, Some(2), Some(4), Some(3)], Samples::Along(2), last().sampled(Some(0)), plain(&[3]).sampled(Some(1)));
        assert_eq!((free.inputs[0].spec.declared(), free.outputs[0].declared()), ("[N, 2, 4, 3]".into(), "[3, N]".into()));
        assert_eq!((free.inputs[0].spec.order.len(), free.inputs[0].kind, free.outputs[0].sample_axis), (2, InputKind::Image, Some(1)));
        let two = of(&[Some(2), Some(3)], Samples::Along(2), plain(&[3, 2, 4]).sampled(Some(0)), plain(&[3]).sampled(Some(0)));
        assert_eq!((two.inputs[0].spec.declared(), two.inputs[0].spec.order.len()), ("[2, 3, 2, 4]".into(), 0));
        // One sample, with an axis in front that others may stand along, or without.
        let one = of(&[Some(1)], Samples::None, last().raised(4), plain(&[1, 3]));
        assert_eq!(
            (one.inputs[0].spec.declared(), one.inputs[0].spec.sample_axis, one.outputs[0].sample_axis),
            ("[1, 2, 4, 3]".into(), Some(0), Some(0))
        );
        let one = of(&[Some(1)], Samples::None, last().raised(4), plain(&[3]));
        assert_eq!(
            (one.inputs[0].spec.declared(), one.inputs[0].spec.sample_axis, one.outputs[0].declared()),
            ("[1, 2, 4, 3]".into(), None, "[3]".into())
        );
        let one = of(&[Some(2)], Samples::None, last(), plain(&[1, 3]));
        assert_eq!((one.inputs[0].spec.sample_axis, one.outputs[0].sample_axis, one.outputs[0].declared()), (None, None, "[1, 3]".into()));
    }

    #[test]
    fn an_image_has_the_axes_of_one() {
        let kind = |shape: &[usize]| {
            let view = View::plain(0, &[3, 2, 4]).reshaped(shape).unwrap().sampled(Some(0));
            of(&[None], Samples::Along(2), view, View::plain(0, &[3]).sampled(Some(0))).inputs[0].kind
        };
        assert_eq!([&[3, 2, 4][..], &[24], &[3, 8], &[3, 2, 2, 2]].map(|s| kind(s) == InputKind::Image), [true, true, false, false]);
        assert_eq!((element(7, "x"), element(16, "x")), (Ok(Element::I64), Ok(Element::Bf16)));
        assert!(element(8, "x").unwrap_err().contains("type 8"));
    }
}
