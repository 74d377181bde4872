//! The arrays that a network takes and gives.

use thinfer::artifact::{Activation, Channels, Input, InputKind, Meaning, Model, Op, Output, Stride, TensorSpec};

use super::writer::{File, layer, network};
use super::{Case, case};

const ONE: &str = "There MUST be at least one input,";
const GIVES: &str = "and there MUST be at least one output";
const NAMES: &str = "Two inputs MUST NOT have one name, nor two outputs";
const AXES: &str = "it MUST have at most 8 axes";
const ALONG: &str = "and MUST be one of the shape's";
const ZERO: &str = "Every other axis MUST NOT be zero";
const SIZES: &str = "The declared axes without the sample axis MUST multiply to the elements of the value";
const STEPS: &str = "else it MUST have at most 8 steps";
const ONCE: &str = "and they MUST reach every element of the value once";
const IMAGE: &str = "an image's value MUST have one channel or three, a height and a width";
const COLOURS: &str = "and MUST be said of an image of three channels only";
const BOTH: &str = "it MUST have one if and only if an input that its value depends on has one";
const VALUE: &str = "`value`, which MUST be one of the network's";
const SCORES: &str = "Scores of any kind MUST lie along one axis";

fn lie(change: impl FnOnce(&mut Model)) -> Vec<u8> {
    network().with(|f| change(&mut f.model)).bytes()
}

/// [4, 9, 7] declared with these axes, samples along one of them, and an order.
fn input(shape: &[u32], sample_axis: Option<u32>, steps: &[(u32, u32)]) -> Vec<u8> {
    lie(|m| {
        let order = steps.iter().map(|&(size, stride)| Stride { size, stride }).collect();
        m.inputs[0].spec = TensorSpec { shape: shape.to_vec(), sample_axis, order, ..TensorSpec::new("x", &[]) };
    })
}

/// [6] declared with these axes.
fn output(shape: &[u32], sample_axis: Option<u32>, meaning: Meaning) -> Vec<u8> {
    lie(|m| {
        m.outputs[0].spec = TensorSpec { shape: shape.to_vec(), sample_axis, ..TensorSpec::new("y", &[]) };
        m.outputs[0].meaning = meaning;
    })
}

/// One activation of an input of this kind and shape.
fn image(shape: &[u32], kind: InputKind, channels: Channels) -> Vec<u8> {
    let relu = layer(&[0], Op::Activate(Activation::Relu));
    let file = File::new(vec![relu]).giving(shape).with(|f| f.model.inputs = vec![Input { kind, ..Input::new(shape) }]);
    file.with(|f| f.model.inputs[0].preprocess.channels = channels).bytes()
}

/// [2] called so, with samples or without.
fn named(name: &str, sample_axis: Option<u32>) -> TensorSpec {
    let shape = if sample_axis.is_some() { vec![0, 2] } else { vec![2] };
    TensorSpec { shape, sample_axis, ..TensorSpec::new(name, &[]) }
}

