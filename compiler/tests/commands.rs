//! The commands as the contract has them: what they write, and the keys of their figures.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn thinferc(arguments: &[&str], dir: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_thinferc")).args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_whole_way_by_commands() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let train = ["train", "--model", "mlp:784-64-10", "--data", "glyphs", "--method", "lorita", "--factors", "2", "--epochs", "3"];
    thinferc(&[&train[..], &["--limit", "4000", "--lr", "0.003", "-o", "run"]].concat(), dir);
    let run = json(&dir.join("run/run.json"));
    assert!(run.to_string().contains("lorita"));

    thinferc(&["compile", "run/model.safetensors", "--ranks", "dense", "-o", "dense.thin", "--json", "dense.json"], dir);
    thinferc(&["compile", "run/model.safetensors", "--ranks", "global:0.3", "--explain", "-o", "thin.thin", "--json", "thin.json"], dir);
    let (dense, thin) = (json(&dir.join("dense.json")), json(&dir.join("thin.json")));
    assert_eq!(dense["macs"], 784 * 64 + 640);
    assert_eq!(dense["params"], 784 * 64 + 640 + 74);
    assert_eq!(thin["dense_macs"], dense["macs"]);
    assert!(thin["macs"].as_u64() < dense["macs"].as_u64());
    assert_eq!(thin["bytes"], fs::metadata(dir.join("thin.thin")).unwrap().len());
    assert_eq!(thin["method"], "lorita factors=2");

    thinferc(&["eval", "dense.thin", "--data", "glyphs", "--device", "cpu", "--limit", "1000", "--json", "eval.json"], dir);
    let eval = json(&dir.join("eval.json"));
    assert_eq!(eval["count"], 1000);
    assert!(eval["top1"].as_f64().unwrap() > 80.0, "{eval}");
    assert_eq!(eval["correct"].as_f64().unwrap() / 10.0, eval["top1"].as_f64().unwrap());
    assert!(eval["adapter"].is_string());

    thinferc(&["sweep", "run/model.safetensors", "--policy", "global", "--data", "glyphs", "-o", "sweep"], dir);
    let csv = fs::read_to_string(dir.join("sweep/sweep.csv")).unwrap();
    assert!(csv.starts_with("policy,setting,values_kept,share_kept,macs,params,correct,top1,scheme"));
    let top1: Vec<f64> = csv.lines().skip(1).map(|l| l.split(',').nth(7).unwrap().parse().unwrap()).collect();
    assert!(top1.len() > 10 && top1[0] > *top1.last().unwrap(), "{top1:?}");
    for svg in ["values.svg", "macs.svg", "spectra.svg"] {
        assert!(fs::read_to_string(dir.join("sweep").join(svg)).unwrap().contains("<svg"));
    }
    assert!(thinferc(&["inspect", "thin.thin"], dir).contains("low-rank"));
    assert!(thinferc(&["inspect", "run/model.safetensors", "--json", "ckpt.json"], dir).contains("layers.0"));
    assert_eq!(json(&dir.join("ckpt.json"))["layers"][0]["full_rank"], 64);

    let device = thinfer::Device::cpu();
    let file = thinfer::Artifact::open(dir.join("dense.thin")).unwrap();
    let table = thinfer::tools::latency::measure(&device, &file, 1, 0.2, &mut |_, _| ()).unwrap();
    fs::write(dir.join("times.json"), serde_json::to_string(&table).unwrap()).unwrap();

    thinferc(&["report", "run", "sweep", "thin.thin", "times.json", "eval.json", "-o", "report.html"], dir);
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    for part in [
        "Measured",
        "Training: run",
        "Sweep: sweep",
        "Compiled: thin.thin",
        "Layer times: times.json",
        "dense.thin",
        "Singular values",
        "Accuracy against values kept",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // One training and three kinds of figures more, and nothing that a browser would have to fetch.
    assert!(page.matches("<svg").count() >= 6 && !page.contains("src=") && !page.contains("http-equiv"));
}

