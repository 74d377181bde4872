//! Checkpoints: safetensors, or PyTorch's state dicts; the first byte says which.
#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code)]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|data: &[u8]| {
    if let [kind, bytes @ ..] = data {
        targets::network(["file.safetensors", "file.pth"][usize::from(kind & 1)], bytes, FOLDER.path());
    }
});
