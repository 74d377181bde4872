//! Bad input gets one line that names it and exit code 1, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use thinfer_compiler::graph;
use thinfer_compiler::import::{self, Checkpoint, Meta};
use thinfer_compiler::tensor::{Params, Tensor};
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

#[test]
fn checkpoints_that_do_not_fit_are_refused_by_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    save(dir, "missing.safetensors", |p| drop(p.remove("layers.2.bias")));
    save(dir, "extra.safetensors", |p| drop(p.insert("layers.4.weight".into(), Tensor::full([3, 3], 1.0))));
    save(dir, "misshapen.safetensors", |p| drop(p.insert("layers.0.weight".into(), Tensor::full([5, 7], 1.0))));
    save(dir, "nan.safetensors", |p| p.get_mut("layers.0.bias").unwrap().data_mut()[2] = f32::NAN);
    fs::write(dir.join("text.safetensors"), "not a checkpoint").unwrap();
    let cases: [(&str, &[&str]); 6] = [
        ("absent.safetensors", &["absent.safetensors", "No such file"]),
        ("missing.safetensors", &["missing.safetensors", "missing tensor 'layers.2.bias'"]),
        ("extra.safetensors", &["extra tensor 'layers.4.weight'"]),
        ("misshapen.safetensors", &["'layers.0.weight'", "[5, 7]", "[5, 6]"]),
        ("nan.safetensors", &["'layers.0.bias'", "NaN", "element 2"]),
        ("text.safetensors", &["text.safetensors", "not a usable checkpoint"]),
    ];
    for (file, parts) in cases {
        refused(&["compile", file, "--model", "mlp:6-5-3", "--ranks", "dense", "-o", "out.thin"], dir, parts);
        refused(&["sweep", file, "--model", "mlp:6-5-3", "--data", "glyphs", "-o", "out"], dir, parts);
    }
    refused(
        &["compile", "good.safetensors", "--model", "resnet21", "--ranks", "dense", "-o", "o.thin"],
        dir,
        &["unknown model 'resnet21'"],
    );
    refused(&["compile", "good.safetensors", "--ranks", "dense", "-o", "no/such/folder/o.thin"], dir, &["no/such/folder"]);
    refused(
        &["compile", "good.safetensors", "--ranks", "local:0.5", "--skip", "layers.1", "-o", "o.thin"],
        dir,
        &["--skip layers.1", "layers.2"],
    );
    refused(&["compile", "good.safetensors", "--ranks", "dense", "--std", "0", "-o", "o.thin"], dir, &["std"]);
}

#[test]
fn factors_that_do_not_fit_and_nothing_to_keep_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let factors = |u: [usize; 2], v: [usize; 2]| {
        move |p: &mut Params| {
            p.remove("layers.0.weight");
            p.insert("layers.0.u".into(), Tensor::full(u, 1.0));
            p.insert("layers.0.v".into(), Tensor::full(v, 1.0));
        }
    };
    save(dir, "plain.safetensors", |_| ());
    save(dir, "good.safetensors", factors([5, 2], [2, 6]));
    save(dir, "misfit.safetensors", factors([5, 2], [3, 6]));
    save(dir, "both.safetensors", |p| {
        p.insert("layers.0.u".into(), Tensor::full([5, 2], 1.0));
        p.insert("layers.0.v".into(), Tensor::full([2, 6], 1.0));
    });
    let compile = |file: &'static str, extra: &[&'static str]| {
        [&["compile", file, "--model", "mlp:6-5-3", "-o", "o.thin", "--ranks"][..], extra].concat()
    };
    refused(&compile("plain.safetensors", &["keep"]), dir, &["--ranks keep", "plain.safetensors", "no layer as factors"]);
    refused(&compile("misfit.safetensors", &["keep"]), dir, &["misfit.safetensors", "layers.0.u", "[5, 2]", "[5, 3]"]);
    refused(&compile("both.safetensors", &["keep"]), dir, &["both.safetensors", "layers.0.weight", "beside factors"]);
    for (extra, flag) in [
        (&["keep", "--scheme", "spatial"][..], "--scheme"),
        (&["keep", "--calibrate", "glyphs:10"], "--calibrate"),
        (&["keep", "--energy-gain"], "--energy-gain"),
    ] {
        refused(&compile("good.safetensors", extra), dir, &[flag, "keep"]);
    }
    refused(&compile("good.safetensors", &["keep", "--emit-factors", "no/folder/f.safetensors"]), dir, &["no/folder"]);
    assert!(thinferc(&compile("good.safetensors", &["keep"]), dir).status.success());
    assert!(thinferc(&compile("good.safetensors", &["macs:0.9"]), dir).status.success());
}

