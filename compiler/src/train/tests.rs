//! Tests of whole runs: what is learned, and from what; `ending` has those that end before they are over.

mod ending;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt;

use super::config::{OptimizerKind, Schedule, TrainConfig};
use super::equalize::equalized;
use super::run::train_graph;
use super::settings::{ElrtSettings, Method, Scheme, TrpSettings};
use super::{Distil, EpochRecord, Job, Progress, StepReport, Summary, logits, train};
use crate::data::{Dataset, SetKind, default_preprocess};
use crate::error::{Error, Result};
use crate::graph::{Activation, BatchNorm, Builder, Conv2d, Graph, Linear, Op, Window};
use crate::lower::{self, Factored};
use crate::rank::Policy;
use crate::rng::{Purpose, keyed};
use crate::{graph, import, zoo};

/// Squares with one bright quadrant-like patch a class under noise: separable, but not by one pixel.
fn patches(count: usize, side: usize, classes: usize) -> Dataset {
    let mut rng = keyed(3, Purpose::Glyphs, &[]);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for i in 0..count {
        let label = i % classes;
        for p in 0..side * side {
            let bright = p * classes / (side * side) == label;
            images.push(rng.random_range(0..160u8) + if bright { 80 } else { 0 });
        }
        labels.push(label as u16);
    }
    let classes = (0..classes).map(|c| c.to_string()).collect();
    Dataset { name: "patches".into(), shape: [1, side, side], images, labels, classes }
}

/// The same patterns at half the size, in three channels.
fn pictures(count: usize) -> Dataset {
    let one = patches(count, 8, 4);
    let images = one.images.chunks(64).flat_map(|p| [p.to_vec(), p.iter().map(|x| 255 - x).collect(), p.to_vec()].concat()).collect();
    Dataset { shape: [3, 8, 8], images, ..one }
}

/// The name of a residual network for [`pictures`] that is too small for the zoo.
const KERNELS: &str = "kernels";

fn kernels() -> Graph {
    let conv = |inputs, window| Op::Conv2d(Conv2d { inputs, outputs: 8, window, groups: 1, bias: false });
    let mut b = Builder::new(KERNELS, [3, 8, 8]);
    b.push("conv1", conv(3, Window::square(3, 1, 1)));
    b.push("bn1", Op::BatchNorm(BatchNorm::new(8)));
    b.push("relu1", Op::Activation(Activation::Relu));
    b.push("conv2", conv(8, Window::square(3, 2, 1)));
    b.push("bn2", Op::BatchNorm(BatchNorm::new(8)));
    let trunk = b.push("relu2", Op::Activation(Activation::Relu));
    b.push("conv3", conv(8, Window::square(3, 1, 1)));
    let branch = b.push("bn3", Op::BatchNorm(BatchNorm::new(8)));
    b.push_from("add", Op::Add, vec![trunk, branch]);
    b.push("flatten", Op::Flatten);
    b.push("linear", Op::Linear(Linear { inputs: 128, outputs: 4, bias: true }));
    b.finish().unwrap()
}

fn small(method: Method) -> TrainConfig {
    TrainConfig {
        method,
        epochs: 2,
        batch: 32,
        schedule: Schedule::Cosine,
        warmup: 0.5,
        weight_decay: 1e-3,
        label_smoothing: 0.1,
        holdout: 0.1,
        ..TrainConfig::new("fcn6", "glyphs")
    }
}

/// Asks to stop once so many steps of this call are over.
struct StopAfter<'a>(usize, &'a AtomicBool);

impl Progress for StopAfter<'_> {
    fn step(&mut self, _: &StepReport) {
        self.0 -= 1;
        self.1.store(self.0 == 0, Ordering::Relaxed);
    }
    fn epoch(&mut self, _: &EpochRecord) {}
}

fn go(config: &TrainConfig, data: &Dataset, run_dir: &Path, resume: bool, stop_after: usize) -> Result<Summary> {
    go_from(None, config, data, run_dir, resume, stop_after)
}

fn go_from(
    start: Option<&import::Checkpoint>,
    config: &TrainConfig,
    data: &Dataset,
    run_dir: &Path,
    resume: bool,
    stop_after: usize,
) -> Result<Summary> {
    run(&Job { config, start, teachers: &[], data, run_dir, resume, checkpoint_every: Duration::ZERO }, stop_after)
}

