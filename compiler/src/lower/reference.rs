//! For tests: graphs and folded networks run in f64 by their definitions, one sample at a time.

use thinfer::artifact::{Activation as Fused, PoolKind, Residual};

use super::folded::{Affine, FoldedLayer, FoldedOp, Table, Weighted};
use crate::graph::{Attention, Graph, Op, Window};
use crate::tensor::Params;

/// Shape and elements of a value.
type Image = (Vec<usize>, Vec<f64>);

/// The output of `graph` for one sample.
pub(super) fn run_graph(graph: &Graph, params: &Params, x: &[f64]) -> Vec<f64> {
    let shapes = graph.shapes().unwrap();
    let mut values: Vec<Image> = vec![(graph.input().to_vec(), x.to_vec())];
    for (at, node) in graph.nodes.iter().enumerate() {
        let tensor =
            |suffix: &str| -> Vec<f64> { params[&format!("{}.{suffix}", node.name)].data().iter().map(|&v| f64::from(v)).collect() };
        let (shape, x) = &values[node.inputs[0]];
        let y = match &node.op {
            Op::Linear(l) => {
                let bias = if l.bias { tensor("bias") } else { vec![0.0; l.outputs] };
                let shape = if shape.len() == 3 { shape.clone() } else { vec![l.inputs, 1, 1] };
                convolve((&shape, x), &tensor("weight"), [l.outputs, l.inputs, 1, 1], &bias, &Window::square(1, 1, 0), 1)
            }
            Op::Conv2d(c) => {
                let bias = if c.bias { tensor("bias") } else { vec![0.0; c.outputs] };
                convolve((shape, x), &tensor("weight"), c.weight_shape(), &bias, &c.window, c.groups)
            }
            Op::BatchNorm(n) => {
                let [gamma, beta, mean, var] = ["weight", "bias", "running_mean", "running_var"].map(tensor);
                let each = x.len() / n.channels;
                let normal = |c: usize, v: f64| gamma[c] * (v - mean[c]) / (var[c] + f64::from(n.eps)).sqrt() + beta[c];
                x.iter().enumerate().map(|(i, &v)| normal(i / each, v)).collect()
            }
            Op::Activation(a) => x.iter().map(|&v| a.of(v)).collect(),
            Op::MaxPool(w) => pool((shape, x), w, PoolKind::Max),
            Op::AvgPool { window, count_include_pad: true } => pool((shape, x), window, PoolKind::AverageWithPadding),
            Op::AvgPool { window, count_include_pad: false } => pool((shape, x), window, PoolKind::Average),
            Op::GlobalAvgPool => mean(shape, x),
            Op::Add => x.iter().zip(&values[node.inputs[1]].1).map(|(a, b)| a + b).collect(),
            Op::ShortcutA(s) => {
                let zeros: Image = (shapes[at + 1].clone(), vec![0.0; shapes[at + 1].iter().product()]);
                add_residual(zeros, (shape, x), s.stride, s.offset())
            }
            Op::Flatten => x.clone(),
            Op::Affine { channels } => {
                let (k, t, each) = (tensor("weight"), tensor("bias"), x.len() / channels);
                x.iter().enumerate().map(|(i, &v)| k[i / each] * v + t[i / each]).collect()
            }
            Op::Concat => node.inputs.iter().flat_map(|&v| values[v].1.clone()).collect(),
            Op::Softmax { log } => softmax(shape, x, *log),
            Op::Rearrange(r) => r.places().into_iter().map(|p| x[p]).collect(),
            Op::Multiply => multiplied(x, &values[node.inputs[1]].1).collect(),
            Op::LayerNorm { eps, .. } => layer_norm(shape, x, &tensor("weight"), &tensor("bias"), f64::from(*eps)),
            Op::Attention(a) => attention(&node.inputs.iter().map(|&v| &values[v]).collect::<Vec<_>>(), a),
            Op::Embed(e) => embed(shape, x, &e.table(|name| Ok::<_, ()>(params[name].data().to_vec())).unwrap()),
        };
        values.push((shapes[at + 1].clone(), y));
    }
    values.pop().unwrap().1
}

