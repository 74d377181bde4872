//! Layer normalisation on the CPU, pixel by pixel over the channels.

use super::product::{BLOCK_VALUES, RowsMut, blocks};
use super::simd::vectorized;
use crate::artifact::Artifact;
use crate::plan::{LayerNormStep, Slot};

/// Sums go side by side in so many lanes: vectors, and roundings that do not add up.
const LANES: usize = 16;

/// A step with its tensors.
#[derive(Debug)]
pub(super) struct LayerNorm {
    scale: Vec<f32>,
    shift: Vec<f32>,
    eps: f32,
}

impl LayerNorm {
    pub(super) fn new(artifact: &Artifact, step: &LayerNormStep) -> Self {
        let [scale, shift] = [step.scale, step.shift].map(|id| artifact.tensor(id).into_owned());
        Self { scale, shift, eps: step.eps }
    }

    /// Computes `output` from `input`, both of shape `slot`.
    pub(super) fn run(&self, input: &[f32], slot: Slot, output: &mut [f32]) {
        let stride = slot.channel_stride();
        let rows = output.len() / stride.max(1);
        let alone = output.len() < 2 * BLOCK_VALUES;
        blocks(rows, (BLOCK_VALUES / stride.max(1)).max(1), alone, RowsMut { data: output, stride }, |_, range, y, stride| {
            let x = &input[range.start * stride..range.end * stride];
            vectorized(
                #[inline(always)]
                || x.chunks_exact(stride).zip(y.chunks_exact_mut(stride)).for_each(|(x, y)| self.pixel(x, y)),
            );
        });
    }

    #[inline(always)]
    fn pixel(&self, x: &[f32], y: &mut [f32]) {
        let (values, padding) = y.split_at_mut(self.scale.len());
        let (x, count) = (&x[..values.len()], values.len() as f32);
        let mean = sum(x, |v| v) / count;
        // Around the mean, not from the squares: those would cancel.
        let variance = sum(x, |v| (v - mean) * (v - mean)) / count;
        let k = 1.0 / (variance + self.eps).sqrt();
        for ((y, x), (scale, shift)) in values.iter_mut().zip(x).zip(self.scale.iter().zip(&self.shift)) {
            *y = (x - mean) * k * scale + shift;
        }
        padding.fill(0.0);
    }
}

#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    for (lane, &v) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f(v);
    }
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_mean_does_not_drown_the_deviation() {
        let norm = LayerNorm { scale: vec![1.0, 2.0, 1.0], shift: vec![0.0, 0.0, 5.0], eps: 0.0 };
        let slot = Slot { buffer: 0, channels: 3, height: 2, width: 1 };
        let mut y = [f32::NAN; 8];
        norm.run(&[4096.0, 4097.0, 4098.0, 9.0, -1.0, 0.0, 1.0, 9.0], slot, &mut y);
        let k = 1.5f32.sqrt();
        for (got, want) in y.iter().zip([-k, 0.0, 5.0 + k, 0.0, -k, 0.0, 5.0 + k, 0.0]) {
            assert!((got - want).abs() < 1e-6, "{y:?}");
        }
    }
}
