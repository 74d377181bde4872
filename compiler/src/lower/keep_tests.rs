//! Checkpoints in factors on their way to an artifact and back: nothing but the form may change.

use proptest::prelude::*;
use rand::RngExt;
use thinfer::{Device, Session};

use super::*;
use crate::factor::testing::random;
use crate::factor::{Rank, Scheme};
use crate::graph::{Activation, BatchNorm, Builder, Conv2d, Linear, Op, Window, init};
use crate::import::{Place, composed, held};
use crate::rng::{Purpose, keyed};
use crate::tensor::{Params, Tensor};

/// Strides 1 and 2, 3×3, uneven and 1×1 kernels, a residual, linear layers with and without batch norm.
fn graph() -> Graph {
    let conv = |inputs, outputs, window, bias| Op::Conv2d(Conv2d { inputs, outputs, window, groups: 1, bias });
    let uneven = Window { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 1, 1], dilation: [1, 1] };
    let mut b = Builder::new("net", [3, 9, 8]);
    b.push("conv1", conv(3, 6, Window::square(3, 1, 1), false));
    b.push("bn1", Op::BatchNorm(BatchNorm::new(6)));
    let trunk = b.push("relu1", Op::Activation(Activation::Relu));
    b.push("conv2", conv(6, 7, Window::square(3, 2, 1), true));
    b.push("bn2", Op::BatchNorm(BatchNorm::new(7)));
    let branch = b.push("act2", Op::Activation(Activation::Silu));
    b.push_from("point", conv(6, 7, Window::square(1, 2, 0), false), vec![trunk]);
    let short = b.push("bnp", Op::BatchNorm(BatchNorm::new(7)));
    b.push_from("add", Op::Add, vec![short, branch]);
    b.push("uneven", conv(7, 5, uneven, true));
    b.push("relu3", Op::Activation(Activation::Relu));
    b.push("flat", Op::Flatten);
    b.push("fc1", Op::Linear(Linear { inputs: 60, outputs: 11, bias: true }));
    b.push("bnf", Op::BatchNorm(BatchNorm::new(11)));
    b.push("relu4", Op::Activation(Activation::Relu));
    b.push("fc2", Op::Linear(Linear { inputs: 11, outputs: 4, bias: true }));
    b.finish().unwrap()
}

/// Parameters with norms that are not the identity, one of them with a channel that is scaled to nothing.
fn params(graph: &Graph, seed: u64) -> Params {
    let mut params = init(graph, seed);
    let mut rng = keyed(seed, Purpose::Init, &[3]);
    for spec in graph.params().iter().filter(|s| s.name.starts_with("bn")) {
        let range = if spec.name.ends_with("var") { 0.3..2.0 } else { -1.0..1.5 };
        params.get_mut(&spec.name).unwrap().data_mut().fill_with(|| rng.random_range(range.clone()));
    }
    params.get_mut("bn2.weight").unwrap().data_mut()[3] = 0.0;
    params
}

/// `params` with some layers in drawn factors of `scheme`.
fn factored(graph: &Graph, params: &Params, scheme: Scheme, seed: u64) -> Params {
    let mut all = params.clone();
    let mut rng = keyed(seed, Purpose::Init, &[4]);
    for place in graph.nodes.iter().filter_map(Place::of) {
        if rng.random_range(0..4) == 0 {
            continue;
        }
        let scheme = scheme.of(&place.kernel);
        let rank = match scheme.full_rank(&place.kernel) {
            Rank::One(full) => Rank::One(rng.random_range(1..=full)),
            Rank::Two { output, input } => Rank::Two { output: rng.random_range(1..=output), input: rng.random_range(1..=input) },
        };
        all.remove(&format!("{}.weight", place.name));
        for (suffix, shape) in place.shapes(scheme, rank) {
            let values = random(shape.iter().product(), rng.random());
            all.insert(format!("{}.{suffix}", place.name), Tensor::new(shape, values).unwrap());
        }
    }
    all
}

