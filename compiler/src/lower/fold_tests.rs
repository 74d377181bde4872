//! Folding against a reference: the folded network must compute what its graph does, on networks of the zoo and on drawn
//! ones.

use proptest::prelude::*;
use rand::{Rng, RngExt};
use thinfer::artifact::{Activation as Fused, Dtype, Input, Pick, PickAxis, Primitive, Residual, Run};
use thinfer::reference as by_f64;

use super::emit::{self, Identity};
use super::fold::fold;
use super::folded::{Folded, FoldedLayer, FoldedOp, Weighted};
use crate::graph::{
    Activation, Attention, BatchNorm, Builder, Conv2d, Embed, Graph, Linear, Op, Positions, Rearrange, ShortcutA, Window, init,
};
use crate::rank::Pool;
use crate::reference::{self, Statistics};
use crate::rng::{Purpose, keyed};
use crate::tensor::Params;
use crate::zoo;

/// Weights of the graph with statistics that are not the identity, so that folding shows.
fn params(graph: &Graph, seed: u64) -> Params {
    let mut params = init(graph, seed);
    let mut rng = keyed(seed, Purpose::Init, &[7]);
    for spec in graph.params() {
        let range = match spec.name.rsplit('.').next() {
            Some("running_var") => 0.3..2.0,
            Some("running_mean") => -0.5..0.5,
            _ if spec.shape.len() == 1 => -1.0..1.5,
            _ => continue,
        };
        let tensor = params.get_mut(&spec.name).unwrap();
        tensor.data_mut().fill_with(|| rng.random_range(range.clone()));
    }
    params
}

fn compare(graph: &Graph, seed: u64) -> Vec<FoldedLayer> {
    let params = params(graph, seed);
    let mut rng = keyed(seed, Purpose::Init, &[8]);
    let x: Vec<f32> = (0..graph.input().iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let exact: Vec<f64> = x.iter().map(|&x| x.into()).collect();
    let folded = fold(graph, &params).unwrap();
    let expected = reference::run(graph, &reference::exact(&params), &exact, Statistics::Running).numbers();
    let found = run_folded(&folded, &x);
    let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    assert_eq!(expected.len(), found.len());
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 1e-5 * scale, "{e} {f} in {graph:?}");
    }
    folded.layers
}

/// The last value of a folded network of one input as it is emitted, in f64.
fn run_folded(network: &Folded, x: &[f32]) -> Vec<f64> {
    let written: Vec<_> = network.layers.iter().map(|l| l.weighted().map(Weighted::dense)).collect();
    let shape: Vec<u32> = network.inputs[0].iter().map(|&d| d as u32).collect();
    let identity = Identity { inputs: vec![Input::new(&shape)], ..Identity::default() };
    let (artifact, _) = emit::emit(identity, network, &written, Dtype::F32).unwrap();
    by_f64::values(&artifact, &[x]).pop().unwrap().numbers()
}

fn weighted(layers: &[FoldedLayer]) -> Vec<&Weighted> {
    layers.iter().filter_map(|l| if let FoldedOp::Weighted(w) = &l.op { Some(w) } else { None }).collect()
}

