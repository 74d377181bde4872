//! y = act(x · r): element by element, or by a factor a channel.

use super::shape::Shape;
use super::{Context, Dispatch, Grid, Values};
use crate::artifact::Window;
use crate::error::Result;

/// Binds the step.
pub(super) fn step(context: &Context<'_>, values: &Values) -> Result<Dispatch> {
    let kernel = context.only("multiply")?;
    let mut shape = Shape::new(values, &Window::POINT);
    // One row of factors serves all pixels of a sample.
    shape.flags = u32::from(values.residual.is_some_and(|(slot, _)| slot.is_vector()));
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, 0, values, &[])
}
