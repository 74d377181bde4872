//! Files of format version 1 that were written once and must open, and compute the same, for ever. `THINFER_BLESS=1` writes
//! those that are missing; one that is there is never written again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thinfer::artifact::Dtype;
use thinfer::npy::{self, Npy, NpyData};
use thinfer::{Artifact, Device, Form, Forms, Options, Session, bench};
use thinfer_compiler::factor::Scheme;
use thinfer_compiler::import;
use thinfer_compiler::lower::{Factored, Options as Lowering, SchemeChoice};
use thinfer_compiler::rank::Policy;

/// Name of the file, the ONNX case that it was compiled from, policy, scheme and storage.
const FILES: [(&str, &str, Policy, Option<Scheme>, Dtype); 13] = [
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

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn outputs(artifact: &Artifact, form: Form) -> Vec<f32> {
    let options = Options { batch: 2, forms: Forms::All(form), cache: None, ..Options::default() };
    let mut session = Session::new(&Device::cpu(), artifact, &options).unwrap();
    session.run(&bench::noise(2 * session.input_len())).unwrap()
}

fn bless(name: &str, case: &str, policy: Policy, scheme: Option<Scheme>, dtype: Dtype) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("compiler/tests/onnx/cases/{case}.onnx"));
    let (checkpoint, _) = import::import(&path).unwrap();
    let options = Lowering { scheme: scheme.map_or(SchemeChoice::Auto, SchemeChoice::Only), ..Lowering::default() };
    let factored = Factored::new(checkpoint.meta.graph.as_ref().unwrap(), &checkpoint, options, &|_, _, _| ()).unwrap();
    let artifact = factored.emit(policy, &factored.cuts(policy).unwrap(), dtype, true).unwrap();
    let values = outputs(&artifact, Form::TwoStage);
    let expected = npy::write(&Npy { shape: vec![values.len()], data: NpyData::F32(values) });
    std::fs::create_dir_all(folder()).unwrap();
    std::fs::write(folder().join(format!("{name}.thin")), artifact.as_bytes()).unwrap();
    std::fs::write(folder().join(format!("{name}.npy")), expected).unwrap();
}

#[test]
fn files_of_version_1_compute_what_they_did() {
    let mut seen = BTreeSet::new();
    for (name, case, policy, scheme, dtype) in FILES {
        let path = folder().join(format!("{name}.thin"));
        if !path.exists() && std::env::var_os("THINFER_BLESS").is_some_and(|v| v == "1") {
            bless(name, case, policy, scheme, dtype);
        }
        let artifact = Artifact::open(&path).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(artifact.as_bytes()[4..6], [1, 0], "{name}");
        let NpyData::F32(expected) = npy::parse(&std::fs::read(path.with_extension("npy")).unwrap()).unwrap().data else {
            unreachable!("{name}")
        };
        let largest = expected.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
        for form in [Form::TwoStage, Form::Fused, Form::Dense] {
            for (got, expected) in outputs(&artifact, form).iter().zip(&expected) {
                assert!((got - expected).abs() <= 1e-5 * largest, "{name} {form:?}: {got} {expected}");
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
fn newer_versions_are_refused_by_number() {
    let mut file = std::fs::read(folder().join("cnn.thin")).unwrap();
    file[4] = 2;
    let why = Artifact::from_bytes(file).unwrap_err().to_string();
    assert!(why.contains("version 2"), "{why}");
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
