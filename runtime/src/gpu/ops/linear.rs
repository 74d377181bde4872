//! y = act(x·Wᵀ + b) with one matrix: one kernel, as many variants as tiles.

use thinfer_shaders::{Kernel, variants};

use super::cost::{Machine, Stage};
use super::{Context, Dispatch, Grid, Shape};
use crate::artifact::Activation;
use crate::error::{Error, Result};
use crate::gpu::buffers::Packed;
use crate::plan::Slot;

/// The tile of the least estimated time for `rows` × `outputs4` vec4s: large ones win, until they are more than the rows
/// or leave the device idle.
fn choose(rows: usize, outputs4: usize, machine: Machine) -> Result<&'static Kernel> {
    let time = |k: &Kernel| {
        let ((tm, tn), threads) = (tile(k), u64::from(k.invocations()));
        let tasks = (rows as u64).div_ceil(tm).saturating_mul((outputs4 as u64).div_ceil(tn));
        // The sum over the inputs is equally long for all.
        machine.time(tasks.div_ceil(threads), &[Stage { tasks: tasks.min(threads), length: 1, tm, tn }])
    };
    variants("linear").min_by_key(|k| time(k)).ok_or_else(|| Error::invalid("linear", "has no variant"))
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
        None => choose(context.batch, weight.columns4 as usize, Machine::of(context.gpu))?,
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
            assert_eq!(choose(rows, usize::div_ceil(outputs, 4), machine).unwrap().name, name, "{rows} × {outputs}, {machine:?}");
        }
    }
}
