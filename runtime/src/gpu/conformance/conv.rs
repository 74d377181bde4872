//! Every variant of the convolutions' kernels, and the other ops over images, against f64 on poisoned buffers.

use super::gpus;
use crate::artifact::{Activation, Artifact, Layer, Model, Op, PoolKind, Residual, TensorData, Weight, Window};
use crate::conformance::cases::Draw;
use crate::gpu::{Executor, Gpu};
use crate::plan::{Form, Plan};

/// One convolution of an image; a residual is the image itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) image: [usize; 3],
    pub(super) outputs: usize,
    pub(super) window: Window,
    pub(super) groups: usize,
    pub(super) rank: Option<usize>,
    pub(super) residual: Option<Residual>,
    pub(super) activation: Activation,
    pub(super) batch: usize,
}

pub(super) fn window(kernel: [u32; 2], stride: u32, padding: u32, dilation: u32) -> Window {
    Window { kernel, stride: [stride; 2], padding: [padding; 4], dilation: [dilation; 2] }
}

/// A value and the sum of the magnitudes that it came from.
type Sum = (f64, f64);

impl Case {
    /// 3×3 over 12×9 pixels with padding, dense, with bias and ReLU.
    pub(super) fn plain(inputs: usize, outputs: usize) -> Self {
        Self {
            image: [inputs, 12, 9],
            outputs,
            window: window([3, 3], 1, 1, 1),
            groups: 1,
            rank: None,
            residual: None,
            activation: Activation::Relu,
            batch: 3,
        }
    }

    fn weights(&self) -> Vec<TensorData> {
        let mut draw = Draw::new(self.outputs as u64);
        let [kh, kw] = self.window.kernel.map(|n| n as usize);
        let inputs = self.image[0] / self.groups;
        let mut tensor = |name: &str, shape: &[usize]| TensorData::f32(name, shape, draw.values(shape.iter().product()));
        match self.rank {
            None => vec![tensor("bias", &[self.outputs]), tensor("weight", &[self.outputs, inputs, kh, kw])],
            Some(rank) => vec![
                tensor("bias", &[self.outputs]),
                tensor("v", &[rank, inputs, kh, kw]),
                tensor("u", &[rank, self.outputs]),
                TensorData::f32("sigma", &[rank], vec![1.0; rank]),
            ],
        }
    }

    pub(super) fn artifact(&self) -> Artifact {
        let weight = match self.rank {
            None => Weight::Dense(1),
            Some(_) => Weight::LowRank { v: 1, u: 2, sigma: 3, tail_energy: 0.0 },
        };
        let op = Op::Conv {
            window: self.window,
            outputs: self.outputs as u32,
            groups: self.groups as u32,
            weight,
            bias: Some(0),
            residual: self.residual,
            activation: self.activation,
        };
        let inputs = if self.residual.is_some() { vec![0, 0] } else { vec![0] };
        build(&self.image, vec![Layer { name: "conv".into(), inputs, op }], self.weights())
    }

    fn expected(&self, input: &[f32]) -> Vec<Sum> {
        let weights = self.weights();
        let [_, height, width] = self.image;
        let out = [self.window.output(0, height), self.window.output(1, width)];
        let exact = |x: &f32| (f64::from(*x), f64::from(x.abs()));
        let x: Vec<Sum> = input.iter().map(exact).collect();
        let first = self.rank.unwrap_or(self.outputs);
        let mut y = conv(&x, self.image, first, self.window, self.groups, &weights[1].values);
        if let Some(rank) = self.rank {
            let u = &weights[2].values;
            let turned: Vec<f32> = (0..rank * self.outputs).map(|i| u[i % rank * self.outputs + i / rank]).collect();
            y = conv(&y, [rank, out[0], out[1]], self.outputs, Window::POINT, 1, &turned);
        }
        let pixels = out[0] * out[1];
        for (i, y) in y.iter_mut().enumerate() {
            let (n, c, at) = (i / pixels / self.outputs, i / pixels % self.outputs, i % pixels);
            let mut add = |v: f32| *y = (y.0 + f64::from(v), y.1 + f64::from(v.abs()));
            add(weights[0].values[c]);
            if let Some(Residual { stride, offset }) = self.residual {
                let from = c.wrapping_sub(offset as usize);
                if from < self.image[0] {
                    let (i, j) = (at / out[1] * stride as usize, at % out[1] * stride as usize);
                    add(input[((n * self.image[0] + from) * height + i) * width + j]);
                }
            }
            y.0 = activate(self.activation, y.0);
        }
        y
    }
}