#[test]
fn shares_outside_their_range_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "good.safetensors", |_| ());
    for policy in ["local:0", "local:-0.5", "global:1.5", "energy:0", "energy:2", "global:NaN", "local:inf"] {
        refused(&["compile", "good.safetensors", "--ranks", policy, "-o", "o.thin"], dir.path(), &["--ranks", "share"]);
    }
    for malformed in ["local", "best:0.5", "local:x", ""] {
        let output = thinferc(&["compile", "good.safetensors", "--ranks", malformed, "-o", "o.thin"], dir.path());
        assert_eq!(output.status.code(), Some(2), "{malformed:?} is a usage error");
    }
}

#[test]
fn data_that_is_missing_or_lies_is_refused_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    assert!(thinferc(&["compile", "good.safetensors", "--ranks", "dense", "-o", "good.thin"], dir).status.success());
    fs::create_dir(dir.join("empty")).unwrap();
    refused(&["eval", "good.thin", "--data", "mnist:empty"], dir, &["empty"]);
    refused(&["eval", "good.thin", "--data", "mnist:absent"], dir, &["absent"]);
    refused(&["train", "--model", "fcn6", "--data", "mnist:empty", "--method", "dense", "-o", "run"], dir, &["empty"]);
    // The glyphs have 784 pixels, this network takes 6 values.
    refused(&["eval", "good.thin", "--data", "glyphs"], dir, &["glyphs", "784", "6 values"]);
    refused(&["train", "--model", "mlp:6-5-10", "--data", "glyphs", "--method", "dense", "-o", "run"], dir, &["[1, 28, 28]", "takes [6]"]);
    fs::create_dir(dir.join("lying")).unwrap();
    let header =
        |magic: u32, sizes: &[u32]| std::iter::once(magic).chain(sizes.iter().copied()).flat_map(u32::to_be_bytes).collect::<Vec<u8>>();
    fs::write(dir.join("lying/t10k-labels-idx1-ubyte"), [header(2049, &[2]), vec![1, 2]].concat()).unwrap();
    fs::write(dir.join("lying/t10k-images-idx3-ubyte"), [header(2051, &[4_000_000_000, 28, 28]), vec![0; 784]].concat()).unwrap();
    refused(&["eval", "good.thin", "--data", "mnist:lying"], dir, &["t10k-images-idx3-ubyte"]);
}

