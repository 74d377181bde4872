//! Tests of the network against plain f64 arithmetic on the host: forward, loss, gradients by finite differences.

use burn::tensor::{Device, Tensor as BurnTensor, TensorData};
use thinfer::artifact::Preprocess;

use super::loss::cross_entropy;
use super::methods::{Lorita, Order, Site, TrainingMethod};
use super::network::{Leaves, Mode, elements, forward, update_running};
use super::optimizer::Gradients;
use crate::data::Dataset;
use crate::graph::{self, Activation, BatchNorm, Builder, Graph, Linear, Op};
use crate::tensor::{Params, Tensor};

type Matrix = Vec<Vec<f64>>;

/// Linear (with bias), batch norm, ReLU, linear (without): every operation that there is.
pub(super) fn small_graph() -> Graph {
    let mut b = Builder::new("small", [6]);
    b.push("layers.0", Op::Linear(Linear { inputs: 6, outputs: 5, bias: true }));
    b.push("layers.1", Op::BatchNorm(BatchNorm::new(5)));
    b.push("layers.2", Op::Activation(Activation::Relu));
    b.push("layers.3", Op::Linear(Linear { inputs: 5, outputs: 3, bias: false }));
    b.finish().unwrap()
}

fn host(t: &Tensor) -> Vec<f64> {
    t.data().iter().map(|&x| f64::from(x)).collect()
}

/// The forward pass in f64; `weight` gives [outputs][inputs].
fn host_forward(graph: &Graph, weight: &dyn Fn(&str) -> Matrix, param: &dyn Fn(&str) -> Vec<f64>, x: &Matrix, mode: Mode) -> Matrix {
    graph.nodes.iter().fold(x.clone(), |x, node| {
        let p = |suffix: &str| param(&format!("{}.{suffix}", node.name));
        match &node.op {
            Op::Linear(linear) => {
                let w = weight(&node.name);
                let bias = if linear.bias { p("bias") } else { vec![0.0; linear.outputs] };
                let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
                x.iter().map(|x| w.iter().zip(&bias).map(|(row, b)| dot(row, x) + b).collect()).collect()
            }
            Op::BatchNorm(norm) => {
                let n = x.len() as f64;
                let column = |c: usize| x.iter().map(move |row| row[c]);
                let stats: Vec<(f64, f64)> = (0..norm.channels)
                    .map(|c| match mode {
                        Mode::Eval => (p("running_mean")[c], p("running_var")[c]),
                        Mode::Train => {
                            let mean = column(c).sum::<f64>() / n;
                            (mean, column(c).map(|v| (v - mean).powi(2)).sum::<f64>() / n)
                        }
                    })
                    .collect();
                let (scale, shift) = (p("weight"), p("bias"));
                let one = |c: usize, v: f64| (v - stats[c].0) / (stats[c].1 + f64::from(norm.eps)).sqrt() * scale[c] + shift[c];
                x.iter().map(|row| row.iter().enumerate().map(|(c, &v)| one(c, v)).collect()).collect()
            }
            Op::Activation(Activation::Relu) => x.iter().map(|row| row.iter().map(|v| v.max(0.0)).collect()).collect(),
            Op::Flatten => x.clone(),
            other => panic!("{other:?} cannot be trained"),
        }
    })
}

fn host_loss(logits: &Matrix, labels: &[u16], smoothing: f64) -> f64 {
    let one = |row: &Vec<f64>, label: u16| {
        let z = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        let mean = row.iter().map(|x| z - x).sum::<f64>() / row.len() as f64;
        (1.0 - smoothing) * (z - row[usize::from(label)]) + smoothing * mean
    };
    logits.iter().zip(labels).map(|(row, &l)| one(row, l)).sum::<f64>() / labels.len() as f64
}

fn matmul(a: &Matrix, b: &Matrix) -> Matrix {
    a.iter().map(|row| (0..b[0].len()).map(|j| row.iter().zip(b).map(|(x, b)| x * b[j]).sum()).collect()).collect()
}

fn rows(data: &[f64], columns: usize) -> Matrix {
    data.chunks(columns).map(<[f64]>::to_vec).collect()
}

/// A batch of numbers without pattern in about −1…1.
fn batch(n: usize, features: usize) -> Vec<f32> {
    (0..n * features).map(|i| ((i * i * 7 + i * 13) % 101) as f32 / 50.0 - 1.0).collect()
}

const LABELS: [u16; 7] = [0, 1, 2, 2, 1, 0, 1];

fn gradients(graph: &Graph, method: &Lorita, trained: &Params, running: &Params) -> Gradients {
    let device = Device::flex().autodiff();
    let leaves = Leaves::tracked(trained, &device);
    let x = BurnTensor::<2>::from_data(TensorData::new(batch(7, 6), [7, 6]), &device);
    let weight = |site: &Site<'_>| method.weight(site, &leaves);
    let (logits, _) = forward(graph, &leaves, running, &weight, x, 7, Mode::Train).unwrap();
    leaves.gradients(&cross_entropy(logits, &LABELS, 0.1, &device)).unwrap()
}

