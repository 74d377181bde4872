//! Whole networks through folding, factoring and emission, run in sessions.

use super::*;
use crate::factor::Rank;
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
    Factored::new(&graph, &Checkpoint { params, ..Checkpoint::default() }, Options { spectra, ..Options::default() }, &|_, _, _| ())
        .unwrap()
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
        let full = f.cuts(Policy::Local(1.0)).unwrap();
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
    let ranks = f.cuts(Policy::Local(0.25)).unwrap();
    assert_eq!(ranks, [24, 24, 24, 24, 24, 3].map(|r| Some((Scheme::Channel, Rank::One(r)))));
    let artifact = f.emit(Policy::Local(0.25), &ranks, Dtype::F32, false).unwrap();
    let p = &artifact.model().provenance;
    let dense = 784 * 96 + 4 * 96 * 96 + 960;
    assert_eq!(p.dense_macs, dense);
    assert_eq!(p.macs, 24 * 880 + 4 * 24 * 192 + 3 * 106);
    assert_eq!(p.dense_params, dense + 5 * 96 + 10);
    assert_eq!(p.params - p.macs, 5 * 96 + 10);
    let recomposed = f.emit(Policy::Local(0.9), &f.cuts(Policy::Local(0.9)).unwrap(), Dtype::F32, true).unwrap();
    // 10 × 96 at rank 9 costs 954, just less than 960: factors there, matrices elsewhere.
    assert_eq!(recomposed.model().provenance.macs, dense - 960 + 954);
    assert_eq!(recomposed.model().provenance.layers.len(), 6);
}

fn rank_of(artifact: &Artifact, op: &thinfer::artifact::Op) -> Option<usize> {
    if let thinfer::artifact::Op::Linear { weight, .. } = op { weight.rank(artifact) } else { None }
}

/// A file at half its ranks is the file that is compiled at half the ranks, bias and gain and all.
#[test]
fn a_nested_network_is_the_one_compiled_at_its_ranks() {
    let graph = zoo::build("fcn6").unwrap();
    let checkpoint = Checkpoint { params: init(&graph, 4), ..Checkpoint::default() };
    let images = Images::new(&[784], crate::factor::testing::random(40 * 784, 9).iter().map(|x| x + 0.4).collect()).unwrap();
    let by_data = Options { images: Some(images), correct: false, ..Options::default() };
    for options in [by_data, Options { energy_gain: true, ..Options::default() }] {
        let gained = options.energy_gain;
        let f = Factored::new(&graph, &checkpoint, options, &|_, _, _| ()).unwrap();
        let emit = |ranks: [usize; 6]| {
            let cuts = ranks.map(|r| Some((Scheme::Channel, Rank::One(r))));
            f.emit(Policy::Local(0.25), &cuts, Dtype::F32, false).unwrap()
        };
        let whole = emit([24, 24, 24, 24, 24, 3]);
        assert!(whole.nested().len() == 6 && whole.nested().iter().all(|n| n.gained == gained && n.means.is_some() != gained));
        let half = whole.with_ranks(0.5).unwrap();
        let ranks: Vec<usize> = half.model().layers.iter().filter_map(|l| rank_of(&half, &l.op)).collect();
        let wanted = emit(ranks.try_into().unwrap());
        let (p, q) = (&half.model().provenance, &wanted.model().provenance);
        assert_eq!((p.macs, p.params), (q.macs, q.params));
        // As much as half of each layer's ranks would cost.
        assert!(p.macs <= 12 * 880 + 4 * 12 * 192 + 2 * 106 && p.macs > 12 * 880 + 3 * 12 * 192);
        assert!(p.layers.iter().zip(&q.layers).all(|(a, b)| (a.energy - b.energy).abs() < 1e-3), "{:?} {:?}", p.layers, q.layers);
        let (a, b) = (logits(&half), logits(&wanted));
        assert!(distance(&a, &b) < 1e-4 && distance(&logits(&whole), &b) > 1e-2, "gain {gained}: {}", distance(&a, &b));
    }
}

/// A small ResNet with random weights, and images for it.
fn convolutional(options: Options) -> (Factored, Vec<f32>) {
    let graph = zoo::build("resnet20").unwrap();
    let params = init(&graph, 3);
    let images: Vec<f32> = crate::factor::testing::random(4 * 3072, 5);
    let f = Factored::new(&graph, &Checkpoint { params, ..Checkpoint::default() }, options, &|_, _, _| ()).unwrap();
    (f, images)
}

fn run(artifact: &Artifact, images: &[f32]) -> Vec<f32> {
    let options = thinfer::Options { batch: 4, forms: thinfer::Forms::Ruled, keep_factors: true, ..thinfer::Options::default() };
    Session::new(&Device::cpu(), artifact, &options).unwrap().run(images).unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let norm = b.iter().map(|x| x * x).sum::<f32>().sqrt();
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt() / norm
}

#[test]
fn every_scheme_at_full_rank_is_the_dense_network_and_layers_one_by_one_are_the_network() {
    for scheme in Scheme::ALL {
        let (f, images) = convolutional(Options { scheme: SchemeChoice::Only(scheme), ..Options::default() });
        let none = vec![None; f.layers().len()];
        let dense = run(&f.emit(Policy::Dense, &none, Dtype::F32, false).unwrap(), &images);
        let uncut: Vec<_> = (0..none.len()).map(|i| f.alone(i, (None, How::default())).unwrap()).collect();
        let one_by_one = calibrate::through(&f.network, &Images::new(&[3, 32, 32], images.clone()).unwrap(), &uncut).unwrap().1;
        assert!(distance(&one_by_one, &dense) < 1e-4, "layers one by one differ");
        let whole: Vec<Cut> = f.factorings().iter().map(|f| f.first().map(|f| (f.scheme(), f.full_rank()))).collect();
        // Written as factors even where they do not pay, so that the runtime's own forms are compared.
        let written: Vec<_> = (0..whole.len()).map(|i| f.alone(i, (whole[i], How::default())).unwrap()).collect();
        let cut = run(&emit::emit(f.identity.clone(), &f.network, &written, Dtype::F32).unwrap().0, &images);
        assert!(distance(&cut, &dense) < 1e-3, "{scheme} {}", distance(&cut, &dense));
    }
}

