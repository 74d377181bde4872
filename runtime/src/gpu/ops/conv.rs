//! y = act(conv(x, W) + b + r): the kernel that suits window and groups.

use thinfer_shaders::Kernel;

use super::cost::Machine;
use super::linear;
use super::low_rank;
use crate::artifact::Artifact;
use crate::error::Result;
use crate::gpu::buffers::Weight;
use crate::gpu::device::Gpu;
use crate::gpu::factors::Factors;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::gpu::software::lanes;
use crate::gpu::software::storage::Storage;
use crate::plan::{self, ConvStep};

/// How a convolution's channels fall into groups, as kernels see it.
enum Groups {
    One,
    /// A window for each channel.
    Depthwise,
    /// Groups of whole vec4s.
    Whole,
    Ragged,
}

fn groups(step: &ConvStep) -> Groups {
    let groups = step.groups.max(1);
    match groups {
        _ if step.is_depthwise() => Groups::Depthwise,
        1 => Groups::One,
        _ if [step.inputs, step.outputs].iter().all(|n| (n / groups).is_multiple_of(4)) => Groups::Whole,
        _ => Groups::Ragged,
    }
}

/// What could run `step` over `rows` pixels.
pub(super) fn candidates(gpu: &Gpu, rows: u64, step: &ConvStep) -> Vec<Candidate> {
    let (outputs4, inputs4) = (step.outputs.div_ceil(4) as u64, step.inputs.div_ceil(4) as u64);
    let taps = step.window.kernel.map(u64::from).iter().product();
    let single = |kernel| Candidate { kernel, time: 0 };
    match (groups(step), gpu.storage()) {
        (Groups::One, Storage::Textures) => lanes::tiles(gpu, rows, outputs4, taps, inputs4),
        (Groups::One, Storage::Buffers) => {
            let kernel = if step.is_pointwise() { "linear" } else { "conv" };
            linear::tiles(gpu.variants(kernel), rows, outputs4, u64::MAX, Machine::of(gpu))
        }
        (Groups::Whole, _) => linear::tiles(gpu.variants("conv"), rows, outputs4, 1, Machine::of(gpu)),
        (Groups::Ragged, _) => gpu.variants("grouped").map(single).collect(),
        (Groups::Depthwise, _) => {
            // Several pixels share the weight's loads; too few pixels would leave lanes idle.
            let most = if rows < 256 { 1 } else { u32::MAX };
            let rows = |k: &Kernel| k.define("TM").unwrap_or(1);
            let time = |kernel: &'static Kernel| Candidate { kernel, time: u64::from(u32::MAX / rows(kernel)) };
            gpu.variants("depthwise").filter(|k| rows(k) <= most).map(time).collect()
        }
    }
}

/// Binds a convolution; `bias` is padded.
pub(super) fn step(
    context: &Context<'_>,
    kernel: &'static Kernel,
    artifact: &Artifact,
    values: &Values,
    step: &ConvStep,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let matrix = plan::matrix(artifact, &step.matrix);
    let shape = Shape::new(values, &step.window);
    let taps = step.window.kernel.map(|n| n as usize).iter().product();
    let groups = step.groups.max(1);
    let (inputs, outputs) = (step.inputs / groups, step.outputs / groups);
    if let Some(second) = &step.second {
        let u = plan::matrix(artifact, second);
        let factors = Factors { v: Weight { values: &matrix, outputs: step.rank, inputs, taps }, u: &u };
        return low_rank::dispatch(context, kernel, shape, values, &factors, !step.is_pointwise(), bias);
    }
    let weight = Weight { values: &matrix, outputs: step.outputs, inputs, taps };
    match self::groups(step) {
        Groups::Depthwise => depthwise(context, kernel, shape, values, weight, bias),
        Groups::Ragged => grouped(context, kernel, shape, values, weight, (inputs, outputs), bias),
        Groups::One => linear::dispatch(context, kernel, taps as u64, shape, values, weight, bias),
        Groups::Whole => {
            let mut shape = shape;
            shape.group_outputs = (outputs / 4) as u32;
            linear::dispatch(context, kernel, taps as u64, shape, values, weight, bias)
        }
    }
}

/// A window for each channel.
fn depthwise(
    context: &Context<'_>,
    kernel: &'static Kernel,
    shape: Shape,
    values: &Values,
    weight: Weight<'_>,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let grid = Grid { pixels: shape.pixels, rows: kernel.define("TM").unwrap_or(1), columns: shape.outputs4, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, 2 * weight.taps as u64, values, &[weight.pack_depthwise(), bias])
}

/// Groups that do not consist of whole vec4s.
fn grouped(
    context: &Context<'_>,
    kernel: &'static Kernel,
    mut shape: Shape,
    values: &Values,
    weight: Weight<'_>,
    (inputs, outputs): (usize, usize),
    bias: Vec<f32>,
) -> Result<Dispatch> {
    (shape.group_inputs, shape.group_outputs) = (inputs as u32, outputs as u32);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    let trip_count = (weight.taps * (2 + inputs)) as u64;
    context.dispatch(kernel, shape, grid, trip_count, values, &[weight.pack_grouped(), bias])
}
