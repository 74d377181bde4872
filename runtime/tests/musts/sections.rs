//! What stands behind the network: its kinds, states, devices that layers were timed on, and how images are brought to their size.

use thinfer::artifact::{
    Activation, Element, Filter, Fit, FitMethod, Input, Meaning, Nested, Op, Output, Section, State, TensorSpec, Tuned, TunedLayer,
};

use super::writer::{File, LOW_RANK, conv, layer};
use super::{Case, case};

const ONCE: &str = "Each kind of section MUST stand there at most once";
const EMPTY: &str = "and its list MUST NOT be empty. There are four kinds";
const NUMBERS: &str = "`output` and `input` MUST be numbers of the file's outputs and inputs";
const ONE_INPUT: &str = "an output MUST be the state of one input at most";
const ONE_OUTPUT: &str = "and an input MUST be given by one output at most";
const ALIKE: &str = "Both MUST have the same element type";
const DEVICE: &str = "and MUST NOT be empty; `batch`";
const BATCH: &str = "`batch` MUST be at least 1";
const TWICE: &str = "a device MUST stand there at most once for a batch";
const LAYERS: &str = "`layers` MUST have an entry for each layer";
const FORM: &str = "whose `form` MUST be `dense`, `two-stage` or `fused`, with at most 64 kernels";
const AN_IMAGE: &str = "`input` MUST be the number of an input that is an image";
const ONE_FIT: &str = "an input MUST stand there at most once. An image";
const HOLDS: &str = "`shorter` MUST be at least W and H";
const SHORTER: &str = "it MUST be at most 16 384";

/// Two inputs [2] and what a ReLU makes of each, behind which these sections stand.
fn file(sections: Vec<Section>, change: impl FnOnce(&mut File)) -> Vec<u8> {
    let relu = |value| layer(&[value], Op::Activate(Activation::Relu));
    let output = |name, value| Output { spec: TensorSpec::new(name, &[2]), value, meaning: Meaning::Values };
    let all = |f: &mut File| {
        f.model.inputs = ["x", "h"].map(|name| Input { spec: TensorSpec::new(name, &[2]), ..Input::new(&[2]) }).to_vec();
        f.model.outputs = vec![output("y", 2), output("next", 3)];
        f.sections = sections;
        change(f);
    };
    File::new(vec![relu(0), relu(1)]).with(all).bytes()
}

fn states(list: &[(u32, u32)]) -> Vec<Section> {
    vec![Section::State(list.iter().map(|&(output, input)| State { output, input }).collect())]
}

fn tuned(device: &str, batch: u32, layers: usize, form: &str, kernels: usize) -> Tuned {
    let layer = TunedLayer { form: form.into(), kernels: vec!["k".into(); kernels] };
    Tuned { device: device.into(), batch, layers: vec![layer; layers] }
}

/// An image [3, 4, 8] and what a ReLU makes of it, behind which these stand.
fn fits(list: &[(u32, FitMethod)]) -> Vec<u8> {
    let relu = layer(&[0], Op::Activate(Activation::Relu));
    let list = list.iter().map(|&(input, method)| Fit { input, method, filter: Filter::Bilinear }).collect();
    let file = File::new(vec![relu]).giving(&[3, 4, 8]).with(|f| f.model.inputs = vec![Input::new(&[3, 4, 8])]);
    file.with(|f| f.sections = vec![Section::Fit(list)]).bytes()
}

pub(crate) fn cases() -> Vec<Case> {
    let nested = Section::Nested(vec![Nested { layer: 0, means: None, gained: false }]);
    let behind = |sections: Vec<Section>| File::of_one(conv(LOW_RANK)).giving(&[6, 9, 7]).with(|f| f.sections = sections).bytes();
    let plain = |sections| file(sections, |_| ());
    let of = |t: Tuned| plain(vec![Section::Tuned(vec![t])]);
    vec![
        case(ONCE, "Header", "two sections of one kind", behind(vec![nested.clone(), nested])),
        case(ONCE, "Header", "two sections of one kind", plain([states(&[(1, 1)]), states(&[(1, 1)])].concat())),
        case(EMPTY, "Header", "an empty list", plain(states(&[]))),
        case(EMPTY, "Header", "an empty list", plain(vec![Section::Tuned(Vec::new())])),
        case(EMPTY, "Header", "an empty list", fits(&[])),
        case(NUMBERS, "Field state of output 2 and input 1", "there are 2 outputs and 2 inputs", plain(states(&[(2, 1)]))),
        case(NUMBERS, "Field state of output 1 and input 4294967295", "2 inputs", plain(states(&[(1, u32::MAX)]))),
        case(ONE_INPUT, "Field state of output 1 and input 0", "is a state already", plain(states(&[(1, 1), (1, 0)]))),
        case(ONE_OUTPUT, "Field state of output 0 and input 1", "is a state already", plain(states(&[(1, 1), (0, 1)]))),
        case(ALIKE, "Field state of output 1 and input 1", "is no 'h', int32 [N, 2]", {
            file(states(&[(1, 1)]), |f| f.model.inputs[1].spec.element = Element::I32)
        }),
        case(ALIKE, "Field state of output 1 and input 1", "is no 'h', float32 [N, 1, 2]", {
            file(states(&[(1, 1)]), |f| f.model.inputs[1].spec.shape = vec![0, 1, 2])
        }),
        case(ALIKE, "Field state of output 1 and input 1", "is no 'h', float32 [2, N]", {
            file(states(&[(1, 1)]), |f| (f.model.inputs[1].spec.shape, f.model.inputs[1].spec.sample_axis) = (vec![2, 0], Some(1)))
        }),
        case(DEVICE, "Field what was tuned on ''", "no name", of(tuned("", 1, 2, "dense", 0))),
        case(BATCH, "Field what was tuned on 'd'", "no sample", of(tuned("d", 0, 2, "dense", 0))),
        case(TWICE, "Field what was tuned on 'd'", "stands twice", plain(vec![Section::Tuned(vec![tuned("d", 1, 2, "dense", 0); 2])])),
        case(LAYERS, "Field what was tuned on 'd'", "has 3 layers, the network 2", of(tuned("d", 1, 3, "dense", 0))),
        case(FORM, "Field what was tuned on 'd'", "'thin' is no form", of(tuned("d", 1, 2, "thin", 0))),
        case(FORM, "TooLarge the number of kernels 65", "64", of(tuned("d", 1, 2, "dense", 65))),
        case(AN_IMAGE, "Field how images are brought to input 1", "there are 1 inputs", fits(&[(1, FitMethod::Stretch)])),
        case(AN_IMAGE, "Field how images are brought to input 1", "'h', float32 [N, 2] is no image", {
            let fit = Fit { input: 1, method: FitMethod::Stretch, filter: Filter::Bicubic };
            plain(vec![Section::Fit(vec![fit])])
        }),
        case(ONE_FIT, "Field how images are brought to input 0", "stands twice", fits(&[(0, FitMethod::Stretch); 2])),
        case(
            HOLDS,
            "Field how images are brought to input 0",
            "7 pixels does not hold 8 × 4",
            fits(&[(0, FitMethod::Crop { shorter: 7 })]),
        ),
        case(SHORTER, "Field how images are brought to input 0", "16385 pixels is above 16384", {
            fits(&[(0, FitMethod::Crop { shorter: 16385 })])
        }),
    ]
}
