//! Binding and launching a kernel.

use std::sync::Arc;

use thinfer_shaders::{BindingKind, Kernel};

use crate::error::{Error, Result};
use crate::gpu::buffers::constant;
use crate::gpu::device::Gpu;
use crate::gpu::memory::{Memory, most_bytes};
use crate::gpu::pipeline::{Epilogue, Pipeline};
use crate::gpu::pipelines::pipeline;
use crate::gpu::shape::{Shape, Values};
use crate::plan::Slot;

/// lavapipe 22 silently ends an invocation after 65 535 loop iterations, all its loops together.
pub(super) const SOFTWARE_TRIP_LIMIT: u64 = 65_534;

/// A kernel that could run a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) kernel: &'static Kernel,
    /// Estimated time, in a unit that is the same for one device; on software adapters with textures cycles of a core.
    pub(crate) time: u64,
}

/// How many workgroups serve how many samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Rows of outputs of a sample.
    pub(super) pixels: u32,
    /// Rows of one unit of work.
    pub(super) rows: u32,
    /// Units beside each other that share those rows.
    pub(super) columns: u32,
    /// Units of a workgroup.
    pub(super) units: u32,
}

impl Grid {
    /// Workgroups for `samples`.
    fn groups(self, samples: u64) -> u64 {
        let rows = samples * u64::from(self.pixels);
        (rows.div_ceil(u64::from(self.rows)) * u64::from(self.columns)).div_ceil(u64::from(self.units))
    }

    /// Workgroups along x and y, at most `per_axis` along each; up to one row of the grid may be more than is needed.
    fn xy(self, samples: u64, per_axis: u64) -> (u64, u64) {
        let groups = self.groups(samples).max(1);
        let y = groups.div_ceil(per_axis.max(1));
        (groups.div_ceil(y), y)
    }
}

/// One launch: pipeline and bindings are fixed, the grid depends on the number of samples.
#[derive(Debug)]
pub(super) struct Dispatch {
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    grid: Grid,
    per_axis: u64,
}

impl Dispatch {
    /// Records the launch for `samples`.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, samples: usize) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let (x, y) = self.grid.xy(samples as u64, self.per_axis);
        pass.dispatch_workgroups(x as u32, y as u32, 1);
    }

    /// Its pipeline.
    pub(super) fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The name of the kernel's variant.
    pub(super) fn variant(&self) -> &'static str {
        self.pipeline.kernel.name
    }
}

/// What an op needs to become a [`Dispatch`].
pub(super) struct Context<'a> {
    pub(super) gpu: &'a Gpu,
    /// The layer at hand, for messages and labels.
    pub(super) layer: &'a str,
    /// The most samples of a run.
    pub(super) batch: usize,
    /// The activation buffers, as the plan numbers them.
    pub(super) activations: &'a [Memory],
    /// The uniform with the samples of the run.
    pub(super) run: &'a wgpu::Buffer,
    /// The constants of the pipeline.
    pub(super) ending: Epilogue,
}

