//! One op a file: which variant, how its weights are packed, what is bound and how it is launched.

mod cost;
pub(super) mod linear;
pub(super) mod low_rank;

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use thinfer_shaders::Kernel;

use crate::artifact::Activation;
use crate::error::{Error, Result};
use crate::gpu::buffers::constant;
use crate::gpu::device::Gpu;
use crate::gpu::pipelines::{Pipeline, pipeline};
use crate::plan::Slot;

/// lavapipe 22 silently ends an invocation after 65 535 loop iterations, all its loops together.
const SOFTWARE_TRIPS: u64 = 65_534;

/// `Shape` of wgsl/shared/shape.wgsl.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
struct Shape {
    inputs4: u32,
    input_stride4: u32,
    outputs: u32,
    outputs4: u32,
    output_stride4: u32,
    rank4: u32,
    column_groups: u32,
    flags: u32,
}

impl Shape {
    /// `inputs4` vec4s a row of `input`, to `output`.
    fn new(inputs4: u32, input: Slot, output: Slot, activation: Activation) -> Self {
        Self {
            inputs4,
            input_stride4: (input.stride() / 4) as u32,
            outputs: output.len() as u32,
            outputs4: output.len().div_ceil(4) as u32,
            output_stride4: (output.stride() / 4) as u32,
            rank4: 0,
            column_groups: 1,
            flags: u32::from(activation == Activation::Relu),
        }
    }
}

/// How many workgroups serve how many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    /// Rows of one unit of work.
    rows: u32,
    /// Units beside each other that share those rows.
    columns: u32,
    /// Units of a workgroup.
    units: u32,
}

impl Grid {
    /// Workgroups for `rows` rows.
    fn groups(self, rows: u64) -> u64 {
        (rows.div_ceil(u64::from(self.rows)) * u64::from(self.columns)).div_ceil(u64::from(self.units))
    }

    /// The same spread over two axes of at most `per_axis`; the last row of the grid may have some to spare.
    fn spread(self, rows: u64, per_axis: u64) -> (u64, u64) {
        let groups = self.groups(rows).max(1);
        let y = groups.div_ceil(per_axis.max(1));
        (groups.div_ceil(y), y)
    }
}

/// One launch: everything bound, the grid a matter of rows.
#[derive(Debug)]
pub(super) struct Dispatch {
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    grid: Grid,
    per_axis: u64,
}

impl Dispatch {
    /// Records the launch for `rows` rows.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, rows: usize) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let (x, y) = self.grid.spread(rows as u64, self.per_axis);
        pass.dispatch_workgroups(x as u32, y as u32, 1);
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
    /// The most rows of a run.
    pub(super) batch: usize,
    /// The activation buffers, as the plan numbers them.
    pub(super) activations: &'a [wgpu::Buffer],
    /// The uniform with the rows of the run.
    pub(super) run: &'a wgpu::Buffer,
}

impl Context<'_> {
    /// Refuses what the device does not allow.
    fn at_most(&self, what: &str, needs: u64, allows: u64) -> Result<()> {
        if needs <= allows {
            return Ok(());
        }
        let device = self.gpu.info().name.clone();
        Err(Error::Limit { layer: self.layer.into(), what: what.into(), needs, allows, device })
    }

    /// Binds `weights` between `input` and `output` and checks every limit that wgpu would not report in our words, or at
    /// all; `trips` are the loop iterations of the busiest invocation.
    fn dispatch(
        &self,
        kernel: &'static Kernel,
        shape: Shape,
        grid: Grid,
        trips: u64,
        (input, weights, output): (Slot, &[Vec<f32>], Slot),
    ) -> Result<Dispatch> {
        let limits = self.gpu.limits();
        if self.gpu.is_software() {
            self.at_most("loop iterations of one invocation", trips, SOFTWARE_TRIPS)?;
        }
        self.at_most("bytes of workgroup memory", kernel.workgroup_bytes.into(), limits.max_compute_workgroup_storage_size.into())?;
        self.at_most("invocations of a workgroup", kernel.invocations().into(), limits.max_compute_invocations_per_workgroup.into())?;
        let per_axis = u64::from(limits.max_compute_workgroups_per_dimension);
        let groups = grid.groups(self.batch as u64);
        self.at_most("workgroups", groups, per_axis.saturating_mul(per_axis))?;
        // Kernels number invocations in u32, with up to one row of the grid to spare.
        self.at_most("invocations", groups.saturating_mul(u64::from(kernel.invocations())), u64::from(u32::MAX / 2))?;

        let bytes = |slot: Slot| (slot.stride() * self.batch * 4) as u64;
        let buffer = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        // Kernels count vec4s in u32 as well.
        let buffer = buffer.min(u64::from(u32::MAX) * 16);
        for needs in [bytes(input), bytes(output)].into_iter().chain(weights.iter().map(|w| w.len() as u64 * 4)) {
            self.at_most("bytes in one buffer", needs, buffer)?;
        }

        let pipeline = pipeline(self.gpu, kernel);
        let uniform = constant(self.gpu, self.layer, wgpu::BufferUsages::UNIFORM, bytemuck::bytes_of(&shape));
        let weights: Vec<wgpu::Buffer> =
            weights.iter().map(|w| constant(self.gpu, self.layer, wgpu::BufferUsages::STORAGE, bytemuck::cast_slice(w))).collect();
        let slot = |slot: Slot| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.activations[slot.buffer],
                offset: 0,
                size: std::num::NonZeroU64::new(bytes(slot)),
            })
        };
        let resources = [uniform.as_entire_binding(), self.run.as_entire_binding(), slot(input)]
            .into_iter()
            .chain(weights.iter().map(wgpu::Buffer::as_entire_binding))
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
        fn a_spread_grid_holds_all_work(rows in 1u64..1 << 40, tile in 1u32..64, columns in 1u32..5000, units in 1u32..256) {
            let grid = Grid { rows: tile, columns, units };
            let (groups, (x, y)) = (grid.groups(rows), grid.spread(rows, 65_535));
            prop_assert!(x * y >= groups && x * y < groups + y);
            prop_assert!(x <= 65_535);
            prop_assert!(u128::from(groups) * u128::from(units) * u128::from(tile) >= u128::from(rows) * u128::from(columns));
        }
    }
}
