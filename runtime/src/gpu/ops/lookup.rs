//! Elements at computed indices.

use thinfer_shaders::Kernel;

use super::table::Table;
use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::LookupStep;

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, lookup: &LookupStep) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    shape.number = f32::NAN;
    let indices = values.second.unwrap_or(values.input);
    let mut table = Table::default();
    table.whole([lookup.sizes.len() as i64, lookup.count as i64, lookup.stride as i64]);
    table.start(&lookup.data, values.input);
    table.start(&lookup.index, indices);
    table.axes(&lookup.sizes, &[&lookup.data.strides, &lookup.index.strides]);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.bind(kernel, shape, grid, lookup.sizes.len() as u64, &[values.input, indices], &[table.words()], values.output)
}
