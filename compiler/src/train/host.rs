//! A graph in plain f64 loops on the host: what the tests hold the trainer against.

use std::collections::BTreeMap;

use super::network::Mode;
use crate::graph::{Attention, Conv2d, Embed, Graph, Op, Positions, Window};

pub(super) type Matrix = Vec<Vec<f64>>;

/// Parameters by name; weights unfolded, row-major.
pub(super) type Values = BTreeMap<String, Vec<f64>>;

/// One sample of an image with its shape.
struct Image<'a> {
    data: &'a [f64],
    shape: [usize; 3],
}

impl Image<'_> {
    /// The element at a place that may lie outside.
    fn at(&self, c: usize, y: isize, x: isize) -> Option<f64> {
        let [_, height, width] = self.shape;
        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        inside.then(|| self.data[(c * height + y as usize) * width + x as usize])
    }

    /// What a window sees at (y, x) of channel c, tap by tap; `None` in the padding.
    fn under<'b>(&'b self, w: &'b Window, c: usize, y: usize, x: usize) -> impl Iterator<Item = Option<f64>> + 'b {
        let place = |axis: usize, at: usize, tap: usize| (at * w.stride[axis] + tap * w.dilation[axis]) as isize - w.padding[axis] as isize;
        let taps = (0..w.kernel[0]).flat_map(move |ky| (0..w.kernel[1]).map(move |kx| (ky, kx)));
        taps.map(move |(ky, kx)| self.at(c, place(0, y, ky), place(1, x, kx)))
    }
}

fn image<'a>(data: &'a [f64], shape: &[usize]) -> Image<'a> {
    Image { data, shape: [shape[0], shape[1], shape[2]] }
}

/// `f(channel, y, x)` for every element of `shape`.
fn each(shape: &[usize], f: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let (h, w) = (shape[1], shape[2]);
    (0..shape[0] * h * w).map(|i| f(i / (h * w), i / w % h, i % w)).collect()
}

fn conv(image: &Image<'_>, c: &Conv2d, weight: &[f64], bias: &[f64], output: &[usize]) -> Vec<f64> {
    let (inputs, taps) = (c.inputs / c.groups, c.window.kernel[0] * c.window.kernel[1]);
    each(output, |o, y, x| {
        let first = o / (c.outputs / c.groups) * inputs;
        let channel = |i: usize| {
            let w = &weight[(o * inputs + i) * taps..][..taps];
            image.under(&c.window, first + i, y, x).zip(w).map(|(v, w)| v.unwrap_or(0.0) * w).sum::<f64>()
        };
        (0..inputs).map(channel).sum::<f64>() + bias.get(o).copied().unwrap_or(0.0)
    })
}

/// The table of class token and positions, [tokens][channels].
fn embedding(e: &Embed, params: &Values) -> Vec<f64> {
    let mut table: Vec<f64> = e.fixed().into_iter().map(f64::from).collect();
    let learned = if let Positions::Learned(name) = &e.positions { Some(name) } else { None };
    for name in learned.into_iter().chain(&e.class) {
        table.iter_mut().zip(&params[name]).for_each(|(t, v)| *t += v);
    }
    table
}

/// Attention of one sample, by its definition.
fn attention(read: &[(&Matrix, &Vec<usize>)], sample: usize, a: &Attention, to: &[usize]) -> Vec<f64> {
    let (inner, queries) = (to[0], to[1] * to[2]);
    let keys = read[read.len() / 2].1[1] * read[read.len() / 2].1[2];
    let at = |which: usize, c: usize, pixel: usize| match read {
        [(all, _)] => all[sample][(which * inner + c) * queries + pixel],
        _ => read[which].0[sample][c * if which == 0 { queries } else { keys } + pixel],
    };
    let size = inner / a.heads;
    let one = |n: usize| {
        let (c, query) = (n / queries, n % queries);
        let head = c / size * size..(c / size + 1) * size;
        let power = |key: usize| (f64::from(a.scale) * head.clone().map(|c| at(0, c, query) * at(1, c, key)).sum::<f64>()).exp();
        let powers: Vec<f64> = (0..keys).map(power).collect();
        powers.iter().enumerate().map(|(key, p)| p * at(2, c, key)).sum::<f64>() / powers.iter().sum::<f64>()
    };
    (0..inner * queries).map(one).collect()
}