#[test]
fn damaged_artifacts_are_refused_by_fault() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    assert!(thinferc(&["compile", "good.safetensors", "--ranks", "local:0.5", "-o", "good.thin"], dir).status.success());
    let bytes = fs::read(dir.join("good.thin")).unwrap();
    fs::write(dir.join("cut.thin"), &bytes[..bytes.len() - 7]).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    fs::write(dir.join("flipped.thin"), flipped).unwrap();
    let mut newer = bytes;
    newer[4] = 9;
    fs::write(dir.join("newer.thin"), newer).unwrap();
    for (file, part) in
        [("cut.thin", "truncated"), ("flipped.thin", "damaged"), ("newer.thin", "version 9"), ("absent.thin", "No such file")]
    {
        refused(&["inspect", file], dir, &[file, part]);
        refused(&["eval", file, "--data", "glyphs"], dir, &[file, part]);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = ["train", "--model", "fcn6", "--data", "glyphs", "--method", "lorita", "-o", "run"];
    for (flag, value) in
        [("--epochs", "0"), ("--batch", "0"), ("--lr", "-1"), ("--factors", "0"), ("--label-smoothing", "1.5"), ("--weight-decay", "nan")]
    {
        let arguments: Vec<&str> = base.into_iter().chain([flag, value]).collect();
        let name = flag.trim_start_matches("--");
        refused(&arguments, dir.path(), &[name]);
    }
    let with = |method: &'static str, extra: &[&'static str]| {
        ["train", "--model", "resnet20", "--data", "glyphs", "-o", "run", "--method", method]
            .into_iter()
            .chain(extra.iter().copied())
            .collect::<Vec<_>>()
    };
    for (method, extra, parts) in [
        ("dense", &["--factors", "3"][..], &["factors", "belongs to --method lorita", "dense"][..]),
        ("lorita", &["--every", "3"], &["every", "trp"]),
        ("dense", &["--scheme", "spatial"], &["scheme", "trp and elrt"]),
        ("trp", &["--macs", "0.5"], &["macs", "elrt"]),
        ("trp", &["--energy", "0"], &["energy"]),
        ("trp", &["--scheme", "tucker2"], &["scheme", "channel or spatial"]),
        ("elrt", &["--macs", "1.5"], &["macs"]),
        ("elrt", &["--ortho", "so:-1"], &["ortho"]),
        ("finetune", &[], &["--from"]),
        ("finetune", &["--from", "absent.safetensors"], &["absent.safetensors"]),
    ] {
        refused(&with(method, extra), dir.path(), parts);
    }
    for (device, built) in [("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))] {
        if !built {
            let arguments =
                [&["train", "--model", "fcn6", "--data", "glyphs", "--method", "dense", "-o", "run", "--device"][..], &[device]];
            refused(&arguments.concat(), dir.path(), &[device, "not built in", "--features"]);
        }
    }
    refused(&with("dense", &["--ema", "1"]), dir.path(), &["ema"]);
    assert_eq!(thinferc(&with("elrt", &["--ortho", "other"]), dir.path()).status.code(), Some(2));
    refused(&["init", "--model", "fcn7", "-o", "x.safetensors"], dir.path(), &["unknown model 'fcn7'"]);
    refused(&["train", "--model", "fcn6", "--data", "glyphs", "--method", "dense", "-o", "run", "--resume"], dir.path(), &["run"]);
    assert_eq!(thinferc(&["train", "--model", "fcn6"], dir.path()).status.code(), Some(2));
    assert_eq!(thinferc(&["no-such-command"], dir.path()).status.code(), Some(2));
}

#[test]
fn convolutional_networks_are_refused_by_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let params = graph::init(&zoo::build("resnet20").unwrap(), 0);
    import::save(&dir.join("r20.safetensors"), &Checkpoint { params, meta: Meta::default() }).unwrap();
    let compile = |extra: &[&'static str]| [&["compile", "r20.safetensors", "--model", "resnet20", "-o", "o.thin"][..], extra].concat();
    refused(
        &["compile", "r20.safetensors", "--model", "resnet32", "--ranks", "dense", "-o", "o.thin"],
        dir,
        &["r20.safetensors", "resnet20"],
    );
    refused(&["compile", "r20.safetensors", "--model", "vgg16", "--ranks", "dense", "-o", "o.thin"], dir, &["r20.safetensors"]);
    // A budget below what any choice costs says the smallest that can be met.
    refused(&compile(&["--ranks", "macs:0.0001"]), dir, &["macs:0.0001", "0.0"]);
    refused(&compile(&["--ranks", "macs:0"]), dir, &["--ranks macs:0"]);
    refused(&compile(&["--ranks", "accuracy:1"]), dir, &["accuracy:1", "--calibrate", "--holdout"]);
    refused(&compile(&["--ranks", "accuracy:-1", "--calibrate", "glyphs:10"]), dir, &["accuracy:-1", "0 to 100"]);
    refused(&compile(&["--ranks", "local:0.5", "--skip", "layer9.0.conv1"]), dir, &["layer9.0.conv1", "layer1.0.conv1"]);
    refused(&compile(&["--ranks", "macs:0.5", "--calibrate", "glyphs:10"]), dir, &["glyphs", "[1, 28, 28]", "[3, 32, 32]"]);
    fs::create_dir(dir.join("cifar")).unwrap();
    fs::write(dir.join("cifar/test_batch.bin"), vec![0; 3073 * 3 + 1]).unwrap();
    assert!(thinferc(&compile(&["--ranks", "dense"]), dir).status.success());
    refused(&["eval", "o.thin", "--data", "cifar10:cifar"], dir, &["test_batch.bin"]);
    refused(&["eval", "o.thin", "--data", "glyphs"], dir, &["glyphs", "[1, 28, 28]", "3072"]);
}

