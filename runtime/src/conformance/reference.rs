//! The network in f64, with how far an f32 executor may be from it.

use super::{functions, transformer};
use crate::artifact::{Artifact, Op, PoolKind, Residual, TensorId, Weight, Window};

/// Share of Σ|x||w| that summing in f32 may lose in one layer. A rounding is 6e-8 of its partial sum; over a thousand
/// terms the roundings of one sum stay below this by a wide margin, while a lost, doubled or misplaced term of a sum of
/// a thousand drawn ones is far above it.
pub(super) const TOLERANCE: f64 = 1e-6;

/// A value, and how far from it is still right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) value: f64,
    pub(crate) tolerance: f64,
}

/// The network's output for `input`, [rows, input length].
pub(crate) fn run(artifact: &Artifact, input: &[f32]) -> Vec<Expected> {
    values(artifact, input).pop().unwrap()
}

/// Every value of the network for `input`: the input, then the output of each layer.
pub(crate) fn values(artifact: &Artifact, input: &[f32]) -> Vec<Vec<Expected>> {
    let exact = |x: &f32| Expected { value: f64::from(*x), tolerance: 0.0 };
    let mut values: Vec<Vec<Expected>> = vec![input.iter().map(exact).collect()];
    for (i, layer) in artifact.model().layers.iter().enumerate() {
        let shape = |value: usize| match artifact.shapes()[value][..] {
            [c, h, w] => [c, h, w],
            ref other => [other.iter().product(), 1, 1],
        };
        let (from, to) = (shape(layer.inputs[0] as usize), shape(i + 1));
        let x = &values[layer.inputs[0] as usize];
        let mut y = Vec::new();
        let add = |y: &mut Vec<Expected>, how: Residual| {
            let id = layer.inputs[1] as usize;
            add_residual(y, to, &values[id], shape(id), how);
        };
        match &layer.op {
            Op::Linear { weight, bias, activation } => {
                let flat = [from.iter().product(), 1, 1];
                let point = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
                conv(x, flat, to, &point, 1, &Kernel::new(artifact, weight, [1, 1]), &mut y);
                add_bias(&mut y, to, *bias, artifact);
                functions::apply(*activation, &mut y);
            }
            Op::Conv { window, groups, weight, bias, residual, activation, .. } => {
                let kernel = Kernel::new(artifact, weight, window.kernel.map(|k| k as usize));
                conv(x, from, to, window, *groups as usize, &kernel, &mut y);
                add_bias(&mut y, to, *bias, artifact);
                residual.iter().for_each(|r| add(&mut y, *r));
                functions::apply(*activation, &mut y);
            }
            Op::Pool { kind, window } => pool(x, from, to, window, *kind, &mut y),
            Op::GlobalAveragePool => y.extend(x.chunks_exact(from[1] * from[2]).map(|c| mean(c, c.len()))),
            Op::Add { residual, activation } => {
                y.clone_from(x);
                add(&mut y, *residual);
                functions::apply(*activation, &mut y);
            }
            Op::Activate(activation) => {
                y.clone_from(x);
                functions::apply(*activation, &mut y);
            }
            Op::Affine { scale, shift, activation } => {
                let (k, t) = (artifact.tensor(*scale), artifact.tensor(*shift));
                let pixels = to[1] * to[2];
                y.extend(x.iter().enumerate().map(|(i, x)| {
                    let (k, t) = (f64::from(k[i / pixels % to[0]]), f64::from(t[i / pixels % to[0]]));
                    let value = k * x.value + t;
                    Expected { value, tolerance: k.abs() * x.tolerance + TOLERANCE * ((k * x.value).abs() + t.abs()) }
                }));
                functions::apply(*activation, &mut y);
            }
            Op::Concat { activation } => {
                let second = &values[layer.inputs[1] as usize];
                let (a, b) = (from.iter().product(), shape(layer.inputs[1] as usize).iter().product());
                y.extend(x.chunks_exact(a).zip(second.chunks_exact(b)).flat_map(|(a, b)| a.iter().chain(b).copied()));
                functions::apply(*activation, &mut y);
            }
            Op::Rearrange { offset, steps, .. } => {
                let step = crate::plan::RearrangeStep { offset: *offset, steps: steps.clone() };
                let (inputs, outputs): (usize, usize) = (from.iter().product(), to.iter().product());
                y.extend(x.chunks_exact(inputs).flat_map(|x| (0..outputs).map(|n| x[step.source(n)]).collect::<Vec<_>>()));
            }
            Op::Multiply { activation } => {
                let (factors, pixels) = (&values[layer.inputs[1] as usize], to[1] * to[2]);
                let each = if shape(layer.inputs[1] as usize) == to { 1 } else { pixels };
                y.extend(x.iter().enumerate().map(|(i, a)| {
                    let b = factors[i / each];
                    let value = a.value * b.value;
                    let off = a.value.abs() * b.tolerance + b.value.abs() * a.tolerance + a.tolerance * b.tolerance;
                    Expected { value, tolerance: off + TOLERANCE * value.abs() }
                }));
                functions::apply(*activation, &mut y);
            }
            Op::LayerNorm { scale, shift, eps } => {
                let tables = [scale, shift].map(|id| artifact.tensor(*id).iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
                y = transformer::layer_norm(x, to, &tables, f64::from(*eps));
            }
            Op::Attention { heads, scale } => {
                let inputs: Vec<_> = layer.inputs.iter().map(|&v| (&values[v as usize][..], shape(v as usize))).collect();
                y = transformer::attention(&inputs, to, *heads as usize, f64::from(*scale));
            }
            Op::Embed { table } => y = transformer::embed(x, from, to, &artifact.tensor(*table)),
            Op::Softmax { log } => {
                let (channels, pixels) = (to[0], to[1] * to[2]);
                y = x.clone();
                y.chunks_exact_mut(channels * pixels).for_each(|image| (0..pixels).for_each(|p| softmax(image, p, pixels, *log)));
            }
        }
        values.push(y);
    }
    values
}

/// Softmax over the channels of pixel `at`; an exponential may be off by as much as its argument is rounded.
fn softmax(image: &mut [Expected], at: usize, pixels: usize, log: bool) {
    let row: Vec<Expected> = image.iter().skip(at).step_by(pixels).copied().collect();
    let largest = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.value));
    let sum: f64 = row.iter().map(|x| (x.value - largest).exp()).sum();
    let off = row.iter().fold(0f64, |m, x| m.max(x.tolerance));
    for (y, x) in image.iter_mut().skip(at).step_by(pixels).zip(&row) {
        let (below, p) = (x.value - largest, (x.value - largest).exp() / sum);
        let tolerance = 2.0 * off + 4.0 * TOLERANCE * (1.0 - below);
        *y = if log { Expected { value: below - sum.ln(), tolerance } } else { Expected { value: p, tolerance: p * tolerance + 1e-7 } };
    }
}

