//! A run killed at any moment resumes to the same bits as an undisturbed one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LORITA: &[&str] = &["--model", "fcn6", "--method", "lorita", "--factors", "2", "--epochs", "2", "--limit", "6000"];

fn train(dir: &Path, run: &str, extra: &[&str]) -> Command {
    train_as(LORITA, dir, run, extra)
}

fn train_as(method: &[&str], dir: &Path, run: &str, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thinferc"));
    // A checkpoint after every step: kills fall into writes, too.
    command.args(["train", "--data", "glyphs", "--batch", "64", "--checkpoint-seconds", "0", "-o", run]);
    command.args(method).args(extra).current_dir(dir);
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

/// Whether a whole checkpoint is there, and not only the file that it is first written to.
fn has_checkpoint(folder: &Path) -> bool {
    ["state-A", "state-B"].iter().any(|name| folder.join(name).exists())
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
        let started = wait(&mut child, || has_checkpoint(&checkpoint));
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
    wait(&mut child, || ["state-A", "state-B"].iter().all(|name| folder.join(name).exists()));
    sleep(Duration::from_millis(150));
    child.kill().unwrap();
    child.wait().unwrap();
    let states = ["state-A", "state-B"].map(|name| folder.join(name));
    let newest = states.into_iter().max_by_key(|p| fs::metadata(p).unwrap().modified().unwrap()).unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.join(".state-A.1.0.tmp"), b"half a write").unwrap();
    assert!(train(dir, "torn", &["--resume"]).status().unwrap().success());
    assert_eq!(fs::read(dir.join("torn/model.safetensors")).unwrap(), fs::read(dir.join("whole/model.safetensors")).unwrap());
}

/// Every method, killed twice on its way, with what only some of them keep: factors, and an average of the weights.
#[test]
fn signal_9_costs_no_method_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let short = ["--epochs", "1", "--limit", "3000"];
    let from = |method: &[&'static str]| [&["--model", "fcn6", "--method"][..], method, &short].concat();
    let tune = [&["--from", "elrt-whole/factors.safetensors", "--method", "finetune", "--optimizer", "sgd"][..], &short].concat();
    let methods = [
        ("dense", from(&["dense", "--ema", "0.99"])),
        ("lorita", from(&["lorita", "--factors", "3"])),
        ("trp", from(&["trp", "--energy", "0.8", "--ema", "0.9"])),
        ("elrt", from(&["elrt", "--macs", "0.4", "--ortho", "srip:0.01"])),
        ("finetune", tune),
    ];
    let mut kills = 0;
    for (name, method) in methods {
        let (whole, killed) = (format!("{name}-whole"), format!("{name}-killed"));
        assert!(train_as(&method, dir, &whole, &[]).status().unwrap().success(), "{name}");
        let checkpoint = dir.join(&killed).join("checkpoint");
        let mut arguments: &[&str] = &[];
        for age in [30, 90] {
            let mut child = train_as(&method, dir, &killed, arguments).spawn().unwrap();
            let started = wait(&mut child, || has_checkpoint(&checkpoint));
            sleep(Duration::from_millis(age));
            kills += usize::from(started && child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            arguments = &["--resume"];
        }
        assert!(train_as(&method, dir, &killed, &["--resume"]).status().unwrap().success(), "{name}");
        for file in ["model.safetensors", "factors.safetensors"] {
            let read = |run: &str| fs::read(dir.join(run).join(file)).ok();
            assert!(read(&killed) == read(&whole), "{name}: {file} differs");
        }
        assert_eq!(dir.join(&killed).join("factors.safetensors").exists(), ["elrt", "finetune"].contains(&name));
    }
    assert!(kills >= 5, "only {kills} kills hit a running training");
}