#[test]
fn both_orders_of_lorita_have_the_gradients_that_finite_differences_give() {
    let graph = small_graph();
    let method = Lorita::new(3);
    let mut trained = method.start(&graph, 11, None).unwrap();
    // Larger factors than the initial ones, so that no gradient drowns in rounding.
    trained.values_mut().for_each(|t| t.data_mut().iter_mut().for_each(|x| *x *= 1.5));
    let running = Params::new();
    let composed = gradients(&graph, &method.with_order(Order::Compose), &trained, &running);
    let layered = gradients(&graph, &method.with_order(Order::Layers), &trained, &running);

    let exact: std::collections::BTreeMap<String, Vec<f64>> = trained.iter().map(|(n, t)| (n.clone(), host(t))).collect();
    let x = rows(&batch(7, 6).iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 6);
    let loss = |values: &std::collections::BTreeMap<String, Vec<f64>>| {
        let weight = |layer: &str| {
            let n = if layer == "layers.0" { 6 } else { 5 };
            let m = |suffix: &str| rows(&values[&format!("{layer}.weight{suffix}")], n);
            matmul(&matmul(&m(""), &m(".s2")), &m(".s1"))
        };
        let param = |name: &str| values[name].clone();
        host_loss(&host_forward(&graph, &weight, &param, &x, Mode::Train), &LABELS, f64::from(0.1f32))
    };
    for (name, gradient) in &composed {
        // The bias before a batch norm has none: the norm takes the mean away again.
        let largest = gradient.iter().fold(0.0f32, |a, g| a.max(g.abs()));
        assert!(largest > 1e-2 || name == "layers.0.bias", "{name}: the tolerance means nothing at {largest}");
        for (i, &g) in gradient.iter().enumerate() {
            let h = 1e-6;
            let at = |delta: f64| {
                let mut moved = exact.clone();
                moved.get_mut(name).unwrap()[i] += delta;
                loss(&moved)
            };
            let numeric = (at(h) - at(-h)) / (2.0 * h);
            let tolerance = 2e-6 + 1e-4 * numeric.abs();
            assert!((f64::from(g) - numeric).abs() < tolerance, "{name}[{i}]: {g} {numeric}");
            assert!((f64::from(layered[name][i]) - numeric).abs() < tolerance, "{name}[{i}]: {} {numeric}", layered[name][i]);
        }
    }
}

#[test]
fn running_statistics_move_as_pytorchs() {
    let graph = small_graph();
    let mut params = graph::init(&graph, 2);
    let device = Device::flex();
    let leaves = Leaves::constants(&params, &device);
    let weight = |site: &Site<'_>| Ok(vec![leaves.get(&format!("{}.weight", site.name))?]);
    let x = BurnTensor::<2>::from_data(TensorData::new(batch(7, 6), [7, 6]), &device);
    let (_, statistics) = forward(&graph, &leaves, &params, &weight, x, 7, Mode::Train).unwrap();
    update_running(&mut params, statistics.clone()).unwrap();
    update_running(&mut params, statistics).unwrap();

    let first = Graph { nodes: graph.nodes[..1].to_vec(), ..graph };
    let x = rows(&batch(7, 6).iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 6);
    let weight = |name: &str| rows(&host(&params[&format!("{name}.weight")]), 6);
    let y = host_forward(&first, &weight, &|name| host(&params[name]), &x, Mode::Eval);
    for c in 0..5 {
        let mean = y.iter().map(|r| r[c]).sum::<f64>() / 7.0;
        let unbiased = y.iter().map(|r| (r[c] - mean).powi(2)).sum::<f64>() / 6.0;
        let (m, v) = (params["layers.1.running_mean"].data()[c], params["layers.1.running_var"].data()[c]);
        assert!((f64::from(m) - 0.19 * mean).abs() < 1e-6, "{m}");
        assert!((f64::from(v) - (0.81 + 0.19 * unbiased)).abs() < 1e-6, "{v}");
    }
}

#[test]
fn logits_are_the_f64_forward_pass() {
    let graph = crate::zoo::build("fcn8").unwrap();
    let mut params = graph::init(&graph, 4);
    for (name, tensor) in &mut params {
        let add = if name.contains("running_mean") { 0.05 } else { 0.0 };
        let times = if name.contains("running_var") { 0.4 } else { 1.0 };
        tensor.data_mut().iter_mut().for_each(|x| *x = *x * times + add);
    }
    let images: Vec<u8> = (0..3 * 784).map(|i| ((i * 37 + i / 28 * 11) % 256) as u8).collect();
    let classes = (0..10).map(|c| c.to_string()).collect();
    let data = Dataset { name: "t".into(), shape: [1, 28, 28], images, labels: vec![0; 3], classes };
    let preprocess = Preprocess { scale: 1.0 / 255.0, mean: vec![0.1307], std: vec![0.3081] };
    let got = super::logits(&graph, &params, &preprocess, &data).unwrap();

    let pixel = |p: &u8| (f64::from(*p) / 255.0 - 0.1307) / 0.3081;
    let x = rows(&data.images.iter().map(pixel).collect::<Vec<_>>(), 784);
    let weight = |name: &str| {
        let t = &params[&format!("{name}.weight")];
        rows(&host(t), t.shape()[1])
    };
    let expected = host_forward(&graph, &weight, &|name| host(&params[name]), &x, Mode::Eval).concat();
    assert_eq!(got.len(), 30);
    for (a, b) in got.iter().zip(expected) {
        assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn elements_come_back_in_row_major_order_from_a_transposed_matrix() {
    let t = BurnTensor::<2>::from_data(TensorData::new(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]), &Device::flex());
    assert_eq!(elements(t.transpose()).unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}
