//! The fully connected step on the CPU, with one matrix or two.

use super::epilogue::Epilogue;
use super::gemm::{self, Packed, Rows, RowsMut};
use crate::artifact::{Activation, Artifact};
use crate::plan::{LinearStep, Step, matrix};

/// A step with its weights packed.
#[derive(Debug)]
pub(super) struct Linear {
    first: Packed,
    /// The second matrix, and the intermediate of a whole batch; a block of rows uses its part while it is in the nearest
    /// cache.
    second: Option<(Packed, Vec<f32>)>,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

impl Linear {
    /// Packs the weights that `layer` names for up to `batch` samples of `step`'s input.
    pub(super) fn new(artifact: &Artifact, step: &Step, layer: &LinearStep, batch: usize) -> Self {
        let columns = step.input.stride();
        let w = step.input.permute_columns(matrix(artifact, &layer.matrix));
        let between = if layer.second.is_some() { layer.rank } else { layer.outputs };
        let second = layer.second.as_ref().map(|second| {
            let u = matrix(artifact, second);
            (Packed::new(layer.outputs, layer.rank, |o, r| u[o * layer.rank + r]), vec![0.0; batch * layer.rank])
        });
        let bias = layer.bias.map(|id| artifact.tensor(id).into_owned());
        Self { first: Packed::new(between, columns, |o, i| w[o * columns + i]), second, bias, activation: layer.activation }
    }

    /// Computes `rows` samples from `input` into `output`, which lie as `step`'s slots say.
    pub(super) fn run(&mut self, input: &[f32], step: &Step, rows: usize, output: &mut [f32]) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), activation: self.activation, ..Epilogue::NONE };
        let (from, to) = (step.input.stride(), step.output.stride());
        let x = Rows { data: &input[..rows * from], stride: from, count: rows };
        let y = RowsMut { data: &mut output[..rows * to], stride: to };
        match &mut self.second {
            None => gemm::linear(x, &self.first, epilogue, y),
            Some((u, h)) => {
                let rank = self.first.outputs();
                gemm::low_rank(x, &self.first, u, epilogue, RowsMut { data: &mut h[..rows * rank], stride: rank }, y);
            }
        }
        for row in output.chunks_exact_mut(to).take(rows) {
            row[step.output.channels..].fill(0.0);
        }
    }

    /// Fills what a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        if let Some((_, h)) = &mut self.second {
            h.fill(f32::NAN);
        }
    }
}
