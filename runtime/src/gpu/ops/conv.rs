//! y = act(conv(x, W) + b + r): the kernel that suits window and groups.

use thinfer_shaders::Kernel;

use super::linear::{self, Rows};
use super::low_rank::{self, Factors};
use super::shape::Shape;
use super::{Context, Dispatch, Grid, Values};
use crate::artifact::Artifact;
use crate::error::Result;
use crate::gpu::buffers::Weight;
use crate::plan::{ConvStep, matrix};

/// Binds a convolution; `bias` is padded.
pub(super) fn step(
    context: &Context<'_>,
    pick: Option<&'static Kernel>,
    artifact: &Artifact,
    values: &Values,
    step: &ConvStep,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let kernel = matrix(artifact, &step.matrix);
    let shape = Shape::new(values, &step.window);
    let taps = step.window.kernel.map(|n| n as usize).iter().product();
    let groups = step.groups.max(1);
    let (inputs, outputs) = (step.inputs / groups, step.outputs / groups);
    if let Some(second) = &step.second {
        let u = matrix(artifact, second);
        let factors = Factors { v: Weight { values: &kernel, outputs: step.rank, inputs, taps }, u: &u };
        return low_rank::dispatch(context, pick, shape, values, &factors, !step.is_pointwise(), bias);
    }
    let weight = Weight { values: &kernel, outputs: step.outputs, inputs, taps };
    if step.is_depthwise() {
        return depthwise(context, pick, shape, values, weight, bias);
    }
    if groups > 1 && (inputs % 4 != 0 || outputs % 4 != 0) {
        return grouped(context, shape, values, weight, (inputs, outputs), bias);
    }
    let mut shape = shape;
    let (kernel, widest) = match groups {
        1 => (if step.is_pointwise() { "linear" } else { "conv" }, u64::MAX),
        _ => {
            shape.group_outputs = (outputs / 4) as u32;
            ("conv", 1)
        }
    };
    linear::dispatch(context, pick, Rows { kernel, taps: taps as u64, widest }, shape, values, weight, bias)
}

/// A window for each channel.
fn depthwise(
    context: &Context<'_>,
    pick: Option<&'static Kernel>,
    shape: Shape,
    values: &Values,
    weight: Weight<'_>,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let rows = |k: &Kernel| k.define("TM").unwrap_or(1);
    // Several pixels share the weight's loads; too few pixels would leave lanes idle.
    let most = if context.batch.saturating_mul(shape.pixels as usize) < 256 { 1 } else { u32::MAX };
    let chosen = context.gpu.variants("depthwise").filter(|k| rows(k) <= most).max_by_key(|k| rows(k));
    let kernel = match pick.or(chosen) {
        Some(kernel) => kernel,
        None => context.only("depthwise_1")?,
    };
    let grid = Grid { pixels: shape.pixels, rows: rows(kernel), columns: shape.outputs4, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, 2 * weight.taps as u64, values, &[weight.pack_depthwise(), bias])
}

/// Groups that do not consist of whole vec4s.
fn grouped(
    context: &Context<'_>,
    mut shape: Shape,
    values: &Values,
    weight: Weight<'_>,
    (inputs, outputs): (usize, usize),
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let kernel = context.only("grouped")?;
    (shape.group_inputs, shape.group_outputs) = (inputs as u32, outputs as u32);
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    let trips = (weight.taps * (2 + inputs)) as u64;
    context.dispatch(kernel, shape, grid, trips, values, &[weight.pack_grouped(), bias])
}
