//! One op a file: which variant, how its weights are packed, what is bound and how it is launched.

mod attention;
mod conv;
mod cost;
mod elementwise;
mod embed;
mod lanes;
mod layer_norm;
mod linear;
mod low_rank;
mod multiply;
mod pool;
mod rearrange;
mod shape;
mod softmax;

use std::sync::Arc;

use thinfer_shaders::{BindingKind, Kernel};

use low_rank::Lengths;
use shape::Shape;

use crate::artifact::{Activation, Artifact, PoolKind, Residual};
use crate::error::{Error, Result};
use crate::gpu::buffers::{constant, pack_bias};
use crate::gpu::device::Gpu;
use crate::gpu::memory::{Memory, most_bytes};
use crate::gpu::pipelines::{Epilogue, Pipeline, pipeline};
use crate::plan::{ConvStep, LinearStep, RearrangeStep, Slot, Step, StepKind};

/// lavapipe 22 silently ends an invocation after 65 535 loop iterations, all its loops together.
const SOFTWARE_TRIPS: u64 = 65_534;

/// A kernel that could run a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) kernel: &'static Kernel,
    /// Estimated time, in a unit that is the same for one device; on software adapters with textures cycles of a core.
    pub(crate) time: u64,
}

/// Every kernel that could run `step` at `batch`; none for a rank that cannot be fused.
pub(crate) fn candidates(gpu: &Gpu, batch: usize, step: &Step) -> Vec<Candidate> {
    let rows = batch as u64 * step.output.pixels() as u64;
    if let Some(lengths) = Lengths::of(&step.kind) {
        return low_rank::candidates(gpu, rows, lengths);
    }
    let named = |kernel: &str, wanted: fn(&Kernel) -> bool| {
        gpu.variants(kernel).filter(|k| wanted(k)).map(|kernel| Candidate { kernel, time: 0 }).collect()
    };
    match &step.kind {
        StepKind::Linear(l) => linear::candidates(gpu, rows, l, step.input().stride()),
        StepKind::Conv(c) => conv::candidates(gpu, rows, c),
        StepKind::Pool(p) if p.kind == PoolKind::Max => named("pool", |k| k.define("MAX") == Some(1)),
        StepKind::Pool(_) => named("pool", |k| k.define("MAX") == Some(0)),
        StepKind::GlobalAveragePool => named("global_average", |_| true),
        StepKind::Softmax { .. } => named("softmax", |_| true),
        StepKind::Rearrange(_) | StepKind::Move => named("rearrange", |_| true),
        StepKind::Multiply { .. } => named("multiply", |_| true),
        StepKind::LayerNorm(_) => layer_norm::candidates(gpu),
        StepKind::Attention(a) => attention::candidates(gpu, a),
        StepKind::Embed(_) => named("embed", |_| true),
        StepKind::Add { .. } | StepKind::Activate(_) => named("elementwise", |_| true),
    }
}

/// What tells a pipeline from others.
pub(crate) type PipelineKey = (&'static str, Epilogue);

/// The pipelines that could run `step`, each with its kernel and its estimated time.
pub(crate) fn pipelines_of(gpu: &Gpu, artifact: &Artifact, batch: usize, step: &Step) -> Vec<(PipelineKey, &'static str, u64)> {
    let ending = ending(gpu, artifact, step);
    candidates(gpu, batch, step).into_iter().map(|c| ((c.kernel.name, ending), c.kernel.name, c.time)).collect()
}

/// The one of the least estimated time.
pub(super) fn best(candidates: &[Candidate]) -> Option<&'static Kernel> {
    candidates.iter().min_by_key(|c| c.time).map(|c| c.kernel)
}

/// The kernel that the estimate gives for `step`.
///
/// # Errors
/// [`Error::Limit`] where the device can run it with none.
pub(super) fn estimated(gpu: &Gpu, batch: usize, step: &Step) -> Result<&'static Kernel> {
    best(&candidates(gpu, batch, step)).ok_or_else(|| {
        let (part, device) = (format!("layer '{}'", step.name), gpu.info().name.clone());
        match &step.kind {
            StepKind::Linear(LinearStep { second: Some(_), rank, .. }) | StepKind::Conv(ConvStep { second: Some(_), rank, .. }) => {
                let (what, needs, allows) = (low_rank::RANK.into(), *rank as u64, low_rank::capacity(gpu));
                Error::Limit { part, what, needs, allows, device }
            }
            // Only sums can be too long for every kernel.
            kind => {
                let values = if let StepKind::Conv(c) = kind { c.fan_in() } else { step.input().stride() as u64 };
                let (what, needs) = ("values in one sum".into(), values);
                Error::Limit { part, what, needs, allows: 4 * SOFTWARE_TRIPS, device }
            }
        }
    })
}

/// Whether `step`, of two matrices, can be run on this device.
pub(crate) fn supports_fused(gpu: &Gpu, step: &StepKind) -> bool {
    Lengths::of(step).is_some_and(|lengths| !low_rank::candidates(gpu, 1, lengths).is_empty())
}