fn build(input: &[usize], layers: Vec<Layer>, tensors: Vec<TensorData>) -> Artifact {
    let model = Model::new("case", &input.iter().map(|&n| n as u32).collect::<Vec<_>>(), layers);
    Artifact::build(model, tensors).unwrap()
}

fn conv(x: &[Sum], [channels, height, width]: [usize; 3], outputs: usize, w: Window, groups: usize, weight: &[f32]) -> Vec<Sum> {
    let [kh, kw] = w.kernel.map(|n| n as usize);
    let inputs = channels / groups;
    let mut y = Vec::new();
    for image in x.chunks_exact(channels * height * width) {
        for o in 0..outputs {
            for at in 0..w.output(0, height) * w.output(1, width) {
                let (i, j) = (at / w.output(1, width), at % w.output(1, width));
                let mut sum = (0.0, 0.0);
                for k in 0..inputs * kh * kw {
                    let (c, p, q) = (o / (outputs / groups) * inputs + k / (kh * kw), k / kw % kh, k % kw);
                    let row = (i * w.stride[0] as usize + p * w.dilation[0] as usize).wrapping_sub(w.padding[0] as usize);
                    let column = (j * w.stride[1] as usize + q * w.dilation[1] as usize).wrapping_sub(w.padding[1] as usize);
                    if row < height && column < width {
                        let (x, w) = (image[(c * height + row) * width + column], f64::from(weight[o * inputs * kh * kw + k]));
                        sum = (sum.0 + x.0 * w, sum.1 + x.1 * w.abs());
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu(slope) => x.max(x * f64::from(slope)),
        other => unreachable!("{other:?} is compared elsewhere"),
    }
}

/// Runs one network twice on poisoned buffers.
pub(super) fn run(gpu: &Gpu, artifact: &Artifact, batch: usize, pick: Option<&'static thinfer_shaders::Kernel>, input: &[f32]) -> Vec<f32> {
    let plan = Plan::new(artifact, batch, |_| Form::Fused).unwrap();
    let mut executor = Executor::with(gpu, artifact, &plan, &|_| pick).unwrap();
    let mut outputs = vec![f32::NAN; batch * artifact.output_len()];
    for _ in 0..2 {
        executor.poison();
        executor.run_one(input, batch, &mut outputs).unwrap();
    }
    if let Some(pick) = pick {
        assert_eq!(executor.kernels(), [[pick.name]]);
    }
    outputs
}

fn check(gpu: &Gpu, case: Case, pick: Option<&'static thinfer_shaders::Kernel>) {
    let input = Draw::new(7).values(case.batch * case.image.iter().product::<usize>());
    let got = run(gpu, &case.artifact(), case.batch, pick, &input);
    let expected = case.expected(&input);
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &(value, magnitude))) in got.iter().zip(&expected).enumerate() {
        let off = (f64::from(got) - value).abs();
        assert!(off <= 1e-6 * magnitude, "{case:?}, {:?}: output {i} is {got}, expected {value}", pick.map(|k| k.name));
    }
}

#[test]
fn every_variant_of_a_convolution_agrees_with_f64() {
    for gpu in gpus() {
        for kernel in ["conv", "lanes"].into_iter().flat_map(|k| gpu.variants(k)) {
            check(&gpu, Case::plain(3, 33), Some(kernel));
            check(&gpu, Case { image: [18, 11, 7], window: window([3, 2], 2, 1, 2), ..Case::plain(18, 70) }, Some(kernel));
            check(&gpu, Case { image: [20, 2, 2], batch: 1, ..Case::plain(20, 40) }, Some(kernel));
        }
        for kernel in ["conv_low_rank", "conv_low_rank_registers", "lanes_low_rank"].into_iter().flat_map(|k| gpu.variants(k)) {
            let most = kernel.define("R4").unwrap_or(0) as usize * 4;
            for rank in [1, most - 3, most] {
                let (outputs, rank) = (67.max(rank), Some(rank));
                check(&gpu, Case { rank, ..Case::plain(29, outputs) }, Some(kernel));
                let case = Case { rank, image: [35, 7, 7], window: window([5, 3], 2, 2, 1), batch: 1, ..Case::plain(35, outputs) };
                check(&gpu, case, Some(kernel));
            }
        }
        for kernel in gpu.variants("depthwise") {
            check(&gpu, Case { groups: 13, ..Case::plain(13, 13) }, Some(kernel));
            check(&gpu, Case { groups: 40, window: window([3, 3], 2, 1, 1), ..Case::plain(40, 40) }, Some(kernel));
        }
    }
}

#[test]
fn groups_of_every_kind_agree_with_f64() {
    for gpu in gpus() {
        for (inputs, outputs, groups) in [(16, 24, 2), (12, 12, 12), (6, 12, 6), (10, 15, 5), (8, 8, 2), (7, 7, 1), (64, 128, 16)] {
            check(&gpu, Case { groups, ..Case::plain(inputs, outputs) }, None);
            check(&gpu, Case { groups, window: Window::POINT, ..Case::plain(inputs, outputs) }, None);
        }
    }
}

#[test]
fn residuals_are_added_before_the_activation() {
    for gpu in gpus() {
        let activation = Activation::LeakyRelu(0.1);
        for (window, rank) in
            [(window([3, 3], 1, 1, 1), None), (Window::POINT, None), (window([3, 3], 1, 1, 1), Some(5)), (Window::POINT, Some(5))]
        {
            for (inputs, outputs, offset) in [(18, 18, 0), (18, 36, 9), (16, 19, 1)] {
                let residual = Some(Residual { stride: 1, offset });
                check(
                    &gpu,
                    Case { residual, activation, rank: rank.map(|r: usize| r.min(outputs)), window, ..Case::plain(inputs, outputs) },
                    None,
                );
            }
        }
        for rank in [None, Some(7)] {
            let residual = Some(Residual { stride: 2, offset: 9 });
            let case = Case { residual, activation, rank, window: window([3, 3], 2, 1, 1), ..Case::plain(18, 36) };
            check(&gpu, case, None);
            check(&gpu, Case { window: Window { kernel: [1, 1], padding: [0; 4], ..case.window }, ..case }, None);
        }
    }
}

#[test]
fn pools_and_means_agree_with_f64() {
    for gpu in gpus() {
        let (channels, height, width, batch) = (6, 9, 7, 2);
        let input = Draw::new(3).values(batch * channels * height * width);
        for (w, kind) in
            [(window([3, 3], 2, 1, 1), PoolKind::Max), (window([2, 2], 2, 0, 1), PoolKind::Max), (window([3, 2], 1, 1, 2), PoolKind::Max)]
                .into_iter()
                .chain([PoolKind::Average, PoolKind::AverageWithPadding].map(|kind| (window([3, 3], 2, 1, 1), kind)))
        {
            let layer = Layer { name: "pool".into(), inputs: vec![0], op: Op::Pool { kind, window: w } };
            let got = run(&gpu, &build(&[channels, height, width], vec![layer], vec![]), batch, None, &input);
            let (rows, columns) = (w.output(0, height), w.output(1, width));
            for (i, got) in got.into_iter().enumerate() {
                let (image, at) = (i / (rows * columns), i % (rows * columns));
                let mut under = Vec::new();
                for tap in 0..w.kernel[0] * w.kernel[1] {
                    let row = at / columns * w.stride[0] as usize + (tap / w.kernel[1] * w.dilation[0]) as usize;
                    let column = at % columns * w.stride[1] as usize + (tap % w.kernel[1] * w.dilation[1]) as usize;
                    let (row, column) = (row.wrapping_sub(w.padding[0] as usize), column.wrapping_sub(w.padding[1] as usize));
                    if row < height && column < width {
                        under.push(input[(image * height + row) * width + column]);
                    }
                }
                let sum = under.iter().sum::<f32>();
                let expected = match kind {
                    PoolKind::Max => under.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                    PoolKind::Average => sum / under.len() as f32,
                    PoolKind::AverageWithPadding => sum / (w.kernel[0] * w.kernel[1]) as f32,
                };
                assert!((got - expected).abs() < 1e-6, "{kind:?}, output {i}: {got}, expected {expected}");
            }
        }
        let layer = Layer { name: "mean".into(), inputs: vec![0], op: Op::GlobalAveragePool };
        let got = run(&gpu, &build(&[channels, height, width], vec![layer], vec![]), batch, None, &input);
        for (x, got) in input.chunks_exact(height * width).zip(got) {
            assert!((x.iter().sum::<f32>() / (height * width) as f32 - got).abs() < 1e-6);
        }
    }
}

/// Every activation at the ends of its range and between, alone and after a sum.
#[test]
fn activations_agree_with_f64() {
    for gpu in gpus() {
        let mut input: Vec<f32> = (-2000..=2000).map(|i| i as f32 / 250.0).collect();
        input.extend([-1e30, -3e5, -100.0, -50.0, -1e-6, 1e-6, 0.0501, 0.0999, 0.1001, 50.0, 100.0, 3e5, 1e30]);
        let hard = |x: f64| (x / 6.0 + 0.5).clamp(0.0, 1.0);
        let gaussian = |x: f64| 0.5 * erfc(-x / 2f64.sqrt());
        let cases: [(Activation, &dyn Fn(f64) -> f64); 19] = [
            (Activation::None, &|x| x),
            (Activation::Relu, &|x| x.max(0.0)),
            (Activation::Relu6, &|x| x.clamp(0.0, 6.0)),
            (Activation::LeakyRelu(0.25), &|x| x.max(0.25 * x)),
            (Activation::Sigmoid, &|x| 1.0 / (1.0 + (-x).exp())),
            (Activation::Tanh, &f64::tanh),
            (Activation::HardSigmoid, &hard),
            (Activation::HardSwish, &|x| x * hard(x)),
            (Activation::Silu, &|x| x / (1.0 + (-x).exp())),
            (Activation::Gelu, &|x| x * gaussian(x)),
            (Activation::GeluTanh, &|x| x / (1.0 + (-2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).exp())),
            (Activation::Clip { low: -65504.0, high: 65504.0 }, &|x| x.clamp(-65504.0, 65504.0)),
            (Activation::Clip { low: f32::NEG_INFINITY, high: 0.5 }, &|x| x.min(0.5)),
            (Activation::Elu(0.5), &|x| if x > 0.0 { x } else { 0.5 * x.exp_m1() }),
            (Activation::ThresholdedRelu(0.25), &|x| if x > 0.25 { x } else { 0.0 }),
            (Activation::Softplus, &|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
            (Activation::Softsign, &|x| x / (1.0 + x.abs())),
            (Activation::Abs, &f64::abs),
            (Activation::Erf, &|x| 1.0 - erfc(x)),
        ];
        for (activation, expected) in cases {
            let one = |op, inputs: &[u32]| build(&[input.len()], vec![Layer { name: "f".into(), inputs: inputs.to_vec(), op }], vec![]);
            let alone = run(&gpu, &one(Op::Activate(activation), &[0]), 1, None, &input);
            let residual = Residual { stride: 1, offset: 0 };
            let sum = run(&gpu, &one(Op::Add { residual, activation }, &[0, 0]), 1, None, &input);
            let mut worst = 0f64;
            for ((&x, got), twice) in input.iter().zip(alone).zip(sum) {
                for (x, got) in [(f64::from(x), got), (f64::from(x) * 2.0, twice)] {
                    let off = (f64::from(got) - expected(x)).abs() / expected(x).abs().max(1.0);
                    worst = worst.max(off);
                    assert!(off <= 1e-6, "{activation:?} of {x} is {got}, expected {}", expected(x));
                }
            }
            println!("{activation:?}: {worst:.1e}");
        }
    }
}

/// 1 − erf by its series near 0 and its continued fraction beyond.
fn erfc(x: f64) -> f64 {
    if x.abs() < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - sum * 2.0 / std::f64::consts::PI.sqrt();
    }
    let z = x.abs();
    let fraction = (1..60).rev().fold(z, |f, n| z + f64::from(n) / 2.0 / f);
    let tail = (-z * z).exp() / (fraction * std::f64::consts::PI.sqrt());
    if x > 0.0 { tail } else { 2.0 - tail }
}
