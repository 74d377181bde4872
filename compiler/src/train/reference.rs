//! Tests of the network against plain f64 arithmetic on the host: forward, loss, gradients by finite differences.

use burn::tensor::{Device, Tensor as BurnTensor, TensorData};
use thinfer::artifact::Preprocess;

use super::host::{self, Matrix, Values, exact};
use super::leaves::{Leaves, elements};
use super::loss::cross_entropy;
use super::methods::{Dense, Elrt, Finetune, Lorita, Order, TrainingMethod};
use super::network::{BatchTensor, Mode, forward, update_running};
use super::optimizer::Gradients;
use super::settings::{ElrtSettings, Scheme};
use super::site::Site;
use crate::data::Dataset;
use crate::graph::{
    self, Activation, Attention, BatchNorm, Builder, Conv2d, Embed, Graph, Linear, Op, Positions, Rearrange, ShortcutA, Window,
};
use crate::import::{Checkpoint, Place};
use crate::lower;
use crate::rank::Policy;
use crate::tensor::{Kernel, Params};

/// Linear (with bias), batch norm, ReLU, linear (without).
fn small_graph() -> Graph {
    let mut b = Builder::new("small", [6]);
    b.push("layers.0", Op::Linear(Linear { inputs: 6, outputs: 5, bias: true }));
    b.push("layers.1", Op::BatchNorm(BatchNorm::new(5)));
    b.push("layers.2", Op::Activation(Activation::Relu));
    b.push("layers.3", Op::Linear(Linear { inputs: 5, outputs: 3, bias: false }));
    b.finish().unwrap()
}

/// Every operation on images, with uneven windows, branches of both kinds and a grouped convolution.
fn image_graph() -> Graph {
    let conv = |inputs, outputs, window, groups, bias| Op::Conv2d(Conv2d { inputs, outputs, window, groups, bias });
    let uneven = Window { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 1], dilation: [1, 2] };
    let mut b = Builder::new("images", [2, 9, 8]);
    b.push("conv1", conv(2, 4, Window::square(3, 1, 1), 1, true));
    b.push("bn1", Op::BatchNorm(BatchNorm::new(4)));
    b.push("act1", Op::Activation(Activation::Silu));
    let trunk = b.push("pool1", Op::MaxPool(Window::square(3, 2, 1)));
    b.push("conv2", conv(4, 6, Window::square(3, 2, 1), 1, false));
    let branch = b.push("bn2", Op::BatchNorm(BatchNorm::new(6)));
    let short = b.push_from("short", Op::ShortcutA(ShortcutA { stride: 2, inputs: 4, outputs: 6 }), vec![trunk]);
    let sum = b.push_from("add1", Op::Add, vec![branch, short]);
    let point = b.push_from("point", conv(4, 6, Window::square(1, 2, 0), 1, false), vec![trunk]);
    b.push_from("add2", Op::Add, vec![sum, point]);
    b.push("act2", Op::Activation(Activation::LeakyRelu(0.1)));
    let grouped = b.push("grouped", conv(6, 4, Window::square(3, 1, 1), 2, true));
    let scaled = b.push("affine", Op::Affine { channels: 4 });
    let factors = b.push("squeeze", Op::GlobalAvgPool);
    let gated = b.push_from("gate", Op::Multiply, vec![scaled, factors]);
    b.push_from("joined", Op::Concat, vec![gated, grouped]);
    b.push("softmax", Op::Softmax { log: true });
    // Every other channel of eight, of 3×2 pixels.
    b.push("picked", Op::Rearrange(Rearrange { shape: vec![4, 3, 2], offset: 6, steps: vec![(4, 12), (6, 1)] }));
    let wide = b.push("uneven", conv(4, 5, uneven, 1, true));
    let window = Window { kernel: [2, 2], stride: [1, 1], padding: [1, 0, 0, 1], dilation: [1, 1] };
    b.push("mean", Op::AvgPool { window, count_include_pad: false });
    b.push("global", Op::GlobalAvgPool);
    let shape = b.clone().finish().unwrap().shapes().unwrap()[wide].clone();
    let flat = b.push_from("flat", Op::Flatten, vec![wide]);
    assert_eq!(b.latest(), flat);
    b.push("fc", Op::Linear(Linear { inputs: shape.iter().product(), outputs: 5, bias: true }));
    let head = b.latest();
    b.push_from("add3", Op::Add, vec![head, flat - 1]);
    b.push("fc2", Op::Linear(Linear { inputs: 5, outputs: 3, bias: true }));
    b.finish().unwrap()
}