fn run(job: &Job<'_>, stop_after: usize) -> Result<Summary> {
    let stop = AtomicBool::new(false);
    let mut progress = StopAfter(stop_after, &stop);
    if job.config.model == KERNELS { train_graph(kernels(), job, &mut progress, &stop) } else { train(job, &mut progress, &stop) }
}

fn model(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model.safetensors")).unwrap()
}

/// The records without what depends on the clock.
fn figures(summary: &Summary) -> Vec<EpochRecord> {
    let timeless = |r: &EpochRecord| EpochRecord { seconds: 0.0, steps_per_second: 0.0, ms_per_step: 0.0, method_share: 0.0, ..r.clone() };
    summary.epochs.iter().map(timeless).collect()
}

/// A checkpoint of [`kernels`] in factors.
fn elrt_factors() -> import::Checkpoint {
    let params = Method::Elrt(ElrtSettings::default()).build().start(&kernels(), 5, None).unwrap();
    let running = graph::init(&kernels(), 5).into_iter().filter(|(name, _)| name.contains("running"));
    import::Checkpoint { params: params.into_iter().chain(running).collect(), ..Default::default() }
}

#[test]
fn a_network_of_vectors_is_trained_on_colours_and_compiled() {
    let data = pictures(148);
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { model: "mlp:192-8-4".into(), ..TrainConfig { data: "cifar10:nowhere".into(), ..small(Method::Dense) } };
    let written = import::load(&go(&config, &data, dir.path(), false, usize::MAX).unwrap().model).unwrap();
    let preprocess = written.meta.preprocess.clone().unwrap();
    assert_eq!(preprocess.mean.len(), 1);
    let options = lower::Options { preprocess, ..lower::Options::default() };
    let factored = Factored::new(&zoo::build(&config.model).unwrap(), &written, options, &|_, _, _| ()).unwrap();
    let artifact = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense).unwrap(), thinfer::artifact::Dtype::F32, false).unwrap();
    assert_eq!(artifact.input().preprocess.mean.len(), 1);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { lr: 1e30, warmup: 0.0, optimizer: OptimizerKind::Sgd, ..small(Method::Dense) };
    let config = TrainConfig { model: "mlp:784-8-10".into(), ..config };
    let error = go(&config, &patches(148, 28, 10), dir.path(), false, usize::MAX).unwrap_err().to_string();
    assert!(error.contains("loss became") && error.contains("epoch 1"), "{error}");
    assert!(!dir.path().join("model.safetensors").exists());
}

#[test]
fn separable_images_are_learned_and_the_written_network_is_the_trained_one() {
    let data = patches(440, 8, 4);
    for method in [Method::Dense, Method::Lorita { factors: 1 }, Method::Lorita { factors: 3 }] {
        let dir = tempfile::tempdir().unwrap();
        let config = TrainConfig { epochs: 8, lr: 1e-2, limit: Some(400), ..small(method.clone()) };
        let config = TrainConfig { model: "mlp:64-16-4".into(), ..config };
        let summary = go(&config, &data, dir.path(), false, usize::MAX).unwrap();
        let last = summary.epochs.last().unwrap();
        assert!(last.split_accuracy.unwrap() > 97.0 && last.train_accuracy > 97.0, "{method:?} {last:?}");
        assert_eq!(summary.dense_params, 64 * 16 + 16 + 16 * 4 + 4);

        let checkpoint = import::load(&summary.model).unwrap();
        let graph = zoo::build("mlp:64-16-4").unwrap();
        graph.check(&checkpoint.params).unwrap();
        assert_eq!(checkpoint.meta.data.as_deref(), Some("glyphs"));
        assert_eq!(checkpoint.meta.classes, data.classes);
        assert_eq!(checkpoint.meta.preprocess, Some(default_preprocess(SetKind::Glyphs)));
        // The images past `limit` were neither trained on nor held out.
        let all = logits(&graph, &checkpoint.params, &default_preprocess(SetKind::Glyphs), &data).unwrap();
        let right = |i: &usize| thinfer::top1(&all[4 * i..4 * i + 4]) == Some(usize::from(data.labels[*i]));
        assert!((400..440).filter(right).count() >= 38);

        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join("run.json")).unwrap()).unwrap();
        assert_eq!(report["finished"], true);
        assert_eq!(report["epochs"].as_array().unwrap().len(), 8);
        assert_eq!(report["train_images"], 360);
    }
}

