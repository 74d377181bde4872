//! Checkpoints: safetensors, or PyTorch's state dicts; the first byte says which.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use thinfer_fuzz::{targets, watched::within_bounds};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|data: &[u8]| {
    if let [kind, bytes @ ..] = data {
        let name = ["file.safetensors", "file.pth"][usize::from(kind & 1)];
        within_bounds(name, bytes, |bytes| targets::network(name, bytes, FOLDER.path()));
    }
});