/// A reader that goes away ends no command early, and is no error.
#[test]
fn a_closed_pipe_is_quiet() {
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    thinferc(&["init", "--model", "resnet20", "-o", "x.safetensors"], dir.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_thinferc"));
    command.args([
        "compile",
        "x.safetensors",
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "--ranks",
        "local:0.5",
        "--explain",
        "-o",
        "x.thin",
        "--json",
        "x.json",
    ]);
    let mut child = command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
    assert!(dir.path().join("x.thin").exists() && dir.path().join("x.json").exists());
}

/// Cut, fine-tuned for an epoch as factors, and compiled as they are.
#[test]
fn a_cut_is_tuned_and_kept_by_commands() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let train = ["train", "--data", "glyphs", "--limit", "3000", "--lr", "0.003"];
    thinferc(&[&train[..], &["--model", "fcn6", "--method", "dense", "--epochs", "2", "-o", "run"]].concat(), dir);
    let cut = ["--ranks", "local:0.15", "--calibrate", "glyphs:200", "--emit-factors", "cut.safetensors", "-o", "cut.thin"];
    thinferc(&[&["compile", "run/model.safetensors"][..], &cut].concat(), dir);
    let correct = |model: &str| {
        thinferc(&["eval", model, "--data", "glyphs", "--device", "cpu", "--limit", "2000", "--json", "e.json"], dir);
        json(&dir.join("e.json"))["correct"].as_i64().unwrap()
    };
    // Multiplied out or kept, the checkpoint is the cut network.
    thinferc(&["compile", "cut.safetensors", "--ranks", "dense", "-o", "dense.thin"], dir);
    assert!(thinferc(&["compile", "cut.safetensors", "--ranks", "keep", "--explain", "-o", "kept.thin"], dir).contains("keep"));
    let start = correct("cut.thin");
    assert!((correct("dense.thin") - start).abs() <= 2 && (correct("kept.thin") - start).abs() <= 2);

    thinferc(&[&train[..], &["--from", "cut.safetensors", "--method", "finetune", "--epochs", "1", "-o", "tuned"]].concat(), dir);
    thinferc(&["compile", "tuned/factors.safetensors", "--ranks", "keep", "-o", "tuned.thin", "--json", "tuned.json"], dir);
    thinferc(&["compile", "cut.safetensors", "--ranks", "keep", "-o", "kept.thin", "--json", "kept.json"], dir);
    let (tuned, kept) = (json(&dir.join("tuned.json")), json(&dir.join("kept.json")));
    assert_eq!((&tuned["macs"], &tuned["policy"]), (&kept["macs"], &Value::from("keep")));
    assert!(tuned["macs"].as_u64() < tuned["dense_macs"].as_u64());
    let end = correct("tuned.thin");
    assert!(end > start - 20, "{start} {end}");
    assert!(thinferc(&["inspect", "tuned/factors.safetensors"], dir).contains("channel 14"));
    thinferc(&["sweep", "tuned/factors.safetensors", "--policy", "local", "--data", "glyphs", "-o", "sweep"], dir);
}

/// A network is trained on pixels as it is compiled for, and an artifact says which images decided its ranks.
#[test]
fn pixels_and_judges_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    thinferc(&["init", "--model", "mlp:784-12-10", "-o", "x.safetensors"], dir);
    let tune = ["train", "--from", "x.safetensors", "--data", "glyphs", "--limit", "64", "--batch", "16", "--method", "finetune"];
    for (run, extra, shown) in
        [("silent", &[][..], "input = pixel / 255\n"), ("said", &["--mean", "0.5", "--std", "0.25"], "(pixel / 255 − [0.5]) / [0.25]\n")]
    {
        thinferc(&[&tune[..], &["--epochs", "1", "-o", run], extra].concat(), dir);
        let text = thinferc(&["inspect", &format!("{run}/model.safetensors")], dir);
        assert!(text.contains(shown), "{text}");
    }
    let compile = ["compile", "x.safetensors", "--ranks", "accuracy:30", "-o", "x.thin", "--json", "x.json"];
    let judged =
        [("--holdout", "glyphs", "test images of glyphs", true), ("--calibrate", "glyphs:50", "shifted training images of glyphs", false)];
    for (flag, set, images, flatters) in judged {
        let output =
            Command::new(env!("CARGO_BIN_EXE_thinferc")).args([&compile[..], &[flag, set]].concat()).current_dir(dir).output().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && notes.contains(images) && notes.contains("flatters") == flatters, "{notes}");
        assert_eq!(json(&dir.join("x.json"))["policy"], format!("accuracy:30 judged on {images}"));
    }
}

#[test]
fn half_precision_halves_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    thinferc(&["init", "--model", "mlp:784-256-10", "--seed", "3", "-o", "x.safetensors"], dir);
    for dtype in ["f32", "f16"] {
        thinferc(&["compile", "x.safetensors", "--ranks", "local:0.2", "--dtype", dtype, "-o", &format!("{dtype}.thin")], dir);
    }
    let bytes = |name: &str| fs::metadata(dir.join(name)).unwrap().len() as f64;
    let ratio = bytes("f32.thin") / bytes("f16.thin");
    assert!((1.8..2.0).contains(&ratio), "{ratio}");
}

/// The published network of the data folder, where it is there: 9764 of 10 000 within one image, on the CPU.
#[test]
fn the_real_mlp_keeps_its_accuracy() {
    let Some(data) = std::env::var_os("THINFER_DATA") else { return println!("skipped: THINFER_DATA not set") };
    let data = Path::new(&data);
    let checkpoint = data.join("checkpoints/mnist_mlp_256x4.safetensors");
    if !checkpoint.exists() {
        return println!("skipped: no {}", checkpoint.display());
    }
    let dir = tempfile::tempdir().unwrap();
    let (checkpoint, set) = (checkpoint.display().to_string(), format!("mnist:{}", data.join("mnist").display()));
    let model = ["--model", "mlp:784-256-256-256-256-10"];
    thinferc(&[&["compile", &checkpoint, "--ranks", "dense", "-o", "d.thin"][..], &model].concat(), dir.path());
    for batch in ["1", "256"] {
        thinferc(&["eval", "d.thin", "--data", &set, "--device", "cpu", "--batch", batch, "--json", "e.json"], dir.path());
        let correct = json(&dir.path().join("e.json"))["correct"].as_i64().unwrap();
        assert!((correct - 9764).abs() <= 1, "{correct} at batch {batch}");
    }
}
