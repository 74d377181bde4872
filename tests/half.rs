//! Weights stored in f16: half of the bytes, the same answers. On ResNet-20 and real CIFAR-10 where they are there, else on a
//! network of random weights and the glyphs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod shared;

use std::path::Path;

use shared::{devices, difference};

use thinfer::artifact::{Artifact, Dtype, Preprocess};
use thinfer::{Options, Session, top1};
use thinfer_compiler::data::{self, DataSpec, Dataset, Part};
use thinfer_compiler::graph;
use thinfer_compiler::import::{self, Checkpoint};
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::zoo;

/// Logits within 1e-2 of the largest, top-1 within `points` of f32's, weights of half the bytes.
fn check(name: &str, checkpoint: &Checkpoint, preprocess: Preprocess, images: &Dataset, points: f64) {
    let graph = zoo::build(name).unwrap();
    let options = lower::Options { preprocess, ..lower::Options::default() };
    let factored = Factored::new(&graph, checkpoint, options, &|_, _, _| ()).unwrap();
    for policy in [Policy::Dense, Policy::Macs(0.7)] {
        let cuts = factored.cuts(policy).unwrap();
        let [whole, half] = [Dtype::F32, Dtype::F16].map(|dtype| factored.emit(policy, &cuts, dtype, true).unwrap());
        let bytes = |a: &Artifact| a.as_bytes().len() as f64;
        assert!(bytes(&half) < 0.56 * bytes(&whole), "{} of {} bytes", bytes(&half), bytes(&whole));
        for device in devices() {
            let logits = |artifact: &Artifact| {
                let options = Options { batch: 64, ..Options::default() };
                Session::new(&device, artifact, &options).unwrap().run_images(&images.images).unwrap()
            };
            let (exact, near) = (logits(&whole), logits(&half));
            let off = difference(&exact, &near);
            let right = |logits: &[f32]| {
                let rows = logits.chunks_exact(images.classes.len()).zip(&images.labels);
                rows.filter(|(row, label)| top1(row) == Some(usize::from(**label))).count() as f64
            };
            let apart = 100.0 * (right(&exact) - right(&near)).abs() / images.len() as f64;
            println!(
                "{name} {policy} on {}: logits {off:.1e} of the largest apart, top-1 {apart:.2} points of {} images",
                device.info(),
                images.len()
            );
            assert!(off <= 1e-2 && apart <= points, "{off} {apart}");
        }
    }
}

#[test]
fn f16_gives_the_logits_of_f32_nearly() {
    let spec: DataSpec = "glyphs".parse().unwrap();
    let mut images = data::load(&spec, Part::Test).unwrap();
    images.truncate(256);
    let params = graph::init(&zoo::build("fcn6").unwrap(), 4);
    check("fcn6", &Checkpoint { params, ..Checkpoint::default() }, data::default_preprocess(spec.kind), &images, 2.0);
}

#[test]
fn f16_keeps_the_accuracy_of_a_real_network() {
    let Some(data) = std::env::var_os("THINFER_DATA") else { return println!("skipped: THINFER_DATA not set") };
    let path = Path::new(&data).join("checkpoints/cifar10_resnet20.safetensors");
    if !path.exists() {
        return println!("skipped: no {}", path.display());
    }
    let spec: DataSpec = format!("cifar10:{}", Path::new(&data).display()).parse().unwrap();
    let mut images = data::load(&spec, Part::Test).unwrap();
    images.truncate(2000);
    let preprocess = Preprocess { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225], ..Preprocess::default() };
    check("resnet20", &import::load(&path).unwrap(), preprocess, &images, 0.1);
}
