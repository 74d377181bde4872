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

/// The tile for `rows` × `outputs4` vec4s.
///
/// Time ≈ work of one invocation × how often the device must be filled. The work for each vec4 of inputs is 4·TN weights
/// and TM inputs to load, 4 floats each, and TM·TN·16 multiply–adds; a load of a float costs about what a multiply–add
/// does. So large tiles win (512³ on lavapipe: 16 × 2 is best), until they are more than the rows or leave the device
/// idle (one row: TM = 1).
pub(super) fn choose(rows: usize, outputs4: usize, software: bool) -> Result<&'static Kernel> {
    let cost = |k: &Kernel| {
        let (tm, tn) = tile(k);
        let invocations = (rows as u64).div_ceil(tm).saturating_mul((outputs4 as u64).div_ceil(tn));
        let work = 16 * tn + 4 * tm + 16 * tm * tn;
        invocations.max(wanted_invocations(software)).saturating_mul(work)
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