/// The output of a folded network for one sample of shape `input`.
pub(super) fn run_folded(layers: &[FoldedLayer], input: &[usize], x: &[f64]) -> Vec<f64> {
    let mut values: Vec<Image> = vec![(input.to_vec(), x.to_vec())];
    for layer in layers {
        let (shape, x) = &values[layer.inputs[0]];
        let second = || layer.inputs.get(1).map(|&v| &values[v]).unwrap();
        let value = match &layer.op {
            FoldedOp::Weighted(w) => weighted(w, shape, x, layer.inputs.get(1).map(|&v| &values[v])),
            FoldedOp::Pool(kind, w) => {
                let size = |n: [u32; 2]| n.map(|d| d as usize);
                let window = Window {
                    kernel: size(w.kernel),
                    stride: size(w.stride),
                    padding: w.padding.map(|d| d as usize),
                    dilation: size(w.dilation),
                };
                let [height, width] = window.output_size([shape[1], shape[2]]).unwrap();
                (vec![shape[0], height, width], pool((shape, x), &window, *kind))
            }
            FoldedOp::GlobalAveragePool => (vec![shape[0]], mean(shape, x)),
            FoldedOp::Add(Residual { stride, offset }, activation) => {
                let (s, r) = second();
                let sum = add_residual((shape.clone(), x.clone()), (s, r), *stride as usize, *offset as usize);
                (shape.clone(), sum.into_iter().map(|v| fused(*activation, v)).collect())
            }
            FoldedOp::Activate(a) => (shape.clone(), x.iter().map(|&v| fused(*a, v)).collect()),
            FoldedOp::Affine(Affine { scale, shift, activation }) => {
                let each = x.len() / scale.len();
                (shape.clone(), x.iter().enumerate().map(|(i, &v)| fused(*activation, scale[i / each] * v + shift[i / each])).collect())
            }
            FoldedOp::Concat(activation) => {
                let (s, r) = second();
                let joined = [&[shape[0] + s[0]], &shape[1..]].concat();
                (joined, x.iter().chain(r).map(|&v| fused(*activation, v)).collect())
            }
            FoldedOp::Softmax { log } => (shape.clone(), softmax(shape, x, *log)),
            FoldedOp::Rearrange(r) => (r.shape.clone(), r.places().into_iter().map(|p| x[p]).collect()),
            FoldedOp::LayerNorm(n) => {
                let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
                (shape.clone(), layer_norm(shape, x, &wide(&n.scale), &wide(&n.shift), f64::from(n.eps)))
            }
            FoldedOp::Attention(a) => {
                let inputs: Vec<&Image> = layer.inputs.iter().map(|&v| &values[v]).collect();
                let channels = if inputs.len() == 1 { shape[0] / 3 } else { shape[0] };
                (vec![channels, shape[1], shape[2]], attention(&inputs, a))
            }
            FoldedOp::Embed(Table { table, .. }) => {
                let tokens = table.len() / shape[0];
                let same = tokens == shape[1] * shape[2];
                (if same { shape.clone() } else { vec![shape[0], tokens, 1] }, embed(shape, x, table))
            }
            FoldedOp::Multiply(activation) => (shape.clone(), multiplied(x, &second().1).map(|v| fused(*activation, v)).collect()),
        };
        values.push(value);
    }
    values.pop().unwrap().1
}

fn layer_norm(shape: &[usize], x: &[f64], scale: &[f64], shift: &[f64], eps: f64) -> Vec<f64> {
    let (channels, pixels) = (shape[0], shape[1..].iter().product::<usize>());
    let mean = |at: usize, f: &dyn Fn(f64) -> f64| (0..channels).map(|c| f(x[c * pixels + at])).sum::<f64>() / channels as f64;
    let one = |i: usize| {
        let (c, at) = (i / pixels, i % pixels);
        let m = mean(at, &|v| v);
        (x[i] - m) / (mean(at, &|v| (v - m).powi(2)) + eps).sqrt() * scale[c] + shift[c]
    };
    (0..x.len()).map(one).collect()
}

