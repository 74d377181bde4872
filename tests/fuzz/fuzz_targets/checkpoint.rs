//! Checkpoints: safetensors, or PyTorch's state dicts; the first byte says which.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use thinfer_fuzz::{targets, watched::within_bounds};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|input: &[u8]| within_bounds("checkpoint", input, |input| targets::checkpoint(input, FOLDER.path())));
