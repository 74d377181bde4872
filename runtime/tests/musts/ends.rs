//! The arrays that a network takes and gives, and what stands behind the network.

use thinfer::artifact::{Activation, Channels, Input, InputKind, Meaning, Model, Nested, Op, Section, Stride, TensorSpec};

use super::writer::{File, LOW_RANK, conv, layer, network};
use super::{Case, case};

const ONE: &str = "There MUST be one input,";
const GIVES: &str = "and there MUST be one output";
const AXES: &str = "it MUST have at most 8 axes";
const ALONG: &str = "and MUST be one of the shape's";
const ZERO: &str = "Every other axis MUST NOT be zero";
const SIZES: &str = "The declared axes without the sample axis MUST multiply to the elements of the value";
const STEPS: &str = "else it MUST have at most 8 steps";
const ONCE: &str = "and they MUST reach every element of the value once";
const IMAGE: &str = "an image's value MUST have one channel or three, a height and a width";
const COLOURS: &str = "and MUST be said of an image of three channels only";
const BOTH: &str = "it MUST have one if and only if the input has one";
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

pub(crate) fn cases() -> Vec<Case> {
    let two = |f: &mut File| f.sections = vec![Section::Nested(vec![Nested { layer: 0, means: None, gained: false }]); 2];
    let twice = File::of_one(conv(LOW_RANK)).giving(&[6, 9, 7]).with(two).bytes();
    vec![
        case("Each kind of section MUST stand there at most once", "Header", "two sections of one kind", twice),
        case(ONE, "Field inputs", "there are 0, not one", lie(|m| m.inputs.clear())),
        case(ONE, "Field inputs", "there are 2, not one", lie(|m| m.inputs.push(Input::new(&[4])))),
        case(GIVES, "Field outputs", "there are 0, not one", lie(|m| m.outputs.clear())),
        case(GIVES, "Field outputs", "there are 2, not one", lie(|m| m.outputs.push(m.outputs[0].clone()))),
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
        case("`value`, which MUST be the last layer's", "Field output 'output'", "is value 2, the last layer gives 3", {
            lie(|m| m.outputs[0].value = 2)
        }),
        case(BOTH, "Field output 'y'", "if and only if", output(&[6], None, Meaning::Values)),
        case(BOTH, "Field output 'output'", "if and only if", input(&[4, 9, 7], None, &[])),
        case(SCORES, "Field output 'y'", "along several axes: [2, 3]", output(&[0, 2, 3], Some(0), Meaning::Logits)),
        case(SCORES, "Field output 'y'", "along several axes: [3, 1, 2]", output(&[0, 3, 1, 2], Some(0), Meaning::Independent)),
    ]
}
