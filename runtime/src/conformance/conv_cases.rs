//! Convolutional networks drawn by key: every op, every scheme of weights, every form, at sizes that find the edges of
//! tiles, of images and of padding. Knows no executor.

use super::cases::Draw;
use crate::artifact::{Activation, Artifact, Layer, Model, Op, PoolKind, Residual, Stride, TensorData, Weight, Window};
use crate::plan::Form;

const CHANNELS: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 20, 24, 32, 33, 37];
const SIZES: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 9, 12, 15];
const ACTIVATIONS: &[Activation] = &[
    Activation::None,
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
    Activation::Clip { low: -0.4, high: 0.7 },
    Activation::Clip { low: f32::NEG_INFINITY, high: 0.3 },
    Activation::Elu(0.7),
    Activation::Softplus,
    Activation::Softsign,
    Activation::Abs,
    Activation::Erf,
];
/// Functions that have no bound or jump somewhere; they are given values between 0.5 and 2.
const OF_BOUNDED: &[Activation] =
    &[Activation::Exp, Activation::Log, Activation::Sqrt, Activation::Reciprocal, Activation::ThresholdedRelu(0.25)];

/// A network with its input, and how it is to be run.
#[derive(Debug)]
pub(crate) struct ConvCase {
    pub(crate) key: u64,
    pub(crate) artifact: Artifact,
    pub(crate) forms: Vec<Form>,
    pub(crate) batch: usize,
    pub(crate) rows: usize,
}

impl ConvCase {
    /// Case `key`: one to five layers.
    pub(crate) fn draw(key: u64) -> Self {
        let mut net = Net::new(key);
        for _ in 0..1 + net.draw.below(4) {
            match net.draw.below(19) {
                0 => net.pool(),
                1 => net.add(),
                2 => net.activate(),
                3 => net.affine(),
                4 => net.concat(),
                5 => net.softmax(),
                6 => net.rearrange(),
                7 => net.multiply(),
                8 => net.layer_norm(),
                9 => net.attention(),
                10 => net.embed(),
                _ => net.conv(),
            }
        }
        match net.draw.below(5) {
            0 => net.push(vec![net.last()], Op::GlobalAveragePool, None),
            1 => net.linear(),
            2 => net.gate(),
            _ => {}
        }
        let batch = net.draw.pick(&[1, 1, 2, 3, 5]);
        let rows = 1 + net.draw.below(batch);
        let forms = net.layers.iter().map(|_| net.draw.pick(&[Form::Dense, Form::TwoStage, Form::Fused, Form::Fused])).collect();
        Self { key, artifact: net.build(), forms, batch, rows }
    }

    /// `rows` drawn samples.
    pub(crate) fn input(&self) -> Vec<f32> {
        Draw::new(self.key ^ 0xda7a).values(self.rows * self.artifact.input_len())
    }

    /// Whether a layer has a choice of forms.
    pub(crate) fn has_factors(&self) -> bool {
        self.artifact.model().layers.iter().any(|l| l.op.weight().is_some_and(|w| !matches!(w, Weight::Dense(_))))
    }
}

struct Net {
    draw: Draw,
    tensors: Vec<TensorData>,
    layers: Vec<Layer>,
    /// Images so far; the last one is what the next layer reads.
    shapes: Vec<[usize; 3]>,
}

impl Net {
    fn new(key: u64) -> Self {
        let mut draw = Draw::new(key ^ 0xc0ff_ee00);
        let shape = [draw.pick(CHANNELS), draw.pick(SIZES), draw.pick(SIZES)];
        Self { draw, tensors: Vec::new(), layers: Vec::new(), shapes: vec![shape] }
    }

    fn last(&self) -> u32 {
        self.shapes.len() as u32 - 1
    }

    fn push(&mut self, inputs: Vec<u32>, op: Op, shape: Option<[usize; 3]>) {
        self.layers.push(Layer { name: format!("layers.{}", self.layers.len()), inputs, op });
        self.shapes.extend(shape);
    }

    /// A drawn tensor of `shape` whose sums over `fan_in` stay near 1.
    fn tensor(&mut self, shape: &[usize], fan_in: usize) -> u32 {
        let scale = (2.0 / fan_in as f32).sqrt();
        let values = self.draw.values(shape.iter().product()).into_iter().map(|x| x * scale).collect();
        self.tensors.push(TensorData::f32(format!("tensors.{}", self.tensors.len()), shape, values));
        self.tensors.len() as u32 - 1
    }

