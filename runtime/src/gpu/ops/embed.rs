//! Class tokens and positions.

use thinfer_shaders::Kernel;

use crate::artifact::{Artifact, TensorId, Window};
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};

/// Binds the step; the table lies as a sample of the output does.
pub(super) fn step(
    context: &Context<'_>,
    kernel: &'static Kernel,
    artifact: &Artifact,
    values: &Values,
    table: TensorId,
) -> Result<Dispatch> {
    let shape = Shape::new(values, &Window::POINT);
    let mut laid_out = vec![0.0; values.output.stride()];
    values.output.fill(&artifact.tensor(table), &mut laid_out);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, 0, values, &[laid_out])
}
