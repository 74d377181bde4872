//! `thinfer` as a user drives it: what it prints and writes, and what it refuses.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::fs;
use std::path::Path;

use program::{refused, succeed, thinfer};
use serde_json::Value;
use thinfer::artifact::{self, Activation, Artifact, Element, Input, Layer, Meaning, Model, Op, Residual, TensorData, TensorSpec, Weight};
use thinfer::tools::npy::{self, Npy, NpyData};

/// A 2×2 image to two classes: the sum of its upper pixels against that of its lower ones, at rank 1.
fn save_model(path: &Path, scale: f32) {
    let t = |name: &str, shape: &[usize], values: &[f32]| TensorData::f32(name, shape, values.to_vec());
    let tensors = vec![t("v", &[1, 4], &[scale, scale, -scale, -scale]), t("u", &[1, 2], &[1.0, -1.0]), t("sigma", &[1], &[1.0])];
    let weight = Weight::LowRank { v: 0, u: 1, sigma: 2, tail_energy: 0.0 };
    let model = Model {
        classes: vec!["upper".into(), "lower".into()],
        ..Model::new(
            "halves",
            &[1, 2, 2],
            vec![Layer { name: "only".into(), inputs: vec![0], op: Op::Linear { weight, bias: None, activation: Activation::None } }],
        )
    };
    Artifact::build(model, tensors).unwrap().save(path).unwrap();
}

fn save_array(path: &Path, shape: &[usize], data: NpyData) {
    fs::write(path, npy::write(&Npy { shape: shape.to_vec(), data })).unwrap();
}

fn save_png(path: &Path, width: u32, height: u32, pixels: &[u8]) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn inputs_are_classified_from_arrays_and_images() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_model(&dir.join("m.thin"), 1.0);
    save_array(&dir.join("u8.npy"), &[2, 1, 2, 2], NpyData::U8(vec![255, 255, 0, 0, 0, 0, 255, 255]));
    save_array(&dir.join("f32.npy"), &[1, 2, 2], NpyData::F32(vec![1.0, 1.0, 0.0, 0.0]));
    save_png(&dir.join("x.png"), 2, 2, &[0, 0, 255, 255]);
    let run = |input: &str, json: &str| succeed(&["run", "m.thin", "--input", input, "--device", "cpu", "--top", "1", "--json", json], dir);
    let text = run("u8.npy", "a.json");
    assert!(text.contains("0: upper") && text.contains("1: lower"), "{text}");
    assert!(run("f32.npy", "b.json").contains("0: upper"));
    assert!(run("x.png", "c.json").contains("0: lower"));
    // Pixels are normalised to 0…1, floats are taken as they are: both give 2 and −2.
    assert_eq!(json(&dir.join("a.json"))["results"][0]["output"], json(&dir.join("b.json"))["results"][0]["output"]);
    save_array(&dir.join("labels.npy"), &[2], NpyData::I64(vec![0, 0]));
    succeed(&["eval", "m.thin", "--inputs", "u8.npy", "--labels", "labels.npy", "--device", "cpu", "--json", "e.json"], dir);
    let eval = json(&dir.join("e.json"));
    assert_eq!((eval["correct"].as_u64(), eval["count"].as_u64(), eval["top1"].as_f64()), (Some(1), Some(2), Some(50.0)));
}

#[test]
fn bench_writes_the_figures_that_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_model(&dir.join("a.thin"), 1.0);
    save_model(&dir.join("b.thin"), 2.0);
    let text = succeed(&["bench", "a.thin", "--against", "b.thin", "--device", "cpu", "--runs", "5", "--layers", "--json", "x.json"], dir);
    assert!(text.contains("cpu") && text.contains("b.thin with 1.00× fewer MACs"), "{text}");
    let figures = json(&dir.join("x.json"));
    for key in ["ms_p50", "ms_p90", "ms_cold", "speedup", "macs", "dense_macs", "params", "bytes"] {
        assert!(figures[key].is_number(), "{key} in {figures}");
    }
    assert!(figures["adapter"].is_string() && figures["against"]["ms_p50"].is_number());
    assert_eq!(figures["layers"][0]["name"], "only");
    let layer = ["bench", "--layer", "linear:64,32", "--rank", "4,8", "--batch", "3", "--device", "cpu", "--runs", "3", "--json", "y.json"];
    assert!(succeed(&layer, dir).contains("fused"));
    assert_eq!(json(&dir.join("y.json"))["forms"].as_array().unwrap().len(), 5);
    assert!(succeed(&["inspect", "a.thin", "--json", "i.json"], dir).contains("low-rank"));
    assert_eq!(json(&dir.join("i.json"))["macs"], 6);
    assert!(succeed(&["devices", "--json", "d.json"], dir).contains("cpu"));
    assert!(!json(&dir.join("d.json"))["devices"].as_array().unwrap().is_empty());
}