/// What a newcomer mixes up: nothing is lost, and the line says what the file is.
#[test]
fn files_of_another_kind_are_named_and_none_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    fs::copy(dir.join("good.safetensors"), dir.join("other.safetensors")).unwrap();
    let held = fs::read(dir.join("good.safetensors")).unwrap();
    let compile = |file: &'static str, extra: &[&'static str]| [&["compile", file, "--ranks", "dense"][..], extra].concat();
    for output in ["good.safetensors", "other.safetensors"] {
        refused(&compile("good.safetensors", &["-o", output]), dir, &[output, "choose another name"]);
    }
    let onto = ["-o", "o.thin", "--emit-factors", "good.safetensors"];
    refused(&compile("good.safetensors", &onto), dir, &["good.safetensors", "choose another name"]);
    assert!(["good", "other"].iter().all(|name| fs::read(dir.join(format!("{name}.safetensors"))).unwrap() == held));

    assert!(thinferc(&compile("good.safetensors", &["-o", "o.thin"]), dir).status.success());
    assert!(thinferc(&compile("good.safetensors", &["-o", "o.thin"]), dir).status.success(), "a .thin file is replaced");
    refused(&compile("o.thin", &["-o", "p.thin"]), dir, &["o.thin", "is a .thin file"]);
    fs::write(dir.join("picture.png"), b"\x89PNG\r\n\x1a\n0000").unwrap();
    refused(&compile("picture.png", &["-o", "p.thin"]), dir, &["picture.png", "an image"]);
    refused(&["eval", "good.safetensors", "--data", "glyphs"], dir, &["good.safetensors", "thinferc compile"]);

    let cnn = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/small_cnn.onnx");
    refused(&["compile", cnn, "--model", "resnet20", "--ranks", "dense", "-o", "p.thin"], dir, &["--model resnet20", "small_cnn.onnx"]);
    let tune = ["train", "--from", cnn, "--model", "resnet20", "--data", "glyphs", "--method", "finetune", "-o", "run"];
    refused(&tune, dir, &["--model resnet20", "small_cnn.onnx"]);

    // Three outputs, ten classes.
    refused(&["eval", "o.thin", "--data", "glyphs"], dir, &["glyphs"]);
    let train = ["train", "--model", "fcn6", "--data", "glyphs", "--method", "dense", "-o", "run", "--teacher"];
    refused(&[&train[..], &["absent.thin"]].concat(), dir, &["absent.thin"]);
    refused(&[&train[..], &["good.safetensors"]].concat(), dir, &["good.safetensors"]);
    refused(&[&train[..], &["o.thin"]].concat(), dir, &["o.thin", "gives 3 classes"]);
    for malformed in ["much", "0.5:hot", "0.5:4:3", ""] {
        let output = thinferc(&[&train[..], &["o.thin", "--distil", malformed]].concat(), dir);
        assert_eq!(output.status.code(), Some(2), "{malformed:?} is a usage error");
    }
    refused(&[&train[..], &["o.thin", "--distil", "2"]].concat(), dir, &["distil", "weight"]);
}