/// A weight multiplied out, [outputs, inputs, kernel], and the same of its factors' magnitudes, times the roundings that
/// as many stages make.
struct Kernel {
    weights: Vec<f64>,
    magnitudes: Vec<f64>,
    stages: f64,
}

/// How a kernel asks for its tensors.
type Get<'a> = &'a dyn Fn(TensorId) -> Vec<f64>;

impl Kernel {
    fn new(artifact: &Artifact, weight: &Weight, [height, width]: [usize; 2]) -> Self {
        let get = |id: TensorId| artifact.tensor(id).iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let axis = |id: TensorId, at: usize| artifact.tensor_shape(id)[at] as usize;
        let taps = height * width;
        let both = |of: &dyn Fn(Get<'_>) -> Vec<f64>, stages| Self {
            weights: of(&get),
            magnitudes: of(&|id| get(id).into_iter().map(f64::abs).collect()),
            stages,
        };
        match *weight {
            Weight::Dense(id) => both(&|get| get(id), 1.0),
            Weight::LowRank { v, u, .. } => {
                let (rank, outputs) = (axis(u, 0), axis(u, 1));
                both(
                    &|get| {
                        let (v, u) = (get(v), get(u));
                        let columns = v.len() / rank;
                        let at = |o: usize, i: usize| (0..rank).map(|r| u[r * outputs + o] * v[r * columns + i]).sum();
                        (0..outputs * columns).map(|at_| at(at_ / columns, at_ % columns)).collect()
                    },
                    2.0,
                )
            }
            Weight::Spatial { v, u, .. } => {
                let (rank, outputs, inputs) = (axis(u, 0), axis(u, 1), axis(v, 1));
                both(
                    &|get| {
                        let (v, u) = (get(v), get(u));
                        let at = |o: usize, i: usize, t: usize| -> f64 {
                            let (y, x) = (t / width, t % width);
                            (0..rank).map(|r| u[(r * outputs + o) * width + x] * v[(r * inputs + i) * height + y]).sum()
                        };
                        (0..outputs * inputs * taps).map(|n| at(n / taps / inputs, n / taps % inputs, n % taps)).collect()
                    },
                    2.0,
                )
            }
            Weight::Tucker2 { a, core, b, .. } => {
                let (p, q, inputs, outputs) = (axis(core, 0), axis(core, 1), axis(a, 1), axis(b, 1));
                both(
                    &|get| {
                        let (a, core, b) = (get(a), get(core), get(b));
                        // [p, inputs, taps] first.
                        let half: Vec<f64> = (0..p * inputs * taps)
                            .map(|n| {
                                let (k, i, t) = (n / taps / inputs, n / taps % inputs, n % taps);
                                (0..q).map(|j| core[(k * q + j) * taps + t] * a[j * inputs + i]).sum()
                            })
                            .collect();
                        (0..outputs * inputs * taps)
                            .map(|n| {
                                (0..p).map(|k| b[k * outputs + n / taps / inputs] * half[k * inputs * taps + n % (inputs * taps)]).sum()
                            })
                            .collect()
                    },
                    3.0,
                )
            }
        }
    }
}