/// 40 → 30 at rank 8, of falling importance, and a matrix 30 → 2.
fn save_nested(path: &Path) {
    let values = |n: usize, shrink: f32| (0..n).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * shrink.powi((i / 40) as i32)).collect();
    let t = |name: &str, shape: &[usize], shrink: f32| TensorData::f32(name, shape, values(shape.iter().product(), shrink));
    let sigma = TensorData::f32("sigma", &[8], (0..8).map(|i| 0.5f32.powi(i)).collect());
    let tensors = vec![t("v", &[8, 40], 0.5), t("u", &[8, 30], 1.0), sigma, t("w", &[2, 30], 1.0)];
    let linear = |weight, activation| Op::Linear { weight, bias: None, activation };
    let model = Model::new(
        "nested",
        &[40],
        vec![
            Layer {
                name: "factored".into(),
                inputs: vec![0],
                op: linear(Weight::LowRank { v: 0, u: 1, sigma: 2, tail_energy: 0.0 }, Activation::Relu),
            },
            Layer { name: "whole".into(), inputs: vec![1], op: linear(Weight::Dense(3), Activation::None) },
        ],
    );
    Artifact::build(model, tensors).unwrap().save(path).unwrap();
}

#[test]
fn one_file_runs_at_any_share_of_its_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_nested(&dir.join("m.thin"));
    save_array(&dir.join("x.npy"), &[40], NpyData::F32((0..40).map(|i| i as f32 / 40.0).collect()));
    save_array(&dir.join("l.npy"), &[1], NpyData::I64(vec![0]));
    let bench = |share: &str, json_name: &str| {
        succeed(&["bench", "m.thin", "--device", "cpu", "--runs", "3", "--keep-factors", "--ranks", share, "--json", json_name], dir);
        json(&dir.join(json_name))
    };
    let (whole, half) = (bench("1", "whole.json"), bench("0.5", "half.json"));
    assert_eq!((whole["macs"].as_u64(), half["macs"].as_u64()), (Some(8 * 70 + 60), Some(4 * 70 + 60)));
    assert_eq!((whole["layers"][0]["rank"].as_u64(), half["layers"][0]["rank"].as_u64()), (Some(8), Some(4)));
    assert_eq!(half["ranks"].as_f64(), Some(0.5));
    let run = |share: &str| {
        succeed(&["run", "m.thin", "--input", "x.npy", "--device", "cpu", "--ranks", share, "--json", "r.json"], dir);
        json(&dir.join("r.json"))["results"][0]["output"].clone()
    };
    assert_eq!(run("1"), run("0.99"));
    assert_ne!(run("1"), run("0.25"));
    let eval = ["eval", "m.thin", "--inputs", "x.npy", "--labels", "l.npy", "--device", "cpu", "--ranks", "0.5", "--json", "e.json"];
    succeed(&eval, dir);
    assert_eq!(json(&dir.join("e.json"))["macs"].as_u64(), Some(4 * 70 + 60));
    // A day is enough for all of it, a thousandth of a microsecond for nothing.
    let all = ["bench", "m.thin", "--device", "cpu", "--runs", "3", "--time-budget", "86400000", "--json", "b.json"];
    succeed(&all, dir);
    assert_eq!(json(&dir.join("b.json"))["ranks"].as_f64(), Some(1.0));
    refused(
        &["run", "m.thin", "--input", "x.npy", "--device", "cpu", "--time-budget", "0.000001"],
        dir,
        &["time budget", "too little", "5 %"],
    );
    refused(&["run", "m.thin", "--input", "x.npy", "--device", "cpu", "--time-budget", "-1"], dir, &["--time-budget"]);
    refused(&["run", "m.thin", "--input", "x.npy", "--device", "cpu", "--ranks", "0"], dir, &["ranks 0", "above 0"]);
    refused(&["bench", "m.thin", "--device", "cpu", "--ranks", "1.5"], dir, &["ranks 1.5", "at most 1"]);
    assert_eq!(thinfer(&["bench", "m.thin", "--ranks", "half"], dir).status.code(), Some(2));
    assert_eq!(thinfer(&["bench", "m.thin", "--ranks", "0.5", "--time-budget", "1"], dir).status.code(), Some(2));
}

