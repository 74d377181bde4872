//! The fully connected step on the CPU, with one matrix or two.

use super::epilogue::Epilogue;
use super::packed::Packed;
use super::product::{self, Rows, RowsMut, Scratches};
use crate::artifact::{Activation, Artifact};
use crate::plan::{LinearStep, Step, matrix};

/// A step with its weights packed.
#[derive(Debug)]
pub(super) struct Linear {
    first: Packed,
    second: Option<Packed>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    scratches: Scratches,
    staging: Vec<f32>,
}

impl Linear {
    /// Packs the weights that `layer` names for `step`'s input.
    pub(super) fn new(artifact: &Artifact, step: &Step, layer: &LinearStep) -> Self {
        let columns = step.input().stride();
        let w = step.input().permute_columns(matrix(artifact, &layer.matrix));
        let between = if layer.second.is_some() { layer.rank } else { layer.outputs };
        let second = layer.second.as_ref().map(|second| {
            let u = matrix(artifact, second);
            Packed::new(layer.outputs, layer.rank, |o, r| u[o * layer.rank + r])
        });
        let bias = layer.bias.map(|id| artifact.tensor(id).into_owned());
        let first = Packed::new(between, columns, |o, i| w[o * columns + i]);
        let scratches = Scratches::new(if second.is_some() { layer.rank } else { 0 }, 0);
        Self { first, second, bias, activation: layer.activation, scratches, staging: Vec::new() }
    }

    /// Computes `rows` samples from `input` into `output`, which lie as `step`'s slots say.
    pub(super) fn run(&mut self, input: &[f32], step: &Step, rows: usize, output: &mut [f32]) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), activation: self.activation, ..Epilogue::NONE };
        let (from, to) = (step.input().stride(), step.output.stride());
        let x = Rows { data: &input[..rows * from], stride: from, width: from };
        let y = RowsMut { data: &mut output[..rows * to], stride: to };
        product::one_or_two(x, rows, (&self.first, self.second.as_ref()), epilogue, y, &self.scratches, &mut self.staging);
        for row in output.chunks_exact_mut(to).take(rows) {
            row[step.output.channels..].fill(0.0);
        }
    }

    /// Fills what a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        self.scratches.poison();
        self.staging.fill(f32::NAN);
    }
}
