//! A run killed at any moment resumes to the same bits as an undisturbed one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn train(dir: &Path, run: &str, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thinferc"));
    let fixed =
        ["train", "--model", "fcn6", "--data", "glyphs", "--method", "lorita", "--factors", "2", "--epochs", "2", "--limit", "6000"];
    // A checkpoint after every step: kills fall into writes, too.
    command.args(fixed).args(["--batch", "64", "--checkpoint-seconds", "0", "-o", run]).args(extra).current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until `done` holds, the child ends, or a minute has passed; whether `done` held.
fn wait(child: &mut Child, done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if done() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        sleep(Duration::from_millis(2));
    }
    false
}

#[test]
fn signal_9_costs_no_bit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(train(dir, "whole", &[]).status().unwrap().success());
    let whole = fs::read(dir.join("whole/model.safetensors")).unwrap();

    let checkpoint = dir.join("killed/checkpoint");
    let mut kills = 0;
    let mut arguments: &[&str] = &[];
    // Kill at growing ages of the process, counted from its first checkpoint, so that the kills fall all over a step and
    // all over a checkpoint's write.
    for age in (0..12).map(|i| Duration::from_micros(40_000 + 7_300 * i)) {
        let mut child = train(dir, "killed", arguments).spawn().unwrap();
        let started = wait(&mut child, || fs::read_dir(&checkpoint).is_ok_and(|d| d.count() > 0));
        sleep(age);
        let running = child.try_wait().unwrap().is_none();
        // SIGKILL on Unix.
        child.kill().unwrap();
        child.wait().unwrap();
        arguments = &["--resume"];
        if started && running {
            kills += 1;
        }
        if dir.join("killed/model.safetensors").exists() {
            break;
        }
    }
    assert!(kills >= 3, "only {kills} kills hit a running training");
    if !dir.join("killed/model.safetensors").exists() {
        assert!(train(dir, "killed", &["--resume"]).status().unwrap().success());
    }
    assert_eq!(fs::read(dir.join("killed/model.safetensors")).unwrap(), whole);
}

/// The moment that a kill in the middle of a write leaves: a torn file where the newest checkpoint should be, and the
/// temporary file of an atomic write beside it.
#[test]
fn a_torn_checkpoint_costs_no_bit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(train(dir, "whole", &[]).status().unwrap().success());
    let mut child = train(dir, "torn", &[]).spawn().unwrap();
    let folder = dir.join("torn/checkpoint");
    wait(&mut child, || fs::read_dir(&folder).is_ok_and(|d| d.count() >= 2));
    sleep(Duration::from_millis(150));
    child.kill().unwrap();
    child.wait().unwrap();
    let newest =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).max_by_key(|p| fs::metadata(p).unwrap().modified().unwrap()).unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.join(".state-A.1.0.tmp"), b"half a write").unwrap();
    assert!(train(dir, "torn", &["--resume"]).status().unwrap().success());
    assert_eq!(fs::read(dir.join("torn/model.safetensors")).unwrap(), fs::read(dir.join("whole/model.safetensors")).unwrap());
}
