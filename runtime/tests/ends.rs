//! Arrays as a network declares them, and what is said of its outputs, through `thinfer` and through a session.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use thinfer::artifact::{
    Activation, Artifact, Channels, Element, Input, InputKind, Layer, Meaning, Model, Op, Preprocess, Stride, TensorData, TensorSpec,
    Weight, Window,
};
use thinfer::tools::npy::{self, Npy, NpyData};
use thinfer::{Device, DeviceKind, Options, Session};

/// The CPU, and the GPU where there is one.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::open(DeviceKind::Gpu) {
        Ok(gpu) => devices.push(gpu),
        Err(e) if std::env::var_os("THINFER_REQUIRE_GPU").is_some_and(|v| v == "1") => unreachable!("{e}"),
        Err(e) => println!("skipped on the GPU: {e}"),
    }
    devices
}

fn thinfer(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thinfer")).args(arguments).current_dir(dir).output().unwrap()
}

/// What `run` prints, and the results that it writes.
fn run(model: &str, input: &str, dir: &Path) -> (String, Vec<Value>) {
    let output = thinfer(&["run", model, "--input", input, "--device", "cpu", "--json", "o.json"], dir);
    assert!(output.status.success(), "{model} {input}: {}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&fs::read(dir.join("o.json")).unwrap()).unwrap();
    (String::from_utf8(output.stdout).unwrap(), json["results"].as_array().unwrap().clone())
}

fn refused(command: &str, model: &str, inputs: &str, dir: &Path, parts: &[&str]) {
    let arguments = match command {
        "run" => vec!["run", model, "--input", inputs, "--device", "cpu"],
        _ => vec!["eval", model, "--inputs", inputs, "--labels", "labels.npy", "--device", "cpu"],
    };
    let output = thinfer(&arguments, dir);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{arguments:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{arguments:?}: {part:?} not in {error:?}");
    }
}

fn save(dir: &Path, name: &str, shape: &[usize], data: NpyData) {
    fs::write(dir.join(name), npy::write(&Npy { shape: shape.to_vec(), data })).unwrap();
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn near(got: &[f64], wanted: &[f64]) {
    assert!(got.len() == wanted.len() && got.iter().zip(wanted).all(|(g, w)| (g - w).abs() < 1e-4), "{got:?} instead of {wanted:?}");
}

/// One convolution over [3, 2, 4] images: y[c] = (c + 1) · x[c].
fn scaled_channels(input: Input) -> Artifact {
    let weight = (0..9).map(|i| if i % 4 == 0 { (i / 4 + 1) as f32 } else { 0.0 }).collect();
    let window = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
    let op = Op::Conv { window, outputs: 3, groups: 1, weight: Weight::Dense(0), bias: None, residual: None, activation: Activation::None };
    let mut model = Model::new("scaled", &[3, 2, 4], vec![Layer { name: "conv".into(), inputs: vec![0], op }]);
    model.inputs = vec![input];
    Artifact::build(model, vec![TensorData::f32("w", &[3, 3, 1, 1], weight)]).unwrap()
}

/// [N, 2, 4, 3] of [3, 2, 4].
fn channels_last() -> Input {
    let order = vec![Stride { size: 8, stride: 1 }, Stride { size: 3, stride: 8 }];
    Input { spec: TensorSpec { order, ..TensorSpec::new("pixels", &[2, 4, 3]) }, ..Input::new(&[3, 2, 4]) }
}

/// Output c of sample s by channels first for inputs 100·s + 24 values counted in the declared order, channels last.
fn wanted(sample: usize) -> Vec<f64> {
    (0..24).map(|i| ((i / 8 + 1) * (100 * sample + i % 8 * 3 + i / 8)) as f64).collect()
}

#[test]
fn channels_last_are_taken_as_declared_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let artifact = scaled_channels(channels_last());
    artifact.save(dir.join("m.thin")).unwrap();
    let values: Vec<f32> = (0..3).flat_map(|s| (0..24).map(move |i| (100 * s + i) as f32)).collect();
    save(dir, "x.npy", &[3, 2, 4, 3], NpyData::F32(values.clone()));
    save(dir, "one.npy", &[2, 4, 3], NpyData::F32(values[24..48].to_vec()));
    let (_, results) = run("m.thin", "x.npy", dir);
    (0..3).for_each(|s| near(&numbers(&results[s]["output"]), &wanted(s)));
    near(&numbers(&run("m.thin", "one.npy", dir).1[0]["output"]), &wanted(1));
    // The library takes the same, in whatever parts, and so do submitted runs.
    for (device, batch) in devices().iter().flat_map(|d| [1, 2, 3].map(|batch| (d, batch))) {
        let mut session = Session::new(device, &artifact, &Options { batch, cache: None, ..Options::default() }).unwrap();
        let all: Vec<f64> = session.run(&values).unwrap().into_iter().map(f64::from).collect();
        near(&all, &[wanted(0), wanted(1), wanted(2)].concat());
        session.submit(&values[24..48]).unwrap();
        near(&session.wait().unwrap().into_iter().map(f64::from).collect::<Vec<_>>(), &wanted(1));
    }
    // As many values in another order.
    save(dir, "labels.npy", &[3], NpyData::I64(vec![0, 1, 2]));
    for shape in [&[3, 3, 2, 4][..], &[3, 4, 2, 3], &[3, 24], &[3, 1, 24], &[72], &[1, 3, 2, 4, 3], &[3, 2, 12]] {
        save(dir, "other.npy", shape, NpyData::F32(values.clone()));
        refused("run", "m.thin", "other.npy", dir, &["other.npy", &format!("{shape:?}"), "[N, 2, 4, 3]", "'pixels'"]);
        save(dir, "other.npy", shape, NpyData::U8(vec![0; 72]));
        refused("run", "m.thin", "other.npy", dir, &["other.npy", &format!("{shape:?}"), "[N, 2, 4, 3]"]);
    }
    // Its outputs are no class scores.
    refused("eval", "m.thin", "x.npy", dir, &["m.thin", "one axis"]);
}

#[test]
fn pixels_are_turned_and_colours_are_swapped_for_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let with = |channels| Preprocess { scale: 1.0, channels, ..Preprocess::default() };
    scaled_channels(Input { preprocess: with(Channels::Rgb), ..channels_last() }).save(dir.join("rgb.thin")).unwrap();
    scaled_channels(Input { preprocess: with(Channels::Bgr), ..channels_last() }).save(dir.join("bgr.thin")).unwrap();
    scaled_channels(Input { preprocess: with(Channels::Bgr), ..Input::new(&[3, 2, 4]) }).save(dir.join("first.thin")).unwrap();
    // Red 0, 3, …, green 1, 4, …, blue 2, 5, …
    let pixels: Vec<u8> = (0..24).collect();
    save(dir, "x.npy", &[1, 2, 4, 3], NpyData::U8(pixels.clone()));
    let mut encoder = png::Encoder::new(fs::File::create(dir.join("x.png")).unwrap(), 4, 2);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    // The first channel of the network counts once, the last one thrice.
    let swapped: Vec<f64> = (0..24).map(|i| ((i / 8 + 1) * (i % 8 * 3 + 2 - i / 8)) as f64).collect();
    for (model, input, wanted) in [
        ("rgb.thin", "x.npy", wanted(0)),
        ("rgb.thin", "x.png", wanted(0)),
        ("bgr.thin", "x.npy", swapped.clone()),
        ("bgr.thin", "x.png", swapped.clone()),
        ("first.thin", "x.png", swapped),
    ] {
        near(&numbers(&run(model, input, dir).1[0]["output"]), &wanted);
    }
}