/// The input's index under tap (ky, kx) of output (y, x), or nothing outside.
fn tap(window: &Window, [_, height, width]: [usize; 3], at: [usize; 2], k: [usize; 2]) -> Option<usize> {
    let place = |axis: usize, len: usize| {
        let from_start = at[axis] * window.stride[axis] as usize + k[axis] * window.dilation[axis] as usize;
        from_start.checked_sub(window.padding[axis] as usize).filter(|&i| i < len)
    };
    Some(place(0, height)? * width + place(1, width)?)
}

fn conv(x: &[Expected], from: [usize; 3], to: [usize; 3], window: &Window, groups: usize, kernel: &Kernel, y: &mut Vec<Expected>) {
    let (inputs, outputs) = (from[0] / groups, to[0] / groups);
    let [kh, kw] = window.kernel.map(|k| k as usize);
    let plane = from[1] * from[2];
    for sample in x.chunks_exact(from.iter().product()) {
        for o in 0..to[0] {
            for at in 0..to[1] * to[2] {
                let mut sum = Expected::default();
                for t in 0..kh * kw {
                    let Some(place) = tap(window, from, [at / to[2], at % to[2]], [t / kw, t % kw]) else { continue };
                    for i in 0..inputs {
                        let x = sample[(o / outputs * inputs + i) * plane + place];
                        let n = (o * inputs + i) * kh * kw + t;
                        sum.value += x.value * kernel.weights[n];
                        sum.tolerance += (x.tolerance + kernel.stages * TOLERANCE * x.value.abs()) * kernel.magnitudes[n];
                    }
                }
                y.push(sum);
            }
        }
    }
}

fn add_bias(y: &mut [Expected], [channels, height, width]: [usize; 3], bias: Option<TensorId>, artifact: &Artifact) {
    let Some(id) = bias else { return };
    let bias = artifact.tensor(id);
    for (plane, b) in y.chunks_exact_mut(height * width).zip(bias.iter().cycle()) {
        for y in plane {
            y.value += f64::from(*b);
            y.tolerance += TOLERANCE * f64::from(b.abs());
        }
    }
    assert_eq!(bias.len(), channels);
}

fn add_residual(y: &mut [Expected], to: [usize; 3], r: &[Expected], from: [usize; 3], how: Residual) {
    let (stride, offset) = (how.stride as usize, how.offset as usize);
    for (sample, r) in y.chunks_exact_mut(to.iter().product()).zip(r.chunks_exact(from.iter().product())) {
        for c in 0..from[0] {
            for i in 0..to[1] {
                for j in 0..to[2] {
                    let r = r[(c * from[1] + i * stride) * from[2] + j * stride];
                    let y = &mut sample[((c + offset) * to[1] + i) * to[2] + j];
                    y.value += r.value;
                    y.tolerance += r.tolerance + TOLERANCE * r.value.abs();
                }
            }
        }
    }
}

fn pool(x: &[Expected], from: [usize; 3], to: [usize; 3], window: &Window, kind: PoolKind, y: &mut Vec<Expected>) {
    let [kh, kw] = window.kernel.map(|k| k as usize);
    for plane in x.chunks_exact(from[1] * from[2]) {
        for at in 0..to[1] * to[2] {
            let taps = (0..kh * kw).filter_map(|t| tap(window, from, [at / to[2], at % to[2]], [t / kw, t % kw]));
            let found: Vec<Expected> = taps.map(|i| plane[i]).collect();
            y.push(match kind {
                PoolKind::Max => Expected {
                    value: found.iter().fold(f64::NEG_INFINITY, |m, e| m.max(e.value)),
                    tolerance: found.iter().fold(0.0, |m, e| m.max(e.tolerance)),
                },
                PoolKind::Average => mean(&found, found.len()),
                PoolKind::AverageWithPadding => mean(&found, kh * kw),
            });
        }
    }
}

fn mean(values: &[Expected], count: usize) -> Expected {
    let sum = |of: &dyn Fn(&Expected) -> f64| values.iter().map(of).sum::<f64>() / count as f64;
    Expected { value: sum(&|e| e.value), tolerance: sum(&|e| e.tolerance + TOLERANCE * e.value.abs()) }
}

/// The first value that is too far off, as a message.
pub(crate) fn compare(expected: &[Expected], got: &[f32], outputs: usize) -> Result<(), String> {
    assert_eq!(expected.len(), got.len());
    for (i, (e, &g)) in expected.iter().zip(got).enumerate() {
        let off = (f64::from(g) - e.value).abs();
        if off.is_nan() || off > e.tolerance + f64::from(f32::MIN_POSITIVE) {
            return Err(format!("row {}, output {}: {g}, expected {} ± {:.1e}", i / outputs, i % outputs, e.value, e.tolerance));
        }
    }
    Ok(())
}
