//! y = act(x · r): element by element, or by a factor a channel.

use thinfer_shaders::Kernel;

use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    // One row of factors serves all pixels of a sample.
    shape.flags = u32::from(values.second.is_some_and(|factors| factors.is_vector()));
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, 0, values, &[])
}
