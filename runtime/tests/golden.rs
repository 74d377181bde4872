//! Files of format version 1 that were written once, on x86, and must open, and compute the same, for ever and on every machine:
//! `tests/golden` of the repository. Also run for 64-bit Arm under emulation (docs/jetson.md).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thinfer::npy::{self, NpyData};
use thinfer::{Artifact, Device, Form, Forms, Options, Session, bench};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn outputs(artifact: &Artifact, form: Form) -> Vec<f32> {
    let options = Options { batch: 2, forms: Forms::All(form), cache: None, ..Options::default() };
    let mut session = Session::new(&Device::cpu(), artifact, &options).unwrap();
    session.run(&bench::noise(2 * session.input_len())).unwrap()
}

#[test]
fn files_of_version_1_compute_what_they_did() {
    let (mut seen, mut most) = (BTreeSet::new(), 0f32);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "thin"));
    assert!(paths.len() >= 13, "{paths:?}");
    for path in paths {
        let name = path.display();
        let artifact = Artifact::open(&path).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(artifact.as_bytes()[4..6], [1, 0], "{name}");
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
    println!("at most {most:.1e} of the largest output apart, on {}", std::env::consts::ARCH);
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