#[test]
fn a_device_is_measured_and_layers_are_held_against_their_dense_form() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_nested(&dir.join("m.thin"));
    let text = succeed(&["measure", "m.thin", "--device", "cpu", "--batch", "4", "--seconds", "2", "-o", "t.json"], dir);
    assert!(text.contains("factored") && text.contains("wrote t.json"), "{text}");
    let table = json(&dir.join("t.json"));
    assert_eq!((table["latency_table"].as_u64(), table["batch"].as_u64(), table["model"].as_str()), (Some(1), Some(4), Some("nested")));
    assert!(table["adapter"].is_string() && table["fingerprint"].is_string() && table["dispatch_us"].is_number());
    let candidates = table["layers"][0]["candidates"].as_array().unwrap();
    assert!(candidates.iter().any(|c| c["scheme"] == "low-rank" && c["rank"] == 8 && c["form"] == "fused"), "{table}");
    let checked = thinfer(&["bench", "m.thin", "--device", "cpu", "--runs", "3", "--check", "--json", "c.json"], dir);
    let figures = json(&dir.join("c.json"));
    let (check, slower) = (&figures["check"][0], figures["check"][0]["slower"].as_bool().unwrap());
    assert_eq!((check["name"].as_str(), figures["check"].as_array().unwrap().len()), (Some("factored"), 1));
    // Whatever the clock says, the exit code says the same.
    assert_eq!(checked.status.code(), Some(i32::from(slower)));
    let text = succeed(&["inspect", "m.thin", "--device", "cpu", "--json", "i.json"], dir);
    let form = json(&dir.join("i.json"))["layers"][0]["form"].clone();
    assert!(text.contains("runs as") && ["dense", "two-stage", "fused"].contains(&form.as_str().unwrap()), "{text}");
    refused(&["measure", "m.thin", "--device", "cpu", "--batch", "0", "-o", "n.json"], dir, &["batch"]);
    refused(&["measure", "absent.thin", "--device", "cpu", "-o", "n.json"], dir, &["absent.thin"]);
    refused(&["measure", "m.thin", "--device", "cpu", "-o", "no/such/n.json"], dir, &["no/such/n.json"]);
    refused(&["measure", "m.thin", "--device", "cpu", "--seconds", "-1", "-o", "n.json"], dir, &["--seconds"]);
    assert!(!dir.join("n.json").exists());
}

#[test]
fn bad_input_is_one_line_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_model(&dir.join("m.thin"), 1.0);
    save_array(&dir.join("five.npy"), &[5], NpyData::F32(vec![0.0; 5]));
    save_array(&dir.join("long.npy"), &[1, 2, 2], NpyData::I64(vec![0; 4]));
    save_array(&dir.join("x.npy"), &[2, 1, 2, 2], NpyData::U8(vec![0; 8]));
    save_array(&dir.join("labels.npy"), &[2], NpyData::I64(vec![0, 2]));
    save_array(&dir.join("three.npy"), &[3], NpyData::I64(vec![0, 1, 1]));
    save_png(&dir.join("wide.png"), 3, 2, &[0; 6]);
    fs::write(dir.join("text.npy"), "hello").unwrap();
    fs::write(dir.join("text.png"), "hello").unwrap();
    fs::write(dir.join("text.thin"), "a text that is longer than the preamble of a file").unwrap();
    refused(&["run", "absent.thin", "--input", "x.npy"], dir, &["absent.thin"]);
    refused(&["run", "text.thin", "--input", "x.npy"], dir, &["text.thin", "not a .thin file"]);
    refused(&["run", "m.thin", "--input", "absent.npy"], dir, &["absent.npy"]);
    refused(&["run", "m.thin", "--input", "text.npy"], dir, &["text.npy"]);
    refused(&["run", "m.thin", "--input", "text.png"], dir, &["text.png"]);
    refused(&["run", "m.thin", "--input", "wide.png"], dir, &["wide.png", "3 × 2", "2 × 2"]);
    refused(&["run", "m.thin", "--input", "five.npy"], dir, &["five.npy", "[5]", "[N, 1, 2, 2]"]);
    refused(&["run", "m.thin", "--input", "long.npy"], dir, &["long.npy", "8 bits"]);
    refused(
        &["eval", "m.thin", "--inputs", "x.npy", "--labels", "labels.npy", "--device", "cpu"],
        dir,
        &["labels.npy", "label 2", "2 classes"],
    );
    refused(
        &["eval", "m.thin", "--inputs", "x.npy", "--labels", "three.npy", "--device", "cpu"],
        dir,
        &["three.npy", "3 labels for 2 inputs"],
    );
    refused(&["bench", "m.thin", "--batch", "0", "--device", "cpu"], dir, &["batch"]);
    refused(&["bench", "m.thin", "--batch", "10000000000000", "--device", "cpu"], dir, &["batch of 10000000000000", "memory"]);
    save_array(&dir.join("nan.npy"), &[1, 2, 2], NpyData::F32(vec![0.0, f32::NAN, 0.0, 0.0]));
    refused(&["run", "m.thin", "--input", "nan.npy", "--device", "cpu"], dir, &["nan.npy", "NaN as value 1"]);
    // No figures take the place of a network.
    for command in [&["inspect", "m.thin", "--json", "m.thin"][..], &["measure", "m.thin", "--device", "cpu", "-o", "m.thin"]] {
        let before = fs::read(dir.join("m.thin")).unwrap();
        refused(command, dir, &["m.thin", "stays"]);
        assert_eq!(fs::read(dir.join("m.thin")).unwrap(), before);
    }
    refused(&["devices", "--json", "absent/d.json"], dir, &["absent"]);
    refused(&["bench", "--layer", "linear:8,4", "--rank", "9", "--device", "cpu"], dir, &["--rank 9", "1 to 4"]);
    assert_eq!(thinfer(&["bench"], dir).status.code(), Some(2));
    assert_eq!(thinfer(&["bench", "--layer", "linear:8", "--rank", "1"], dir).status.code(), Some(2));
    assert_eq!(thinfer(&["run", "m.thin"], dir).status.code(), Some(2));
}

