//! Elements by tables of indices.

use thinfer_shaders::Kernel;

use super::table::{Table, distance};
use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::PickStep;

/// Binds the step; the kernel looks entries up where the host has put them.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, pick: &PickStep) -> Result<Dispatch> {
    let shape = Shape::new(values, &Window::POINT);
    let axes = pick.tables.len();
    let mut table = Table::default();
    table.whole([axes as i64]);
    table.numbers(&[pick.fill]);
    table.whole([distance(values.input, pick.per_sample)]);
    let mut begin = 3 + 2 * axes;
    for entries in pick.tables.iter().rev() {
        table.whole([entries.len() as i64, begin as i64]);
        begin += entries.len();
    }
    pick.tables.iter().rev().for_each(|entries| table.whole(entries.iter().copied()));
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.bind(kernel, shape, grid, axes as u64, &[values.input; 2], &[table.words()], values.output)
}
