//! Softmax along any axis.

use thinfer_shaders::Kernel;

use super::table::Table;
use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid, SOFTWARE_TRIP_LIMIT};
use crate::gpu::shape::{Shape, Values};
use crate::plan::SoftmaxStep;

/// Longer rows than this are shared out over a workgroup.
const ALONE: u64 = 64;
/// The ways of wgsl/softmax_over.wgsl.
const BEHIND: u32 = 0;
const BESIDE: u32 = 1;
const EACH: u32 = 2;
const LOG: u32 = 4;

/// Both variants, of which a software adapter has those whose loops may be so long; barriers are dear to it.
pub(super) fn candidates(gpu: &Gpu, step: &SoftmaxStep) -> Vec<Candidate> {
    let length = step.sizes.last().map_or(1, |&n| n as u64);
    let alone = gpu.is_software() || length <= ALONE;
    let runs = |k: &&Kernel| !gpu.is_software() || trip_count(length, share(k)) <= SOFTWARE_TRIP_LIMIT;
    let time = |k: &Kernel| u64::from(is_group(k) == alone);
    gpu.variants("softmax_over").filter(runs).map(|kernel| Candidate { kernel, time: time(kernel) }).collect()
}

fn is_group(kernel: &Kernel) -> bool {
    kernel.define("GROUP").is_some()
}

/// Invocations that share a row.
fn share(kernel: &Kernel) -> u64 {
    if is_group(kernel) { kernel.invocations().into() } else { 1 }
}

/// Loop iterations of an invocation, of `share` that share a row: its largest, its sum and its shares.
fn trip_count(length: u64, share: u64) -> u64 {
    3 * length.div_ceil(share) + length.div_ceil(share) / 32 + 32
}

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, softmax: &SoftmaxStep) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    shape.number = f32::NAN;
    let axes = softmax.sizes.len().saturating_sub(1);
    let length = softmax.sizes.last().copied().unwrap_or(1);
    let along = |strides: &[i64]| strides.last().copied().unwrap_or(0);
    let (step, inner) = (along(&softmax.operand.strides), along(&softmax.output.strides));
    let rows: usize = softmax.sizes[..axes].iter().product();
    let way = if inner == 1 || length == 1 {
        BEHIND
    } else if inner % 4 == 0 {
        BESIDE
    } else {
        EACH
    };
    // Rows of one element lie as those behind each other, whatever the axis' stride.
    let inner = if length == 1 { 1 } else { inner };
    shape.flags = way | if softmax.log { LOG } else { 0 };
    let mut table = Table::default();
    table.whole([axes as i64]);
    table.start(&softmax.operand, values.input);
    table.whole([step, length as i64, inner, rows as i64]);
    table.axes(&softmax.sizes[..axes], &[&softmax.operand.strides[..axes]]);
    let units = if is_group(kernel) { 1 } else { kernel.invocations() };
    let columns = if way == EACH { shape.outputs4 } else { rows.div_ceil(4) as u32 };
    let grid = Grid { pixels: 1, rows: 1, columns, units };
    let trip_count = trip_count(length as u64, share(kernel));
    context.bind(kernel, shape, grid, trip_count, &[values.input; 2], &[table.words()], values.output)
}
