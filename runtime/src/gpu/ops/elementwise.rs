//! y = act(x + r): sums and activations that stand alone.

use thinfer_shaders::Kernel;

use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values) -> Result<Dispatch> {
    let shape = Shape::new(values, &Window::POINT);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, 0, values, &[])
}