    fn window(&mut self, [_, height, width]: [usize; 3], dilates: bool) -> Window {
        let same = self.draw.below(2) == 0;
        let mut axis = |len: usize| {
            let kernel = self.draw.pick(&[1, 1, 2, 3, 3, 3, 5, 7]);
            let dilation = if dilates { self.draw.pick(&[1, 1, 1, 2, 3]) } else { 1 };
            let span = dilation * (kernel - 1) + 1;
            let stride = if same { 1 } else { self.draw.pick(&[1, 1, 2, 2, 3]) };
            let (mut before, mut after) = ((span - 1) / 2, span / 2);
            if !same {
                (before, after) = (self.draw.below(span), self.draw.below(span));
            }
            if before + after + len < span {
                return (1, 1, 1, 0, 0);
            }
            (kernel, stride, dilation, before, after)
        };
        let (down, right) = (axis(height), axis(width));
        let pair = |a: usize, b: usize| [a as u32, b as u32];
        Window {
            kernel: pair(down.0, right.0),
            stride: pair(down.1, right.1),
            padding: [down.3, right.3, down.4, right.4].map(|n| n as u32),
            dilation: pair(down.2, right.2),
        }
    }

    /// A value that can be added to one of `shape`, and how.
    fn residual(&mut self, shape: [usize; 3]) -> Option<(u32, Residual)> {
        let stride = self.draw.pick(&[1, 1, 2, 3]);
        let fits = |s: &[usize; 3]| s[0] <= shape[0] && s[1].div_ceil(stride) == shape[1] && s[2].div_ceil(stride) == shape[2];
        let found: Vec<usize> = (0..self.shapes.len()).filter(|&v| fits(&self.shapes[v])).collect();
        if found.is_empty() {
            return None;
        }
        let value = self.draw.pick(&found);
        let offset = self.draw.below(shape[0] - self.shapes[value][0] + 1) as u32;
        Some((value as u32, Residual { stride: stride as u32, offset }))
    }

    fn conv(&mut self) {
        let input = self.shapes[self.shapes.len() - 1];
        let window = self.window(input, true);
        let drawn = self.draw.pick(CHANNELS);
        let mut outputs = self.draw.pick(&[input[0], drawn, self.shapes[0][0]]);
        let mut groups = 1;
        match self.draw.below(8) {
            0 => (groups, outputs) = (input[0], input[0]),
            1 => {
                groups = (1..=input[0]).filter(|g| input[0].is_multiple_of(*g)).nth(1).unwrap_or(1);
                outputs = outputs.next_multiple_of(groups);
            }
            _ => {}
        }
        let weight = self.conv_weight(outputs, input[0] / groups, window, groups > 1);
        let shape = [outputs, window.output(0, input[1]), window.output(1, input[2])];
        let residual = self.residual(shape).filter(|_| self.draw.below(3) > 0);
        let bias = (self.draw.below(3) > 0).then(|| self.tensor(&[outputs], 2));
        let mut inputs = vec![self.last()];
        inputs.extend(residual.map(|r| r.0));
        let op = Op::Conv {
            window,
            outputs: outputs as u32,
            groups: groups as u32,
            weight,
            bias,
            residual: residual.map(|r| r.1),
            activation: self.draw.pick(ACTIVATIONS),
        };
        self.push(inputs, op, Some(shape));
    }

    fn conv_weight(&mut self, outputs: usize, inputs: usize, window: Window, grouped: bool) -> Weight {
        let [height, width] = window.kernel.map(|k| k as usize);
        let scheme = if grouped { 0 } else { self.draw.below(6) };
        let most = self.draw.pick(&[3, 8, 40]);
        let mut rank = |a: usize, b: usize| 1 + self.draw.below(a.min(b).min(most));
        match scheme {
            0 | 1 => Weight::Dense(self.tensor(&[outputs, inputs, height, width], inputs * height * width)),
            2 => {
                let r = rank(inputs * height, outputs * width);
                let v = self.tensor(&[r, inputs, height], inputs * height);
                let u = self.tensor(&[r, outputs, width], r * width);
                Weight::Spatial { v, u, sigma: self.sigma(r), tail_energy: 0.0 }
            }
            3 => {
                let q = rank(inputs, outputs * height * width);
                let p = rank(outputs, inputs * height * width);
                let a = self.tensor(&[q, inputs], inputs);
                let core = self.tensor(&[p, q, height, width], q * height * width);
                Weight::Tucker2 { a, core, b: self.tensor(&[p, outputs], p), tail_energy: 0.0 }
            }
            _ => {
                let r = rank(inputs * height * width, outputs);
                let v = self.tensor(&[r, inputs, height, width], inputs * height * width);
                let u = self.tensor(&[r, outputs], r);
                Weight::LowRank { v, u, sigma: self.sigma(r), tail_energy: 0.0 }
            }
        }
    }