fn attention(inputs: &[&Image], a: &Attention) -> Vec<f64> {
    let inner = if inputs.len() == 1 { inputs[0].0[0] / 3 } else { inputs[0].0[0] };
    let pixels = |which: usize| inputs[which.min(inputs.len() - 1)].0[1..].iter().product::<usize>();
    let at = |which: usize, c: usize, pixel: usize| {
        let c = if inputs.len() == 1 { which * inner + c } else { c };
        inputs[which.min(inputs.len() - 1)].1[c * pixels(which) + pixel]
    };
    let size = inner / a.heads;
    let one = |i: usize| {
        let (c, query) = (i / pixels(0), i % pixels(0));
        let head = c / size * size..(c / size + 1) * size;
        let score = |key: usize| f64::from(a.scale) * head.clone().map(|c| at(0, c, query) * at(1, c, key)).sum::<f64>();
        let scores: Vec<f64> = (0..pixels(1)).map(score).collect();
        let powers: Vec<f64> = scores.iter().map(|s| (s - largest(&scores)).exp()).collect();
        powers.iter().enumerate().map(|(key, p)| p * at(2, c, key)).sum::<f64>() / powers.iter().sum::<f64>()
    };
    (0..inner * pixels(0)).map(one).collect()
}

fn embed(shape: &[usize], x: &[f64], table: &[f32]) -> Vec<f64> {
    let (channels, pixels) = (shape[0], shape[1] * shape[2]);
    let tokens = table.len() / channels;
    let one = |i: usize| {
        let (c, token) = (i / tokens, i % tokens);
        f64::from(table[token * channels + c]) + (token + pixels).checked_sub(tokens).map_or(0.0, |p| x[c * pixels + p])
    };
    (0..table.len()).map(one).collect()
}

fn weighted(w: &Weighted, shape: &[usize], x: &[f64], second: Option<&Image>) -> Image {
    let k = w.kernel;
    let weight: Vec<f64> = w.folded_weight().into_iter().map(f64::from).collect();
    let bias = w.bias.as_ref().map_or(vec![0.0; k.outputs], |b| b.iter().map(|&v| f64::from(v)).collect());
    let kernel = [k.outputs, k.inputs, k.height, k.width];
    let (shape, mut y) = match &w.window {
        None => (vec![k.outputs], convolve((&[k.inputs, 1, 1], x), &weight, kernel, &bias, &Window::square(1, 1, 0), 1)),
        Some(v) => {
            let window = Window {
                kernel: [k.height, k.width],
                stride: v.stride.map(|d| d as usize),
                padding: v.padding.map(|d| d as usize),
                dilation: v.dilation.map(|d| d as usize),
            };
            assert_eq!([shape[1], shape[2]], w.input_size);
            let [height, width] = w.output_size;
            (vec![k.outputs, height, width], convolve((shape, x), &weight, kernel, &bias, &window, w.groups))
        }
    };
    if let Some(r) = w.residual {
        let (s, r_values) = second.unwrap();
        y = add_residual((shape.clone(), y), (s, r_values), r.stride as usize, r.offset as usize);
    }
    (shape, y.into_iter().map(|v| fused(w.activation, v)).collect())
}

/// x by as many factors, or by one a channel.
fn multiplied(x: &[f64], by: &[f64]) -> impl Iterator<Item = f64> {
    let each = x.len() / by.len();
    x.iter().enumerate().map(move |(i, v)| v * by[i / each])
}

