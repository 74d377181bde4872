//! One op a file: which variant, how its weights are packed, what is bound and how it is launched.

mod activations;
mod attention;
mod conv;
mod cost;
mod elementwise;
mod embed;
mod expression;
mod join;
mod layer_norm;
mod linear;
mod lookup;
mod low_rank;
mod map;
mod matmul;
mod multiply;
mod pick;
mod pool;
mod rearrange;
mod recurrent;
mod reduce;
mod resample;
mod softmax;
mod softmax_over;
mod table;

use thinfer_shaders::Kernel;

use self::activations::activation_number;

use crate::artifact::{Activation, Artifact, PoolKind};
use crate::error::{Error, Result};
use crate::gpu::buffers::pack_bias;
use crate::gpu::device::Gpu;
use crate::gpu::factors::{self, Lengths};
use crate::gpu::launch::{Candidate, Context, Dispatch, SOFTWARE_TRIP_LIMIT};
use crate::gpu::pipeline::Epilogue;
use crate::gpu::shape::Values;
use crate::plan::{ConvStep, LinearStep, RearrangeStep, Slot, Step, StepKind};

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
        StepKind::Recurrent(r) => recurrent::candidates(gpu, r),
        StepKind::Map(m) => map::candidates(gpu, m.operands.len()),
        StepKind::Reduce(r) => reduce::candidates(gpu, r),
        StepKind::SoftmaxOver(s) => softmax_over::candidates(gpu, s),
        StepKind::MatMul(m) => matmul::candidates(gpu, m),
        StepKind::Pick(_) => named("pick", |_| true),
        StepKind::Resample(_) => named("resample", |_| true),
        StepKind::Join(_) => join::candidates(gpu, step.inputs.len()),
        StepKind::Lookup(_) => named("lookup", |_| true),
        StepKind::Add { .. } | StepKind::Activate(_) => named("elementwise", |_| true),
    }
}

/// What identifies a pipeline.
pub(crate) type PipelineKey = (&'static str, Epilogue);

/// The pipelines that could run `step`, each with its kernel and its estimated time.
pub(crate) fn pipelines_of(gpu: &Gpu, artifact: &Artifact, batch: usize, step: &Step) -> Vec<(PipelineKey, &'static str, u64)> {
    let ending = ending(gpu, artifact, step);
    candidates(gpu, batch, step).into_iter().map(|c| ((c.kernel.name, ending.clone()), c.kernel.name, c.time)).collect()
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
                let (what, needs, allows) = (factors::RANK.into(), *rank as u64, low_rank::capacity(gpu));
                Error::Limit { part, what, needs, allows, device }
            }
            StepKind::Recurrent(r) => {
                let (what, needs, allows) = ("elements of a state or rank".into(), r.hidden.max(r.rank) as u64, recurrent::capacity(gpu));
                Error::Limit { part, what, needs, allows, device }
            }
            // Only sums can be too long for every kernel.
            kind => {
                let values = if let StepKind::Conv(c) = kind { c.fan_in() } else { step.input().stride() as u64 };
                let (what, needs) = ("values in one sum".into(), values);
                Error::Limit { part, what, needs, allows: 4 * SOFTWARE_TRIP_LIMIT, device }
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
        StepKind::Map(m) => map::step(context, kernel, &values, step, m),
        StepKind::Reduce(r) => reduce::step(context, kernel, &values, r),
        StepKind::SoftmaxOver(s) => softmax_over::step(context, kernel, &values, s),
        StepKind::MatMul(m) => matmul::step(context, kernel, &values, m),
        StepKind::Pick(p) => pick::step(context, kernel, &values, p),
        StepKind::Resample(r) => resample::step(context, kernel, &values, r),
        StepKind::Join(j) => join::step(context, kernel, &values, step, j),
        StepKind::Lookup(l) => lookup::step(context, kernel, &values, l),
        StepKind::Embed(table) => embed::step(context, kernel, artifact, &values, *table),
        StepKind::Recurrent(r) => recurrent::step(context, kernel, artifact, &values, r),
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

/// The constants of the pipeline of `step`.
pub(super) fn ending(gpu: &Gpu, artifact: &Artifact, step: &Step) -> Epilogue {
    match &step.kind {
        StepKind::Map(m) => map::ending(m, step.output),
        StepKind::Reduce(r) => Epilogue { kind: reduce::kind(r.kind), ..Epilogue::default() },
        kind => Epilogue { half: gpu.halves() && kind.is_half(artifact), ..epilogue(&values(step)) },
    }
}

/// The numbers of wgsl/shared/epilogue.wgsl and activation.wgsl.
fn epilogue(values: &Values) -> Epilogue {
    let activation = activation_number(values.activation);
    let residual = match values.second.zip(values.residual) {
        None => 0,
        Some((slot, how)) => {
            let same = Slot { buffer: values.output.buffer, ..slot } == values.output;
            if same && how.offset == 0 && how.stride == 1 { 1 } else { 2 }
        }
    };
    Epilogue { activation, residual, ..Epilogue::default() }
}
