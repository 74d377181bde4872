//! Runs one folded layer at a time over many images, and shows what flows through it. For calibration only: what is
//! measured runs in a session.

use rayon::prelude::*;
use thinfer::artifact::{Activation, PoolKind, Residual, Window};

use super::activation::unfused;
use super::attend;
use super::folded::{Affine, FoldedLayer, FoldedOp, Weighted};
use super::patches;
use crate::factor::multiply;

/// One value of every image, image after image, each [channels, height, width].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) shape: [usize; 3],
    pub(super) data: Vec<f32>,
}

impl Value {
    /// Elements of one image.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn images(&self) -> usize {
        self.data.len() / self.len().max(1)
    }

    pub(super) fn image(&self, i: usize) -> &[f32] {
        &self.data[i * self.len()..(i + 1) * self.len()]
    }
}

/// The network's values by number, those that nobody reads any more given up.
#[derive(Debug)]
pub(super) struct Values {
    values: Vec<Option<Value>>,
    last_reader: Vec<usize>,
}

impl Values {
    pub(super) fn new(layers: &[FoldedLayer], input: Value) -> Self {
        let mut last_reader = vec![0; layers.len() + 1];
        for (i, layer) in layers.iter().enumerate() {
            layer.inputs.iter().filter(|v| **v <= i).for_each(|v| last_reader[*v] = i);
        }
        Self { values: vec![Some(input)], last_reader }
    }

    /// What a layer reads, in its order; `None` for a value that is not there.
    pub(super) fn of(&self, layer: &FoldedLayer) -> Option<Vec<&Value>> {
        layer.inputs.iter().map(|&v| self.values.get(v)?.as_ref()).collect()
    }

    /// The next layer's output.
    pub(super) fn push(&mut self, value: Value) {
        let layer = self.values.len() - 1;
        self.values.push(Some(value));
        for (value, last) in self.values.iter_mut().zip(&self.last_reader) {
            if *last <= layer {
                *value = None;
            }
        }
        // The newest is read later, or is the network's output.
        if self.last_reader.get(layer + 1).is_none_or(|last| *last > layer) {
            return;
        }
        self.values[layer + 1] = None;
    }
}

/// A weighted layer's outputs before bias, residual and activation, [images × outputs × positions], by `weight` [outputs, in·kh·kw].
pub(super) fn bare(layer: &Weighted, weight: &[f32], input: &Value) -> Value {
    let (outputs, positions, columns) = (layer.kernel.outputs, layer.positions(), layer.kernel.columns());
    let groups = layer.groups.max(1);
    let mut data = vec![0.0; input.images() * outputs * positions];
    data.par_chunks_mut((outputs * positions).max(1)).enumerate().for_each(|(i, out)| {
        let mut seen = Vec::new();
        for group in 0..groups {
            patches::extract(layer, group, input.image(i), &mut seen);
            let share = outputs / groups;
            let weight = &weight[group * share * columns..(group + 1) * share * columns];
            let product = multiply(weight, &seen, columns);
            out[group * share * positions..(group + 1) * share * positions].copy_from_slice(&product);
        }
    });
    Value { shape: [outputs, layer.output_size[0], layer.output_size[1]], data }
}

/// Bias, residual and activation on top of `bare`.
pub(super) fn finish(layer: &Weighted, bias: Option<&[f32]>, mut bare: Value, residual: Option<&Value>) -> Value {
    let positions = bare.shape[1] * bare.shape[2];
    if let Some(bias) = bias {
        for image in bare.data.chunks_exact_mut((bias.len() * positions).max(1)) {
            for (plane, b) in image.chunks_exact_mut(positions.max(1)).zip(bias) {
                plane.iter_mut().for_each(|x| *x += b);
            }
        }
    }
    if let (Some(how), Some(r)) = (&layer.residual, residual) {
        add(&mut bare, how, r, 1.0);
    }
    activate(&mut bare, layer.activation);
    bare
}