/// Before any work is done: what it would have made is not lost to another output, and nothing that is read is written over.
#[test]
fn outputs_that_collide_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(thinferc(&["init", "--model", "mlp:6-5-3", "-o", "m.safetensors"], dir).status.success());
    let compile = ["compile", "m.safetensors", "--ranks", "local:0.5", "-o", "x.thin"];
    assert!(thinferc(&compile, dir).status.success());
    let whole = dir.join("x.thin").display().to_string();
    for (extra, parts) in [
        (&["--emit-factors", "./x.thin"][..], &["x.thin", "written twice"][..]),
        (&["--json", &whole], &["x.thin", "written twice"]),
        (&["--emit-factors", "new", "--json", "./new"], &["new", "written twice"]),
        (&["--json", "m.safetensors"], &["m.safetensors", "choose another name"]),
        (&["--json", "no/folder/x.json"], &["no/folder"]),
    ] {
        refused(&[&compile[..], extra].concat(), dir, parts);
    }
    refused(&["inspect", "m.safetensors", "--json", "no/folder/x.json"], dir, &["no/folder"]);
    refused(&["inspect", "x.thin", "--json", "x.thin"], dir, &["x.thin", "is what is read"]);
    refused(&["eval", "x.thin", "--data", "glyphs", "--json", "x.thin"], dir, &["x.thin", "is what is read"]);
    refused(&["eval", "x.thin", "--data", "glyphs", "--json", "no/folder/x.json"], dir, &["no/folder"]);
    refused(&["sweep", "m.safetensors", "--data", "glyphs", "-o", "x.thin"], dir, &["x.thin", "is a file"]);
    refused(&["report", "x.thin", "-o", "x.thin"], dir, &["x.thin", "is what is read"]);
}

#[test]
fn flags_without_a_meaning_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(thinferc(&["init", "--model", "mlp:784-5-10", "-o", "m.safetensors"], dir).status.success());
    let compile =
        |ranks: &'static str, extra: &[&'static str]| [&["compile", "m.safetensors", "--ranks", ranks, "-o", "x.thin"][..], extra].concat();
    for flags in
        [&["--scheme", "spatial"][..], &["--energy-gain"], &["--skip", "layers.0"], &["--spectra", "raw"], &["--calibrate", "glyphs:10"]]
    {
        refused(&compile("dense", flags), dir, &[flags[0], "dense cuts nothing"]);
    }
    refused(&compile("keep", &["--spectra", "raw"]), dir, &["--spectra", "keep cuts nothing"]);
    refused(&compile("local:0.5", &["--holdout", "glyphs"]), dir, &["--holdout", "local:0.5"]);
    let unfolded = compile("dense", &["--calibrate", "glyphs:10", "--emit-factors", "f.safetensors"]);
    assert!(thinferc(&unfolded, dir).status.success(), "batch norm's statistics are from images");
    // A layer that is to be skipped and is not there is no share that cannot be met.
    refused(&["sweep", "m.safetensors", "--data", "glyphs", "--skip", "layers.7", "-o", "s"], dir, &["--skip layers.7"]);
}

#[test]
fn a_mean_without_a_deviation_is_a_slip() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(thinferc(&["init", "--model", "resnet8", "-o", "a.safetensors"], dir).status.success());
    let compile = ["compile", "a.safetensors", "--ranks", "dense", "-o", "a.thin"];
    refused(&[&compile[..], &["--mean", "0.5"]].concat(), dir, &["--mean", "--std"]);
    refused(&[&compile[..], &["--std", "0.5"]].concat(), dir, &["--std", "--mean"]);
    assert!(thinferc(&[&compile[..], &["--mean", "0.5", "--std", "0.2"]].concat(), dir).status.success());
}

#[test]
fn a_report_names_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("torn.json"), "{\"top1\": 9").unwrap();
    fs::write(dir.join("other.json"), "{\"answer\": 42}").unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    for (source, parts) in [
        ("torn.json", ["torn.json", "JSON"]),
        ("other.json", ["other.json", "top1"]),
        ("empty", ["empty", "run.json"]),
        ("gone.thin", ["gone.thin", "No such file"]),
    ] {
        refused(&["report", source, "-o", "report.html"], dir, &parts);
    }
    refused(&["report", "other.json", "-o", "nowhere/report.html"], dir, &["nowhere"]);
}