/// The one launch of `step`, by `kernel`.
pub(super) fn dispatch(context: &Context<'_>, artifact: &Artifact, step: &Step, kernel: &'static Kernel) -> Result<Dispatch> {
    let values = values(step);
    let bias = |id: Option<u32>| pack_bias(id.map(|id| artifact.tensor(id)).as_deref(), step.output.channels);
    match &step.kind {
        StepKind::Linear(l) => linear::step(context, kernel, artifact, &values, l, bias(l.bias)),
        StepKind::Conv(c) => conv::step(context, kernel, artifact, &values, c, bias(c.bias)),
        StepKind::Pool(p) => pool::step(context, kernel, &values, p),
        StepKind::GlobalAveragePool => pool::global(context, kernel, &values),
        StepKind::Add { .. } | StepKind::Activate(_) => elementwise::step(context, kernel, &values),
        StepKind::Softmax { log } => softmax::step(context, kernel, &values, *log),
        StepKind::Rearrange(r) => rearrange::step(context, kernel, &values, r),
        StepKind::Move => rearrange::step(context, kernel, &values, &RearrangeStep::identity(step.output.len())),
        StepKind::Multiply { .. } => multiply::step(context, kernel, &values),
        StepKind::LayerNorm(n) => layer_norm::step(context, kernel, artifact, &values, n),
        StepKind::Attention(a) => attention::step(context, kernel, &values, a),
        StepKind::Embed(table) => embed::step(context, kernel, artifact, &values, *table),
    }
}

fn values(step: &Step) -> Values {
    let activation = match &step.kind {
        StepKind::Linear(LinearStep { activation, .. })
        | StepKind::Conv(ConvStep { activation, .. })
        | StepKind::Add { activation, .. }
        | StepKind::Multiply { activation }
        | StepKind::Activate(activation) => *activation,
        _ => Activation::None,
    };
    Values {
        input: step.input(),
        second: step.inputs.get(1).copied(),
        third: step.inputs.get(2).copied(),
        residual: step.residual().map(|(_, how)| how),
        output: step.output,
        activation,
    }
}

/// What the pipeline of `step` fixes.
pub(super) fn ending(gpu: &Gpu, artifact: &Artifact, step: &Step) -> Epilogue {
    Epilogue { half: gpu.halves() && step.kind.is_half(artifact), ..epilogue(&values(step)) }
}

/// What a step reads and writes, and how its kernel ends.
struct Values {
    input: Slot,
    second: Option<Slot>,
    third: Option<Slot>,
    /// How the second input is added, if it is.
    residual: Option<Residual>,
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

    /// What it is launched by.
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
    /// What the pipeline fixes.
    pub(super) ending: Epilogue,
}

impl Context<'_> {
    /// Refuses what the device does not allow.
    fn at_most(&self, what: &str, needs: u64, allows: u64) -> Result<()> {
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
        let second = values.second.unwrap_or(values.input);
        let slots = [Some(values.input), Some(second), values.third, Some(values.output)];
        for needs in slots.into_iter().flatten().map(bytes).chain(weights.iter().map(|w| w.len() as u64 * 4)) {
            self.holds(needs)?;
        }

        let pipeline = pipeline(self.gpu, kernel, self.ending)?;
        let uniform = constant(self.gpu, self.layer, wgpu::BufferUsages::UNIFORM, bytemuck::bytes_of(&shape));
        let weights: Vec<Memory> = weights
            .iter()
            .zip(&kernel.bindings[4..])
            .map(|(w, b)| {
                let half = self.ending.half && kernel.weights.contains(&b.index);
                Memory::constant(self.gpu, self.layer, b.kind == BindingKind::ReadTexture, half, w)
            })
            .collect();
        let slot = |slot: Slot| self.activations[slot.buffer].resource(bytes(slot));
        let resources = [uniform.as_entire_binding(), self.run.as_entire_binding(), slot(values.input), slot(second)]
            .into_iter()
            .chain(values.third.map(slot))
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
        Activation::None | Activation::Relu | Activation::Relu6 | Activation::Clip { .. } => 0,
        Activation::LeakyRelu(_) => 3,
        Activation::Sigmoid => 4,
        Activation::Tanh => 5,
        Activation::HardSigmoid => 6,
        Activation::HardSwish => 7,
        Activation::Silu => 8,
        Activation::Gelu => 9,
        Activation::GeluTanh => 10,
        Activation::Elu(_) => 11,
        Activation::ThresholdedRelu(_) => 12,
        Activation::Softplus => 13,
        Activation::Softsign => 14,
        Activation::Exp => 15,
        Activation::Log => 16,
        Activation::Sqrt => 17,
        Activation::Reciprocal => 18,
        Activation::Abs => 19,
        Activation::Erf => 20,
    };
    let residual = match values.second.zip(values.residual) {
        None => 0,
        Some((slot, how)) => {
            let same = Slot { buffer: values.output.buffer, ..slot } == values.output;
            if same && how.offset == 0 && how.stride == 1 { 1 } else { 2 }
        }
    };
    Epilogue { activation, residual, half: false }
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