/// y = a + b and z = relu(a) of samples `a` and one vector of integers `b`.
fn save_two_inputs(path: &Path) {
    let add = Op::Add { residual: Residual { stride: 1, offset: 0 }, activation: Activation::None };
    let layer = |name: &str, inputs: &[u32], op| Layer { name: name.into(), inputs: inputs.to_vec(), op };
    let output = |name: &str, value| artifact::Output { spec: TensorSpec::new(name, &[3]), value, meaning: Meaning::Values };
    let whole = TensorSpec { element: Element::I32, shape: vec![3], sample_axis: None, ..TensorSpec::new("b", &[]) };
    let model = Model {
        inputs: vec![Input { spec: TensorSpec::new("a", &[3]), ..Input::new(&[3]) }, Input { spec: whole, ..Input::new(&[3]) }],
        outputs: vec![output("y", 2), output("z", 3)],
        ..Model::new("two", &[1], vec![layer("add", &[0, 1], add), layer("relu", &[0], Op::Activate(Activation::Relu))])
    };
    Artifact::build(model, Vec::new()).unwrap().save(path).unwrap();
}

#[test]
fn arrays_are_given_by_name_and_written_in_the_order_of_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_two_inputs(&dir.join("two.thin"));
    save_array(&dir.join("a.npy"), &[2, 3], NpyData::F32(vec![1.0, -2.0, 3.0, -4.0, 5.0, -6.0]));
    save_array(&dir.join("b.npy"), &[3], NpyData::I64(vec![10, 20, 30]));
    let run = ["run", "two.thin", "--device", "cpu", "--input", "b=b.npy", "--input", "a=a.npy"];
    let said = succeed(&[&run[..], &["--outputs", "out", "--json", "o.json"]].concat(), dir);
    assert_eq!(said.lines().count(), 4, "{said}");
    let read = |name: &str| npy::parse(&fs::read(dir.join("out").join(name)).unwrap()).unwrap();
    let of = |values: &[f32]| Npy { shape: vec![2, 3], data: NpyData::F32(values.to_vec()) };
    assert_eq!(read("0.npy"), of(&[11.0, 18.0, 33.0, 6.0, 25.0, 24.0]));
    assert_eq!(read("1.npy"), of(&[1.0, 0.0, 3.0, 0.0, 5.0, 0.0]));
    let results = &json(&dir.join("o.json"))["results"];
    assert_eq!((results[1]["output"][0].as_f64(), results[1]["outputs"]["z"][1].as_f64()), (Some(6.0), Some(5.0)));
    // Benches and descriptions know all of them.
    succeed(&["bench", "two.thin", "--device", "cpu", "--runs", "3", "--layers"], dir);
    assert!(succeed(&["inspect", "two.thin"], dir).contains("takes 'b', int32 [3]"));

    let refused = |more: &[&str], parts: &[&str]| refused(&[&["run", "two.thin", "--device", "cpu"], more].concat(), dir, parts);
    refused(&["--input", "a.npy"], &["names none of the network's inputs", "--input 'a=FILE' ('a', float32 [N, 3])"]);
    refused(&["--input", "a=a.npy"], &["gives nothing for 'b', int32 [3]"]);
    refused(&["--input", "a=a.npy", "--input", "a=a.npy"], &["gives 'a' a second time"]);
    refused(&["--input", "a=a.npy", "--input", "b=a.npy"], &["has shape [2, 3]; the network takes 'b', int32 [3]"]);
    refused(&["--input", "a=a.npy", "--input", "b=b.npy", "--outputs", "a.npy"], &["is no folder"]);
    refused(&["--input", "a=a.npy", "--input", "b=b.npy", "--outputs", "none/out"], &["there is no folder none"]);
    assert!(!dir.join("none").exists());
}
