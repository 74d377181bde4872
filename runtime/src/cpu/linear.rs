//! The fully connected layer on the CPU, in each of its forms.

use super::gemm::{self, Epilogue, Packed, Rows, RowsMut};
use crate::artifact::{Activation, Artifact};
use crate::plan::{Form, LinearStep, Step, dense_weight, low_rank_factors};

/// A layer with its weight packed for its form.
#[derive(Debug)]
pub(super) struct Linear {
    weight: PackedWeight,
    bias: Option<Vec<f32>>,
    relu: bool,
}

#[derive(Debug)]
enum PackedWeight {
    Dense(Packed),
    TwoStage {
        v: Packed,
        u: Packed,
    },
    /// `h` is the intermediate of a whole batch; a block of rows uses its part while it is in the nearest cache.
    Fused {
        v: Packed,
        u: Packed,
        h: Vec<f32>,
    },
}

impl Linear {
    /// Packs the weight that `step` names for up to `batch` samples.
    pub(super) fn new(artifact: &Artifact, step: &LinearStep, batch: usize) -> Self {
        let weight = match (step.form, low_rank_factors(artifact, &step.weight), step.rank) {
            (Form::TwoStage | Form::Fused, Some((v, u)), Some(rank)) => {
                let v = Packed::new(rank, step.inputs, |r, i| v[r * step.inputs + i]);
                let u = Packed::new(step.outputs, rank, |o, r| u[r * step.outputs + o]);
                if step.form == Form::TwoStage {
                    PackedWeight::TwoStage { v, u }
                } else {
                    PackedWeight::Fused { v, u, h: vec![0.0; batch * rank] }
                }
            }
            _ => {
                let w = dense_weight(artifact, &step.weight);
                PackedWeight::Dense(Packed::new(step.outputs, step.inputs, |o, i| w[o * step.inputs + i]))
            }
        };
        let bias = step.bias.map(|id| artifact.tensor(id).into_owned());
        Self { weight, bias, relu: step.activation == Activation::Relu }
    }

    /// Computes `rows` samples from `input` into `output`, which lie as `step`'s slots say.
    pub(super) fn run(&mut self, input: &[f32], step: &Step, rows: usize, scratch: Option<&mut [f32]>, output: &mut [f32]) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), relu: self.relu };
        let x = Rows { data: &input[..rows * step.input.stride], stride: step.input.stride, count: rows };
        let y = RowsMut { data: &mut output[..rows * step.output.stride], stride: step.output.stride };
        match (&mut self.weight, step.scratch, scratch) {
            (PackedWeight::Dense(w), ..) => gemm::linear(x, w, epilogue, y),
            (PackedWeight::TwoStage { v, u }, Some(slot), Some(h)) => {
                let h = &mut h[..rows * slot.stride];
                gemm::linear(x, v, Epilogue::default(), RowsMut { data: h, stride: slot.stride });
                gemm::linear(Rows { data: h, stride: slot.stride, count: rows }, u, epilogue, y);
            }
            (PackedWeight::Fused { v, u, h }, ..) => {
                let rank = v.outputs();
                gemm::low_rank(x, v, u, epilogue, RowsMut { data: &mut h[..rows * rank], stride: rank }, y);
            }
            (PackedWeight::TwoStage { .. }, ..) => unreachable!("the plan gives every two-stage step a scratch"),
        }
    }

    /// Fills what a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        if let PackedWeight::Fused { h, .. } = &mut self.weight {
            h.fill(f32::NAN);
        }
    }
}