    fn sigma(&mut self, rank: usize) -> u32 {
        self.tensors.push(TensorData::f32(format!("tensors.{}", self.tensors.len()), &[rank], vec![1.0; rank]));
        self.tensors.len() as u32 - 1
    }

    fn linear(&mut self) {
        let (inputs, outputs) = (self.shapes[self.shapes.len() - 1].iter().product(), self.draw.pick(CHANNELS));
        let weight = if self.draw.below(2) == 0 {
            Weight::Dense(self.tensor(&[outputs, inputs], inputs))
        } else {
            let r = 1 + self.draw.below(outputs.min(inputs));
            let (v, u) = (self.tensor(&[r, inputs], inputs), self.tensor(&[r, outputs], r));
            Weight::LowRank { v, u, sigma: self.sigma(r), tail_energy: 0.0 }
        };
        let bias = Some(self.tensor(&[outputs], 2));
        let activation = self.draw.pick(ACTIVATIONS);
        self.push(vec![self.last()], Op::Linear { weight, bias, activation }, None);
    }

    fn pool(&mut self) {
        let [channels, height, width] = self.shapes[self.shapes.len() - 1];
        let window = self.window([channels, height, width], false);
        let kind = self.draw.pick(&[PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding]);
        let shape = [channels, window.output(0, height), window.output(1, width)];
        self.push(vec![self.last()], Op::Pool { kind, window }, Some(shape));
    }

    fn add(&mut self) {
        let shape = self.shapes[self.shapes.len() - 1];
        if let Some((value, residual)) = self.residual(shape) {
            let activation = self.draw.pick(ACTIVATIONS);
            self.push(vec![self.last(), value], Op::Add { residual, activation }, Some(shape));
        } else {
            self.activate();
        }
    }

    fn activate(&mut self) {
        let shape = self.shapes[self.shapes.len() - 1];
        let activation = if self.draw.below(4) == 0 {
            self.push(vec![self.last()], Op::Activate(Activation::Clip { low: 0.5, high: 2.0 }), Some(shape));
            self.draw.pick(OF_BOUNDED)
        } else {
            self.draw.pick(ACTIVATIONS)
        };
        self.push(vec![self.last()], Op::Activate(activation), Some(shape));
    }

    fn affine(&mut self) {
        let shape = self.shapes[self.shapes.len() - 1];
        let (scale, shift) = (self.tensor(&[shape[0]], 2), self.tensor(&[shape[0]], 2));
        let activation = self.draw.pick(ACTIVATIONS);
        self.push(vec![self.last()], Op::Affine { scale, shift, activation }, Some(shape));
    }

    fn concat(&mut self) {
        let [channels, height, width] = self.shapes[self.shapes.len() - 1];
        let fits: Vec<usize> = (0..self.shapes.len()).filter(|&v| self.shapes[v][1..] == [height, width]).collect();
        let (other, activation) = (self.draw.pick(&fits), self.draw.pick(ACTIVATIONS));
        let shape = [channels + self.shapes[other][0], height, width];
        self.push(vec![self.last(), other as u32], Op::Concat { activation }, Some(shape));
    }

    fn softmax(&mut self) {
        let (shape, log) = (self.shapes[self.shapes.len() - 1], self.draw.below(2) == 0);
        self.push(vec![self.last()], Op::Softmax { log }, Some(shape));
    }

