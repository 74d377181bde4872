//! Multi-head attention.

use thinfer_shaders::Kernel;

use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::gpu::software;
use crate::plan::AttentionStep;

/// What could run `step`: of the variants for its kind of heads those that leave the fewest lanes idle come first.
pub(super) fn candidates(gpu: &Gpu, step: &AttentionStep) -> Vec<Candidate> {
    let ragged = !step.size.is_multiple_of(4);
    let size4 = step.size.div_ceil(4) as u64;
    let one = |kernel: &'static Kernel| {
        let (owned, queries) = (channels4(kernel), u64::from(kernel.define("BQ").unwrap_or(1)));
        // A part of a head computes all scores; lanes beyond it wait. A workgroup of one vector has no barriers to speak of.
        let work = size4.div_ceil(owned) * (size4 + owned);
        let narrow = (kernel.invocations() < 64) == gpu.is_software();
        Candidate { kernel, time: work * 64 + 64 / queries + if narrow { 0 } else { 1 << 32 } }
    };
    let fits = |k: &&'static Kernel| (k.define("RAGGED") == Some(1)) == ragged;
    let lanes = if ragged { Vec::new() } else { software::attention::candidates(gpu, size4) };
    if lanes.is_empty() { gpu.variants("attention").filter(fits).map(one).collect() } else { lanes }
}

/// vec4s of a head that a workgroup owns.
fn channels4(kernel: &Kernel) -> u64 {
    if kernel.lanes().is_some() {
        return software::attention::channels4(kernel);
    }
    let define = |name| u64::from(kernel.define(name).unwrap_or(1));
    define("TN") * define("C4")
}

/// Binds the step: queries, keys and values may be channels of one value.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, step: &AttentionStep) -> Result<Dispatch> {
    let keys = values.second.unwrap_or(values.input);
    let third = values.third.unwrap_or(keys);
    let size4 = step.size.div_ceil(4) as u64;
    let parts = size4.div_ceil(channels4(kernel)) as u32;
    let define = |name| kernel.define(name).unwrap_or(1);
    let (queries, tile) = (define("BQ"), if kernel.lanes().is_some() { software::attention::keys(kernel) } else { define("BK") });
    let mut shape = Shape::new(values, &Window::POINT);
    shape.column_groups = parts;
    (shape.heads, shape.head_size, shape.keys) = (step.heads as u32, step.size as u32, keys.pixels() as u32);
    [_, shape.first_key, shape.first_value] = step.first.map(|c| c as u32);
    shape.value_stride4 = (third.channel_stride() / 4) as u32;
    shape.number = step.scale;
    // A workgroup's rows are queries of one sample.
    let blocks = shape.pixels.div_ceil(queries);
    let grid = Grid { pixels: 1, rows: 1, columns: blocks * parts * shape.heads, units: 1 };
    let tiles = (keys.pixels() as u64).div_ceil(tile.into());
    let trip_count = tiles * (1 + size4 + u64::from(tile));
    let values = Values { third: Some(third), ..*values };
    context.dispatch(kernel, shape, grid, trip_count, &values, &[])
}
