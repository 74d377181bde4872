//! One op a file: which variant, how its weights are packed, what is bound and how it is launched.

mod conv;
mod cost;
mod elementwise;
mod lanes;
mod linear;
mod low_rank;
mod multiply;
mod pool;
mod rearrange;
mod shape;
mod softmax;

use std::sync::Arc;

use thinfer_shaders::{BindingKind, Kernel};

pub(crate) use low_rank::supports_fused;
use shape::Shape;

use crate::artifact::{Activation, Artifact, Residual};
use crate::error::{Error, Result};
use crate::gpu::buffers::{constant, pack_bias};
use crate::gpu::device::Gpu;
use crate::gpu::memory::{Memory, Storage, most_bytes};
use crate::gpu::pipelines::{Epilogue, Pipeline, pipeline};
use crate::plan::{Slot, Step, StepKind};

/// lavapipe 22 silently ends an invocation after 65 535 loop iterations, all its loops together.
const SOFTWARE_TRIPS: u64 = 65_534;

/// The one launch of `step`; `pick` chooses its variant in place of the estimate.
pub(super) fn dispatch(context: &Context<'_>, artifact: &Artifact, step: &Step, pick: Option<&'static Kernel>) -> Result<Dispatch> {
    let values = |activation| Values { input: step.input, residual: step.residual, output: step.output, activation };
    let bias = |id: Option<u32>| pack_bias(id.map(|id| artifact.tensor(id)).as_deref(), step.output.channels);
    match &step.kind {
        StepKind::Linear(l) => linear::step(context, pick, artifact, &values(l.activation), l, bias(l.bias)),
        StepKind::Conv(c) => conv::step(context, pick, artifact, &values(c.activation), c, bias(c.bias)),
        StepKind::Pool(p) => pool::step(context, &values(Activation::None), p),
        StepKind::GlobalAveragePool => pool::global(context, &values(Activation::None)),
        StepKind::Add { activation } | StepKind::Activate(activation) => elementwise::step(context, &values(*activation)),
        StepKind::Rearrange(r) => rearrange::step(context, &values(Activation::None), r),
        StepKind::Multiply { activation } => multiply::step(context, &values(*activation)),
        StepKind::Softmax { log } => softmax::step(context, &values(Activation::None), *log),
    }
}

/// What a step reads and writes, and how its kernel ends.
struct Values {
    input: Slot,
    residual: Option<(Slot, Residual)>,
    output: Slot,
    activation: Activation,
}

/// How many workgroups serve how many samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    /// Rows of outputs of a sample.
    pixels: u32,
    /// Rows of one unit of work.
    rows: u32,
    /// Units beside each other that share those rows.
    columns: u32,
    /// Units of a workgroup.
    units: u32,
}

impl Grid {
    /// Workgroups for `samples`.
    fn groups(self, samples: u64) -> u64 {
        let rows = samples * u64::from(self.pixels);
        (rows.div_ceil(u64::from(self.rows)) * u64::from(self.columns)).div_ceil(u64::from(self.units))
    }

    /// The same spread over two axes of at most `per_axis`; the last row of the grid may have some to spare.
    fn spread(self, samples: u64, per_axis: u64) -> (u64, u64) {
        let groups = self.groups(samples).max(1);
        let y = groups.div_ceil(per_axis.max(1));
        (groups.div_ceil(y), y)
    }
}

/// One launch: everything bound, the grid a matter of samples.
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
        let (x, y) = self.grid.spread(samples as u64, self.per_axis);
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
    /// The most samples of a run.
    pub(super) batch: usize,
    /// The activation buffers, as the plan numbers them.
    pub(super) activations: &'a [Memory],
    /// The uniform with the samples of the run.
    pub(super) run: &'a wgpu::Buffer,
}