/// A transformer of two blocks, of one weight for queries, keys and values and of three, with every normalisation.
fn token_graph() -> Graph {
    let mut b = Builder::new("tokens", [2, 4, 6]);
    let linear = |inputs, outputs, bias| Op::Linear(Linear { inputs, outputs, bias });
    let norm = || Op::LayerNorm { channels: 8, eps: 1e-5 };
    b.push("conv1", Op::Conv2d(Conv2d { inputs: 2, outputs: 8, window: Window::square(2, 2, 0), groups: 1, bias: true }));
    let (class, positions) = (Some("cls_token".into()), Positions::Learned("pos_embed".into()));
    let x = b.push("tokens", Op::Embed(Embed { channels: 8, pixels: 6, first: 1, class, positions, batched: true }));
    b.push("norm1", norm());
    b.push("qkv", linear(8, 24, false));
    b.push("attn", Op::Attention(Attention { heads: 2, scale: 0.5 }));
    let out = b.push("proj", linear(8, 8, true));
    let x = b.push_from("add1", Op::Add, vec![out, x]);
    let normed = b.push("norm2", Op::BatchNorm(BatchNorm::new(8)));
    let read = [("q", true), ("k", false), ("v", true)].map(|(n, bias)| b.push_from(n, linear(8, 8, bias), vec![normed]));
    b.push_from("attn2", Op::Attention(Attention { heads: 4, scale: 0.7 }), read.to_vec());
    b.push_from("add2", Op::Add, vec![b.latest(), x]);
    b.push("fc1", linear(8, 12, true));
    b.push("act", Op::Activation(Activation::Gelu));
    b.push("fc2", linear(12, 8, true));
    let sines = Positions::SinCos { columns: 3 };
    b.push("sines", Op::Embed(Embed { channels: 8, pixels: 7, first: 0, class: None, positions: sines, batched: false }));
    b.push("norm3", norm());
    b.push("pool", Op::Rearrange(Rearrange { shape: vec![8], offset: 0, steps: vec![(8, 7)] }));
    b.push("norm4", norm());
    b.push("head", linear(8, 3, true));
    b.finish().unwrap()
}

