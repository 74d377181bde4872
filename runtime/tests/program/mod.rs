//! The program `thinfer` as tests call it.

use std::path::Path;
use std::process::{Command, Output};

pub(crate) fn thinfer(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thinfer")).args(arguments).current_dir(dir).output().unwrap()
}

pub(crate) fn succeed(arguments: &[&str], dir: &Path) -> String {
    let output = thinfer(arguments, dir);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn refused(arguments: &[&str], dir: &Path, parts: &[&str]) {
    let output = thinfer(arguments, dir);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{arguments:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{arguments:?}: {part:?} not in {error:?}");
    }
}