#[test]
fn one_factor_trains_to_the_dense_networks_bits() {
    let data = patches(100, 28, 10);
    let weights = [Method::Dense, Method::Lorita { factors: 1 }].map(|method| {
        let dir = tempfile::tempdir().unwrap();
        let summary = go(&small(method), &data, dir.path(), false, usize::MAX).unwrap();
        import::load(&summary.model).unwrap().params
    });
    assert_eq!(weights[0], weights[1]);
}

#[test]
fn a_run_can_start_from_a_dense_network() {
    let data = patches(100, 28, 10);
    let graph = zoo::build("fcn6").unwrap();
    let start = import::Checkpoint { params: graph::init(&graph, 99), ..Default::default() };
    let config = TrainConfig { lr: 1e-30, ..small(Method::Dense) };
    let dir = tempfile::tempdir().unwrap();
    let job = Job {
        config: &config,
        start: Some(&start),
        teachers: &[],
        data: &data,
        run_dir: dir.path(),
        resume: false,
        checkpoint_every: Duration::MAX,
    };
    let summary = train(&job, &mut (), &AtomicBool::new(false)).unwrap();
    let end = import::load(&summary.model).unwrap().params;
    assert_eq!(end["layers.0.weight"], start.params["layers.0.weight"]);
    assert_ne!(end["layers.1.running_mean"], start.params["layers.1.running_mean"]);
}

#[test]
fn a_teacher_teaches_what_no_label_says() {
    let data = patches(440, 8, 4);
    let config = TrainConfig { model: "mlp:64-16-4".into(), epochs: 8, lr: 1e-2, ..small(Method::Dense) };
    let dir = tempfile::tempdir().unwrap();
    let knows = import::load(&go(&config, &data, dir.path(), false, usize::MAX).unwrap().model).unwrap();
    let (graph, preprocess) = (zoo::build("mlp:64-16-4").unwrap(), default_preprocess(SetKind::Glyphs));
    let options = lower::Options { preprocess: preprocess.clone(), ..lower::Options::default() };
    let factored = Factored::new(&graph, &knows, options, &|_, _, _| ()).unwrap();
    let cuts = factored.cuts(Policy::Dense).unwrap();
    let teachers = [factored.emit(Policy::Dense, &cuts, thinfer::artifact::Dtype::F32, true).unwrap()];

    // Every label is a lie, and has no weight.
    let blank = Dataset { labels: vec![0; 440], ..data.clone() };
    let distil = |name: &str| Some(Distil { teachers: vec![name.into()], weight: 1.0, temperature: 2.0 });
    let taught = TrainConfig { distil: distil("one"), seed: 5, ..config };
    let job = |config, run_dir, resume| Job {
        config,
        start: None,
        teachers: &teachers,
        data: &blank,
        run_dir,
        resume,
        checkpoint_every: Duration::ZERO,
    };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let summary = run(&job(&taught, whole.path(), false), usize::MAX).unwrap();
    let learned = import::load(&summary.model).unwrap().params;
    let logits = logits(&graph, &learned, &preprocess, &data).unwrap();
    let right = logits.chunks(4).zip(&data.labels).filter(|(row, label)| thinfer::top1(row) == Some(usize::from(**label))).count();
    assert!(right > 425, "{right} of 440");

    assert!(matches!(run(&job(&taught, parts.path(), false), 5), Err(Error::Interrupted { .. })));
    let another = TrainConfig { distil: distil("two"), ..taught.clone() };
    let why = run(&job(&another, parts.path(), true), usize::MAX).unwrap_err().to_string();
    assert!(why.contains("distil teachers was"), "{why}");
    run(&job(&taught, parts.path(), true), usize::MAX).unwrap();
    assert_eq!(model(whole.path()), model(parts.path()));
}