/// The logits for the samples `input`, each flattened.
pub(super) fn forward(graph: &Graph, params: &Values, input: &Matrix, mode: Mode) -> Matrix {
    let shapes = graph.shapes().unwrap();
    let mut values = vec![input.clone()];
    for (at, node) in graph.nodes.iter().enumerate() {
        let p = |suffix: &str| params.get(&format!("{}.{suffix}", node.name)).cloned().unwrap_or_default();
        let (x, from, to) = (&values[node.inputs[0]], &shapes[node.inputs[0]], &shapes[at + 1]);
        let y: Matrix = match &node.op {
            Op::Linear(linear) if from.len() == 3 => {
                let (w, b, pixels) = (p("weight"), p("bias"), from[1] * from[2]);
                let dot = |x: &Vec<f64>, o: usize, at: usize| {
                    (0..linear.inputs).map(|i| w[o * linear.inputs + i] * x[i * pixels + at]).sum::<f64>()
                        + b.get(o).copied().unwrap_or(0.0)
                };
                x.iter().map(|x| (0..linear.outputs * pixels).map(|n| dot(x, n / pixels, n % pixels)).collect()).collect()
            }
            Op::LayerNorm { channels, eps } => {
                let (k, t, pixels) = (p("weight"), p("bias"), x[0].len() / channels);
                let one = |s: &Vec<f64>| {
                    let mean =
                        |at: usize, f: &dyn Fn(f64) -> f64| (0..*channels).map(|c| f(s[c * pixels + at])).sum::<f64>() / *channels as f64;
                    let normal = |n: usize| {
                        let (c, at) = (n / pixels, n % pixels);
                        let m = mean(at, &|v| v);
                        (s[n] - m) / (mean(at, &|v| (v - m).powi(2)) + f64::from(*eps)).sqrt() * k[c] + t[c]
                    };
                    (0..s.len()).map(normal).collect()
                };
                x.iter().map(one).collect()
            }
            Op::Attention(a) => {
                let read: Vec<_> = node.inputs.iter().map(|&v| (&values[v], &shapes[v])).collect();
                (0..x.len()).map(|sample| attention(&read, sample, a, to)).collect()
            }
            Op::Embed(e) => {
                let table = embedding(e, params);
                let (tokens, pixels) = (e.tokens(), e.pixels);
                let one = |s: &Vec<f64>| {
                    let at = |n: usize| {
                        let (c, token) = (n / tokens, n % tokens);
                        table[token * e.channels + c] + token.checked_sub(e.first).map_or(0.0, |pixel| s[c * pixels + pixel])
                    };
                    (0..tokens * e.channels).map(at).collect()
                };
                x.iter().map(one).collect()
            }
            Op::Linear(linear) => {
                let (w, b) = (p("weight"), p("bias"));
                let dot = |x: &Vec<f64>, o: usize| x.iter().zip(&w[o * linear.inputs..]).map(|(a, b)| a * b).sum::<f64>();
                x.iter().map(|x| (0..linear.outputs).map(|o| dot(x, o) + b.get(o).copied().unwrap_or(0.0)).collect()).collect()
            }
            Op::Conv2d(c) => x.iter().map(|x| conv(&image(x, from), c, &p("weight"), &p("bias"), to)).collect(),
            Op::BatchNorm(norm) => {
                let pixels = x[0].len() / norm.channels;
                let channel = |c: usize| x.iter().flat_map(move |s| s[c * pixels..(c + 1) * pixels].iter().copied());
                let count = (x.len() * pixels) as f64;
                let statistics: Vec<(f64, f64)> = (0..norm.channels)
                    .map(|c| match mode {
                        Mode::Eval => (p("running_mean")[c], p("running_var")[c]),
                        Mode::Train => {
                            let mean = channel(c).sum::<f64>() / count;
                            (mean, channel(c).map(|v| (v - mean).powi(2)).sum::<f64>() / count)
                        }
                    })
                    .collect();
                let (scale, shift) = (p("weight"), p("bias"));
                let one = |i: usize, v: f64| {
                    let c = i / pixels;
                    (v - statistics[c].0) / (statistics[c].1 + f64::from(norm.eps)).sqrt() * scale[c] + shift[c]
                };
                x.iter().map(|s| s.iter().enumerate().map(|(i, &v)| one(i, v)).collect()).collect()
            }
            Op::Activation(f) => x.iter().map(|s| s.iter().map(|&v| f.of(v)).collect()).collect(),
            Op::MaxPool(w) => {
                let one = |s: &Vec<f64>| {
                    let image = image(s, from);
                    each(to, |c, y, x| image.under(w, c, y, x).flatten().fold(f64::NEG_INFINITY, f64::max))
                };
                x.iter().map(one).collect()
            }
            Op::AvgPool { window: w, count_include_pad } => {
                let one = |s: &Vec<f64>| {
                    let image = image(s, from);
                    each(to, |c, y, x| {
                        let seen: Vec<f64> = image.under(w, c, y, x).flatten().collect();
                        let count = if *count_include_pad { w.kernel[0] * w.kernel[1] } else { seen.len() };
                        seen.iter().sum::<f64>() / count as f64
                    })
                };
                x.iter().map(one).collect()
            }
            Op::GlobalAvgPool => {
                let pixels = from[1] * from[2];
                x.iter().map(|s| s.chunks(pixels).map(|c| c.iter().sum::<f64>() / pixels as f64).collect()).collect()
            }
            Op::Add => x.iter().zip(&values[node.inputs[1]]).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect(),
            Op::ShortcutA(s) => {
                let one = |sample: &Vec<f64>| {
                    let image = image(sample, from);
                    each(to, |c, y, x| match c.checked_sub(s.offset()).filter(|&c| c < s.inputs) {
                        Some(c) => image.at(c, (y * s.stride) as isize, (x * s.stride) as isize).unwrap(),
                        None => 0.0,
                    })
                };
                x.iter().map(one).collect()
            }
            Op::Flatten => x.clone(),
            Op::Affine { channels } => {
                let (k, t) = (p("weight"), p("bias"));
                let one = |s: &Vec<f64>| {
                    s.iter()
                        .enumerate()
                        .map(|(i, v)| {
                            let c = i / (s.len() / channels);
                            k[c] * v + t[c]
                        })
                        .collect()
                };
                x.iter().map(one).collect()
            }
            Op::Concat => (0..x.len()).map(|s| node.inputs.iter().flat_map(|&v| values[v][s].clone()).collect()).collect(),
            Op::Rearrange(r) => x.iter().map(|s| r.places().into_iter().map(|p| s[p]).collect()).collect(),
            Op::Multiply => {
                let (second, each) = (&values[node.inputs[1]], x[0].len() / values[node.inputs[1]][0].len());
                x.iter().zip(second).map(|(a, b)| a.iter().enumerate().map(|(i, v)| v * b[i / each]).collect()).collect()
            }
            // The network's output stays logits.
            Op::Softmax { .. } if at + 1 == graph.nodes.len() => x.clone(),
            Op::Softmax { log } => {
                let pixels: usize = from[1..].iter().product();
                let one = |s: &Vec<f64>| {
                    let sum = |i: usize| s.iter().skip(i % pixels).step_by(pixels).map(|v| v.exp()).sum::<f64>();
                    s.iter().enumerate().map(|(i, v)| if *log { v - sum(i).ln() } else { v.exp() / sum(i) }).collect()
                };
                x.iter().map(one).collect()
            }
        };
        values.push(y);
    }
    values.pop().unwrap()
}

/// Mean cross entropy with smoothing.
pub(super) fn loss(logits: &Matrix, labels: &[u16], smoothing: f64) -> f64 {
    let one = |row: &Vec<f64>, label: u16| {
        let z = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        let mean = row.iter().map(|x| z - x).sum::<f64>() / row.len() as f64;
        (1.0 - smoothing) * (z - row[usize::from(label)]) + smoothing * mean
    };
    logits.iter().zip(labels).map(|(row, &l)| one(row, l)).sum::<f64>() / labels.len() as f64
}

/// The product of row-major matrices with `inner` columns and rows.
pub(super) fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let columns = b.len() / inner;
    let row =
        |row: &[f64]| -> Vec<f64> { (0..columns).map(|j| row.iter().enumerate().map(|(k, x)| x * b[k * columns + j]).sum()).collect() };
    a.chunks(inner).flat_map(row).collect()
}