#[test]
fn an_integer_input_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let of = |element| {
        let spec = TensorSpec { element, ..TensorSpec::new("x", &[3, 2, 4]) };
        scaled_channels(Input { spec, preprocess: Preprocess { scale: 1.0, ..Preprocess::default() }, ..Input::new(&[3, 2, 4]) })
    };
    of(Element::U8).save(dir.join("u8.thin")).unwrap();
    of(Element::I32).save(dir.join("i32.thin")).unwrap();
    save(dir, "u8.npy", &[1, 3, 2, 4], NpyData::U8((0..24).collect()));
    save(dir, "i64.npy", &[1, 3, 2, 4], NpyData::I64((-20..4).collect()));
    save(dir, "f32.npy", &[1, 3, 2, 4], NpyData::F32((0..24).map(|i| i as f32).collect()));
    save(dir, "half.npy", &[1, 3, 2, 4], NpyData::F32(vec![0.5; 24]));
    let counted = |from: i64| (0..24).map(|i| ((i / 8 + 1) * (i + from)) as f64).collect::<Vec<_>>();
    for (model, input, from) in
        [("u8.thin", "u8.npy", 0), ("i32.thin", "u8.npy", 0), ("i32.thin", "i64.npy", -20), ("u8.thin", "f32.npy", 0)]
    {
        near(&numbers(&run(model, input, dir).1[0]["output"]), &counted(from));
    }
    refused("run", "u8.thin", "i64.npy", dir, &["i64.npy", "-20 as value 0", "uint8"]);
    refused("run", "i32.thin", "half.npy", dir, &["half.npy", "0.5 as value 0", "int32"]);
}