fn images(seed: u64) -> Vec<f32> {
    random(12 * 216, seed)
}

fn run(artifact: &Artifact, seed: u64) -> Vec<f32> {
    let options = thinfer::Options { batch: 12, forms: thinfer::Forms::Ruled, keep_factors: true, ..thinfer::Options::default() };
    Session::new(&Device::cpu(), artifact, &options).unwrap().run(&images(seed)).unwrap()
}

/// The largest difference as a share of the largest output.
fn far(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

fn network(graph: &Graph, params: &Params, options: Options) -> Factored {
    Factored::new(graph, &Checkpoint { params: params.clone(), ..Checkpoint::default() }, options, &|_, _, _| ()).unwrap()
}

fn dense(graph: &Graph, params: &Params) -> Artifact {
    let f = network(graph, params, Options { dense_only: true, ..Options::default() });
    f.emit(Policy::Dense, &vec![None; f.layers().len()], Dtype::F32, false).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn kept_factors_are_the_network_that_they_multiply_out_to(seed in 0u64..1 << 40) {
        let graph = graph();
        for scheme in Scheme::ALL {
            let stored = factored(&graph, &params(&graph, seed), scheme, seed);
            let (held, composed) = (held(&graph, &stored).unwrap(), composed(&graph, &stored).unwrap());
            let options = Options { dense_only: true, kept: held.clone(), ..Options::default() };
            let f = network(&graph, &composed, options);
            if held.is_empty() {
                prop_assert!(f.cuts(Policy::Keep).is_err());
                continue;
            }
            let cuts = f.cuts(Policy::Keep).unwrap();
            let kept = f.thin(Policy::Keep, &cuts, false).unwrap();
            let artifact = kept.artifact(Dtype::F32).unwrap();
            for (layer, cut) in f.layers().iter().zip(cuts) {
                prop_assert_eq!(cut, held.get(&layer.name).map(|f| (f.scheme, f.rank)));
            }
            let expected = run(&dense(&graph, &composed), seed);
            let difference = far(&run(&artifact, seed), &expected);
            prop_assert!(difference <= 1e-5, "{scheme}: {difference}");
            prop_assert_eq!(artifact.model().provenance.layers.len(), held.len());

            // And out again as a checkpoint, in order: still the same, and still in the same form.
            let out = kept.factors(&composed, None).unwrap();
            let forms = |params: &Params| {
                let held = crate::import::held(&graph, params).unwrap();
                held.into_iter().map(|(name, f)| (name, f.scheme, f.rank)).collect::<Vec<_>>()
            };
            prop_assert_eq!(forms(&out), forms(&stored));
            let back = dense(&graph, &crate::import::composed(&graph, &out).unwrap());
            let difference = far(&run(&back, seed), &expected);
            prop_assert!(difference <= 1e-5, "{scheme} back: {difference}");
        }
    }

    #[test]
    fn an_unfolded_cut_is_the_cut(seed in 0u64..1 << 40) {
        let graph = graph();
        let params = params(&graph, seed);
        for (scheme, calibrated) in Scheme::ALL.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let images = calibrated.then(|| Images::new(&[3, 9, 8], images(seed + 1)).unwrap());
            let options = Options { scheme: SchemeChoice::Only(scheme), images: images.clone(), ..Options::default() };
            let f = network(&graph, &params, options);
            let cuts = f.cuts(Policy::Local(0.4)).unwrap();
            // A bias that only the fitting would give `uneven` has its tensor; every layer has one or a norm.
            let thinned = f.thin(Policy::Local(0.4), &cuts, false).unwrap();
            let expected = run(&thinned.artifact(Dtype::F32).unwrap(), seed);
            let unfolded = thinned.factors(&params, images.as_ref()).unwrap();
            prop_assert!(!held(&graph, &unfolded).unwrap().is_empty());
            let composed = composed(&graph, &unfolded).unwrap();
            graph.check(&composed).unwrap();
            let difference = far(&run(&dense(&graph, &composed), seed), &expected);
            prop_assert!(difference <= 2e-5, "{scheme} {calibrated}: {difference}");
        }
    }
}