/// Softmax over the first axis, or its logarithm.
fn softmax(shape: &[usize], x: &[f64], log: bool) -> Vec<f64> {
    let positions: usize = shape[1..].iter().product();
    let one = |(i, v): (usize, &f64)| {
        let column: Vec<f64> = (0..shape[0]).map(|c| x[c * positions + i % positions]).collect();
        let (v, sum) = (v - largest(&column), column.iter().map(|x| (x - largest(&column)).exp()).sum::<f64>());
        if log { v - sum.ln() } else { v.exp() / sum }
    };
    x.iter().enumerate().map(one).collect()
}

/// What is taken off before powers are, so that none is beyond an f64.
fn largest(x: &[f64]) -> f64 {
    x.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Indices of the input under one output position on one axis; `None` in the padding.
fn taps(out: usize, window: &Window, axis: usize, size: usize) -> impl Iterator<Item = Option<usize>> {
    let (start, dilation, padding) = (out * window.stride[axis], window.dilation[axis], window.padding[axis]);
    (0..window.kernel[axis]).map(move |k| (start + k * dilation).checked_sub(padding).filter(|&i| i < size))
}

fn convolve(
    (shape, x): (&[usize], &[f64]),
    weight: &[f64],
    [outputs, inputs, kh, kw]: [usize; 4],
    bias: &[f64],
    window: &Window,
    groups: usize,
) -> Vec<f64> {
    let [height, width] = window.output_size([shape[1], shape[2]]).unwrap();
    let mut y = Vec::with_capacity(outputs * height * width);
    for o in 0..outputs {
        let first = o / (outputs / groups) * inputs;
        for (i, j) in (0..height * width).map(|p| (p / width, p % width)) {
            let mut sum = bias[o];
            for c in 0..inputs {
                for (a, row) in taps(i, window, 0, shape[1]).enumerate() {
                    for (b, column) in taps(j, window, 1, shape[2]).enumerate() {
                        if let (Some(row), Some(column)) = (row, column) {
                            sum += weight[((o * inputs + c) * kh + a) * kw + b] * x[((first + c) * shape[1] + row) * shape[2] + column];
                        }
                    }
                }
            }
            y.push(sum);
        }
    }
    y
}

fn pool((shape, x): (&[usize], &[f64]), window: &Window, kind: PoolKind) -> Vec<f64> {
    let [height, width] = window.output_size([shape[1], shape[2]]).unwrap();
    let mut y = Vec::new();
    for c in 0..shape[0] {
        for (i, j) in (0..height * width).map(|p| (p / width, p % width)) {
            let under: Vec<f64> = taps(i, window, 0, shape[1])
                .flatten()
                .flat_map(|row| taps(j, window, 1, shape[2]).flatten().map(move |column| (row, column)))
                .map(|(row, column)| x[(c * shape[1] + row) * shape[2] + column])
                .collect();
            let sum: f64 = under.iter().sum();
            y.push(match kind {
                PoolKind::Max => under.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                PoolKind::Average => sum / under.len() as f64,
                PoolKind::AverageWithPadding => sum / (window.kernel[0] * window.kernel[1]) as f64,
            });
        }
    }
    y
}

fn mean(shape: &[usize], x: &[f64]) -> Vec<f64> {
    x.chunks(x.len() / shape[0]).map(|c| c.iter().sum::<f64>() / c.len() as f64).collect()
}

/// y[c, i, j] += r[c − offset, i·stride, j·stride].
fn add_residual((shape, mut y): Image, (from, r): (&[usize], &[f64]), stride: usize, offset: usize) -> Vec<f64> {
    let size = |s: &[usize]| [s.get(1).copied().unwrap_or(1), s.get(2).copied().unwrap_or(1)];
    let ([height, width], [rows, columns]) = (size(&shape), size(from));
    for (at, y) in y.iter_mut().enumerate() {
        let (c, i, j) = (at / (height * width), at / width % height, at % width);
        if let Some(c) = c.checked_sub(offset).filter(|&c| c < from[0]) {
            *y += r[(c * rows + i * stride) * columns + j * stride];
        }
    }
    y
}

fn fused(a: Fused, x: f64) -> f64 {
    super::activation::unfused(a).map_or(x, |a| a.of(x))
}
