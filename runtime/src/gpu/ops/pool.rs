//! Pools: the largest or the mean value under a window, and the mean of a whole channel.

use thinfer_shaders::Kernel;

use crate::artifact::{PoolKind, Window};
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::PoolStep;

/// Binds a pool under a window.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, pool: &PoolStep) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &pool.window);
    shape.flags = u32::from(pool.kind == PoolKind::AverageWithPadding);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    let [height, width] = pool.window.kernel.map(u64::from);
    context.dispatch(kernel, shape, grid, height * (1 + width), values, &[])
}

/// Binds the mean of each channel.
pub(super) fn global(context: &Context<'_>, kernel: &'static Kernel, values: &Values) -> Result<Dispatch> {
    let shape = Shape::new(values, &Window::POINT);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    let trip_count = values.input.height as u64 * (1 + values.input.width as u64);
    context.dispatch(kernel, shape, grid, trip_count, values, &[])
}
