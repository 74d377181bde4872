//! Lists, texts, shapes of samples, preprocessing and the order of layers.

use thinfer::artifact::{Activation, Layer, LayerNote, Model, Op, Provenance, TensorInfo};

use super::writer::{File, layer, network};
use super::{Case, case};

const LISTS: &str = "Every list MUST have at most 65 536 entries";
const AXES: &str = "which MUST have 1 to 8 axes, none zero: [C, H, W] for images";
const SAMPLE: &str = "A sample, at any layer, MUST have at most 2²⁸ elements";
const VALUES: &str = "`mean` and `std` MUST have no value, one, or one a channel";
const FINITE: &str = "all three MUST be finite, `std` positive";
const EARLIER: &str = "A layer MUST read only values with smaller numbers than the one it defines";

fn lie(change: impl FnOnce(&mut Model)) -> Vec<u8> {
    network().with(|f| change(&mut f.model)).bytes()
}

pub(crate) fn cases() -> Vec<Case> {
    let activate = || layer(&[0], Op::Activate(Activation::Relu));
    let empty = || TensorInfo { name: String::new(), dtype: thinfer::artifact::Dtype::F16, shape: vec![1], offset: 0 };
    let note = || LayerNote { layer: String::new(), full_rank: 1, energy: 1.0 };
    let axes = |n: usize| lie(|m| m.inputs[0].value_shape = vec![1; n]);
    let repeated = |n: u32| Op::Rearrange {
        shape: vec![n, n],
        offset: 0,
        steps: vec![thinfer::artifact::Stride { size: n, stride: 0 }, thinfer::artifact::Stride { size: n, stride: 0 }],
    };
    vec![
        case(LISTS, "TooLarge the number of classes 65537", "65536", lie(|m| m.classes = vec![String::new(); 65_537])),
        case(
            LISTS,
            "TooLarge the number of layers 65537",
            "65536",
            File::new((0..65_537).map(|_| activate()).collect::<Vec<Layer>>()).bytes(),
        ),
        case(LISTS, "TooLarge the number of tensors 65537", "65536", lie(|m| m.tensors = (0..65_537).map(|_| empty()).collect())),
        case(
            LISTS,
            "TooLarge the number of layer notes 65537",
            "65536",
            lie(|m| m.provenance.layers = (0..65_537).map(|_| note()).collect()),
        ),
        case(LISTS, "TooLarge the length of a name 1025", "1024", lie(|m| m.name = "x".repeat(1025))),
        case(LISTS, "TooLarge the length of a name 1025", "1024", lie(|m| m.layers[1].name = "x".repeat(1025))),
        case(LISTS, "TooLarge the length of a name 1025", "1024", lie(|m| m.tensors[1].name = "x".repeat(1025))),
        case(LISTS, "TooLarge the length of a name 1025", "1024", lie(|m| m.classes = vec!["x".repeat(1025)])),
        case(
            LISTS,
            "TooLarge the length of a name 1025",
            "1024",
            lie(|m| m.provenance = Provenance { policy: "x".repeat(1025), ..Provenance::default() }),
        ),
        case(AXES, "Field input shape", "has 0 axes", axes(0)),
        case(AXES, "Field input shape", "has 9 axes", axes(9)),
        case(AXES, "Field the size of the input [4, 0, 7]", "is 0", lie(|m| m.inputs[0].value_shape[1] = 0)),
        case(
            SAMPLE,
            "TooLarge the size of the input [4, 67108865] 268435460",
            "268435456",
            lie(|m| m.inputs[0].value_shape = vec![4, 67_108_865]),
        ),
        case(
            SAMPLE,
            "TooLarge the size of the input [4294967295, 4294967295, 4294967295] 18446744073709551615",
            "",
            lie(|m| m.inputs[0].value_shape = vec![u32::MAX; 3]),
        ),
        case(SAMPLE, "TooLarge the size of layer [16385, 16385] 268468225", "268435456", File::of_one(repeated(16_385)).bytes()),
        case(VALUES, "Field preprocessing", "mean has 2 values for 4 channels", lie(|m| m.inputs[0].preprocess.mean = vec![0.0; 2])),
        case(VALUES, "Field preprocessing", "std has 5 values for 4 channels", lie(|m| m.inputs[0].preprocess.std = vec![1.0; 5])),
        case(FINITE, "Field preprocessing", "scale is NaN", lie(|m| m.inputs[0].preprocess.scale = f32::NAN)),
        case(FINITE, "Field preprocessing", "mean is inf", lie(|m| m.inputs[0].preprocess.mean = vec![f32::INFINITY])),
        case(FINITE, "Field preprocessing", "std is NaN", lie(|m| m.inputs[0].preprocess.std = vec![f32::NAN])),
        case(FINITE, "Field preprocessing", "std is 0", lie(|m| m.inputs[0].preprocess.std = vec![0.0])),
        case(FINITE, "Field preprocessing", "std is -1", lie(|m| m.inputs[0].preprocess.std = vec![-1.0])),
        case("`layers` MUST hold at least one layer", "Field layers", "there is none", lie(|m| m.layers.clear())),
        case(EARLIER, "Layer 0", "reads value 1, which no earlier layer defines", lie(|m| m.layers[0].inputs = vec![1])),
        case(EARLIER, "Layer 1", "reads value 3", lie(|m| m.layers[1].inputs = vec![1, 3])),
        case(EARLIER, "Layer 2", "reads value 4294967295", lie(|m| m.layers[2].inputs = vec![u32::MAX])),
    ]
}
