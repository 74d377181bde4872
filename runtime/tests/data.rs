//! Images of any size, folders and archives, as `thinfer run` and `thinfer eval` take them.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use thinfer::artifact::{
    Activation, Artifact, Filter, Fit, FitMethod, Input, Layer, Meaning, Model, Op, Sections, TensorData, TensorSpec, Weight,
};
use thinfer::tools::images::Pixels;
use thinfer::tools::npy::{self, Npy, NpyData};

fn on_cpu<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--device", "cpu"]].concat()
}

fn thinfer(arguments: &[&str], dir: &Path) -> Output {
    program::thinfer(&on_cpu(arguments), dir)
}

fn succeed(arguments: &[&str], dir: &Path) -> String {
    program::succeed(&on_cpu(arguments), dir)
}

fn refused(arguments: &[&str], dir: &Path, parts: &[&str]) {
    program::refused(&on_cpu(arguments), dir, parts);
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A 2×2 grey image to two classes, the sum of its upper pixels against that of its lower ones, `shift` added to the first.
fn halves(fits: Vec<Fit>, classes: &[&str], shift: f32) -> Artifact {
    let tensors =
        vec![TensorData::f32("w", &[2, 4], vec![1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 1.0, 1.0]), TensorData::f32("b", &[2], vec![shift, 0.0])];
    let op = Op::Linear { weight: Weight::Dense(0), bias: Some(1), activation: Activation::None };
    let model = Model {
        classes: classes.iter().map(|c| c.to_string()).collect(),
        ..Model::new("halves", &[1, 2, 2], vec![Layer { name: "fc".into(), inputs: vec![0], op }])
    };
    Artifact::build_with_sections(model, tensors, Sections { fits, ..Sections::default() }).unwrap()
}

fn stretched() -> Vec<Fit> {
    vec![Fit { input: 0, method: FitMethod::Stretch, filter: Filter::Bilinear }]
}

/// A file of `height` rows, the upper half white or the lower one.
fn save_image(path: &Path, [width, height]: [usize; 2], upper: bool) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let data = (0..height).flat_map(|y| vec![if (2 * y < height) == upper { 255 } else { 0 }; width]).collect();
    fs::write(path, Pixels { width, height, channels: 1, data }.to_png().unwrap()).unwrap();
}

fn array(shape: &[usize], data: NpyData) -> Vec<u8> {
    npy::write(&Npy { shape: shape.to_vec(), data })
}

/// A zip archive of stored entries.
fn archive(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let header = (file.len() as u32).to_le_bytes();
        let (sum, size, name_len) =
            (crc32fast::hash(bytes).to_le_bytes(), (bytes.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        let numbers = [&[0; 6][..], &sum, &size, &size, &name_len, &[0; 2]].concat();
        file.extend([b"PK\x03\x04\x14\x00\x00\x00".as_slice(), &numbers[..], name.as_bytes(), bytes].concat());
        directory.extend([b"PK\x01\x02\x14\x00\x14\x00\x00\x00".as_slice(), &numbers[..], &[0; 10], &header, name.as_bytes()].concat());
    }
    let (start, len, count) =
        ((file.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes(), (entries.len() as u16).to_le_bytes());
    [&file[..], &directory, b"PK\x05\x06\x00\x00\x00\x00", &count, &count, &len, &start, &[0; 2]].concat()
}

#[test]
fn images_of_any_size_are_brought_to_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    halves(stretched(), &["upper", "lower"], 0.0).save(dir.join("m.thin")).unwrap();
    halves(Vec::new(), &["upper", "lower"], 0.0).save(dir.join("exact.thin")).unwrap();
    save_image(&dir.join("a.png"), [9, 14], true);
    save_image(&dir.join("b.png"), [2, 2], false);
    let said = succeed(&["run", "m.thin", "a.png", "b.png", "--top", "1"], dir);
    assert!(said.contains("0: upper") && said.contains("1: lower") && said.lines().count() == 2, "{said}");
    assert!(succeed(&["run", "m.thin", "--input", "a.png", "--top", "1"], dir).starts_with("0: upper"));
    let inspected = program::thinfer(&["inspect", "m.thin"], dir);
    assert!(String::from_utf8(inspected.stdout).unwrap().contains("images of other sizes for 'input': stretched, bilinear"));
    refused(&["run", "exact.thin", "a.png"], dir, &["a.png", "9 × 14", "2 × 2", "--fit"]);
    assert_eq!(thinfer(&["run", "m.thin", "a.png", "--input", "b.png"], dir).status.code(), Some(2));
}

#[test]
fn a_folder_of_classes_is_judged_and_no_more_is_decoded_than_asked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    halves(stretched(), &[], 0.0).save(dir.join("m.thin")).unwrap();
    for (name, upper) in [("a_upper/1.png", true), ("a_upper/2.png", true), ("b_lower/1.png", false), ("b_lower/2.png", true)] {
        save_image(&dir.join("set").join(name), [5, 8], upper);
    }
    let eval = |more: &[&str]| {
        succeed(&[&["eval", "m.thin", "--inputs", "set", "--json", "e.json", "--batch", "3"], more].concat(), dir);
        let figures = json(&dir.join("e.json"));
        (figures["correct"].as_u64(), figures["count"].as_u64())
    };
    assert_eq!((eval(&[]), eval(&["--limit", "2"])), ((Some(3), Some(4)), (Some(2), Some(2))));
    // Folders that have the names of the network's classes are these, in whatever order.
    halves(stretched(), &["b_lower", "a_upper"], 0.0).save(dir.join("m.thin")).unwrap();
    assert_eq!(eval(&[]), (Some(1), Some(4)));
    fs::write(dir.join("set/b_lower/2.png"), "no image").unwrap();
    assert_eq!(eval(&["--limit", "3"]).1, Some(3));
    let refused = |parts: &[&str]| refused(&["eval", "m.thin", "--inputs", "set"], dir, parts);
    refused(&["b_lower/2.png", "no image that is read"]);
    fs::write(dir.join("set/b_lower/2.png"), "").unwrap();
    refused(&["b_lower/2.png", "empty file"]);
    save_image(&dir.join("set/c/1.png"), [2, 2], true);
    refused(&["set", "3 folders of classes, the network 2 outputs"]);
    save_image(&dir.join("set/x.png"), [2, 2], true);
    refused(&["set", "images beside folders"]);
}

