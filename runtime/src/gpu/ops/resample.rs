//! Weighted sums along an axis.

use thinfer_shaders::Kernel;

use super::table::{Table, distance};
use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::ResampleStep;

/// Binds the step. Of an image the padding is resampled with it, zeros of zeros.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, resample: &ResampleStep) -> Result<Dispatch> {
    let ResampleStep { inputs, inner, taps, indices, weights, per_sample, .. } = resample;
    let mut shape = Shape::new(values, &Window::POINT);
    shape.flags = u32::from(inner.is_multiple_of(4));
    let outputs = indices.len() / (*taps).max(1);
    let mut table = Table::default();
    table.whole([*inner, *inputs, outputs, *taps].map(|n| n as i64));
    table.whole([distance(values.input, *per_sample)]);
    table.whole(indices.iter().map(|&i| i.into()));
    table.numbers(weights);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.bind(kernel, shape, grid, *taps as u64, &[values.input; 2], &[table.words()], values.output)
}
