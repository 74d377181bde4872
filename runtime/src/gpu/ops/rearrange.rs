//! Elements in another order.

use thinfer_shaders::Kernel;

use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::launch::{Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::RearrangeStep;

/// Binds the step; its strides go to the kernel in a buffer, innermost first.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, step: &RearrangeStep) -> Result<Dispatch> {
    let shape = Shape::new(values, &Window::POINT);
    let head = [step.offset, step.steps.len() as u32];
    let words = head.into_iter().chain(step.steps.iter().rev().flat_map(|s| [s.size, s.stride]));
    // The kernel reads words; as floats they are never computed with.
    let words: Vec<f32> = words.map(f32::from_bits).collect();
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    context.dispatch(kernel, shape, grid, 5 * step.steps.len() as u64 + 8, values, &[words])
}