/// A table of two layers as `thinfer measure` writes it, dense and rank 4 of each.
fn latency_table(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let layer = |name: &str, shape: &str| {
        serde_json::json!({ "name": name, "shape": shape, "candidates": [
            { "scheme": "dense", "form": "dense", "dispatches": 1, "us": 100.0 },
            { "scheme": "low-rank", "rank": 4, "form": "fused", "dispatches": 1, "us": 40.0 },
        ] })
    };
    let mut table = serde_json::json!({
        "latency_table": 1, "tool": "thinfer", "format": 1, "adapter": "a device", "backend": "vulkan", "driver": "", "class": "discrete",
        "fingerprint": "of another machine", "model": "mlp:20-12-3", "batch": 2, "dtype": "f32", "method": "in place",
        "fixed_us": 10.0, "dispatch_us": 1.0, "noise": 0.01,
        "layers": [layer("layers.0", "linear 20 to 12"), layer("layers.2", "linear 12 to 3")],
    });
    // 12 → 3 saves nothing at rank 4.
    table["layers"][1]["candidates"].as_array_mut().unwrap().truncate(1);
    change(&mut table);
    table.to_string()
}

#[test]
fn times_that_do_not_fit_are_refused_and_others_decide() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let params = graph::init(&zoo::build("mlp:20-12-3").unwrap(), 0);
    import::save(&dir.join("m.safetensors"), &Checkpoint { params, meta: Meta::default() }).unwrap();
    let table = |name: &str, change: fn(&mut serde_json::Value)| fs::write(dir.join(name), latency_table(change)).unwrap();
    table("good.json", |_| ());
    table("newer.json", |t| t["latency_table"] = 9.into());
    table("other.json", |t| t["layers"][0]["shape"] = "linear 21 to 12".into());
    table("short.json", |t| drop(t["layers"].as_array_mut().unwrap().pop()));
    table("half.json", |t| t["dtype"] = "f16".into());
    table("negative.json", |t| t["layers"][0]["candidates"][1]["us"] = (-1.0).into());
    table("unknown.json", |t| t["layers"][0]["candidates"][1]["scheme"] = "magic".into());
    let whole = fs::read_to_string(dir.join("good.json")).unwrap();
    fs::write(dir.join("truncated.json"), &whole[..whole.len() / 2]).unwrap();
    fs::write(dir.join("text.json"), "no table").unwrap();
    let with = |table: &'static str, more: &[&'static str], parts: &[&str]| {
        let arguments = ["compile", "m.safetensors", "--model", "mlp:20-12-3", "--ranks", "latency:0.8", "--latency-table", table];
        refused(&[&arguments[..], more, &["-o", "o.thin"]].concat(), dir, parts);
    };
    with("absent.json", &[], &["absent.json", "No such file"]);
    with("newer.json", &[], &["newer.json", "version 9", "update thinfer"]);
    with("truncated.json", &[], &["truncated.json", "no whole latency table"]);
    with("text.json", &[], &["text.json", "no latency table"]);
    with("other.json", &[], &["other.json", "another network", "'layers.0'", "21"]);
    with("short.json", &[], &["short.json", "another network", "1 layers, this one has 2"]);
    with("half.json", &[], &["half.json", "f16"]);
    with("negative.json", &[], &["negative.json", "'layers.0'", "-1"]);
    with("unknown.json", &[], &["unknown.json", "magic"]);
    with("good.json", &["--batch", "3"], &["good.json", "batch 2", "3"]);
    with("good.json", &["--batch", "0"], &["--batch"]);
    with("good.json", &["--device", "cpu"], &["good.json", "a device"]);
    with("good.json", &["--dtype", "f16"], &["good.json", "f32"]);
    // 10 + 41 + 101 of 10 + 2 · 101 is the least.
    let tight = ["compile", "m.safetensors", "--model", "mlp:20-12-3", "--ranks", "latency:0.5", "--latency-table", "good.json"];
    refused(&[&tight[..], &["-o", "o.thin"]].concat(), dir, &["latency:0.5", "smallest share", "0.717"]);
    let idle = ["compile", "m.safetensors", "--model", "mlp:20-12-3", "--ranks", "macs:0.9", "-o", "o.thin"];
    refused(&[&idle[..], &["--latency-table", "good.json"]].concat(), dir, &["--latency-table", "macs:0.9"]);
    refused(&[&idle[..], &["--device", "cpu"]].concat(), dir, &["--device", "macs:0.9"]);
    let good =
        ["compile", "m.safetensors", "--model", "mlp:20-12-3", "--ranks", "latency:0.72", "--latency-table", "good.json", "--explain"];
    let output = thinferc(&[&good[..], &["--json", "o.json", "-o", "o.thin"]].concat(), dir);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("won") && text.contains("predicted 0.152 ms of dense 0.212 ms"), "{text}");
    let figures: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("o.json")).unwrap()).unwrap();
    assert_eq!((figures["layers"][0]["rank"].as_u64(), figures["predicted_ms"].as_f64()), (Some(4), Some(0.152)));
    assert!(figures["policy"].as_str().unwrap().contains("latency:0.72 for a device, batch 2"), "{figures}");
}

