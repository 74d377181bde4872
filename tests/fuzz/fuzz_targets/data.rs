//! Images, arrays and tables; the first byte says which.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use thinfer_fuzz::{targets, watched::within_bounds};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    within_bounds("data", bytes, |bytes| match kind % 5 {
        0 => targets::images("mnist", bytes, FOLDER.path()),
        1 => targets::images("cifar10", bytes, FOLDER.path()),
        2 => targets::images("cifar100", bytes, FOLDER.path()),
        3 => targets::array(bytes),
        _ => targets::table(bytes),
    });
});