fn rows(data: &[f32], columns: usize) -> Matrix {
    data.chunks(columns).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

/// A batch of numbers without pattern in about −1…1.
fn batch(n: usize, features: usize) -> Vec<f32> {
    (0..n * features).map(|i| ((i * i * 7 + i * 13) % 101) as f32 / 50.0 - 1.0).collect()
}

const LABELS: [u16; 7] = [0, 1, 2, 2, 1, 0, 1];

fn features(graph: &Graph) -> usize {
    graph.input().iter().product()
}

fn gradients(graph: &Graph, method: &dyn TrainingMethod, trained: &Params) -> Gradients {
    loss_and_gradients(graph, method, trained).1
}

fn loss_and_gradients(graph: &Graph, method: &dyn TrainingMethod, trained: &Params) -> (f32, Gradients) {
    let device = Device::flex().autodiff();
    let leaves = Leaves::tracked(trained, &device);
    let x = BatchTensor::input(graph, 7, batch(7, features(graph)), &device);
    let weight = |site: &Site<'_>| method.weight(site, &leaves);
    let (logits, _) = forward(graph, &leaves, &Params::new(), &weight, x, 7, Mode::Train).unwrap();
    let loss = cross_entropy(logits, &LABELS, 0.1, &device);
    (elements(loss.clone().inner()).unwrap()[0], leaves.gradients(&loss).unwrap())
}

/// Holds every gradient against finite differences of the host's loss, `compose` making dense weights of the tensors.
fn check(graph: &Graph, trained: &Params, all: &[Gradients], without: &[&str], compose: &dyn Fn(&mut Values)) {
    let values = exact(trained);
    let x = rows(&batch(7, features(graph)), features(graph));
    let loss = |mut values: Values| {
        compose(&mut values);
        host::loss(&host::forward(graph, &values, &x, Mode::Train), &LABELS, f64::from(0.1f32))
    };
    for (name, gradient) in &all[0] {
        let largest = gradient.iter().fold(0.0f32, |a, g| a.max(g.abs()));
        assert!(largest > 3e-3 || without.contains(&name.as_str()), "{name}: the tolerance means nothing at {largest}");
        // Every element of small tensors, some of large ones.
        for i in (0..gradient.len()).step_by(1 + gradient.len() / 40) {
            let at = |delta: f64| {
                let mut moved = values.clone();
                moved.get_mut(name).unwrap()[i] += delta;
                loss(moved)
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            for g in all.iter().map(|gradients| gradients[name][i]) {
                assert!((f64::from(g) - numeric).abs() < 3e-6 + 1e-4 * numeric.abs(), "{name}[{i}]: {g} {numeric}");
            }
        }
    }
}

#[test]
fn both_orders_of_lorita_have_the_gradients_that_finite_differences_give() {
    // A bias before a batch norm has no gradient: the norm takes the mean away again.
    for (graph, without) in [(small_graph(), "layers.0.bias"), (image_graph(), "conv1.bias"), (token_graph(), "none")] {
        let method = Lorita::new(3);
        let mut trained = method.start(&graph, 11, None).unwrap();
        // Larger factors than the initial ones, so that no gradient drowns in rounding.
        trained.values_mut().for_each(|t| t.data_mut().iter_mut().for_each(|x| *x *= 1.5));
        let both = [Order::Compose, Order::Layers].map(|order| loss_and_gradients(&graph, &method.with_order(order), &trained));
        assert!((both[0].0 - both[1].0).abs() < 1e-6, "{} {}", both[0].0, both[1].0);
        let all = both.map(|(_, gradients)| gradients);
        let shapes: std::collections::BTreeMap<_, _> = trained.iter().map(|(n, t)| (n.clone(), t.unfolded())).collect();
        check(&graph, &trained, &all, &[without], &|values| {
            for (weight, &(outputs, columns)) in shapes.iter().filter(|(name, _)| name.ends_with(".weight")) {
                let (Some(s1), Some(s2)) = (values.remove(&format!("{weight}.s1")), values.remove(&format!("{weight}.s2"))) else {
                    continue;
                };
                let r = &values[weight];
                let spatial = ["conv1", "conv2", "uneven"].iter().any(|c| weight.starts_with(c));
                let w = if spatial {
                    host::product(&host::product(&s2, &s1, outputs), r, outputs)
                } else {
                    host::product(r, &host::product(&s2, &s1, columns), columns)
                };
                values.insert(weight.clone(), w);
            }
        });
    }
}

#[test]
fn factored_kernels_have_the_gradients_that_finite_differences_give() {
    let graph = image_graph();
    let places: Vec<Place<'_>> = graph.nodes.iter().filter_map(Place::of).collect();
    for scheme in Scheme::ALL {
        let method = Elrt::new(ElrtSettings { macs: 0.87, scheme, ..ElrtSettings::default() });
        let trained = method.start(&graph, 3, None).unwrap();
        for layer in ["conv2", "uneven", "point", "fc"] {
            assert!(trained.contains_key(&format!("{layer}.u")), "{layer} is not in factors");
        }
        let shape = |name: &str| trained[name].shape().to_vec();
        check(&graph, &trained, &[gradients(&graph, &method, &trained)], &["conv1.bias"], &|values| {
            for place in places.iter().filter(|p| trained.contains_key(&format!("{}.u", p.name))) {
                let (layer, Kernel { outputs, inputs, height, width }) = (place.name, place.kernel);
                let part = |suffix: &str| values.get(&format!("{layer}.{suffix}")).cloned().unwrap_or_default();
                let (u, core, v) = (part("u"), part("core"), part("v"));
                let rank = shape(&format!("{layer}.v"))[0];
                let mut w = vec![0.0; outputs * inputs * height * width];
                for (at, w) in w.iter_mut().enumerate() {
                    let (o, i, y, x) = (at / (inputs * height * width), at / (height * width) % inputs, at / width % height, at % width);
                    *w = match scheme.of(&place.kernel) {
                        Scheme::Channel => (0..rank).map(|r| u[o * rank + r] * v[((r * inputs + i) * height + y) * width + x]).sum(),
                        Scheme::Spatial => (0..rank).map(|r| u[(o * rank + r) * width + x] * v[(r * inputs + i) * height + y]).sum(),
                        Scheme::Tucker2 => {
                            let outer = u.len() / outputs;
                            let one =
                                |p: usize, q: usize| u[o * outer + p] * core[((p * rank + q) * height + y) * width + x] * v[q * inputs + i];
                            (0..outer).flat_map(|p| (0..rank).map(move |q| (p, q))).map(|(p, q)| one(p, q)).sum()
                        }
                    };
                }
                values.insert(format!("{layer}.weight"), w);
            }
        });
    }
}

#[test]
fn a_cut_that_is_unfolded_for_training_starts_alike_in_both_modes() {
    let mut b = Builder::new("net", [3, 8, 8]);
    for (at, inputs) in [(1, 3), (2, 8), (3, 8)] {
        let window = Window::square(3, if at == 2 { 2 } else { 1 }, 1);
        b.push(format!("conv{at}"), Op::Conv2d(Conv2d { inputs, outputs: 8, window, groups: 1, bias: false }));
        b.push(format!("bn{at}"), Op::BatchNorm(BatchNorm::new(8)));
        b.push(format!("relu{at}"), Op::Activation(Activation::Relu));
    }
    b.push("pool", Op::GlobalAvgPool);
    b.push("fc", Op::Linear(Linear { inputs: 8, outputs: 4, bias: true }));
    let graph = b.finish().unwrap();
    let x = crate::factor::testing::random(40 * 192, 3);
    let modes = |params: &Params| {
        let device = Device::flex();
        let leaves = Leaves::constants(params, &device);
        let weight = |site: &Site<'_>| Finetune.weight(site, &leaves);
        [Mode::Train, Mode::Eval].map(|mode| {
            let x = BatchTensor::input(&graph, 40, x.clone(), &device);
            elements(forward(&graph, &leaves, params, &weight, x, 40, mode).unwrap().0).unwrap()
        })
    };
    // Statistics of the dense network as training would have left them.
    let mut dense = graph::init(&graph, 6);
    for _ in 0..200 {
        let device = Device::flex();
        let leaves = Leaves::constants(&dense, &device);
        let weight = |site: &Site<'_>| Dense.weight(site, &leaves);
        let x = BatchTensor::input(&graph, 40, x.clone(), &device);
        let (_, statistics) = forward(&graph, &leaves, &dense, &weight, x, 40, Mode::Train).unwrap();
        update_running(&mut dense, statistics).unwrap();
    }
    let checkpoint = Checkpoint { params: dense, ..Checkpoint::default() };
    let far = |[a, b]: [Vec<f32>; 2]| {
        let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        a.iter().zip(&b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
    };
    // The two differ by the variance's n − 1, here a thousandth a layer.
    assert!(far(modes(&checkpoint.params)) < 1e-2);
    for scheme in Scheme::ALL {
        let images = lower::Images::new(&[3, 8, 8], x.clone()).unwrap();
        let options =
            lower::Options { images: Some(images.clone()), scheme: lower::SchemeChoice::Only(scheme), ..lower::Options::default() };
        let factored = lower::Factored::new(&graph, &checkpoint, options, &|_, _, _| ()).unwrap();
        let policy = Policy::Local(0.4);
        let thinned = factored.thin(policy, &factored.cuts(policy).unwrap(), false).unwrap();
        let cut = thinned.factors(&checkpoint.params, Some(&images)).unwrap();
        assert!(cut.keys().any(|name| name.ends_with(".u")));
        assert!(far(modes(&cut)) < 1e-2, "{scheme} {}", far(modes(&cut)));
    }
}

#[test]
fn running_statistics_move_as_pytorchs() {
    for (graph, at, norm) in [(small_graph(), 1, "layers.1"), (image_graph(), 1, "bn1")] {
        let mut params = graph::init(&graph, 2);
        let device = Device::flex();
        let leaves = Leaves::constants(&params, &device);
        let weight = |site: &Site<'_>| Dense.weight(site, &leaves);
        let x = BatchTensor::input(&graph, 7, batch(7, features(&graph)), &device);
        let (_, statistics) = forward(&graph, &leaves, &params, &weight, x, 7, Mode::Train).unwrap();
        update_running(&mut params, statistics.clone()).unwrap();
        update_running(&mut params, statistics).unwrap();

        let x = rows(&batch(7, features(&graph)), features(&graph));
        let first = Graph { nodes: graph.nodes[..at].to_vec(), outputs: vec![at], ..graph };
        let y = host::forward(&first, &exact(&params), &x, Mode::Eval);
        let channels = params[&format!("{norm}.running_mean")].data().len();
        let pixels = y[0].len() / channels;
        for c in 0..channels {
            let values: Vec<f64> = y.iter().flat_map(|r| r[c * pixels..(c + 1) * pixels].to_vec()).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let unbiased = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
            let stored = |suffix: &str| f64::from(params[&format!("{norm}.{suffix}")].data()[c]);
            assert!((stored("running_mean") - 0.19 * mean).abs() < 1e-6);
            assert!((stored("running_var") - (0.81 + 0.19 * unbiased)).abs() < 1e-6);
        }
    }
}

#[test]
fn logits_are_the_f64_forward_pass() {
    for (graph, shape) in [
        (crate::zoo::build("fcn8").unwrap(), [1, 28, 28]),
        (crate::zoo::build("resnet20").unwrap(), [3, 32, 32]),
        (image_graph(), [2, 9, 8]),
        (token_graph(), [2, 4, 6]),
        (crate::zoo::build("vit:dim=16,depth=2,heads=2,patch=8,image=16").unwrap(), [3, 16, 16]),
        (crate::zoo::build("vit-l2-h2:dim=16,head=8,patch=8,mlp=24,image=16").unwrap(), [3, 16, 16]),
    ] {
        let mut params = graph::init(&graph, 4);
        for (name, tensor) in &mut params {
            let add = if name.contains("running_mean") { 0.05 } else { 0.0 };
            let times = if name.contains("running_var") { 0.4 } else { 1.0 };
            tensor.data_mut().iter_mut().for_each(|x| *x = *x * times + add);
        }
        let pixels: usize = shape.iter().product();
        let images: Vec<u8> = (0..2 * pixels).map(|i| ((i * 37 + i / 28 * 11) % 256) as u8).collect();
        let outputs = graph.output_shape().unwrap()[0];
        let classes = (0..outputs).map(|c| c.to_string()).collect();
        let data = Dataset { name: "t".into(), shape, images, labels: vec![0; 2], classes };
        let preprocess = Preprocess { scale: 1.0 / 255.0, mean: vec![0.1307], std: vec![0.3081], ..Preprocess::default() };
        let got = super::logits(&graph, &params, &preprocess, &data).unwrap();

        let x: Vec<f64> = data.images.iter().map(|p| (f64::from(*p) / 255.0 - 0.1307) / 0.3081).collect();
        let x: Matrix = x.chunks(pixels).map(<[f64]>::to_vec).collect();
        let expected = host::forward(&graph, &exact(&params), &x, Mode::Eval).concat();
        assert_eq!(got.len(), 2 * outputs);
        for (a, b) in got.iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 1e-5, "{}: {a} {b}", graph.name);
        }
    }
}

#[test]
fn elements_come_back_in_row_major_order_from_a_transposed_matrix() {
    let t = BurnTensor::<2>::from_data(TensorData::new(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]), &Device::flex());
    assert_eq!(elements(t.transpose()).unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}
