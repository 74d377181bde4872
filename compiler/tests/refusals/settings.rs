//! Flags and numbers that make no sense.

use crate::{refused, save, thinferc};

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