/// A file with two networks is refused with their names, and read by each of them.
#[test]
fn of_two_networks_in_a_file_the_user_chooses() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let behind =
        |prefix: &'static str, params: &Params| params.iter().map(move |(k, t)| (format!("{prefix}{k}"), t.clone())).collect::<Params>();
    save(dir, "plain.safetensors", |_| ());
    save(dir, "prefixed.ckpt", |p| *p = behind("model.module.", p));
    save(dir, "two.safetensors", |p| {
        let mut ema = p.clone();
        ema.values_mut().for_each(|t| t.data_mut().iter_mut().for_each(|x| *x *= 2.0));
        *p = behind("model.", p).into_iter().chain(behind("ema.", &ema)).collect();
    });
    let compile = |file: &'static str, extra: &[&'static str]| {
        let arguments = [&["compile", file, "--ranks", "dense", "-o", "o.thin"][..], extra].concat();
        assert!(thinferc(&arguments, dir).status.success(), "{arguments:?}");
        answers(&fs::read(dir.join("o.thin")).unwrap())
    };
    let (plain, prefixed) = (compile("plain.safetensors", &[]), compile("prefixed.ckpt", &[]));
    let [model, ema] = ["model", "ema"].map(|key| compile("two.safetensors", &["--state-dict", key]));
    assert!(plain == prefixed && plain == model && plain != ema);
    let two: &[&str] = &["two.safetensors", "mlp:6-5-3 2 times, under 'ema', 'model'", "--state-dict"];
    refused(&["compile", "two.safetensors", "--ranks", "dense", "-o", "p.thin"], dir, two);
    refused(&["inspect", "two.safetensors"], dir, two);
    refused(&["train", "--from", "two.safetensors", "--data", "glyphs", "--method", "finetune", "-o", "run"], dir, two);
    refused(&["inspect", "two.safetensors", "--state-dict", "best"], dir, &["no tensors under 'best'", "'ema', 'model'"]);
    let cnn = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/small_cnn.onnx");
    refused(&["inspect", cnn, "--state-dict", "ema"], dir, &["--state-dict ema", "small_cnn.onnx"]);
}

/// What the network in a .thin file makes of an input, bit for bit.
fn answers(file: &[u8]) -> Vec<u32> {
    let artifact = thinfer::Artifact::from_bytes(file.to_vec()).unwrap();
    let mut session =
        thinfer::Session::new(&thinfer::Device::cpu(), &artifact, &thinfer::Options { cache: None, ..Default::default() }).unwrap();
    session.run(&[0.5, -1.0, 2.0, 0.25, -0.5, 1.5]).unwrap().iter().map(|x| x.to_bits()).collect()
}
