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

/// Both variants. A software adapter, to which barriers are dear, takes the one without as long as its loops may be so long.
pub(super) fn candidates(gpu: &Gpu, step: &SoftmaxStep) -> Vec<Candidate> {
    let length = step.sizes.last().map_or(1, |&n| n as u64);
    let most = if gpu.is_software() { SOFTWARE_TRIP_LIMIT / 4 } else { ALONE };
    let time = |k: &Kernel| u64::from(k.define("GROUP").is_some() == (length <= most));
    gpu.variants("softmax_over").map(|kernel| Candidate { kernel, time: time(kernel) }).collect()
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
    let group = kernel.define("GROUP").is_some();
    let (units, share) = if group { (1, u64::from(kernel.invocations())) } else { (kernel.invocations(), 1) };
    let columns = if way == EACH { shape.outputs4 } else { rows.div_ceil(4) as u32 };
    let grid = Grid { pixels: 1, rows: 1, columns, units };
    let trip_count = 3 * (length as u64).div_ceil(share) + (length as u64).div_ceil(share) / 64 + 32;
    context.bind(kernel, shape, grid, trip_count, &[values.input; 2], &[table.words()], values.output)
}
