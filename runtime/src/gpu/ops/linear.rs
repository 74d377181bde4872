//! y = act(x·Wᵀ + b) with one matrix: one kernel, as many variants as tiles.

use thinfer_shaders::{Kernel, variants};

use super::{Context, Dispatch, Grid, Shape};
use crate::artifact::Activation;
use crate::error::{Error, Result};
use crate::gpu::buffers::Packed;
use crate::plan::Slot;

/// Invocations that keep a device busy. A software adapter has a handful of cores with a few SIMD lanes each; a GPU has
/// thousands of lanes and wants several invocations for each to hide its memory.
pub(super) fn wanted_invocations(software: bool) -> u64 {
    if software { 128 } else { 16_384 }
}

/// What one vec4 of inputs costs an invocation that computes `tm` rows × `tn` vec4s, in multiply–adds: 4·tn weights and tm
/// inputs to load, 4 floats each, and 16·tm·tn multiply–adds. lavapipe loads each float of each lane by itself: twelve
/// times the price of a multiply–add, fitted to all tiles at 512³ within a tenth.
pub(super) fn task_cost(tm: u64, tn: u64, software: bool) -> u64 {
    let load = if software { 12 } else { 1 };
    load * (16 * tn + 4 * tm) + 16 * tm * tn
}

/// The tile for `rows` × `outputs4` vec4s: time ≈ cost of one invocation × how often the device must be filled. So large
/// tiles win, until they are more than the rows or leave the device idle.
pub(super) fn choose(rows: usize, outputs4: usize, software: bool) -> Result<&'static Kernel> {
    let cost = |k: &Kernel| {
        let (tm, tn) = tile(k);
        let invocations = (rows as u64).div_ceil(tm).saturating_mul((outputs4 as u64).div_ceil(tn));
        invocations.max(wanted_invocations(software)).saturating_mul(task_cost(tm, tn, software))
    };
    variants("linear").min_by_key(|k| cost(k)).ok_or_else(|| Error::invalid("linear", "has no variant"))
}

fn tile(kernel: &Kernel) -> (u64, u64) {
    let define = |name| u64::from(kernel.define(name).unwrap_or(1));
    (define("TM"), define("TN"))
}

/// Binds a layer whose weight is packed [inputs][outputs] and whose bias is padded.
pub(in crate::gpu) fn dispatch(
    context: &Context<'_>,
    pick: Option<&'static Kernel>,
    (input, output): (Slot, Slot),
    weight: Packed,
    bias: Vec<f32>,
    activation: Activation,
) -> Result<Dispatch> {
    let kernel = match pick {
        Some(kernel) => kernel,
        None => choose(context.batch, weight.columns4 as usize, context.gpu.is_software())?,
    };
    let (tm, tn) = tile(kernel);
    let mut shape = Shape::new(weight.rows4, input, output, activation);
    shape.column_groups = weight.columns4.div_ceil(tn as u32);
    let grid = Grid { rows: tm as u32, columns: shape.column_groups, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, weight.rows4.into(), (input, &[weight.values, bias], output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_follow_the_shape() {
        for (rows, outputs, software, name) in [
            (512, 512, true, "linear_16x2"),
            (1, 1024, true, "linear_1x2"),
            (1, 10, true, "linear_1x1"),
            (3, 1024, true, "linear_4x2"),
            (1, 1024, false, "linear_1x1"),
            (64, 1024, false, "linear_1x1"),
            (4096, 4096, false, "linear_16x2"),
        ] {
            assert_eq!(choose(rows, usize::div_ceil(outputs, 4), software).unwrap().name, name, "{rows} × {outputs}, {software}");
        }
    }
}
