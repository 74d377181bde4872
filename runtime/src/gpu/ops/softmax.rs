//! Softmax over the channels of each pixel, or its logarithm.

use thinfer_shaders::Kernel;

use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};

/// Binds the step: a workgroup a row.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, log: bool) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    shape.flags = u32::from(log);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: 1, units: 1 };
    let each = u64::from(shape.outputs4.div_ceil(kernel.invocations()));
    context.dispatch(kernel, shape, grid, 3 * each + 16, values, &[])
}
