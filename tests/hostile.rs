//! Every reader against thousands of files that were damaged on purpose, against those that a fuzzer found to be unlike each
//! other (`tests/fuzz/corpus`), and against every input that was ever a fault (`tests/fuzz/faults`): a result or a typed error,
//! never a panic, and no allocation out of proportion to the file. The same functions are fuzzed by coverage: `tests/fuzz/run`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fuzz/lib.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzzer")]
mod fuzz;

use std::io::Read;
use std::path::Path;

use fuzz::targets;
use fuzz::watched::within_bounds;
use thinfer_compiler::graph;
use thinfer_compiler::import::{self, Checkpoint};
use thinfer_compiler::zoo;

/// Numbers that are the same every time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    /// `file` with a few bytes changed, taken out, doubled or made extreme, or without its end.
    fn damaged(&mut self, file: &[u8]) -> Vec<u8> {
        let mut out = file.to_vec();
        for _ in 0..=self.below(4) {
            if out.is_empty() {
                return out;
            }
            let (at, len) = (self.below(out.len()), 1 + self.below(8));
            let end = (at + len).min(out.len());
            match self.below(7) {
                0 => out.truncate(at),
                1 => out[at] ^= 1 << self.below(8),
                2 => out[at..end].fill([0x00, 0x7f, 0x80, 0xff][self.below(4)]),
                3 => drop(out.drain(at..end)),
                4 => {
                    let part = out[at..end].to_vec();
                    out.splice(at..at, part);
                }
                5 => out[at] = self.below(256) as u8,
                // Lengths tend to stand at the start.
                _ => {
                    let early = self.below(out.len().min(64));
                    out[early] = self.below(256) as u8;
                }
            }
        }
        out
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.is_file() && p.to_string_lossy().ends_with(ending));
    paths.sort();
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

/// Runs `target` on `seeds` as they are and on `count` damaged ones each.
fn attack(name: &str, seeds: &[Vec<u8>], count: usize, target: &dyn Fn(&[u8])) {
    assert!(!seeds.is_empty(), "{name} has nothing to start from");
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let damaged = seeds.iter().flat_map(|seed| (0..count).map(|_| draw.damaged(seed)).collect::<Vec<_>>());
    for input in seeds.iter().cloned().chain(damaged) {
        within_bounds(name, &input, target);
    }
}

/// The inputs of a fuzz target that are kept: together they reach all that was ever reached.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let packed = std::fs::File::open(root().join(format!("tests/fuzz/corpus/{target}.tar.xz"))).unwrap();
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(packed, false));
    let mut inputs = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut input = Vec::new();
            entry.read_to_end(&mut input).unwrap();
            inputs.push(input);
        }
    }
    inputs
}

#[test]
fn what_the_fuzzer_found_is_still_answered() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let again = |name: &str, target: &dyn Fn(&[u8])| {
        let (kept, faults) = (corpus(name), files(&root().join("tests/fuzz/faults").join(name), ""));
        println!("{name}: {} inputs, {} that were a fault", kept.len(), faults.len());
        assert!(kept.len() > 100, "{name} has lost its corpus");
        kept.iter().chain(&faults).for_each(|input| within_bounds(name, input, target));
    };
    again("thin", &targets::thin);
    again("onnx", &|file| targets::network("file.onnx", file, folder));
    again("graphs", &|bytes| targets::graph(bytes, folder));
    again("checkpoint", &|file| targets::checkpoint(file, folder));
    again("data", &|file| targets::data(file, folder));
}

#[test]
fn no_damaged_file_panics_or_takes_memory_that_it_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    let thin = [files(&root().join("tests/golden"), ".thin"), files(&root().join("tests/golden/v2"), ".thin")].concat();
    attack("thin", &thin, 400, &|file| targets::thin(&targets::sealed(file.to_vec())));
    // Not repaired: what a torn download looks like.
    attack("thin", &thin, 20, &targets::thin);

    let onnx = files(&root().join("compiler/tests/onnx/cases"), ".onnx");
    attack("onnx", &onnx, 60, &|file| targets::network("file.onnx", file, folder));
    attack("graphs", &corpus("graphs")[..50], 10, &|bytes| targets::graph(bytes, folder));

    let params = graph::init(&zoo::build("mlp:12-8-5").unwrap(), 3);
    let path = folder.join("seed.safetensors");
    import::save(&path, &Checkpoint { params, ..Checkpoint::default() }).unwrap();
    let checkpoint = std::fs::read(&path).unwrap();
    attack("safetensors", &[checkpoint], 2000, &|file| targets::network("file.safetensors", file, folder));
    attack("torch", &files(&root().join("tests/fuzz/seeds"), ".pth"), 2000, &|file| targets::network("file.pth", file, folder));

    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28][..], &[7; 2 * 784]].concat();
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 2][..], &[3, 9]].concat();
    let idx = [&(images.len() as u16).to_le_bytes()[..], &images, &labels].concat();
    attack("mnist", &[idx], 2000, &|file| targets::images("mnist", file, folder));
    attack("cifar10", &[vec![5; 3073 * 2]], 500, &|file| targets::images("cifar10", file, folder));
    attack("cifar100", &[vec![5; 3074 * 2]], 500, &|file| targets::images("cifar100", file, folder));
    attack("npy", &files(&root().join("tests/golden"), ".npy"), 500, &targets::array);
    attack("table", &files(&root().join("tests/fuzz/seeds"), ".json"), 1000, &targets::table);
}
