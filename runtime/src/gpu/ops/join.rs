//! Values one after the other.

use thinfer_shaders::Kernel;

use super::table::{Table, distance};
use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::{JoinStep, Step};

/// The kernel for as many inputs.
pub(super) fn candidates(gpu: &Gpu, inputs: usize) -> Vec<Candidate> {
    let fits = |k: &&Kernel| k.define("INPUTS") == Some(inputs as u32);
    gpu.variants("join").filter(fits).map(|kernel| Candidate { kernel, time: 0 }).collect()
}

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, step: &Step, join: &JoinStep) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    shape.flags = u32::from(join.blocks.iter().all(|n| n.is_multiple_of(4)));
    let mut table = Table::default();
    table.whole([join.blocks.iter().sum::<usize>() as i64]);
    let mut begin = 0;
    for ((&block, &per_sample), &slot) in join.blocks.iter().zip(&join.per_sample).zip(&step.inputs) {
        table.whole([begin, block as i64, distance(slot, per_sample)]);
        begin += block as i64;
    }
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.bind(kernel, shape, grid, 0, &step.inputs, &[table.words()], step.output)
}