/// An activation of each of two inputs, given as `a` and `b`.
fn two_inputs(change: impl FnOnce(&mut Model)) -> Vec<u8> {
    let relu = |value| layer(&[value], Op::Activate(Activation::Relu));
    let output = |name, value| Output { spec: named(name, Some(0)), value, meaning: Meaning::Values };
    let ends = |f: &mut File| {
        f.model.inputs = vec![Input::new(&[2]); 2];
        f.model.outputs = vec![output("a", 2), output("b", 3)];
        change(&mut f.model);
    };
    File::new(vec![relu(0), relu(1)]).with(ends).bytes()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(ONE, "Field inputs", "there is none", lie(|m| m.inputs.clear())),
        case(GIVES, "Field outputs", "there is none", lie(|m| m.outputs.clear())),
        case(NAMES, "Field outputs", "two are called 'output'", lie(|m| m.outputs.push(m.outputs[0].clone()))),
        case(NAMES, "Field inputs", "two are called 'input'", two_inputs(|_| ())),
        case(AXES, "Field input 'x'", "has 9 axes", input(&[0, 4, 9, 7, 1, 1, 1, 1, 1], Some(0), &[])),
        case(AXES, "Field output 'y'", "has 9 axes", output(&[0, 6, 1, 1, 1, 1, 1, 1, 1], Some(0), Meaning::Values)),
        case(ALONG, "Field input 'x'", "along axis 4 of 4", input(&[0, 4, 9, 7], Some(4), &[])),
        case(ALONG, "Field output 'y'", "along axis 4294967295 of 2", output(&[0, 6], Some(u32::MAX), Meaning::Values)),
        case(ZERO, "Field input 'x'", "only the axis of the samples may be left open", input(&[0, 4, 0, 7], Some(0), &[])),
        case(ZERO, "Field input 'x'", "only the axis of the samples may be left open", input(&[0, 4, 9, 7], Some(1), &[])),
        case(ZERO, "Field output 'y'", "only the axis of the samples may be left open", output(&[0, 6], None, Meaning::Values)),
        case(
            SIZES,
            "Field input 'x'",
            "has samples of [4, 9, 8], the network's value has 252 elements",
            input(&[0, 4, 9, 8], Some(0), &[]),
        ),
        case(SIZES, "Field input 'x'", "has 252 elements", input(&[0, u32::MAX, u32::MAX, u32::MAX], Some(0), &[])),
        case(SIZES, "Field output 'y'", "has samples of [5]", output(&[0, 5], Some(0), Meaning::Values)),
        case(
            STEPS,
            "Field input 'x'",
            "an order of 9 steps",
            input(&[0, 4, 9, 7], Some(0), &[[(1, 1); 8].as_slice(), &[(252, 1)]].concat()),
        ),
        case(ONCE, "Field input 'x'", "does not reach every element once", input(&[0, 9, 7, 4], Some(0), &[(63, 1), (4, 62)])),
        case(ONCE, "Field input 'x'", "does not reach every element once", input(&[0, 9, 7, 4], Some(0), &[(63, 4), (4, 4)])),
        case(ONCE, "Field input 'x'", "an order of 63 elements, a sample has 252", input(&[0, 9, 7, 4], Some(0), &[(63, 1)])),
        case(ONCE, "Field input 'x'", "does not reach every element once", input(&[0, 9, 7, 4], Some(0), &[(0, 1), (252, 1)])),
        case(ONCE, "Field input 'x'", "an order of 504", input(&[0, 9, 7, 4], Some(0), &[(252, 1), (2, 252)])),
        case(IMAGE, "Field input kind", "not [4, 2, 3]", image(&[4, 2, 3], InputKind::Image, Channels::Rgb)),
        case(IMAGE, "Field input kind", "not [12]", image(&[12], InputKind::Image, Channels::Rgb)),
        case(COLOURS, "Field channels", "not of [3, 2, 2]", image(&[3, 2, 2], InputKind::Features, Channels::Bgr)),
        case(COLOURS, "Field preprocessing", "no order of 1 channels", image(&[1, 2, 2], InputKind::Image, Channels::Bgr)),
        case(VALUE, "Field output 'output'", "is value 4, of which there are 4", lie(|m| m.outputs[0].value = 4)),
        case(VALUE, "Field output 'output'", "is value 4294967295", lie(|m| m.outputs[0].value = u32::MAX)),
        case(BOTH, "Field output 'y'", "if and only if", output(&[6], None, Meaning::Values)),
        case(BOTH, "Field output 'output'", "if and only if", input(&[4, 9, 7], None, &[])),
        // Of two inputs, one without samples: what depends on it alone has none either.
        case(BOTH, "Field output 'b'", "if and only if", two_inputs(|m| m.inputs[1].spec = named("b", None))),
        case(BOTH, "Field output 'a'", "if and only if", two_inputs(|m| m.inputs[0].spec = named("a", None))),
        case(SCORES, "Field output 'y'", "along several axes: [2, 3]", output(&[0, 2, 3], Some(0), Meaning::Logits)),
        case(SCORES, "Field output 'y'", "along several axes: [3, 1, 2]", output(&[0, 3, 1, 2], Some(0), Meaning::Independent)),
    ]
}
