//! Tables of times.

use std::fs;

use thinfer_compiler::graph;
use thinfer_compiler::import::{self, Checkpoint, Meta};
use thinfer_compiler::zoo;

use crate::{refused, thinferc};

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