#[test]
fn fully_connected_networks_fold_to_their_linear_layers() {
    let layers = compare(&zoo::build("fcn6").unwrap(), 0);
    assert_eq!(layers.len(), 6);
    assert!(weighted(&layers)[..5].iter().all(|l| l.activation == Fused::Relu && l.scale.is_some() && l.bias.is_some()));
    assert_eq!(layers.iter().map(|l| l.inputs[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_cifar_resnet_folds_to_its_convolutions() {
    let layers = compare(&zoo::build("resnet20").unwrap(), 1);
    // 19 convolutions, the global mean and the linear layer: every addition and activation is fused.
    assert_eq!((layers.len(), weighted(&layers).len()), (21, 20));
    let residuals: Vec<_> = weighted(&layers).iter().filter_map(|w| w.residual).collect();
    let identity = Residual { stride: 1, offset: 0 };
    let mut expected = vec![identity; 9];
    expected[3] = Residual { stride: 2, offset: 8 };
    expected[6] = Residual { stride: 2, offset: 16 };
    assert_eq!(residuals, expected);
}

#[test]
fn projections_take_in_the_branch_that_ran_before_them() {
    let graph = zoo::build("resnet18-cifar").unwrap();
    let layers = fold(&graph, &params(&graph, 2)).unwrap().layers;
    let names: Vec<&str> = layers.iter().filter(|l| l.inputs.len() == 2).map(|l| l.name.as_str()).collect();
    let expected = ["1.0.conv2", "1.1.conv2", "2.0.shortcut.0", "2.1.conv2", "3.0.shortcut.0", "3.1.conv2", "4.0.shortcut.0", "4.1.conv2"];
    assert_eq!(names, expected.map(|n| format!("layer{n}")));
}

#[test]
fn pools_stay_and_flatten_vanishes() {
    let layers = compare(&zoo::build("vgg11").unwrap(), 3);
    assert_eq!((layers.len(), weighted(&layers).len()), (14, 9));
}

#[test]
fn networks_for_phones_detectors_and_segmentation_keep_their_values() {
    for (name, layers) in [
        ("mobilenet_v2:image=32", 53),
        ("mobilenet_v3_small:image=32", 54),
        ("tf_efficientnet_lite0:image=33", 50),
        ("yolox-nano:image=32,classes=3", 113),
        ("unet-resnet18:image=32", 31),
    ] {
        let graph = zoo::build(name).unwrap();
        assert_eq!(weighted(&compare(&graph, 4)).len(), layers, "{name}");
    }
}

#[test]
fn what_is_behind_moved_pixels_is_fused_before_them() {
    // A sub-pixel convolution: 12 channels of [3, 4] as 3 of [6, 8].
    let conv = Op::Conv2d(Conv2d { inputs: 2, outputs: 12, window: Window::square(3, 1, 1), groups: 1, bias: true });
    let run = |start, step, count| Run { start, step, count, each: 1 };
    let axes = [vec![run(0, 48, 3)], vec![run(0, 24, 2), run(4, 24, 2), run(8, 24, 2)], (0..4).map(|x| run(x, 12, 2)).collect()];
    let pick = Pick { axes: axes.map(|runs| PickAxis { runs }).into(), fill: 0.0 };
    let network = |read_twice: bool| {
        let mut b = Builder::new("moved", [2, 3, 4]);
        b.push("conv", conv.clone());
        let moved = b.push("moved", Op::Primitive(Primitive::Pick(pick.clone())));
        b.push("norm", Op::BatchNorm(BatchNorm::new(3)));
        let relu = b.push("relu", Op::Activation(Activation::Relu));
        if read_twice {
            b.push_from("sum", Op::Add, vec![relu, moved]);
        }
        b.push("end", Op::MaxPool(Window::square(2, 2, 0)));
        b.finish().unwrap()
    };
    let layers = compare(&network(false), 6);
    assert_eq!(layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["conv", "moved", "end"]);
    assert!(weighted(&layers)[0].activation == Fused::Relu && weighted(&layers)[0].norms[0].moved);
    let layers = compare(&network(true), 6);
    assert!(layers.iter().any(|l| l.name == "norm") && weighted(&layers)[0].norms.is_empty());
}

#[test]
fn nothing_is_fused_before_elements_that_are_made_up_or_mixed() {
    let conv = Op::Conv2d(Conv2d { inputs: 2, outputs: 4, window: Window::square(1, 1, 0), groups: 1, bias: true });
    let run = |start, step, count| PickAxis { runs: vec![Run { start, step, count, each: 1 }] };
    let mut padded = run(0, 4, 3);
    padded.runs.insert(0, Run { start: -1, step: 0, count: 1, each: 2 });
    // Rows of the fill; channels and columns in each other's place.
    for (axes, fill) in [([run(0, 12, 4), padded, run(0, 1, 4)], 0.5), ([run(0, 1, 4), run(0, 4, 3), run(0, 12, 4)], 0.0)] {
        let mut b = Builder::new("moved", [2, 3, 4]);
        b.push("conv", conv.clone());
        b.push("moved", Op::Primitive(Primitive::Pick(Pick { axes: axes.into(), fill })));
        b.push("norm", Op::BatchNorm(BatchNorm::new(4)));
        b.push("act", Op::Activation(Activation::Sigmoid));
        let layers = compare(&b.finish().unwrap(), 7);
        assert!(weighted(&layers)[0].norms.is_empty() && layers.iter().any(|l| l.name == "norm"));
    }
}

#[test]
fn what_others_read_is_not_fused_away() {
    // Everything reads the first convolution: its normalisation aside, nothing may be fused into it.
    let conv = |stride| Op::Conv2d(Conv2d { inputs: 4, outputs: 4, window: Window::square(3, stride, 1), groups: 1, bias: false });
    let mut b = Builder::new("shared", [4, 5, 6]);
    b.push("first", conv(1));
    let shared = b.push("norm", Op::BatchNorm(BatchNorm::new(4)));
    let relu = b.push("relu", Op::Activation(Activation::Relu));
    let sum = b.push_from("sum", Op::Add, vec![shared, relu]);
    let twice = b.push_from("twice", Op::Add, vec![sum, sum]);
    let wide = Op::Conv2d(Conv2d { inputs: 4, outputs: 8, window: Window::square(1, 2, 0), groups: 2, bias: true });
    let wide = b.push_from("wide", wide, vec![twice]);
    let thin = b.push_from("thin", Op::ShortcutA(ShortcutA { stride: 2, inputs: 4, outputs: 8 }), vec![shared]);
    let fused = b.push_from("fused", Op::Add, vec![thin, wide]);
    let gate = b.push_from("gate", Op::Activation(Activation::Sigmoid), vec![fused]);
    let late = b.push_from("late", Op::Add, vec![gate, thin]);
    b.push_from("last", Op::Activation(Activation::Tanh), vec![late]);
    let layers = compare(&b.finish().unwrap(), 5);
    let names: Vec<_> = layers.iter().map(|l| (l.name.as_str(), &l.inputs[..])).collect();
    let expected: [(&str, &[usize]); 6] =
        [("first", &[0]), ("relu", &[1]), ("sum", &[1, 2]), ("twice", &[3, 3]), ("wide", &[4, 1]), ("late", &[5, 1])];
    assert_eq!(names, expected);
    assert_eq!(weighted(&layers)[1].residual, Some(Residual { stride: 2, offset: 2 }));
    assert_eq!(layers[5].op, FoldedOp::Add(Residual { stride: 2, offset: 2 }, Fused::Tanh));
}

/// Which layers there are, by name, and what the affine ones apply.
fn kinds(layers: &[FoldedLayer]) -> Vec<(&str, Option<Fused>)> {
    layers.iter().map(|l| (l.name.as_str(), if let FoldedOp::Affine(a) = &l.op { Some(a.activation) } else { None })).collect()
}

#[test]
fn normalisations_go_backward_forward_or_stand_alone() {
    let conv = |padding| Op::Conv2d(Conv2d { inputs: 4, outputs: 4, window: Window::square(3, 1, padding), groups: 2, bias: false });
    let relu = || Op::Activation(Activation::Relu);
    let norm = || Op::BatchNorm(BatchNorm::new(4));
    let mut b = Builder::new("norms", [4, 9, 8]);
    b.push("input", norm());
    b.push("first", conv(0));
    b.push("first.relu", relu());
    b.push("alone", norm());
    b.push("alone.again", Op::Affine { channels: 4 });
    b.push("alone.relu", relu());
    b.push("middle", norm());
    b.push("second", conv(1));
    b.push("second.relu", relu());
    b.push("before", norm());
    b.push("flat", Op::Flatten);
    b.push("linear", Op::Linear(Linear { inputs: 4 * 7 * 6, outputs: 5, bias: false }));
    b.push("end", Op::BatchNorm(BatchNorm::new(5)));
    b.push("softmax", Op::Softmax { log: true });
    let layers = compare(&b.finish().unwrap(), 11);
    // Into the unpadded convolution, into the linear layer behind the flattened image, and back from the end; before the
    // padded convolution it stays.
    let expected = [("first", None), ("alone", Some(Fused::Relu)), ("middle", Some(Fused::None)), ("second", None), ("linear", None)];
    assert_eq!(kinds(&layers)[..5], expected);
    assert_eq!(layers.len(), 6);
}

#[test]
fn channels_are_put_together_two_values_at_a_time() {
    let conv = |outputs| Op::Conv2d(Conv2d { inputs: 4, outputs, window: Window::square(1, 1, 0), groups: 1, bias: true });
    let mut b = Builder::new("fire", [4, 3, 5]);
    let values = [3, 1, 2].map(|outputs| b.push_from(format!("expand{outputs}"), conv(outputs), vec![0]));
    b.push_from("cat", Op::Concat, values.to_vec());
    b.push("act", Op::Activation(Activation::Tanh));
    let layers = compare(&b.finish().unwrap(), 12);
    let names: Vec<_> = layers.iter().map(|l| (l.name.as_str(), &l.inputs[..])).collect();
    let expected: [(&str, &[usize]); 5] = [("expand3", &[0]), ("expand1", &[0]), ("expand2", &[0]), ("cat.1", &[1, 2]), ("cat", &[4, 3])];
    assert_eq!(names, expected);
    assert_eq!(layers[4].op, FoldedOp::Concat(Fused::Tanh));
}

#[test]
fn a_flattened_image_is_moved_only_where_its_elements_are_told_apart() {
    let mut b = Builder::new("flat", [2, 3, 2]);
    let flat = b.push("flat", Op::Flatten);
    b.push("norm", Op::BatchNorm(BatchNorm::new(12)));
    let first = b.push("first", Op::Linear(Linear { inputs: 12, outputs: 12, bias: true }));
    let norm = b.push_from("alone", Op::BatchNorm(BatchNorm::new(12)), vec![flat]);
    b.push_from("gate", Op::Multiply, vec![norm, first]);
    b.push("softmax", Op::Softmax { log: false });
    let sum = b.push_from("sum", Op::Add, vec![norm, flat]);
    b.push_from("cat", Op::Concat, vec![sum, flat, sum - 1]);
    let layers = compare(&b.finish().unwrap(), 13);
    let moved: Vec<_> = layers.iter().filter(|l| matches!(l.op, FoldedOp::Rearrange(_))).map(|l| l.inputs[0]).collect();
    // The first linear layer takes its normalisation in and reads the image itself.
    assert_eq!((layers[0].name.as_str(), &layers[0].inputs[..]), ("first", &[0][..]));
    assert_eq!(moved, [0, 0, 0]);
}

#[test]
fn the_first_elements_of_a_vector_are_not_the_vector() {
    let mut b = Builder::new("part", [7]);
    b.push("part", Op::Rearrange(Rearrange { shape: vec![3], offset: 0, steps: vec![(3, 1)] }));
    b.push("linear", Op::Linear(Linear { inputs: 3, outputs: 4, bias: true }));
    let layers = compare(&b.finish().unwrap(), 14);
    assert_eq!(layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["part", "linear"]);
}

#[test]
fn a_transformers_layers_know_their_pool_and_take_in_what_follows() {
    let mut b = Builder::new("block", [8, 6, 1]);
    let linear = |inputs, outputs| Op::Linear(Linear { inputs, outputs, bias: true });
    let learned = |name: &str, first| {
        let positions = Positions::Learned(name.into());
        Op::Embed(Embed { channels: 8, pixels: 6, first, class: None, positions, batched: true })
    };
    b.push("first", learned("a", 0));
    let x = b.push("second", learned("b", 0));
    b.push("norm", Op::LayerNorm { channels: 8, eps: 1e-6 });
    b.push("qkv", linear(8, 24));
    b.push("attn", Op::Attention(Attention { heads: 2, scale: 0.5 }));
    let out = b.push("proj", linear(8, 8));
    let x = b.push_from("add", Op::Add, vec![out, x]);
    b.push("fc1", linear(8, 12));
    b.push("act", Op::Activation(Activation::Gelu));
    let out = b.push("fc2", linear(12, 8));
    b.push_from("end", Op::Add, vec![out, x]);
    let layers = compare(&b.finish().unwrap(), 4);
    let names: Vec<_> = layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["first", "norm", "qkv", "attn", "proj", "fc1", "fc2"]);
    let pools: Vec<_> = weighted(&layers).iter().map(|w| (w.pool, w.residual.is_some(), w.activation)).collect();
    let expected = [
        (Pool::Attention, false, Fused::None),
        (Pool::Attention, true, Fused::None),
        (Pool::Linear, false, Fused::Gelu),
        (Pool::Linear, true, Fused::None),
    ];
    assert_eq!(pools, expected);
}

#[test]
fn a_shortcut_that_others_than_sums_read_is_a_value_of_its_own() {
    let shortcut = || Op::ShortcutA(ShortcutA { stride: 2, inputs: 2, outputs: 6 });
    type Nodes = Vec<(&'static str, Op, Vec<usize>)>;
    let cases: [Nodes; 5] = [
        vec![("s", shortcut(), vec![0]), ("n", Op::Affine { channels: 6 }, vec![1])],
        vec![("s", shortcut(), vec![0]), ("g", Op::GlobalAvgPool, vec![1])],
        vec![("s", shortcut(), vec![0]), ("a", Op::Add, vec![1, 1])],
        vec![("s", shortcut(), vec![0]), ("f", Op::Flatten, vec![1])],
        vec![("s", shortcut(), vec![0])],
    ];
    for nodes in cases {
        let mut b = Builder::new("read", [2, 5, 4]);
        for (name, op, inputs) in nodes {
            b.push_from(name, op, inputs);
        }
        let layers = compare(&b.finish().unwrap(), 15);
        assert!(matches!(layers[0].op, FoldedOp::Primitive(_)), "{layers:?}");
    }
}

const ACTIVATIONS: [Activation; 10] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu(0.1),
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HardSigmoid,
    Activation::HardSwish,
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluTanh,
];

/// A network of up to 14 nodes of every kind, each reading any value that it can take; the last one is a fresh layer.
fn draw(seed: u64) -> Graph {
    let mut rng = keyed(seed, Purpose::Init, &[9]);
    let mut b = Builder::new("drawn", [4, 7, 6]);
    let mut shapes = vec![vec![4, 7, 6]];
    for i in 0..rng.random_range(2..14) {
        // Mostly the latest value, so that there is something to fuse.
        let from = if rng.random_bool(0.7) { shapes.len() - 1 } else { rng.random_range(0..shapes.len()) };
        let (op, inputs) = node(&mut rng, from, &shapes);
        let read: Vec<&[usize]> = inputs.iter().map(|&v: &usize| &shapes[v][..]).collect();
        let Ok(shape) = op.output_shape(&read) else { continue };
        b.push_from(format!("n{i}"), op, inputs);
        shapes.push(shape);
    }
    let features = b.push("end.flat", Op::Flatten);
    let inputs = shapes[shapes.len() - 1].iter().product();
    b.push_from("end", Op::Linear(Linear { inputs, outputs: 3, bias: true }), vec![features]);
    b.finish().unwrap()
}

/// An operation that reads value `from` and perhaps another; it need not fit.
fn node(rng: &mut impl Rng, from: usize, shapes: &[Vec<usize>]) -> (Op, Vec<usize>) {
    let shape = &shapes[from];
    let channels = shape[0];
    // Padding below what the kernel spans, as files have it.
    let window = |rng: &mut dyn FnMut(usize) -> usize| {
        let (kernel, stride) = ([rng(3) + 1, rng(3) + 1], [rng(2) + 1, rng(2) + 1]);
        let mut padding = || std::array::from_fn(|side| if kernel[side % 2] > 1 { rng(2) } else { 0 });
        Window { kernel, stride, padding: padding(), dilation: [rng(2) + 1, rng(2) + 1] }
    };
    let mut below = |n: usize| rng.random_range(0..n);
    let op = match below(28) {
        0..=2 if shape.len() == 3 => {
            let groups = if channels.is_multiple_of(2) { below(2) + 1 } else { 1 };
            Op::Conv2d(Conv2d { inputs: channels, outputs: 4, window: Window::square(3, 1, 1), groups, bias: below(2) == 0 })
        }
        3 if shape.len() == 3 => {
            Op::Conv2d(Conv2d { inputs: channels, outputs: 2 * (below(3) + 1), window: window(&mut below), groups: 1, bias: below(2) == 0 })
        }
        0..=3 => Op::Linear(Linear { inputs: channels, outputs: below(5) + 1, bias: below(2) == 0 }),
        4..=5 => Op::BatchNorm(BatchNorm::new(channels)),
        6 => Op::Affine { channels },
        16 => Op::Softmax { log: below(2) == 0 },
        20 => {
            let len: usize = shape.iter().product();
            let steps = vec![(2, below(len / 2 + 1)), (1 + below(3), below(2))];
            let shape = if below(2) == 0 { vec![2, steps[1].0, 1] } else { vec![2 * steps[1].0] };
            Op::Rearrange(Rearrange { shape, offset: below(len), steps })
        }
        7 => Op::Activation(ACTIVATIONS[below(10)]),
        8 => Op::MaxPool(Window { dilation: [1, 1], ..window(&mut below) }),
        9 => Op::AvgPool { window: Window { dilation: [1, 1], ..window(&mut below) }, count_include_pad: below(2) == 0 },
        23 => Op::LayerNorm { channels, eps: 1e-3 },
        24..=25 if shape.len() == 3 => Op::Linear(Linear { inputs: channels, outputs: 2 * below(3) + 2, bias: below(2) == 0 }),
        26 if shape.len() == 3 => {
            let heads = if channels.is_multiple_of(2) { below(2) + 1 } else { 1 };
            let keys = if below(2) == 0 {
                from
            } else {
                (0..from).rev().find(|&v| shapes[v].len() == 3 && shapes[v][0] == channels).unwrap_or(from)
            };
            return (Op::Attention(Attention { heads, scale: 0.7 }), vec![from, keys, keys]);
        }
        27 if shape.len() == 3 => {
            let positions = Positions::Learned(format!("positions{}", shapes.len()));
            let (pixels, first) = (shape[1] * shape[2], below(2));
            Op::Embed(Embed { channels, pixels, first, class: None, positions, batched: false })
        }
        10 => [Op::GlobalAvgPool, Op::Flatten][below(2)].clone(),
        choice => {
            let alike: Vec<usize> = (0..shapes.len()).filter(|&v| shapes[v] == *shape).collect();
            let other = alike[below(alike.len())];
            if choice > 20 {
                return (Op::Multiply, vec![from, other]);
            }
            if choice > 16 {
                return (Op::Concat, vec![from; 2 + below(2)]);
            }
            return (Op::Add, if below(2) == 0 { vec![from, other] } else { vec![other, from] });
        }
    };
    (op, vec![from])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn a_folded_network_computes_what_its_graph_does(seed in any::<u64>()) {
        compare(&draw(seed), seed);
    }
}
