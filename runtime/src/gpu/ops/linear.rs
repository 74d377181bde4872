//! y = act(x·Wᵀ + b) with one matrix: one kernel, as many variants as tiles.

use thinfer_shaders::Kernel;

use super::cost::{Machine, Stage};
use super::lanes;
use super::low_rank::{self, Factors};
use super::shape::Shape;
use super::{Context, Dispatch, Grid, Values};
use crate::artifact::{Artifact, Window};
use crate::error::{Error, Result};
use crate::gpu::buffers::{PANEL, Weight};
use crate::gpu::memory::Storage;
use crate::plan::{LinearStep, matrix};

/// The tile of the least estimated time for `rows` × `outputs4` vec4s: large ones win, until they are more than the rows
/// or leave the device idle. `widest` is the most vec4s of outputs of a tile.
fn choose(
    all: impl Iterator<Item = &'static Kernel>,
    rows: usize,
    outputs4: usize,
    widest: u64,
    machine: Machine,
) -> Result<&'static Kernel> {
    let time = |k: &Kernel| {
        let ((tm, tn), threads) = (tile(k), u64::from(k.invocations()));
        let tasks = (rows as u64).div_ceil(tm).saturating_mul((outputs4 as u64).div_ceil(tn));
        // The sum over the inputs is equally long for all.
        machine.time(tasks.div_ceil(threads), &[Stage { tasks: tasks.min(threads), length: 1, tm, tn }])
    };
    let all = all.filter(|k| tile(k).1 <= widest);
    all.min_by_key(|k| time(k)).ok_or_else(|| Error::invalid("kernels", "there is no variant for this device"))
}

/// Rows and vec4s of outputs of an invocation.
fn tile(kernel: &Kernel) -> (u64, u64) {
    let define = |name| u64::from(kernel.define(name).unwrap_or(1));
    (define("TM"), define("TN"))
}

/// Binds a fully connected step; `bias` is padded.
pub(super) fn step(
    context: &Context<'_>,
    pick: Option<&'static Kernel>,
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
        return low_rank::dispatch(context, pick, shape, values, &factors, false, bias);
    }
    let weight = Weight { values: &weight, outputs: step.outputs, inputs, taps: 1 };
    dispatch(context, pick, Rows { kernel: "linear", taps: 1, widest: u64::MAX }, shape, values, weight, bias)
}

/// How rows of outputs come from rows of inputs.
pub(super) struct Rows {
    /// `linear`, or a kernel with the same tiles.
    pub(super) kernel: &'static str,
    /// Elements of the window.
    pub(super) taps: u64,
    /// The most vec4s of outputs that a tile may be wide.
    pub(super) widest: u64,
}

/// Binds rows × a packed matrix.
pub(super) fn dispatch(
    context: &Context<'_>,
    pick: Option<&'static Kernel>,
    rows: Rows,
    mut shape: Shape,
    values: &Values,
    weight: Weight<'_>,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    if pick.map_or(context.gpu.storage() == Storage::Textures && rows.widest > 1, |k| k.lanes().is_some()) {
        return lanes::dispatch(context, pick, &rows, shape, values, weight, bias);
    }
    let weight = weight.pack(PANEL, 0);
    let kernel = match pick {
        Some(kernel) => kernel,
        None => {
            let count = context.batch.saturating_mul(shape.pixels as usize);
            choose(context.gpu.variants(rows.kernel), count, weight.columns4 as usize, rows.widest, Machine::of(context.gpu))?
        }
    };
    let (tm, tn) = tile(kernel);
    shape.inputs4 = weight.inputs4;
    shape.column_groups = weight.columns4.div_ceil(tn as u32);
    let grid = Grid { pixels: shape.pixels, rows: tm as u32, columns: shape.column_groups, units: kernel.invocations() };
    let inputs4 = u64::from(weight.inputs4);
    // A window is two more loops around the sum.
    let trips = if rows.kernel == "linear" { inputs4 } else { rows.taps * (2 + inputs4) };
    context.dispatch(kernel, shape, grid, trips, values, &[weight.values, bias])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(kernel: &str) -> impl Iterator<Item = &'static Kernel> {
        thinfer_shaders::variants(kernel).filter(|k| !k.textures())
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
            let chosen = choose(buffers("linear"), rows, usize::div_ceil(outputs, 4), u64::MAX, machine).unwrap();
            assert_eq!(chosen.name, name, "{rows} × {outputs}, {machine:?}");
        }
        assert_eq!(tile(choose(buffers("conv"), 1024, 16, 1, lavapipe).unwrap()).1, 1);
    }
}