    /// Axes in another order, or part of one of them.
    fn rearrange(&mut self) {
        let shape = self.shapes[self.shapes.len() - 1];
        let strides = [shape[1] * shape[2], shape[2], 1];
        let mut order = self.draw.pick(&[[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1]]);
        if self.draw.below(2) == 0 {
            order.reverse();
        }
        let mut axes = order.map(|a| (shape[a], strides[a]));
        let (part, mut offset) = (self.draw.below(3), 0);
        if self.draw.below(2) == 0 {
            let (size, stride) = axes[part];
            let first = self.draw.below(size);
            axes[part].0 = 1 + self.draw.below(size - first);
            offset = first * stride;
        }
        let steps = axes.iter().map(|&(size, stride)| Stride { size: size as u32, stride: stride as u32 }).collect();
        let to = axes.map(|a| a.0);
        self.push(vec![self.last()], Op::Rearrange { shape: to.map(|n| n as u32).to_vec(), offset: offset as u32, steps }, Some(to));
    }

    fn multiply(&mut self) {
        let shape = self.shapes[self.shapes.len() - 1];
        let fits: Vec<usize> = (0..self.shapes.len()).filter(|&v| self.shapes[v] == shape).collect();
        let (other, activation) = (self.draw.pick(&fits), self.draw.pick(ACTIVATIONS));
        self.push(vec![self.last(), other as u32], Op::Multiply { activation }, Some(shape));
    }

    fn layer_norm(&mut self) {
        let shape = self.shapes[self.shapes.len() - 1];
        let (scale, shift) = (self.tensor(&[shape[0]], 2), self.tensor(&[shape[0]], 2));
        let eps = self.draw.pick(&[1e-6, 1e-2]);
        self.push(vec![self.last()], Op::LayerNorm { scale, shift, eps }, Some(shape));
    }

    /// Queries, keys and values by 1×1 convolutions of the last image, or of any images; in one value or in three.
    fn attention(&mut self) {
        let (heads, size) = (self.draw.pick(&[1, 2, 3, 4]), self.draw.pick(&[1, 3, 4, 6, 8, 16, 20]));
        let (queries, inner) = (self.last(), heads * size);
        let keys = if self.draw.below(3) == 0 { self.draw.below(self.shapes.len()) as u32 } else { queries };
        let projected = |net: &mut Self, from: u32, outputs: usize| {
            let [channels, height, width] = net.shapes[from as usize];
            let weight = net.conv_weight(outputs, channels, Window::POINT, false);
            let bias = Some(net.tensor(&[outputs], 2));
            let (outputs, activation) = (outputs as u32, Activation::None);
            let op = Op::Conv { window: Window::POINT, outputs, groups: 1, weight, bias, residual: None, activation };
            net.push(vec![from], op, Some([outputs as usize, height, width]));
            net.last()
        };
        let [_, height, width] = self.shapes[queries as usize];
        let inputs = if keys == queries && self.draw.below(2) == 0 {
            vec![projected(self, queries, 3 * inner)]
        } else {
            let from = [queries, keys, keys];
            from.map(|v| projected(self, v, inner)).to_vec()
        };
        let op = Op::Attention { heads: heads as u32, scale: (size as f32).sqrt().recip() };
        self.push(inputs, op, Some([inner, height, width]));
    }

    fn embed(&mut self) {
        let [channels, height, width] = self.shapes[self.shapes.len() - 1];
        let first = self.draw.pick(&[0, 0, 1, 2]);
        let tokens = first + height * width;
        let table = self.tensor(&[channels, tokens], 2);
        let shape = if first == 0 { [channels, height, width] } else { [channels, tokens, 1] };
        self.push(vec![self.last()], Op::Embed { table }, Some(shape));
    }

    /// A factor a channel, from the image's own means.
    fn gate(&mut self) {
        let (value, [channels, height, width]) = (self.last(), self.shapes[self.shapes.len() - 1]);
        self.push(vec![value], Op::GlobalAveragePool, Some([channels, 1, 1]));
        let activation = self.draw.pick(ACTIVATIONS);
        self.push(vec![value, self.last()], Op::Multiply { activation }, Some([channels, height, width]));
    }

    fn build(&mut self) -> Artifact {
        let model = Model::new("case", &self.shapes[0].iter().map(|&n| n as u32).collect::<Vec<_>>(), std::mem::take(&mut self.layers));
        Artifact::build(model, std::mem::take(&mut self.tensors)).unwrap()
    }
}