impl Context<'_> {
    /// The kernel of that name, in the variant that the device's storage needs.
    fn only(&self, name: &str) -> Result<&'static Kernel> {
        let textures = self.gpu.storage() == Storage::Textures;
        let found = thinfer_shaders::kernel(&if textures { format!("{name}_t") } else { name.into() });
        found.ok_or_else(|| Error::invalid(self.layer, format!("needs the kernel '{name}', which is not built in")))
    }

    /// Refuses what the device does not allow.
    fn at_most(&self, what: &str, needs: u64, allows: u64) -> Result<()> {
        if needs <= allows {
            return Ok(());
        }
        let device = self.gpu.info().name.clone();
        Err(Error::Limit { layer: self.layer.into(), what: what.into(), needs, allows, device })
    }

    /// Binds `weights` between the values and checks every limit that wgpu would not report in our words, or at all;
    /// `trips` are the loop iterations of the busiest invocation.
    fn dispatch(
        &self,
        kernel: &'static Kernel,
        shape: Shape,
        grid: Grid,
        trips: u64,
        values: &Values,
        weights: &[Vec<f32>],
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
        // Kernels count vec4s in u32 as well, single values of a weight too.
        let buffer = most_bytes(self.gpu).min(u64::from(u32::MAX) * 4);
        let second = values.residual.map_or(values.input, |(slot, _)| slot);
        let slots = [values.input, second, values.output];
        for needs in slots.map(bytes).into_iter().chain(weights.iter().map(|w| w.len() as u64 * 4)) {
            self.at_most("bytes in one buffer", needs, buffer)?;
        }

        let pipeline = pipeline(self.gpu, kernel, epilogue(values));
        let uniform = constant(self.gpu, self.layer, wgpu::BufferUsages::UNIFORM, bytemuck::bytes_of(&shape));
        let weights: Vec<Memory> = weights
            .iter()
            .zip(&kernel.bindings[4..])
            .map(|(w, b)| Memory::constant(self.gpu, self.layer, b.kind == BindingKind::ReadTexture, w))
            .collect();
        let slot = |slot: Slot| self.activations[slot.buffer].resource(bytes(slot));
        let resources = [uniform.as_entire_binding(), self.run.as_entire_binding(), slot(values.input), slot(second)]
            .into_iter()
            .chain(weights.iter().map(|w| w.resource(w.bytes())))
            .chain([slot(values.output)]);
        let entries: Vec<_> = (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        let bind_group = self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.layer),
            layout: &pipeline.layout,
            entries: &entries,
        });
        Ok(Dispatch { pipeline, bind_group, grid, per_axis })
    }
}

/// The numbers of wgsl/shared/epilogue.wgsl and activation.wgsl.
fn epilogue(values: &Values) -> Epilogue {
    let activation = match values.activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 2,
        Activation::LeakyRelu(_) => 3,
        Activation::Sigmoid => 4,
        Activation::Tanh => 5,
        Activation::HardSigmoid => 6,
        Activation::HardSwish => 7,
        Activation::Silu => 8,
        Activation::Gelu => 9,
        Activation::GeluTanh => 10,
    };
    let residual = match values.residual {
        None => 0,
        Some((slot, how)) => {
            let same = Slot { buffer: values.output.buffer, ..slot } == values.output;
            if same && how.offset == 0 && how.stride == 1 { 1 } else { 2 }
        }
    };
    Epilogue { activation, residual }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_spread_grid_holds_all_work(samples in 1u64..1 << 30, pixels in 1u32..1025, rows in 1u32..64, columns in 1u32..5000, units in 1u32..256) {
            let grid = Grid { pixels, rows, columns, units };
            let (groups, (x, y)) = (grid.groups(samples), grid.spread(samples, 65_535));
            prop_assert!(x * y >= groups && x * y < groups + y);
            prop_assert!(x <= 65_535);
            let needs = u128::from(samples) * u128::from(pixels) * u128::from(columns);
            prop_assert!(u128::from(groups) * u128::from(units) * u128::from(rows) >= needs);
        }
    }
}