#[test]
fn the_average_of_the_weights_is_what_is_judged_and_written() {
    let data = pictures(148);
    let (plain, averaged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = TrainConfig { model: KERNELS.into(), lr: 1e-2, ..small(Method::Dense) };
    let without = go(&config, &data, plain.path(), false, usize::MAX).unwrap();
    let with = go(&TrainConfig { ema: Some(0.9), ..config }, &data, averaged.path(), false, usize::MAX).unwrap();
    // The steps themselves are the same.
    assert!(figures(&with).iter().zip(figures(&without)).all(|(a, b)| a.train_loss == b.train_loss && a.split_loss != b.split_loss));
    let state = super::checkpoint::load_latest(averaged.path()).unwrap();
    let written = import::load(&with.model).unwrap().params;
    assert_eq!(state.trained["conv2.weight"], import::load(&without.model).unwrap().params["conv2.weight"]);
    assert_eq!(state.averages[0]["conv2.weight"], written["conv2.weight"]);
    assert_eq!(state.averages[1]["bn2.running_var"], written["bn2.running_var"]);
    assert_ne!(state.trained["conv2.weight"], written["conv2.weight"]);
}

fn all_methods() -> Vec<Method> {
    let elrt = |scheme| Method::Elrt(ElrtSettings { scheme, macs: 0.6, ..ElrtSettings::default() });
    let trp = TrpSettings { fold: true, transfer: true, ..TrpSettings::default() };
    vec![
        Method::Dense,
        Method::Lorita { factors: 2 },
        Method::Trp(TrpSettings { scheme: Scheme::Spatial, ..TrpSettings::default() }),
        Method::Trp(trp),
        elrt(Scheme::Tucker2),
        elrt(Scheme::Channel),
        elrt(Scheme::Spatial),
    ]
}

#[test]
fn every_method_learns_pictures_and_writes_what_it_learned() {
    let data = pictures(320);
    for method in all_methods() {
        let dir = tempfile::tempdir().unwrap();
        let config = TrainConfig { model: KERNELS.into(), epochs: 6, lr: 1e-2, ..small(method.clone()) };
        let summary = go(&config, &data, dir.path(), false, usize::MAX).unwrap();
        let last = summary.epochs.last().unwrap();
        assert!(last.train_accuracy > 95.0 && last.split_accuracy.unwrap() > 95.0, "{method:?} {last:?}");
        let dense = import::load(&summary.model).unwrap();
        kernels().check(&dense.params).unwrap();
        let factors = dir.path().join("factors.safetensors");
        assert_eq!(factors.exists(), matches!(method, Method::Elrt(_)));
        if factors.exists() {
            let factors = import::load(&factors).unwrap();
            assert_eq!(import::composed(&kernels(), &factors.params).unwrap(), dense.params);

            // Fine-tuned without a step's worth of learning rate, factors stay factors and stay what they are but for scale.
            let dir = tempfile::tempdir().unwrap();
            let config = TrainConfig { method: Method::Finetune, lr: 1e-30, ..config };
            let summary = go_from(Some(&factors), &config, &data, dir.path(), false, usize::MAX).unwrap();
            let tuned = import::load(&dir.path().join("factors.safetensors")).unwrap().params;
            let same = |name: &&String| !name.contains("running");
            let even = equalized(&kernels(), &factors.params);
            assert!(tuned.keys().filter(same).all(|name| tuned[name] == even[name]));
            assert!(summary.trained_params < 8 * 27 + 2 * 8 * 72 + 516 + 48);
        }
    }
}

#[test]
fn every_method_can_start_from_a_checkpoint() {
    let data = pictures(100);
    let preprocess = thinfer::artifact::Preprocess { scale: 1.0 / 128.0, mean: vec![0.5], std: vec![0.3], ..Default::default() };
    let meta = import::Meta { preprocess: Some(preprocess), ..Default::default() };
    let start = import::Checkpoint { params: graph::init(&kernels(), 99), meta };
    let all_kept = TrpSettings { energy: 1.0, nuclear: 0.0, ..TrpSettings::default() };
    let full = ElrtSettings { macs: 1.0, ..ElrtSettings::default() };
    for method in [Method::Dense, Method::Lorita { factors: 3 }, Method::Trp(all_kept), Method::Elrt(full), Method::Finetune] {
        let dir = tempfile::tempdir().unwrap();
        let config = TrainConfig { model: KERNELS.into(), lr: 1e-30, ..small(method.clone()) };
        let summary = go_from(Some(&start), &config, &data, dir.path(), false, usize::MAX).unwrap();
        let import::Checkpoint { params: end, meta } = import::load(&summary.model).unwrap();
        assert_eq!(meta.preprocess, start.meta.preprocess);
        let far = |name: &str| {
            let pairs = end[name].data().iter().zip(start.params[name].data());
            pairs.fold(0.0f32, |m, (a, b)| m.max((a - b).abs()))
        };
        assert!(far("conv1.weight") < 1e-6 && far("linear.weight") < 1e-6, "{method:?}");
        // ELRT is held to its budget, which full ranks exceed: the change is less than the largest initial weight.
        assert!(far("conv2.weight") < if matches!(method, Method::Elrt(_)) { 0.118 } else { 1e-6 }, "{method:?}");
    }
}
