//! Drawn ONNX networks.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use thinfer_fuzz::{targets, watched::within_bounds};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|data: &[u8]| within_bounds("graphs", data, |bytes| targets::graph(bytes, FOLDER.path())));