#[test]
fn archives_are_read_by_the_names_of_the_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    halves(Vec::new(), &[], 0.0).save(dir.join("m.thin")).unwrap();
    let pixels = array(&[2, 1, 2, 2], NpyData::U8(vec![255, 255, 0, 0, 0, 0, 255, 255]));
    let labels = array(&[2], NpyData::I64(vec![0, 0]));
    let save = |entries: &[(&str, Vec<u8>)]| fs::write(dir.join("x.npz"), archive(entries)).unwrap();
    let eval = ["eval", "m.thin", "--inputs", "x.npz"];
    save(&[("input.npy", pixels.clone()), ("labels.npy", labels.clone())]);
    assert!(succeed(&eval, dir).starts_with("50.00 % (1 of 2)"));
    // One array alone is that of the one input.
    save(&[("arr_0.npy", pixels.clone())]);
    fs::write(dir.join("l.npy"), &labels).unwrap();
    assert!(succeed(&[&eval[..], &["--labels", "l.npy"]].concat(), dir).starts_with("50.00 %"));
    refused(&eval, dir, &["--against", "is needed, or labels"]);
    save(&[("x.npy", pixels.clone()), ("y.npy", pixels.clone())]);
    refused(&eval, dir, &["x.npz", "the array 'x', and the network's inputs are called input"]);
    save(&[("input.npy", array(&[2, 2, 2], NpyData::U8(vec![0; 8])))]);
    refused(&eval, dir, &["x.npz", "has shape [2, 2, 2]"]);
    save(&[("input.npy", array(&[2, 1, 2, 2], NpyData::I64(vec![0; 8])))]);
    refused(&eval, dir, &["x.npz", "wider than 8 bits"]);
    let mut fortran = pixels.clone();
    let at = fortran.windows(5).position(|w| w == b"False").unwrap();
    fortran[at..at + 5].copy_from_slice(b"True ");
    fs::write(dir.join("f.npy"), fortran).unwrap();
    refused(&["eval", "m.thin", "--inputs", "f.npy", "--labels", "l.npy"], dir, &["f.npy", "fortran_order"]);
    fs::write(dir.join("x.npz"), b"PK").unwrap();
    refused(&eval, dir, &["x.npz", "no whole zip archive"]);
    fs::write(dir.join("x.gif"), b"GIF89a").unwrap();
    refused(&["run", "m.thin", "--input", "x.gif"], dir, &["x.gif", "no .npy file", "images are png"]);
}

#[test]
fn a_network_without_classes_is_judged_by_its_dense_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    halves(Vec::new(), &[], 0.0).save(dir.join("dense.thin")).unwrap();
    halves(Vec::new(), &[], 0.5).save(dir.join("cut.thin")).unwrap();
    // (1, −1) against (1.5, −1), and (−0.2, 0.2) against (0.3, 0.2).
    let values = vec![0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1];
    fs::write(dir.join("x.npy"), array(&[2, 1, 2, 2], NpyData::F32(values))).unwrap();
    let said = succeed(&["eval", "cut.thin", "--inputs", "x.npy", "--against", "dense.thin", "--json", "e.json"], dir);
    assert!(said.contains("against dense.thin, 2 samples") && said.contains("1 (50.00 %)"), "{said}");
    let figures = json(&dir.join("e.json"));
    let agreement = &figures["agreement"][0];
    assert_eq!((agreement["output"].as_str(), agreement["same_largest"].as_u64()), (Some("output"), Some(1)));
    let expected = (0.5 / 2f64.sqrt() + 0.5 / 0.08f64.sqrt()) / 2.0;
    assert!((agreement["relative_l2"].as_f64().unwrap() - expected).abs() < 1e-5, "{agreement}");
    assert!(figures["against"]["macs"].is_number() && figures.get("top1").is_none());
    // The same network agrees with itself.
    let said = succeed(&["eval", "cut.thin", "--inputs", "x.npy", "--against", "cut.thin"], dir);
    assert!(said.contains("0.00e0") && said.contains("2 (100.00 %)"), "{said}");
    let mut other = halves(Vec::new(), &[], 0.0).model().clone();
    other.outputs[0].spec = TensorSpec::new("scores", &[2]);
    other.outputs[0].meaning = Meaning::Values;
    other.inputs = vec![Input::new(&[1, 2, 2])];
    let tensors = vec![TensorData::f32("w", &[2, 4], vec![0.0; 8]), TensorData::f32("b", &[2], vec![0.0; 2])];
    Artifact::build(other, tensors).unwrap().save(dir.join("other.thin")).unwrap();
    refused(&["eval", "cut.thin", "--inputs", "x.npy", "--against", "other.thin"], dir, &["--against", "'scores'", "'output'"]);
}