/// What an op without a weight makes of its inputs.
pub(super) fn plain(op: &FoldedOp, inputs: &[&Value]) -> Option<Value> {
    let first = *inputs.first()?;
    Some(match op {
        FoldedOp::Weighted(_) => return None,
        FoldedOp::Pool(kind, window) => pool(first, *kind, window),
        FoldedOp::GlobalAveragePool => {
            let positions = (first.shape[1] * first.shape[2]).max(1);
            let mean = |plane: &[f32]| plane.iter().sum::<f32>() / positions as f32;
            Value { shape: [first.shape[0], 1, 1], data: first.data.chunks_exact(positions).map(mean).collect() }
        }
        FoldedOp::Add(how, activation) => {
            let mut sum = first.clone();
            add(&mut sum, how, inputs.get(1)?, 1.0);
            activate(&mut sum, *activation);
            sum
        }
        FoldedOp::Activate(activation) => {
            let mut value = first.clone();
            activate(&mut value, *activation);
            value
        }
        FoldedOp::Affine(affine) => {
            let mut value = first.clone();
            let positions = value.shape[1] * value.shape[2];
            let Affine { scale, shift, activation } = affine;
            for (i, plane) in value.data.chunks_exact_mut(positions.max(1)).enumerate() {
                let (k, t) = (scale.get(i % scale.len().max(1))?, shift.get(i % shift.len().max(1))?);
                plane.iter_mut().for_each(|x| *x = (f64::from(*x) * k + t) as f32);
            }
            activate(&mut value, *activation);
            value
        }
        FoldedOp::Concat(activation) => {
            let second = *inputs.get(1)?;
            let pairs = (0..first.images()).flat_map(|i| [first.image(i), second.image(i)]);
            let shape = [first.shape[0] + second.shape[0], first.shape[1], first.shape[2]];
            let mut value = Value { shape, data: pairs.flatten().copied().collect() };
            activate(&mut value, *activation);
            value
        }
        FoldedOp::Rearrange(r) => {
            let places = r.places();
            let shape = if let [c, h, w] = r.shape[..] { [c, h, w] } else { [places.len(), 1, 1] };
            let data = (0..first.images()).flat_map(|i| places.iter().map(move |&p| first.image(i)[p])).collect();
            Value { shape, data }
        }
        FoldedOp::Multiply(activation) => {
            let second = *inputs.get(1)?;
            let each = first.len() / second.len().max(1);
            let mut value = first.clone();
            value.data.iter_mut().enumerate().for_each(|(i, x)| *x *= second.data[i / each.max(1)]);
            activate(&mut value, *activation);
            value
        }
        FoldedOp::LayerNorm(norm) => attend::layer_norm(first, norm),
        FoldedOp::Attention(attention) => attend::attention(inputs, attention)?,
        FoldedOp::Embed(table) => attend::embed(first, &table.table),
        FoldedOp::Softmax { log } => {
            let mut value = first.clone();
            let (size, positions) = (value.len().max(1), (value.shape[1] * value.shape[2]).max(1));
            value.data.chunks_exact_mut(size).for_each(|image| softmax(image, positions, *log));
            value
        }
    })
}

/// Softmax over the channels of an image of `positions` positions.
fn softmax(image: &mut [f32], positions: usize, log: bool) {
    for at in 0..positions {
        let channels = || (at..image.len()).step_by(positions);
        let largest = channels().fold(f32::NEG_INFINITY, |m, i| m.max(image[i]));
        let sum: f32 = channels().map(|i| (image[i] - largest).exp()).sum();
        for i in channels() {
            image[i] = if log { image[i] - largest - sum.ln() } else { (image[i] - largest).exp() / sum };
        }
    }
}

/// y += sign · the residual of r.
pub(super) fn add(y: &mut Value, how: &Residual, r: &Value, sign: f32) {
    let ([channels, h, w], [r_channels, r_h, r_w]) = (y.shape, r.shape);
    let (stride, offset) = (how.stride as usize, how.offset as usize);
    let (size, r_size) = (y.len().max(1), r.len().max(1));
    for (y, r) in y.data.chunks_exact_mut(size).zip(r.data.chunks_exact(r_size)) {
        for c in offset..channels.min(offset + r_channels) {
            for i in 0..h.min(r_h.div_ceil(stride.max(1))) {
                for j in 0..w.min(r_w.div_ceil(stride.max(1))) {
                    y[(c * h + i) * w + j] += sign * r[((c - offset) * r_h + i * stride) * r_w + j * stride];
                }
            }
        }
    }
}

fn activate(value: &mut Value, by: Activation) {
    if let Some(f) = unfused(by) {
        value.data.iter_mut().for_each(|x| *x = f.of((*x).into()) as f32);
    }
}

fn pool(input: &Value, kind: PoolKind, window: &Window) -> Value {
    let [channels, h, w] = input.shape;
    let size = |v: [u32; 2]| v.map(|x| x as usize);
    let ([kh, kw], [sy, sx], [dy, dx]) = (size(window.kernel), size(window.stride), size(window.dilation));
    let [top, left, bottom, right] = window.padding.map(|p| p as usize);
    let out = |n: usize, pad: usize, k: usize, d: usize, s: usize| (n + pad).saturating_sub(d * k.saturating_sub(1) + 1) / s.max(1) + 1;
    let (out_h, out_w) = (out(h, top + bottom, kh, dy, sy), out(w, left + right, kw, dx, sx));
    let mut data = Vec::with_capacity(input.images() * channels * out_h * out_w);
    for plane in input.data.chunks_exact((h * w).max(1)) {
        for at in 0..out_h * out_w {
            let (y0, x0) = (at / out_w * sy, at % out_w * sx);
            let rows = (0..kh).filter_map(|k| (y0 + k * dy).checked_sub(top).filter(|y| *y < h));
            let seen = rows.flat_map(|y| {
                (0..kw).filter_map(move |k| (x0 + k * dx).checked_sub(left).filter(|x| *x < w)).map(move |x| plane[y * w + x])
            });
            let (mut n, mut sum, mut largest) = (0usize, 0.0f32, f32::NEG_INFINITY);
            seen.for_each(|x| {
                n += 1;
                sum += x;
                largest = largest.max(x);
            });
            data.push(match kind {
                PoolKind::Max => largest,
                PoolKind::Average => sum / n.max(1) as f32,
                PoolKind::AverageWithPadding => sum / (kh * kw) as f32,
            });
        }
    }
    Value { shape: [channels, out_h, out_w], data }
}
