//! Trainer, CPU executor and GPU executor give the same logits: on real MNIST where it is there, else on the glyphs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod shared;

use std::path::Path;

use shared::{devices, difference};

use thinfer::artifact::{Dtype, Preprocess};
use thinfer::{Form, Forms, Options, Session};
use thinfer_compiler::data::{self, DataSpec, Dataset, Part};
use thinfer_compiler::graph::{self, Graph};
use thinfer_compiler::import::{self, Checkpoint};
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::{train, zoo};

fn check(graph: &Graph, checkpoint: &Checkpoint, preprocess: &Preprocess, images: &Dataset) {
    let options = lower::Options { preprocess: preprocess.clone(), ..lower::Options::default() };
    let factored = Factored::new(graph, checkpoint, options, &|_, _, _| ()).unwrap();
    let thin_policy = Policy::Local(0.25);
    let cuts = factored.cuts(thin_policy).unwrap();
    let dense = factored.emit(Policy::Dense, &vec![None; cuts.len()], Dtype::F32, false).unwrap();
    let thin = factored.emit(thin_policy, &cuts, Dtype::F32, true).unwrap();
    // The trainer runs dense networks: the thin one is given to it as the products of its factors.
    let mut cut = checkpoint.params.clone();
    for ((layer, cut_as), factorings) in factored.layers().iter().zip(&cuts).zip(factored.factorings()) {
        let (Some(weighted), Some((scheme, rank))) = (layer.weighted(), *cut_as) else { continue };
        let product = factorings.iter().find(|f| f.scheme() == scheme).unwrap().truncate(rank, false).unwrap().product();
        let tensor = cut.get_mut(&format!("{}.weight", layer.name)).unwrap();
        // Factors carry the folded batch norm; the trainer applies it itself.
        let columns = weighted.kernel.columns();
        for (i, (w, p)) in tensor.data_mut().iter_mut().zip(product).enumerate() {
            *w = weighted.scale.as_ref().map_or(p, |s| (f64::from(p) / s[i / columns]) as f32);
        }
    }
    for (name, artifact, params) in [("dense", &dense, &checkpoint.params), ("thin", &thin, &cut)] {
        let reference = train::logits(graph, params, preprocess, images).unwrap();
        for device in devices() {
            for form in [Form::TwoStage, Form::Fused] {
                let options = Options { batch: 256, forms: Forms::All(form), keep_factors: true, ..Options::default() };
                let logits = Session::new(&device, artifact, &options).unwrap().run_images(&images.images).unwrap();
                let off = difference(&reference, &logits);
                println!("{} {name} {} on {}: {off:.1e} over {} images", graph.name, form.name(), device.info(), images.len());
                assert!(off <= 1e-4, "{name} on {}: {off}", device.info());
            }
        }
    }
}

#[test]
fn trainer_and_devices_agree_on_a_network_with_batch_norm() {
    let graph = zoo::build("fcn8").unwrap();
    let mut params = graph::init(&graph, 4);
    // Statistics as training leaves them, not the identity.
    for (name, tensor) in &mut params {
        let shift = if name.ends_with("running_var") { 0.3 } else { 0.0 };
        if name.ends_with("running_mean") || name.ends_with("running_var") {
            tensor.data_mut().iter_mut().enumerate().for_each(|(i, x)| *x = shift + 0.2 * ((i as f32) * 0.7).sin().abs());
        }
    }
    let spec: DataSpec = "glyphs".parse().unwrap();
    let images = data::load(&spec, Part::Test).unwrap();
    check(&graph, &Checkpoint { params, ..Checkpoint::default() }, &data::default_preprocess(spec.kind), &images);
}

#[test]
fn trainer_and_devices_agree_on_a_real_network_and_all_test_images() {
    let Some(data) = std::env::var_os("THINFER_DATA") else { return println!("skipped: THINFER_DATA not set") };
    let path = Path::new(&data).join("checkpoints/mnist_mlp_256x4.safetensors");
    if !path.exists() {
        return println!("skipped: no {}", path.display());
    }
    let spec: DataSpec = format!("mnist:{}", Path::new(&data).join("mnist").display()).parse().unwrap();
    let images = data::load(&spec, Part::Test).unwrap();
    assert_eq!(images.len(), 10_000);
    let graph = zoo::build("mlp:784-256-256-256-256-10").unwrap();
    check(&graph, &import::load(&path).unwrap(), &Preprocess::default(), &images);
}