impl Context<'_> {
    /// Refuses `needs` of `what` where the device allows fewer.
    pub(super) fn at_most(&self, what: &str, needs: u64, allows: u64) -> Result<()> {
        if needs <= allows {
            return Ok(());
        }
        let device = self.gpu.info().name.clone();
        Err(Error::Limit { part: format!("layer '{}'", self.layer), what: what.into(), needs, allows, device })
    }

    /// Refuses an array of more bytes than a kernel can be given.
    pub(super) fn holds(&self, bytes: u64) -> Result<()> {
        // Kernels count vec4s in u32, single values of a weight too.
        self.at_most("bytes in one buffer", bytes, most_bytes(self.gpu).min(u64::from(u32::MAX) * 4))
    }

    /// Binds `weights` between the values and checks every limit that wgpu reports unclearly or not at all; `trip_count` is
    /// the number of loop iterations of the busiest invocation.
    pub(super) fn dispatch(
        &self,
        kernel: &'static Kernel,
        shape: Shape,
        grid: Grid,
        trip_count: u64,
        values: &Values,
        weights: &[Vec<f32>],
    ) -> Result<Dispatch> {
        let inputs = [Some(values.input), Some(values.second.unwrap_or(values.input)), values.third];
        let inputs: Vec<Slot> = inputs.into_iter().flatten().collect();
        self.bind(kernel, shape, grid, trip_count, &inputs, weights, values.output)
    }

    /// The same for any number of `inputs`, which the kernel binds one after the other, then its weights, then `output`.
    #[expect(clippy::too_many_arguments, reason = "all that a launch consists of")]
    pub(super) fn bind(
        &self,
        kernel: &'static Kernel,
        shape: Shape,
        grid: Grid,
        trip_count: u64,
        inputs: &[Slot],
        weights: &[Vec<f32>],
        output: Slot,
    ) -> Result<Dispatch> {
        let limits = self.gpu.limits();
        if self.gpu.is_software() {
            self.at_most("loop iterations of one invocation", trip_count, SOFTWARE_TRIP_LIMIT)?;
        }
        self.at_most("bytes of workgroup memory", kernel.workgroup_bytes.into(), limits.max_compute_workgroup_storage_size.into())?;
        self.at_most("invocations of a workgroup", kernel.invocations().into(), limits.max_compute_invocations_per_workgroup.into())?;
        let per_axis = u64::from(limits.max_compute_workgroups_per_dimension);
        let groups = grid.groups(self.batch as u64);
        self.at_most("workgroups", groups, per_axis.saturating_mul(per_axis))?;
        // Kernels number invocations in u32, with up to one row of the grid to spare.
        self.at_most("invocations", groups.saturating_mul(u64::from(kernel.invocations())), u64::from(u32::MAX / 2))?;

        let bound = kernel.bindings.iter().filter(|b| matches!(b.kind, BindingKind::ReadOnly | BindingKind::ReadWrite)).count() as u64;
        self.at_most("buffers of one kernel", bound, limits.max_storage_buffers_per_shader_stage.into())?;

        // A constant is of one sample.
        let bytes = |slot: Slot| ((slot.stride() * self.batch * 4) as u64).min(self.activations[slot.buffer].bytes());
        for needs in inputs.iter().chain([&output]).map(|&s| bytes(s)).chain(weights.iter().map(|w| w.len() as u64 * 4)) {
            self.holds(needs)?;
        }

        let pipeline = pipeline(self.gpu, kernel, &self.ending)?;
        let uniform = constant(self.gpu, self.layer, wgpu::BufferUsages::UNIFORM, bytemuck::bytes_of(&shape));
        let weights: Vec<Memory> = weights
            .iter()
            .zip(&kernel.bindings[2 + inputs.len()..])
            .map(|(w, b)| {
                let half = self.ending.half && kernel.weights.contains(&b.index);
                Memory::constant(self.gpu, self.layer, b.kind == BindingKind::ReadTexture, half, w)
            })
            .collect();
        let slot = |slot: Slot| self.activations[slot.buffer].resource(bytes(slot));
        let resources = [uniform.as_entire_binding(), self.run.as_entire_binding()]
            .into_iter()
            .chain(inputs.iter().map(|&s| slot(s)))
            .chain(weights.iter().map(|w| w.resource(w.bytes())))
            .chain([slot(output)]);
        let entries: Vec<_> = (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        let bind_group = self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.layer),
            layout: &pipeline.layout,
            entries: &entries,
        });
        Ok(Dispatch { pipeline, bind_group, grid, per_axis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_grid_of_two_axes_holds_all_work(samples in 1u64..1 << 30, pixels in 1u32..1025, rows in 1u32..64, columns in 1u32..5000, units in 1u32..256) {
            let grid = Grid { pixels, rows, columns, units };
            let (groups, (x, y)) = (grid.groups(samples), grid.xy(samples, 65_535));
            prop_assert!(x * y >= groups && x * y < groups + y);
            prop_assert!(x <= 65_535);
            let needs = u128::from(samples) * u128::from(pixels) * u128::from(columns);
            prop_assert!(u128::from(groups) * u128::from(units) * u128::from(rows) >= needs);
        }
    }
}
