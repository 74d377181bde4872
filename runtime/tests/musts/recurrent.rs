//! Recurrent layers: what they read, and what belongs to them.

use thinfer::artifact::{Activation, Cell, Op, Recurrent, Weight};

use super::writer::{File, LOW_RANK, SPATIAL, TUCKER, conv, layer};
use super::{Case, case};

const COUNT: &str = "A layer MUST read as many values as said here";
const KIND: &str = "and they MUST be of the kinds said here";
const CHANNELS: &str = "The image MUST have g·d channels";
const WEIGHT: &str = "R, the weight, MUST be [g·d, d]";
const SCHEME: &str = "and MUST NOT be `Spatial` or `Tucker2`";
const INITIAL: &str = "whose shape MUST be [states · sequences, d]";
const LENGTHS: &str = "whose shape MUST be [sequences]";
const BIAS: &str = "`bias` is added to R·h and MUST be [g·d] or absent";
const ABSENT: &str = "`peepholes` MUST be absent but of an LSTM";
const PEEPHOLES: &str = "whose they MUST be [3·d]";
const ACTIVATIONS: &str = "`activations` MUST be as many as the cell has";
const SLOPE: &str = "The slope of a leaky ReLU MUST be finite";

/// A GRU of 2 elements over [6, 9, 7].
fn gru(change: impl FnOnce(&mut Recurrent)) -> Op {
    let mut op = Recurrent {
        cell: Cell::Gru { reset_after: true },
        reverse: false,
        states: false,
        weight: Weight::Dense(18),
        bias: None,
        peepholes: None,
        initial: false,
        lengths: false,
        activations: vec![Activation::Sigmoid, Activation::Tanh],
    };
    change(&mut op);
    Op::Recurrent(op)
}

/// Behind [6, 9, 7], value 1.
fn second(inputs: &[u32], op: Op) -> Vec<u8> {
    File::new(vec![layer(&[0], conv(Weight::Dense(0))), layer(inputs, op)]).giving(&[2, 9, 7]).bytes()
}

fn of(change: impl FnOnce(&mut Recurrent)) -> Vec<u8> {
    second(&[1], gru(change))
}

pub(crate) fn cases() -> Vec<Case> {
    let lstm = |r: &mut Recurrent| {
        (r.cell, r.weight) = (Cell::Lstm { coupled: false }, Weight::Dense(19));
        r.activations = vec![Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
    };
    let vector = File::new(vec![layer(&[0], conv(Weight::Dense(0))), layer(&[1], Op::GlobalAveragePool), layer(&[2], gru(|_| ()))]);
    vec![
        case(COUNT, "Layer 1", "reads 2 values, not 1", of(|r| r.initial = true)),
        case(COUNT, "Layer 1", "reads 1 values, not 2", second(&[1, 1], gru(|_| ()))),
        case(KIND, "Layer 2", "reads images, its input has shape [6]", vector.bytes()),
        case(CHANNELS, "Layer 1", "cannot read 4 channels", second(&[0], gru(|_| ()))),
        case(WEIGHT, "Layer 1", "by a recurrent weight of [6, 3]", of(|r| r.weight = Weight::Dense(14))),
        case(WEIGHT, "Layer 1", "not two axes", of(|r| r.weight = Weight::Dense(0))),
        case(WEIGHT, "Layer 1", "factor V has shape [5, 4, 3, 3], not two axes", of(|r| r.weight = LOW_RANK)),
        case(SCHEME, "Layer 1", "dense or low-rank", of(|r| r.weight = SPATIAL)),
        case(SCHEME, "Layer 1", "dense or low-rank", of(|r| r.weight = TUCKER)),
        case(INITIAL, "Layer 1", "[6, 9, 7] instead of [7, 2]", second(&[1, 1], gru(|r| r.initial = true))),
        case(LENGTHS, "Layer 1", "[6, 9, 7] instead of [7]", second(&[1, 1], gru(|r| r.lengths = true))),
        case(BIAS, "Layer 1", "bias has shape [5] instead of [6]", of(|r| r.bias = Some(4))),
        case(ABSENT, "Layer 1", "a gru has no peepholes", of(|r| r.peepholes = Some(1))),
        case(
            PEEPHOLES,
            "Layer 0",
            "peepholes has shape [6] instead of [3]",
            File::of_one(gru(|r| {
                lstm(r);
                r.peepholes = Some(1);
            }))
            .bytes(),
        ),
        case(ACTIVATIONS, "Layer 1", "a gru has 2 activations, not 3", of(|r| r.activations.push(Activation::Tanh))),
        case(ACTIVATIONS, "Layer 1", "a gru has 2 activations, not 0", of(|r| r.activations.clear())),
        case(SLOPE, "Layer 1", "the slope of its leaky ReLU is NaN", of(|r| r.activations[1] = Activation::LeakyRelu(f32::NAN))),
    ]
}

#[test]
fn what_breaks_no_rule_opens() {
    thinfer::Artifact::from_bytes(of(|_| ())).unwrap();
}
