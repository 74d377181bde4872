//! Recurrent layers: a workgroup a sequence, which goes through all steps.

use thinfer_shaders::Kernel;

use super::activations::activation_number;
use crate::artifact::{Activation, Artifact, Cell, Window};
use crate::error::Result;
use crate::gpu::buffers::{PANEL, Weight};
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::{RecurrentStep, matrix};

/// The variants whose workgroup memory holds the states: the smallest of them first.
pub(super) fn candidates(gpu: &Gpu, step: &RecurrentStep) -> Vec<Candidate> {
    let fits = |k: &&'static Kernel| {
        let low_rank = k.define("LOW_RANK") == Some(1);
        low_rank == step.second.is_some() && most(k) >= step.hidden.max(step.rank)
    };
    gpu.variants("recurrent").filter(fits).map(|kernel| Candidate { kernel, time: most(kernel) as u64 }).collect()
}

/// The most elements of a state on any device.
pub(super) fn capacity(gpu: &Gpu) -> u64 {
    gpu.variants("recurrent").map(most).max().unwrap_or(0) as u64
}

fn most(kernel: &Kernel) -> usize {
    4 * kernel.define("H4").unwrap_or(0) as usize
}

/// Binds the step.
pub(super) fn step(
    context: &Context<'_>,
    kernel: &'static Kernel,
    artifact: &Artifact,
    values: &Values,
    step: &RecurrentStep,
) -> Result<Dispatch> {
    let (hidden, gates) = (step.hidden, step.cell.gates());
    let padded = hidden.next_multiple_of(4);
    // Each gate of a weight of `columns` columns padded to whole vec4s.
    let apart = |weight: &[f32], columns: usize| -> Vec<f32> {
        let mut rows = vec![0.0; gates * padded * columns];
        for (to, from) in rows.chunks_exact_mut((padded * columns).max(1)).zip(weight.chunks_exact((hidden * columns).max(1))) {
            to[..from.len()].copy_from_slice(from);
        }
        rows
    };
    let pack = |values: &[f32], outputs: usize, inputs: usize| Weight { values, outputs, inputs, taps: 1 }.pack(PANEL, 0);
    let whole = matrix(artifact, &step.matrix);
    let mut shape = Shape::new(values, &Window::POINT);
    let mut weights = match &step.second {
        None => vec![pack(&apart(&whole, hidden), gates * padded, hidden).values],
        Some(second) => {
            let v = pack(&whole, step.rank, hidden);
            shape.rank4 = v.columns4;
            vec![v.values, pack(&apart(&matrix(artifact, second), step.rank), gates * padded, step.rank).values]
        }
    };
    let tensor = |id: Option<u32>, len: usize| id.map_or_else(|| vec![0.0; len], |id| artifact.tensor(id).into_owned());
    let mut table = apart(&tensor(step.bias, gates * hidden), 1);
    if let Cell::Lstm { .. } = step.cell {
        for peepholes in tensor(step.peepholes, 3 * hidden).chunks_exact(hidden.max(1)) {
            table.extend_from_slice(peepholes);
            table.resize(table.len().next_multiple_of(4), 0.0);
        }
    }
    for at in 0..3 {
        let activation = step.activations.get(at).copied().unwrap_or(Activation::None);
        // Slope and bounds as `Shape` has them.
        let of = Shape::new(&Values { activation, ..*values }, &Window::POINT);
        let (slope, [least, most]) = of.activation();
        table.extend([activation_number(activation) as f32, slope, least, most]);
    }
    weights.push(table);
    let (kind, variant) = match step.cell {
        Cell::Lstm { coupled } => (0, coupled),
        Cell::Gru { reset_after } => (1, reset_after),
        Cell::Rnn => (2, false),
    };
    let settings = [step.reverse, step.states, step.initial, step.lengths, variant];
    shape.flags = kind | settings.iter().enumerate().map(|(bit, &set)| u32::from(set) << (bit + 2)).sum::<u32>();
    let (second, third) = match (step.initial, step.lengths) {
        (false, true) => (values.input, values.second.unwrap_or(values.input)),
        _ => (values.second.unwrap_or(values.input), values.third.unwrap_or(values.input)),
    };
    shape.value_stride4 = (third.channel_stride() / 4) as u32;
    let grid = Grid { pixels: step.sequences as u32, rows: 1, columns: 1, units: 1 };
    let values = Values { second: Some(second), third: Some(third), ..*values };
    context.dispatch(kernel, shape, grid, trips(step, kernel), &values, &weights)
}

/// Loop iterations of an invocation.
fn trips(step: &RecurrentStep, kernel: &Kernel) -> u64 {
    let [hidden4, rank4] = [step.hidden, step.rank].map(|n| n.div_ceil(4) as u64);
    let own = |vectors: u64| vectors.div_ceil(u64::from(kernel.invocations()));
    let second = if step.second.is_some() { rank4 } else { hidden4 };
    let products = own(hidden4) * (step.cell.gates() as u64 * second + 3);
    let between = if step.second.is_some() { 2 * own(rank4) * (hidden4 + 1) } else { 0 };
    step.steps as u64 * (1 + products + between) + 10 * own(hidden4)
}