#[test]
fn a_budget_is_met_and_correction_brings_the_network_nearer_to_the_dense_one() {
    let images = Images::new(&[3, 32, 32], crate::factor::testing::random(24 * 3072, 9)).unwrap();
    let mut errors = Vec::new();
    for (calibrated, correct) in [(false, false), (true, false), (true, true)] {
        let options = Options { images: calibrated.then(|| images.clone()), correct, ..Options::default() };
        let (f, inputs) = convolutional(options);
        let dense = run(&f.emit(Policy::Dense, &vec![None; f.layers().len()], Dtype::F32, false).unwrap(), &inputs);
        let policy = Policy::Macs(0.6);
        let artifact = f.emit(policy, &f.cuts(policy).unwrap(), Dtype::F32, false).unwrap();
        let p = &artifact.model().provenance;
        assert!(p.macs as f64 <= 0.6 * p.dense_macs as f64 && p.macs as f64 > 0.57 * p.dense_macs as f64, "{} {}", p.macs, p.dense_macs);
        errors.push(distance(&run(&artifact, &inputs), &dense));
    }
    assert!(errors[2] < errors[0] && errors[1] < errors[0], "{errors:?}");
}

#[test]
fn images_that_do_not_fit_are_refused() {
    assert!(Images::new(&[3, 32, 32], vec![0.0; 100]).is_err());
    assert!(Images::new(&[1, 2, 3, 4], vec![0.0; 24]).is_err());
    let graph = zoo::build("fcn6").unwrap();
    let checkpoint = Checkpoint { params: init(&graph, 1), ..Checkpoint::default() };
    let refuse = |options: Options| Factored::new(&graph, &checkpoint, options, &|_, _, _| ()).unwrap_err().to_string();
    let wrong = Images::new(&[5], vec![0.0; 10]).unwrap();
    assert!(refuse(Options { images: Some(wrong), ..Options::default() }).contains("784"));
    let right = Images::new(&[784], vec![0.5; 784]).unwrap();
    assert!(refuse(Options { images: Some(right), spectra: Spectra::Raw, ..Options::default() }).contains("raw"));
}

#[test]
fn a_bias_that_correction_adds_is_within_the_budget_and_has_no_tensor_to_go_back_to() {
    let mut b = crate::graph::Builder::new("net", [24]);
    for name in ["first", "second"] {
        b.push(name, crate::graph::Op::Linear(crate::graph::Linear { inputs: 24, outputs: 24, bias: false }));
    }
    let graph = b.finish().unwrap();
    let checkpoint = Checkpoint { params: init(&graph, 1), ..Checkpoint::default() };
    for correct in [true, false] {
        let images = Images::new(&[24], crate::factor::testing::random(24 * 60, 2)).unwrap();
        let options = Options { images: Some(images), correct, ..Options::default() };
        let f = Factored::new(&graph, &checkpoint, options, &|_, _, _| ()).unwrap();
        for share in [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] {
            let policy = Policy::Params(share);
            let cuts = f.cuts(policy).unwrap();
            let params = f.emit(policy, &cuts, Dtype::F32, false).unwrap().model().provenance.params;
            assert!(params as f64 <= share * 1152.0, "{correct} {share}: {params}");
        }
        let policy = Policy::Params(0.5);
        let error = f.thin(policy, &f.cuts(policy).unwrap(), false).unwrap().factors(&checkpoint.params, None).unwrap_err().to_string();
        assert!(error.contains("--skip first") && error.contains("--calibrate"), "{error}");
    }
}

#[test]
fn denormal_weights_are_written_as_zero_and_small_ones_as_they_are() {
    let graph = zoo::build("mlp:16-12-4").unwrap();
    let mut params = init(&graph, 3);
    let weight = params.get_mut("layers.2.weight").unwrap().data_mut();
    (weight[0], weight[1], weight[2], weight[3]) = (1e-40, -1e-44, f32::MIN_POSITIVE, 1e-6);
    params.get_mut("layers.0.bias").unwrap().data_mut()[5] = 1e-39;
    let f = Factored::new(&graph, &Checkpoint { params, ..Checkpoint::default() }, Options::default(), &|_, _, _| ()).unwrap();
    for dtype in [Dtype::F32, Dtype::F16] {
        let thinned = f.thin(Policy::Dense, &vec![None; f.layers().len()], false).unwrap();
        let (artifact, denormal) = thinned.artifact_and_denormals(dtype).unwrap();
        assert_eq!(denormal, 3);
        let id = |name: &str| artifact.model().tensors.iter().position(|t| t.name == name).unwrap() as u32;
        let written = artifact.tensor(id("layers.2.weight"));
        assert_eq!(written[..2], [0.0, 0.0]);
        // A subnormal f16 as well.
        assert!((written[3] - 1e-6).abs() < 0.06e-6, "{}", written[3]);
        assert_eq!(written[2], if dtype == Dtype::F32 { f32::MIN_POSITIVE } else { 0.0 });
        assert_eq!(artifact.tensor(id("layers.0.bias"))[5], 0.0);
    }
}