/// x·W of [features] by the identity.
fn identity(features: u32, end: Option<Op>, classes: &[&str]) -> Model {
    let op = Op::Linear { weight: Weight::Dense(0), bias: None, activation: Activation::None };
    let mut layers = vec![Layer { name: "fc".into(), inputs: vec![0], op }];
    layers.extend(end.map(|op| Layer { name: "end".into(), inputs: vec![1], op }));
    Model { classes: classes.iter().map(|c| c.to_string()).collect(), ..Model::new("identity", &[features], layers) }
}

fn build(model: Model, features: usize) -> Artifact {
    let weight = (0..features * features).map(|i| if i % (features + 1) == 0 { 1.0 } else { 0.0 }).collect();
    Artifact::build(model, vec![TensorData::f32("w", &[features, features], weight)]).unwrap()
}

#[test]
fn a_softmax_is_printed_of_logits_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let names = ["cat", "dog"];
    let cases = [
        ("logits", None, &names[..], [0.25, 0.75], true),
        ("softmax", Some(Op::Softmax { log: false }), &[], [0.25, 0.75], false),
        ("log", Some(Op::Softmax { log: true }), &names[..], [0.25, 0.75], false),
        ("sigmoid", Some(Op::Activate(Activation::Sigmoid)), &[], [0.5, 0.75], false),
    ];
    save(dir, "x.npy", &[1, 2], NpyData::F32(vec![0.0, 3f32.ln()]));
    for (name, end, classes, [first, second], shows_logit) in cases {
        build(identity(2, end, classes), 2).save(dir.join("m.thin")).unwrap();
        let (text, results) = run("m.thin", "x.npy", dir);
        let [dog, cat] = if classes.is_empty() { ["class 1", "class 0"] } else { ["dog", "cat"] };
        let shown = |class: &str, p: f64| text.contains(&format!("{class} {:.1} %", 100.0 * p));
        assert!(shown(dog, second) && shown(cat, first) && text.contains('(') == shows_logit, "{name}: {text}");
        let top = results[0]["top"].as_array().unwrap();
        assert_eq!((top[0]["class"].as_str(), top[1]["class"].as_str()), (Some(dog), Some(cat)), "{name}");
        near(&[top[0]["probability"].as_f64().unwrap(), top[1]["probability"].as_f64().unwrap()], &[second, first]);
        // What is called a logit is one.
        let apart = top[0]["logit"].as_f64().unwrap() - top[1]["logit"].as_f64().unwrap();
        near(&[apart], &[3f64.ln()]);
    }
}

