//! Weights in every form, what belongs to them, and what stands behind the network for smaller ranks.

use thinfer::artifact::{Activation, Nested, Op, Section, Weight};

use super::writer::{File, LOW_RANK, SPATIAL, TUCKER, conv, layer};
use super::{Case, case};

const PARAMETER: &str = "The factor of an ELU and the threshold of a thresholded ReLU MUST be finite";
const BOUNDS: &str = "The lower bound of a clip MUST be at most the";
const TABLE: &str = "Every tensor that a layer names MUST be in the table";
const SHAPE: &str = "and MUST have the shape said here";
const RANKS: &str = "ranks MUST be within their bounds";
const TAIL: &str = "the energy of what was cut off, MUST be finite and not negative";
const SCALE: &str = "of an `Affine` or a `LayerNorm` MUST be [channels]";
const NESTED: &str = "its entries MUST be of layers that are stored as factors, by rising `layer`, each layer at most once";
const MEANS: &str = "`means`, if there are any, MUST be a tensor of the shape below";

fn one(op: Op) -> Vec<u8> {
    File::of_one(op).bytes()
}

fn weight(weight: Weight) -> Vec<u8> {
    one(conv(weight))
}

fn linear(weight: Weight) -> Op {
    Op::Linear { weight, bias: None, activation: Activation::None }
}

fn low_rank(v: u32, u: u32, sigma: u32, tail_energy: f32) -> Weight {
    Weight::LowRank { v, u, sigma, tail_energy }
}

fn spatial(v: u32, u: u32, sigma: u32, tail_energy: f32) -> Weight {
    Weight::Spatial { v, u, sigma, tail_energy }
}

fn tucker(a: u32, core: u32, b: u32, tail_energy: f32) -> Weight {
    Weight::Tucker2 { a, core, b, tail_energy }
}

/// A dense layer, then one in factors, with these entries behind them.
fn nested(weight: Weight, entries: &[(u32, Option<u32>)]) -> Vec<u8> {
    let layers = vec![layer(&[0], conv(Weight::Dense(0))), layer(&[0], conv(weight.clone())), layer(&[0], conv(weight))];
    let list = entries.iter().map(|&(layer, means)| Nested { layer, means, gained: true }).collect();
    File::new(layers).with(|f| f.sections = vec![Section::Nested(list)]).bytes()
}

