//! Where the golden files in `tests/golden` came from: `THINFER_BLESS=1` writes those that are missing; one that is there is never
//! written again. That they open and compute what they did is tested by `runtime/tests/golden.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use thinfer::artifact::Dtype;
use thinfer::npy::{self, Npy, NpyData};
use thinfer::{Device, Forms, Options, Session, bench};
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

fn bless(name: &str, case: &str, policy: Policy, scheme: Option<Scheme>, dtype: Dtype) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("compiler/tests/onnx/cases/{case}.onnx"));
    let (checkpoint, _) = import::import(&path).unwrap();
    let options = Lowering { scheme: scheme.map_or(SchemeChoice::Auto, SchemeChoice::Only), ..Lowering::default() };
    let factored = Factored::new(checkpoint.meta.graph.as_ref().unwrap(), &checkpoint, options, &|_, _, _| ()).unwrap();
    let artifact = factored.emit(policy, &factored.cuts(policy).unwrap(), dtype, true).unwrap();
    let options = Options { batch: 2, forms: Forms::Ruled, cache: None, ..Options::default() };
    let mut session = Session::new(&Device::cpu(), &artifact, &options).unwrap();
    let values = session.run(&bench::noise(2 * session.input_len())).unwrap();
    let expected = npy::write(&Npy { shape: vec![values.len()], data: NpyData::F32(values) });
    std::fs::create_dir_all(folder()).unwrap();
    std::fs::write(folder().join(format!("{name}.thin")), artifact.as_bytes()).unwrap();
    std::fs::write(folder().join(format!("{name}.npy")), expected).unwrap();
}

#[test]
fn each_file_is_there() {
    for (name, case, policy, scheme, dtype) in FILES {
        let path = folder().join(format!("{name}.thin"));
        if !path.exists() && std::env::var_os("THINFER_BLESS").is_some_and(|v| v == "1") {
            bless(name, case, policy, scheme, dtype);
        }
        assert!(path.exists() && path.with_extension("npy").exists(), "{name}: THINFER_BLESS=1 writes it");
    }
}
