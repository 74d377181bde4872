//! y = act(x·Wᵀ + b) with one matrix: one kernel, as many variants as tiles.

use thinfer_shaders::Kernel;

use super::cost::{Machine, Stage};
use super::low_rank;
use crate::artifact::{Artifact, Window};
use crate::error::Result;
use crate::gpu::buffers::{PANEL, Weight};
use crate::gpu::device::Gpu;
use crate::gpu::factors::Factors;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::gpu::software::lanes;
use crate::gpu::software::storage::Storage;
use crate::plan::{LinearStep, matrix};

/// The tiles with their estimated times for `rows` × `outputs4` vec4s: large ones win, until they are more than the rows or
/// leave the device idle. `widest` is the most vec4s of outputs of a tile.
pub(super) fn tiles(all: impl Iterator<Item = &'static Kernel>, rows: u64, outputs4: u64, widest: u64, machine: Machine) -> Vec<Candidate> {
    let time = |k: &Kernel| {
        let ((tm, tn), threads) = (tile(k), u64::from(k.invocations()));
        let tasks = rows.div_ceil(tm).saturating_mul(outputs4.div_ceil(tn));
        // The sum over the inputs is equally long for all.
        machine.time(tasks.div_ceil(threads), &[Stage { tasks: tasks.min(threads), length: 1, tm, tn }])
    };
    all.filter(|k| tile(k).1 <= widest).map(|kernel| Candidate { kernel, time: time(kernel) }).collect()
}

/// What could run `step` for `rows` samples whose input is `stride` floats.
pub(super) fn candidates(gpu: &Gpu, rows: u64, step: &LinearStep, stride: usize) -> Vec<Candidate> {
    let (outputs4, inputs4) = (step.outputs.div_ceil(4) as u64, stride.div_ceil(4) as u64);
    match gpu.storage() {
        Storage::Textures => lanes::tiles(gpu, rows, outputs4, 1, inputs4),
        Storage::Buffers => tiles(gpu.variants("linear"), rows, outputs4, u64::MAX, Machine::of(gpu)),
    }
}

/// Rows and vec4s of outputs of an invocation.
fn tile(kernel: &Kernel) -> (u64, u64) {
    let define = |name| u64::from(kernel.define(name).unwrap_or(1));
    (define("TM"), define("TN"))
}

/// Binds a fully connected step; `bias` is padded.
pub(super) fn step(
    context: &Context<'_>,
    kernel: &'static Kernel,
    artifact: &Artifact,
    values: &Values,
    step: &LinearStep,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let weight = values.input.permute_columns(matrix(artifact, &step.matrix));
    // A row is the whole sample, padding included.
    let inputs = values.input.stride();
    let mut shape = Shape::new(values, &Window::POINT);
    shape.input_stride4 = (inputs / 4) as u32;
    shape.input_size = [1, 1];
    if let Some(second) = &step.second {
        let u = matrix(artifact, second);
        let factors = Factors { v: Weight { values: &weight, outputs: step.rank, inputs, taps: 1 }, u: &u };
        return low_rank::dispatch(context, kernel, shape, values, &factors, false, bias);
    }
    let weight = Weight { values: &weight, outputs: step.outputs, inputs, taps: 1 };
    dispatch(context, kernel, 1, shape, values, weight, bias)
}

/// Binds rows × a matrix, summed over `taps` of a window.
pub(super) fn dispatch(
    context: &Context<'_>,
    kernel: &'static Kernel,
    taps: u64,
    mut shape: Shape,
    values: &Values,
    weight: Weight<'_>,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    if kernel.lanes().is_some() {
        return lanes::dispatch(context, kernel, taps, shape, values, weight, bias);
    }
    let weight = weight.pack(PANEL, 0);
    let (tm, tn) = tile(kernel);
    shape.inputs4 = weight.inputs4;
    shape.column_groups = weight.columns4.div_ceil(tn as u32);
    let grid = Grid { pixels: shape.pixels, rows: tm as u32, columns: shape.column_groups, units: kernel.invocations() };
    let inputs4 = u64::from(weight.inputs4);
    // A window is two more loops around the sum.
    let trip_count = if kernel.kernel == "linear" { inputs4 } else { taps * (2 + inputs4) };
    context.dispatch(kernel, shape, grid, trip_count, values, &[weight.values, bias])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::ops::best;

    fn chosen(kernel: &str, rows: u64, outputs4: u64, widest: u64, machine: Machine) -> &'static Kernel {
        let buffers = thinfer_shaders::variants(kernel).filter(|k| !k.textures());
        best(&tiles(buffers, rows, outputs4, widest, machine)).unwrap()
    }

    #[test]
    fn tiles_follow_the_shape() {
        let lavapipe = Machine::software(2);
        for (rows, outputs, machine, name) in [
            (512, 512, lavapipe, "linear_16x2"),
            (1, 1024, lavapipe, "linear_1x2"),
            (4, 1024, lavapipe, "linear_4x2"),
            (1, 10, lavapipe, "linear_1x1"),
            (1, 1024, Machine::GPU, "linear_1x1"),
            (64, 1024, Machine::GPU, "linear_1x1"),
            (4096, 4096, Machine::GPU, "linear_16x2"),
        ] {
            let chosen = chosen("linear", rows, u64::div_ceil(outputs, 4), u64::MAX, machine);
            assert_eq!(chosen.name, name, "{rows} × {outputs}, {machine:?}");
        }
        assert_eq!(tile(chosen("conv", 1024, 16, 1, lavapipe)).1, 1);
    }
}
