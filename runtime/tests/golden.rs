//! Files of format versions 1 and 2 that were written once, on x86, and must open, and compute the same, for ever and on every machine:
//! `tests/golden` of the repository. Also run for 64-bit Arm under emulation (docs/jetson.md).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thinfer::artifact::{Channels, InputKind, Meaning};
use thinfer::tools::bench;
use thinfer::tools::npy::{self, NpyData};
use thinfer::{Artifact, Device, Form, Forms, Options, Session};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn outputs(artifact: &Artifact, form: Form) -> Vec<f32> {
    let samples = if artifact.input().spec.sample_axis.is_some() { 2 } else { 1 };
    let options = Options { batch: samples, forms: Forms::All(form), cache: None, ..Options::default() };
    let mut session = Session::new(&Device::cpu(), artifact, &options).unwrap();
    session.run(&bench::noise(samples * session.input_len())).unwrap()
}

/// The kinds of layers and of weights in the files of `folder`, which are of `version`, at least so many, and compute what they did.
fn compute_the_same(folder: &Path, version: u8, least: usize) -> BTreeSet<String> {
    let (mut seen, mut most) = (BTreeSet::new(), 0f32);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "thin"));
    assert!(paths.len() >= least, "{paths:?}");
    for path in paths {
        let name = path.display();
        let artifact = Artifact::open(&path).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(artifact.as_bytes()[4..6], [version, 0], "{name}");
        let NpyData::F32(expected) = npy::parse(&std::fs::read(path.with_extension("npy")).unwrap()).unwrap().data else {
            unreachable!("{name}")
        };
        let largest = expected.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
        for form in [Form::TwoStage, Form::Fused, Form::Dense] {
            for (got, expected) in outputs(&artifact, form).iter().zip(&expected) {
                assert!((got - expected).abs() <= 1e-5 * largest, "{name} {form:?}: {got} {expected}");
                most = most.max((got - expected).abs() / largest);
            }
        }
        for layer in &artifact.model().layers {
            let op = format!("{:?}", layer.op);
            seen.insert(op.split([' ', '(']).next().unwrap_or_default().to_string());
            for (form, name) in [("LowRank {", "LowRank"), ("Spatial {", "Spatial"), ("Tucker2 {", "Tucker2")] {
                if op.contains(form) {
                    seen.insert(name.into());
                }
            }
        }
    }
    println!("version {version}: at most {most:.1e} of the largest output apart, on {}", std::env::consts::ARCH);
    seen
}

#[test]
fn files_of_version_1_compute_what_they_did() {
    let seen = compute_the_same(&folder(), 1, 13);
    // Every kind of layer and of weight that the version knows.
    let known = [
        "Activate",
        "Add",
        "Affine",
        "Attention",
        "Concat",
        "Conv",
        "Embed",
        "GlobalAveragePool",
        "LayerNorm",
        "Linear",
        "LowRank",
        "Multiply",
        "Pool",
        "Rearrange",
        "Softmax",
        "Spatial",
        "Tucker2",
    ];
    let missing: Vec<_> = known.iter().filter(|k| !seen.contains(**k)).collect();
    assert!(missing.is_empty(), "no golden file has {missing:?}, only {seen:?}");
}

#[test]
fn files_of_version_2_compute_what_they_did_and_declare_what_they_did() {
    compute_the_same(&folder().join("v2"), 2, 6);
    for (name, input, output, kind, meaning) in [
        ("cnn", "'x', float32 [N, 1, 28, 28]", "'LogSoftmax_4_out', float32 [N, 10]", InputKind::Image, Meaning::LogProbabilities),
        ("nhwc", "'x', float32 [1, 7, 6, 3]", "'end_out', float32 [1, 5]", InputKind::Image, Meaning::Values),
        ("probabilities", "'x', float32 [1, 6]", "'end_out', float32 [1, 5]", InputKind::Features, Meaning::Probabilities),
        ("flat_image", "'x', float32 [1, 36]", "'end_out', float32 [1, 4]", InputKind::Image, Meaning::Values),
        ("tokens", "'x', float32 [N, 3, 6, 8]", "'end_out', float32 [N, 5]", InputKind::Image, Meaning::Values),
        ("declared", "'pixels', uint8 [4, 3, 3]", "'map', float32 [1, 3, 2, 1, 4]", InputKind::Image, Meaning::Values),
    ] {
        let artifact = Artifact::open(folder().join(format!("v2/{name}.thin"))).unwrap();
        let (i, o) = (artifact.input(), artifact.output());
        assert_eq!((i.spec.to_string().as_str(), o.spec.to_string().as_str(), i.kind, o.meaning), (input, output, kind, meaning), "{name}");
    }
    let declared = Artifact::open(folder().join("v2/declared.thin")).unwrap();
    assert_eq!(declared.input().preprocess.channels, Channels::Bgr);
    assert_eq!((declared.input().spec.order.len(), declared.output().spec.order.len()), (2, 2));
}

/// What version 1 could not say is what it meant.
#[test]
fn files_of_version_1_declare_what_they_meant() {
    let ends = |name: &str| {
        let artifact = Artifact::open(folder().join(format!("{name}.thin"))).unwrap();
        let (input, output) = (artifact.input(), artifact.output());
        assert!((&input.spec.name[..], &output.spec.name[..]) == ("input", "output") && input.spec.order.is_empty(), "{name}");
        (input.spec.declared(), input.kind, output.spec.declared(), output.meaning)
    };
    assert_eq!(ends("cnn"), ("[N, 1, 28, 28]".into(), InputKind::Image, "[N, 10]".into(), Meaning::LogProbabilities));
    assert_eq!(ends("softmax"), ("[N, 6]".into(), InputKind::Features, "[N, 5]".into(), Meaning::LogProbabilities));
    assert_eq!(ends("shuffled").1, InputKind::Features);
    assert_eq!(ends("attention"), ("[N, 3, 6, 8]".into(), InputKind::Image, "[N, 96]".into(), Meaning::Values));
}

#[test]
fn newer_versions_are_refused_by_number() {
    let mut file = std::fs::read(folder().join("cnn.thin")).unwrap();
    file[4] = 3;
    let why = Artifact::from_bytes(file).unwrap_err().to_string();
    assert!(why.contains("version 3"), "{why}");
}

#[test]
fn every_bit_that_flips_is_noticed() {
    for name in ["attention", "cnn_spatial", "softmax"] {
        let mut file = std::fs::read(folder().join(format!("{name}.thin"))).unwrap();
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(Artifact::from_bytes(file.clone()).is_err(), "{name}: bit {bit}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(Artifact::from_bytes(file).is_ok());
    }
}
