//! Layer normalisation: each row by itself.

use thinfer_shaders::Kernel;

use crate::artifact::{Artifact, Window};
use crate::error::Result;
use crate::gpu::buffers::pack_bias;
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::LayerNormStep;

/// Both variants; a barrier over many invocations is dear where a core walks through them.
pub(super) fn candidates(gpu: &Gpu) -> Vec<Candidate> {
    let time = |k: &Kernel| if gpu.is_software() { k.invocations() } else { u32::MAX - k.invocations() };
    gpu.variants("layer_norm").map(|kernel| Candidate { kernel, time: time(kernel).into() }).collect()
}

/// Binds the step: a workgroup a row.
pub(super) fn step(
    context: &Context<'_>,
    kernel: &'static Kernel,
    artifact: &Artifact,
    values: &Values,
    norm: &LayerNormStep,
) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    shape.number = norm.eps;
    let table = [norm.scale, norm.shift].map(|id| pack_bias(Some(&artifact.tensor(id)), values.output.channels)).concat();
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: 1, units: 1 };
    let each = u64::from(shape.outputs4.div_ceil(kernel.invocations()));
    context.dispatch(kernel, shape, grid, 3 * each + 16, values, &[table])
}