/// Normalisations that no layer before them takes in: one before a convolution, one before a flattened image's linear layer.
fn normalised_before() -> Graph {
    let mut b = Builder::new("net", [4, 7, 6]);
    b.push("bn0", Op::BatchNorm(BatchNorm::new(4)));
    let window = Window { kernel: [3, 2], ..Window::square(1, 1, 0) };
    b.push("conv", Op::Conv2d(Conv2d { inputs: 4, outputs: 6, window, groups: 1, bias: false }));
    b.push("bn1", Op::BatchNorm(BatchNorm::new(6)));
    b.push("relu", Op::Activation(Activation::Relu));
    b.push("bn2", Op::BatchNorm(BatchNorm::new(6)));
    b.push("flat", Op::Flatten);
    b.push("fc", Op::Linear(Linear { inputs: 150, outputs: 5, bias: true }));
    b.finish().unwrap()
}

#[test]
fn kept_factors_take_in_the_norm_before_their_layer() {
    let graph = normalised_before();
    for (seed, scheme) in (0..6).flat_map(|seed| Scheme::ALL.map(|s| (seed, s))) {
        let stored = factored(&graph, &params(&graph, seed), scheme, seed);
        let (kept, composed) = (held(&graph, &stored).unwrap(), composed(&graph, &stored).unwrap());
        if kept.is_empty() {
            continue;
        }
        let f = network(&graph, &composed, Options { dense_only: true, kept, ..Options::default() });
        assert!(f.layers().iter().filter_map(FoldedLayer::weighted).all(|w| w.absorbed.is_some()));
        let artifact = f.emit(Policy::Keep, &f.cuts(Policy::Keep).unwrap(), Dtype::F32, false).unwrap();
        let on = |artifact: &Artifact| {
            let options = thinfer::Options { batch: 3, forms: thinfer::Forms::Ruled, keep_factors: true, ..thinfer::Options::default() };
            Session::new(&Device::cpu(), artifact, &options).unwrap().run(&random(3 * 168, seed)).unwrap()
        };
        let difference = far(&on(&artifact), &on(&dense(&graph, &composed)));
        assert!(difference <= 1e-5, "{seed} {scheme}: {difference}");
    }
}

#[test]
fn layers_to_skip_are_multiplied_out_and_plain_checkpoints_have_nothing_to_keep() {
    let graph = graph();
    let mut stored = params(&graph, 1);
    let place = graph.nodes.iter().find_map(|n| Place::of(n).filter(|p| p.name == "conv2")).unwrap();
    stored.remove("conv2.weight");
    for (suffix, shape) in place.shapes(Scheme::Channel, Rank::One(7)) {
        stored.insert(format!("conv2.{suffix}"), Tensor::full(shape, 0.5));
    }
    let (kept, dense) = (held(&graph, &stored).unwrap(), composed(&graph, &stored).unwrap());
    let with = |options: Options| network(&graph, &dense, Options { dense_only: true, ..options });
    let f = with(Options { kept: kept.clone(), ..Options::default() });
    let artifact = f.emit(Policy::Keep, &f.cuts(Policy::Keep).unwrap(), Dtype::F32, false).unwrap();
    // Full rank costs more than dense, and is kept all the same.
    assert!(artifact.model().provenance.macs > artifact.model().provenance.dense_macs);
    assert!(thinfer::tools::inspect::Description::of(&artifact).to_string().ends_with("than the dense weight: conv2\n"));
    let none = with(Options { kept, skip: vec!["conv2".into()], source: "x.safetensors".into(), ..Options::default() });
    let error = none.cuts(Policy::Keep).unwrap_err().to_string();
    assert!(error.contains("--ranks keep") && error.contains("x.safetensors"), "{error}");
}
