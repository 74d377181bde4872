//! ONNX files as the commands take them: compiled, swept, fine-tuned, and refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn thinferc(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thinferc")).args(arguments).current_dir(dir).output().unwrap()
}

/// Standard output of a command that must succeed.
fn done(arguments: &[&str], dir: &Path) -> String {
    let output = thinferc(arguments, dir);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of a command that must refuse and write nothing.
fn refused(arguments: &[&str], dir: &Path) -> String {
    let output = thinferc(arguments, dir);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{arguments:?}: {error}");
    assert!(!dir.join("out.thin").exists() && !dir.join("out").exists());
    error
}

fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_imported_network_is_trained_cut_and_judged_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = stored("small_cnn.onnx").display().to_string();
    let explained = done(&["compile", &file, "--ranks", "local:0.5", "--explain", "-o", "random.thin"], dir);
    for part in ["transposes, reshapes and flattens", "normalisations folded", "norm1, norm2", "activations fused", "fc"] {
        assert!(explained.contains(part), "{part:?} not in {explained}");
    }
    assert!(done(&["inspect", &file], dir).contains("conv2"));

    for (method, extra) in [("finetune", &[][..]), ("lorita", &["--factors", "2"]), ("trp", &["--energy", "0.01"])] {
        let settings = ["--epochs", "4", "--batch", "32", "--limit", "3000", "--lr", "0.003", "--mean", "0.1", "--std", "0.3"];
        let train = ["train", "--from", &file, "--data", "glyphs", "--method", method, "-o", method];
        done(&[&train[..], &settings, extra].concat(), dir);
        // The trained network is a checkpoint that knows its own graph and pixels.
        let model = format!("{method}/model.safetensors");
        done(&["compile", &model, "--ranks", "dense", "-o", "dense.thin"], dir);
        done(&["eval", "dense.thin", "--data", "glyphs", "--device", "cpu", "--limit", "1000", "--json", "eval.json"], dir);
        let top1 = json(&dir.join("eval.json"))["top1"].as_f64().unwrap();
        // Of random weights it is 10.
        assert!(top1 > 50.0, "{method}: {top1}");
        done(&["compile", &model, "--ranks", "macs:0.7", "--calibrate", "glyphs:200", "-o", "thin.thin", "--json", "thin.json"], dir);
        let thin = json(&dir.join("thin.json"));
        assert!(thin["macs"].as_u64().unwrap() * 10 <= thin["dense_macs"].as_u64().unwrap() * 7, "{thin}");
    }
    done(&["sweep", "finetune/model.safetensors", "--policy", "local", "--data", "glyphs", "-o", "sweep"], dir);
    assert!(dir.join("sweep/sweep.csv").exists());
}

#[test]
fn raw_pixels_are_a_matter_of_the_range() {
    let dir = tempfile::tempdir().unwrap();
    let file = stored("small_cnn.onnx").display().to_string();
    let scale = |extra: &[&str]| {
        done(&[&["compile", &file, "--ranks", "dense", "-o", "a.thin", "--json", "a.json"], extra].concat(), dir.path());
        json(&dir.path().join("a.json"))["preprocess"]["scale"].as_f64().unwrap()
    };
    assert!((scale(&[]) * 255.0 - 1.0).abs() < 1e-6 && (scale(&["--range", "255"]) - 1.0).abs() < 1e-6);
    assert!(refused(&["compile", &file, "--ranks", "dense", "--range", "0", "-o", "out.thin"], dir.path()).contains("--range"));
}

#[test]
fn damaged_and_strange_files_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let sound = fs::read(stored("small_cnn.onnx")).unwrap();
    fs::write(dir.join("cut.onnx"), &sound[..sound.len() / 2]).unwrap();
    // Two kinds of operations become ones that there are not.
    let mut strange = sound.clone();
    for (from, to) in [(&b"Flatten"[..], &b"Flotten"[..]), (b"LogSoftmax", b"LagSoftmax")] {
        let at: Vec<usize> = (0..sound.len() - from.len()).filter(|&i| sound[i..].starts_with(from)).collect();
        at.into_iter().for_each(|i| strange[i..i + to.len()].copy_from_slice(to));
    }
    fs::write(dir.join("strange.onnx"), strange).unwrap();
    fs::write(dir.join("text.pth"), "not a checkpoint").unwrap();
    let said = |file: &str| {
        let compiled = refused(&["compile", file, "--ranks", "dense", "-o", "out.thin"], dir);
        let trained = refused(&["train", "--from", file, "--data", "glyphs", "--method", "finetune", "-o", "out"], dir);
        assert!(compiled.contains(file) && trained.contains(file), "{compiled} {trained}");
        compiled
    };
    assert!(said("cut.onnx").contains("not a usable checkpoint"));
    let strange = said("strange.onnx");
    assert!(strange.contains("2 nodes cannot be imported: Flotten") && strange.contains("LagSoftmax"), "{strange}");
    assert!(said("text.pth").contains("nothing that torch.save writes"));
    assert!(said("absent.onnx").contains("No such file"));
}
