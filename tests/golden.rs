//! Where the golden files in `tests/golden` came from: `THINFER_BLESS=1` writes those of the newest version that are missing; one that
//! is there is never written again. That they open and compute what they did is tested by `runtime/tests/golden.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use thinfer::artifact::{
    Activation, Channels, Dtype, Element, Layer, Meaning, Model, Op, Output, Preprocess, Stride, TensorData, TensorSpec, Weight, Window,
};
use thinfer::tools::bench;
use thinfer::tools::npy::{self, Npy, NpyData};
use thinfer::{Artifact, Device, Forms, Options, Session};
use thinfer_compiler::factor::Scheme;
use thinfer_compiler::import;
use thinfer_compiler::lower::{Factored, Options as Lowering, SchemeChoice};
use thinfer_compiler::rank::Policy;

/// Files of version 1, which nothing writes any more: name, the ONNX case that it was compiled from, policy, scheme and storage.
const VERSION_1: [(&str, &str, Policy, Option<Scheme>, Dtype); 13] = [
    ("cnn", "../small_cnn", Policy::Dense, None, Dtype::F32),
    ("cnn_channel", "../small_cnn", Policy::Local(0.3), Some(Scheme::Channel), Dtype::F32),
    ("cnn_spatial", "../small_cnn", Policy::Local(0.3), Some(Scheme::Spatial), Dtype::F16),
    ("cnn_tucker2", "../small_cnn", Policy::Local(0.3), Some(Scheme::Tucker2), Dtype::F16),
    ("attention", "attention_of_three_weights", Policy::Dense, None, Dtype::F32),
    ("tokens", "class_token_and_positions", Policy::Dense, None, Dtype::F32),
    ("normalised", "layer_norm_of_tokens", Policy::Dense, None, Dtype::F32),
    ("dense_block", "dense_block", Policy::Dense, None, Dtype::F32),
    ("shuffled", "channel_shuffle", Policy::Dense, None, Dtype::F32),
    ("pooled", "pool_average_ceil", Policy::Dense, None, Dtype::F32),
    ("gated", "squeeze_and_excite", Policy::Dense, None, Dtype::F32),
    ("activation", "act_prelu_of_one_slope", Policy::Dense, None, Dtype::F32),
    ("softmax", "log_softmax_old_axis", Policy::Dense, None, Dtype::F32),
];

/// Files of version 2; `declared` is made by hand.
const VERSION_2: [(&str, &str, Policy, Option<Scheme>, Dtype); 5] = [
    ("cnn", "../small_cnn", Policy::Local(0.3), Some(Scheme::Spatial), Dtype::F16),
    ("nhwc", "nhwc_image_to_the_end", Policy::Dense, None, Dtype::F32),
    ("probabilities", "softmax_last", Policy::Dense, None, Dtype::F32),
    ("flat_image", "vector_reshaped_to_an_image", Policy::Dense, None, Dtype::F32),
    ("tokens", "class_token_and_positions", Policy::Dense, None, Dtype::F32),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn compiled(case: &str, policy: Policy, scheme: Option<Scheme>, dtype: Dtype) -> Artifact {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("compiler/tests/onnx/cases/{case}.onnx"));
    let (checkpoint, _) = import::import(&path).unwrap();
    let options = Lowering { scheme: scheme.map_or(SchemeChoice::Auto, SchemeChoice::Only), ..Lowering::default() };
    let factored = Factored::new(checkpoint.meta.graph.as_ref().unwrap(), &checkpoint, options, &|_, _, _| ()).unwrap();
    factored.emit(policy, &factored.cuts(policy).unwrap(), dtype, true).unwrap()
}

/// What no case declares: an image of bytes, channels last and blue first, without samples, and an output of five axes.
fn declared() -> Artifact {
    let window = Window { kernel: [2, 2], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
    let op =
        Op::Conv { window, outputs: 4, groups: 1, weight: Weight::Dense(0), bias: None, residual: None, activation: Activation::Sigmoid };
    let mut model = Model::new("declared", &[3, 4, 3], vec![Layer { name: "conv".into(), inputs: vec![0], op }]);
    let order = vec![Stride { size: 12, stride: 1 }, Stride { size: 3, stride: 12 }];
    let one = |name: &str, shape: &[u32]| TensorSpec { shape: shape.to_vec(), sample_axis: None, ..TensorSpec::new(name, &[]) };
    model.inputs[0].spec = TensorSpec { element: Element::U8, order, ..one("pixels", &[4, 3, 3]) };
    model.inputs[0].preprocess = Preprocess { scale: 1.0, channels: Channels::Bgr, ..Preprocess::default() };
    let order = vec![Stride { size: 6, stride: 1 }, Stride { size: 4, stride: 6 }];
    model.outputs = vec![Output { spec: TensorSpec { order, ..one("map", &[1, 3, 2, 1, 4]) }, value: 1, meaning: Meaning::Values }];
    Artifact::build(model, vec![TensorData::f32("weight", &[4, 3, 2, 2], bench::noise(48))]).unwrap()
}

fn bless(path: &Path, artifact: &Artifact) {
    let samples = if artifact.input().spec.sample_axis.is_some() { 2 } else { 1 };
    let options = Options { batch: samples, forms: Forms::Ruled, cache: None, ..Options::default() };
    let mut session = Session::new(&Device::cpu(), artifact, &options).unwrap();
    let values = session.run(&bench::noise(samples * session.input_len())).unwrap();
    let expected = npy::write(&Npy { shape: vec![values.len()], data: NpyData::F32(values) });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, artifact.as_bytes()).unwrap();
    std::fs::write(path.with_extension("npy"), expected).unwrap();
}

#[test]
fn each_file_is_there() {
    let is_blessed = std::env::var_os("THINFER_BLESS").is_some_and(|v| v == "1");
    let there = |path: &Path, make: Option<&dyn Fn() -> Artifact>| {
        if let (false, true, Some(make)) = (path.exists(), is_blessed, make) {
            bless(path, &make());
        }
        assert!(path.exists() && path.with_extension("npy").exists(), "{}: THINFER_BLESS=1 writes it", path.display());
    };
    for (name, ..) in VERSION_1 {
        there(&folder().join(format!("{name}.thin")), None);
    }
    for (name, case, policy, scheme, dtype) in VERSION_2 {
        there(&folder().join(format!("v2/{name}.thin")), Some(&|| compiled(case, policy, scheme, dtype)));
    }
    there(&folder().join("v2/declared.thin"), Some(&declared));
}