#[test]
fn what_is_no_class_score_is_shown_as_an_array() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Nothing says that these are scores of classes.
    build(identity(12, None, &[]), 12).save(dir.join("m.thin")).unwrap();
    save(dir, "x.npy", &[1, 12], NpyData::F32((0..12).map(|i| i as f32 / 4.0).collect()));
    let (text, results) = run("m.thin", "x.npy", dir);
    assert!(text.contains("[12]: 0.0000 to 2.7500 at [11], mean 1.3750; 0.0000, 0.2500") && !text.contains('%'), "{text}");
    assert!(results[0].get("top").is_none() && results[0]["output"].as_array().unwrap().len() == 12, "{results:?}");
    // An image has no class.
    scaled_channels(Input::new(&[3, 2, 4])).save(dir.join("i.thin")).unwrap();
    save(dir, "i.npy", &[3, 2, 4], NpyData::F32((0..24).map(|i| i as f32).collect()));
    let (text, results) = run("i.thin", "i.npy", dir);
    assert!(text.contains("[3, 2, 4]: 0.0000 to 69.0000 at [2, 1, 3]") && !text.contains("class"), "{text}");
    assert!(results[0].get("top").is_none());
}

#[test]
fn features_are_no_image() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let png = |name: &str, width, height, color, pixels: &[u8]| {
        let mut encoder = png::Encoder::new(fs::File::create(dir.join(name)).unwrap(), width, height);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    };
    scaled_channels(Input { kind: InputKind::Features, ..Input::new(&[3, 2, 4]) }).save(dir.join("f.thin")).unwrap();
    png("x.png", 4, 2, png::ColorType::Rgb, &[7; 24]);
    refused("run", "f.thin", "x.png", dir, &["x.png", "is an image", "[N, 3, 2, 4]"]);
    // Digits are images of one axis.
    build(identity(4, None, &["a", "b", "c", "d"]), 4).save(dir.join("m.thin")).unwrap();
    png("d.png", 2, 2, png::ColorType::Grayscale, &[0, 0, 255, 0]);
    assert!(run("m.thin", "d.png", dir).0.starts_with("0: c "));
}

#[test]
fn arrays_without_samples_and_with_samples_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let with = |input: TensorSpec, output: TensorSpec| {
        let mut model = identity(6, None, &[]);
        model.inputs[0].spec = input;
        model.outputs = vec![thinfer::artifact::Output { spec: output, value: 1, meaning: Meaning::Values }];
        build(model, 6)
    };
    let spec = |shape: &[u32], sample_axis| TensorSpec { shape: shape.to_vec(), sample_axis, ..TensorSpec::new("x", &[]) };
    let one = with(spec(&[2, 3], None), spec(&[1, 6], None));
    one.save(dir.join("one.thin")).unwrap();
    let values = |n: usize| NpyData::F32((0..n).map(|i| i as f32).collect());
    save(dir, "x.npy", &[2, 3], values(6));
    near(&numbers(&run("one.thin", "x.npy", dir).1[0]["output"]), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    for shape in [&[1, 2, 3][..], &[2, 2, 3], &[6], &[3, 2]] {
        save(dir, "x.npy", shape, values(shape.iter().product()));
        refused("run", "one.thin", "x.npy", dir, &["x.npy", "[2, 3]"]);
    }
    let new = |batch| Session::new(&Device::cpu(), &one, &Options { batch, cache: None, ..Options::default() });
    assert!(new(2).unwrap_err().to_string().contains("without an axis of samples"));
    assert!(new(1).unwrap().run(&[0.0; 12]).unwrap_err().to_string().contains("one array of 6"));
    // [2, N, 3] in, [3, 2, N] out.
    let middle = with(spec(&[2, 0, 3], Some(1)), spec(&[3, 2, 0], Some(2)));
    middle.save(dir.join("middle.thin")).unwrap();
    save(dir, "x.npy", &[2, 4, 3], values(24));
    let (_, results) = run("middle.thin", "x.npy", dir);
    near(&numbers(&results[1]["output"]), &[3.0, 4.0, 5.0, 15.0, 16.0, 17.0]);
    let mut session = Session::new(&Device::cpu(), &middle, &Options { batch: 3, cache: None, ..Options::default() }).unwrap();
    let all = session.run(&(0..24).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    assert_eq!(all[..8], [0.0, 3.0, 6.0, 9.0, 1.0, 4.0, 7.0, 10.0]);
}
