//! Whole networks through folding, factoring and emission, run in sessions.

use super::*;
use crate::graph::init;
use crate::zoo;
use thinfer::{Device, Session};

fn factored(spectra: Spectra) -> Factored {
    let graph = zoo::build("fcn6").unwrap();
    let mut params = init(&graph, 1);
    // Running statistics and scales that are not the identity, so that folding shows.
    for (name, tensor) in params.iter_mut() {
        let shift = name.len() as f32;
        if name.ends_with("running_var") || name.ends_with("1.weight") {
            tensor.data_mut().iter_mut().enumerate().for_each(|(i, x)| *x = 0.5 + ((i as f32 + shift) * 0.37).sin().abs());
        }
    }
    Factored::new(&graph, &Checkpoint { params, ..Checkpoint::default() }, Options { spectra, ..Options::default() }).unwrap()
}

fn logits(artifact: &Artifact) -> Vec<f32> {
    let input: Vec<f32> = (0..784 * 3).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let options = thinfer::Options { batch: 3, forms: thinfer::Forms::Ruled, keep_factors: true, ..thinfer::Options::default() };
    Session::new(&Device::cpu(), artifact, &options).unwrap().run(&input).unwrap()
}

#[test]
fn full_rank_gives_the_dense_logits_on_raw_and_folded_spectra() {
    for spectra in [Spectra::Raw, Spectra::Folded] {
        let f = factored(spectra);
        let dense = logits(&f.emit(Policy::Dense, &[None; 6], Dtype::F32, false).unwrap());
        let full = f.ranks(Policy::Local(1.0)).unwrap();
        let cut = logits(&f.emit(Policy::Local(1.0), &full, Dtype::F32, true).unwrap());
        let largest = dense.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (a, b) in dense.iter().zip(&cut) {
            assert!((a - b).abs() <= 1e-4 * largest, "{a} {b}");
        }
    }
}

#[test]
fn the_artifact_counts_what_it_stores() {
    let f = factored(Spectra::Folded);
    let ranks = f.ranks(Policy::Local(0.25)).unwrap();
    assert_eq!(ranks, [Some(24), Some(24), Some(24), Some(24), Some(24), Some(3)]);
    let artifact = f.emit(Policy::Local(0.25), &ranks, Dtype::F32, false).unwrap();
    let p = &artifact.model().provenance;
    let dense = 784 * 96 + 4 * 96 * 96 + 960;
    assert_eq!(p.dense_macs, dense);
    assert_eq!(p.macs, 24 * 880 + 4 * 24 * 192 + 3 * 106);
    assert_eq!(p.dense_params, dense + 5 * 96 + 10);
    assert_eq!(p.params - p.macs, 5 * 96 + 10);
    let recomposed = f.emit(Policy::Local(0.9), &f.ranks(Policy::Local(0.9)).unwrap(), Dtype::F32, true).unwrap();
    // 10 × 96 at rank 9 costs 954, just less than 960: factors there, matrices elsewhere.
    assert_eq!(recomposed.model().provenance.macs, dense - 960 + 954);
    assert_eq!(recomposed.model().provenance.layers.len(), 6);
}