pub(crate) fn cases() -> Vec<Case> {
    let bias = |bias| {
        let Op::Conv { window, outputs, groups, weight, residual, activation, .. } = conv(LOW_RANK) else { panic!("a convolution") };
        one(Op::Conv { window, outputs, groups, weight, bias: Some(bias), residual, activation })
    };
    let affine = |scale, shift| one(Op::Affine { scale, shift, activation: Activation::None });
    let norm = |scale, shift| one(Op::LayerNorm { scale, shift, eps: 0.0 });
    let empty_list = File::of_one(conv(LOW_RANK)).with(|f| f.sections = vec![Section::Nested(Vec::new())]).bytes();
    let of_version_1 =
        |behind: &[u8], entries: &[Nested]| File::of_one(conv(LOW_RANK)).with(|f| f.behind = behind.to_vec()).bytes_of_version_1(entries);
    vec![
        case(TABLE, "Layer 0", "tensor 20, the table has 20", weight(Weight::Dense(20))),
        case(TABLE, "Layer 0", "factor V is tensor 4294967295", weight(low_rank(u32::MAX, 3, 4, 0.0))),
        case(TABLE, "Layer 0", "factor U is tensor 99", weight(low_rank(2, 99, 4, 0.0))),
        case(TABLE, "Layer 0", "singular values is tensor 99", weight(spatial(5, 6, 99, 0.0))),
        case(TABLE, "Layer 0", "Tucker factor A is tensor 99", weight(tucker(99, 8, 9, 0.0))),
        case(TABLE, "Layer 0", "Tucker core is tensor 99", weight(tucker(7, 99, 9, 0.0))),
        case(TABLE, "Layer 0", "bias is tensor 99", bias(99)),
        case(TABLE, "Layer 0", "table is tensor 99", one(Op::Embed { table: 99 })),
        case(TABLE, "Layer 0", "scale is tensor 99", norm(99, 1)),
        case(SHAPE, "Layer 0", "weight has shape [6] instead of [6, 4, 3, 3]", weight(Weight::Dense(1))),
        case(SHAPE, "Layer 0", "factor V has shape [5, 4, 3], not four axes", weight(low_rank(5, 3, 4, 0.0))),
        case(SHAPE, "Layer 0", "factor U has shape [5, 6, 3]", weight(low_rank(2, 6, 4, 0.0))),
        case(SHAPE, "Layer 0", "singular values has shape [6] instead of [5]", weight(low_rank(2, 3, 1, 0.0))),
        case(SHAPE, "Layer 0", "factor V has shape [5, 6, 3]", weight(spatial(6, 6, 4, 0.0))),
        case(SHAPE, "Layer 0", "factor U has shape [5, 6]", weight(spatial(5, 3, 4, 0.0))),
        case(SHAPE, "Layer 0", "Tucker factor A has shape [3, 6]", weight(tucker(9, 8, 9, 0.0))),
        case(SHAPE, "Layer 0", "Tucker factor B has shape [2, 4]", weight(tucker(7, 8, 7, 0.0))),
        case(SHAPE, "Layer 0", "takes 4 features, its input has shape [4, 9, 7]", one(linear(Weight::Dense(7)))),
        case(SHAPE, "Layer 0", "weight has shape [6], not two axes", one(linear(Weight::Dense(1)))),
        case(SHAPE, "Layer 0", "make no weight", one(linear(low_rank(15, 3, 4, 0.0)))),
        case(RANKS, "Layer 0", "rank 7 is above 6", weight(low_rank(11, 12, 13, 0.0))),
        case(RANKS, "Layer 0", "make no weight of a rank up to 3", one(linear(low_rank(16, 17, 4, 0.0)))),
        case("A `Linear` MUST be `Dense` or `LowRank`", "Layer 0", "is dense or low-rank", one(linear(TUCKER))),
        case("A `Linear` MUST be `Dense` or `LowRank`", "Layer 0", "is dense or low-rank", one(linear(SPATIAL))),
        case(TAIL, "Layer 0", "tail energy NaN", weight(low_rank(2, 3, 4, f32::NAN))),
        case(TAIL, "Layer 0", "tail energy -1", weight(spatial(5, 6, 4, -1.0))),
        case(TAIL, "Layer 0", "tail energy inf", weight(tucker(7, 8, 9, f32::INFINITY))),
        case("`bias` MUST be [outputs] or absent", "Layer 0", "bias has shape [5] instead of [6]", bias(4)),
        case(SCALE, "Layer 0", "scale has shape [5] instead of [4]", affine(4, 4)),
        case(SCALE, "Layer 0", "scale has shape [6] instead of [4]", norm(1, 1)),
        case(
            "The slope of a leaky ReLU MUST be finite",
            "Layer 0",
            "slope of its leaky ReLU is NaN",
            one(Op::Activate(Activation::LeakyRelu(f32::NAN))),
        ),
        case(PARAMETER, "Layer 0", "factor of its ELU is inf", one(Op::Activate(Activation::Elu(f32::INFINITY)))),
        case(PARAMETER, "Layer 0", "threshold of its ReLU is NaN", one(Op::Activate(Activation::ThresholdedRelu(f32::NAN)))),
        case(BOUNDS, "Layer 0", "clips to NaN…1", one(Op::Activate(Activation::Clip { low: f32::NAN, high: 1.0 }))),
        case(BOUNDS, "Layer 0", "clips to 2…1", one(Op::Activate(Activation::Clip { low: 2.0, high: 1.0 }))),
        case("The list MUST NOT be empty", "Header", "behind the network: an empty list", empty_list),
        case("The list MUST NOT be empty", "Header", "behind the network: an empty list", of_version_1(&[0], &[])),
        case(
            NESTED,
            "Field ranks of layer 5",
            "no such layer in factors",
            of_version_1(&[], &[Nested { layer: 5, means: None, gained: false }]),
        ),
        case(NESTED, "Field ranks of layer 0", "no such layer in factors", nested(LOW_RANK, &[(0, None)])),
        case(NESTED, "Field ranks of layer 7", "no such layer in factors", nested(LOW_RANK, &[(7, None)])),
        case(NESTED, "Field ranks of layer 1", "behind those of a later layer", nested(LOW_RANK, &[(2, None), (1, None)])),
        case(NESTED, "Field ranks of layer 1", "behind those of a later layer", nested(LOW_RANK, &[(1, None), (1, None)])),
        case(MEANS, "Field ranks of layer 1", "does not have", nested(LOW_RANK, &[(1, Some(99))])),
        case(MEANS, "Field ranks of layer 1", "instead of [5]", nested(LOW_RANK, &[(1, Some(3))])),
        case(MEANS, "Field ranks of layer 1", "instead of [5, 3]", nested(SPATIAL, &[(1, Some(4))])),
        case(MEANS, "Field ranks of layer 1", "instead of [2, 3, 3]", nested(TUCKER, &[(1, Some(8))])),
    ]
}
