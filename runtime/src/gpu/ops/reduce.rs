//! Many elements made one.

use thinfer_shaders::Kernel;

use super::table::{Table, fours};
use crate::artifact::{ReduceKind, Window};
use crate::error::Result;
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid, SOFTWARE_TRIP_LIMIT};
use crate::gpu::shape::{Shape, Values};
use crate::plan::ReduceStep;

/// More elements than this are shared out over a workgroup.
const ALONE: u64 = 64;

/// Both variants, of which a software adapter has those whose loops may be so long; barriers are dear to it.
pub(super) fn candidates(gpu: &Gpu, reduce: &ReduceStep) -> Vec<Candidate> {
    let alone = gpu.is_software() || length(reduce) <= ALONE;
    let runs = |k: &&Kernel| !gpu.is_software() || trip_count(reduce, share(k)) <= SOFTWARE_TRIP_LIMIT;
    let time = |k: &Kernel| u64::from(is_group(k) == alone);
    gpu.variants("reduce").filter(runs).map(|kernel| Candidate { kernel, time: time(kernel) }).collect()
}

/// Invocations that share the elements of an output.
fn share(kernel: &Kernel) -> u64 {
    if is_group(kernel) { kernel.invocations().into() } else { 1 }
}

/// Loop iterations of an invocation, of `share` that share the elements.
fn trip_count(reduce: &ReduceStep, share: u64) -> u64 {
    let each = length(reduce).div_ceil(share);
    // Once for each element and for each of its axes, the one that ends a loop counted; the largest comes first in a sum of powers.
    let passes = if reduce.kind == ReduceKind::LogSumExp { 2 } else { 1 };
    passes * (each * (reduce.over.len() as u64 + 1) + each / 32) + reduce.sizes.len() as u64 + 16
}

fn is_group(kernel: &Kernel) -> bool {
    kernel.define("GROUP").is_some()
}

/// `KIND` of wgsl/reduce.wgsl.
pub(super) fn kind(kind: ReduceKind) -> u32 {
    match kind {
        ReduceKind::Sum => 0,
        ReduceKind::Mean => 1,
        ReduceKind::Max => 2,
        ReduceKind::Min => 3,
        ReduceKind::Product => 4,
        ReduceKind::L1 => 5,
        ReduceKind::L2 => 6,
        ReduceKind::SumSquare => 7,
        ReduceKind::LogSum => 8,
        ReduceKind::LogSumExp => 9,
        ReduceKind::ArgMax { last } => 10 + u32::from(last),
        ReduceKind::ArgMin { last } => 12 + u32::from(last),
    }
}

/// Elements that become one.
fn length(reduce: &ReduceStep) -> u64 {
    reduce.over.iter().map(|&n| n as u64).product()
}

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, reduce: &ReduceStep) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    shape.number = f32::NAN;
    let (kept, over) = reduce.operand.strides.split_at(reduce.sizes.len());
    // The four elements at an index are a vec4 of the input.
    let (inner, last) = (reduce.sizes.last().copied().unwrap_or(1), kept.last().copied().unwrap_or(0));
    let outer = kept.split_last().map_or(&[][..], |s| s.1);
    let together = last == 1 && (inner.is_multiple_of(4) || reduce.sizes.len() == 1);
    shape.flags = u32::from(together && fours(outer) && fours(over) && fours(&[reduce.operand.offset]));
    let count = length(reduce);
    let mut table = Table::default();
    table.whole([reduce.sizes.len(), reduce.over.len()].map(|n| n as i64));
    table.start(&reduce.operand, values.input);
    table.whole([count as i64]);
    table.axes(&reduce.sizes, &[kept]);
    table.axes(&reduce.over, &[over]);
    let units = if is_group(kernel) { 1 } else { kernel.invocations() };
    let grid = Grid { pixels: 1, rows: 1, columns: shape.outputs4, units };
    context.bind(kernel, shape, grid, trip_count(reduce, share(kernel)), &[values.input; 2], &[table.words()], values.output)
}
