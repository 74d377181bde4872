//! Bad input gets one line that names it and exit code 1, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;
mod files;
mod latency;
mod settings;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use thinfer_compiler::graph;
use thinfer_compiler::import::{self, Checkpoint, Meta};
use thinfer_compiler::tensor::Params;
use thinfer_compiler::zoo;

fn thinferc(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thinferc")).args(arguments).current_dir(dir).output().unwrap()
}

/// Every file below `dir`.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found.sort();
    found
}

/// Runs the command, expects one line on standard error that holds all of `parts`, exit code 1 and no new file.
fn refused(arguments: &[&str], dir: &Path, parts: &[&str]) {
    let before = files(dir);
    let output = thinferc(arguments, dir);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{arguments:?}: {part:?} not in {error:?}");
    }
    assert_eq!(files(dir), before, "{arguments:?} left something behind");
}

fn save(dir: &Path, name: &str, change: impl FnOnce(&mut Params)) {
    let mut params = graph::init(&zoo::build("mlp:6-5-3").unwrap(), 0);
    change(&mut params);
    import::save(&dir.join(name), &Checkpoint { params, meta: Meta::default() }).unwrap();
}
