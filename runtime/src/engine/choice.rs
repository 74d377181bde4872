//! The form and the kernels chosen for each layer, and the memory that a plan needs.

use super::device::Device;
use crate::artifact::Artifact;
use crate::cpu;
use crate::error::{Error, Result};
use crate::plan::{Form, Plan, Slot, Step, StepKind};

/// A layer's form and kernels, with the times that decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) form: Form,
    /// The kernel of each of its steps. `None`, and steps beyond the end of the list, use the kernel with the lowest
    /// estimated time.
    pub(crate) kernels: Vec<Option<&'static str>>,
    /// Microseconds a run of the whole batch for each form that was timed, with the best of its kernels.
    pub(crate) measured_us: Vec<(Form, f64)>,
}

impl Choice {
    /// A form, its kernels by the device's estimate.
    pub(crate) fn of(form: Form) -> Self {
        Self { form, kernels: Vec::new(), measured_us: Vec::new() }
    }
}

/// How a session runs one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerChoice {
    /// The layer's name.
    pub name: String,
    /// Features or channels in.
    pub inputs: usize,
    /// Features or channels out.
    pub outputs: usize,
    /// Components of its factors, or Tucker's output rank; `None` for a layer stored dense or without a weight.
    pub rank: Option<usize>,
    /// Tucker's input rank.
    pub input_rank: Option<usize>,
    /// The form in which it runs.
    pub form: Form,
    /// Multiply–accumulates for one sample in that form.
    pub macs: u64,
    /// Bytes of its weights on the device.
    pub weight_bytes: u64,
    /// A lower bound on the bytes that a run of the whole batch moves: what its steps read and write, and their weights once.
    pub bytes: u64,
    /// Steps that move a value from one layout to the other.
    pub moves: usize,
    /// The kernels that it is run with, in their order.
    pub kernels: Vec<&'static str>,
    /// What tuning measured for each form, microseconds a run of the whole batch; empty without tuning.
    pub measured_us: Vec<(Form, f64)>,
}

/// Bytes of a step's weights.
fn step_bytes(artifact: &Artifact, step: &Step, halves: bool) -> u64 {
    step.kind.macs(1).saturating_mul(if halves && step.kind.is_half(artifact) { 2 } else { 4 })
}

/// Bytes that a session keeps on `device` for one step of a plan for `batch` samples: packed weights and, on the CPU, index
/// tables and the workspace of each thread.
pub(crate) fn resident_bytes(device: &Device, artifact: &Artifact, step: &Step, batch: usize) -> u64 {
    let (gpu, halves) = device.keeps();
    // Outputs stand in panels: of 8 on the CPU, of 8 vec4s on a GPU.
    let panel = if gpu { 32 } else { 8 };
    let element = if halves && step.kind.is_half(artifact) { 2 } else { 4 };
    let workspace = if gpu { 0 } else { cpu::workspace_bytes(step, batch) };
    step.kind.matrix_lens(4, panel).into_iter().fold(0, u64::saturating_add).saturating_mul(element).saturating_add(workspace)
}

/// Refuses a plan that needs more memory than the budget or this machine has. Up to rounding, everything counts that a
/// session keeps on its device: weights, tables, activations and staging buffers.
///
/// # Errors
/// [`Error::Limit`].
pub(crate) fn check_memory(device: &Device, artifact: &Artifact, plan: &Plan, budget: Option<u64>) -> Result<()> {
    let ends = plan.inputs.iter().chain(&plan.outputs).map(|slot| slot.stride() as u64).sum();
    let staging = 8 * (plan.batch as u64).saturating_mul(ends);
    let steps = plan.steps.iter().map(|step| resident_bytes(device, artifact, step, plan.batch));
    let needs = steps.fold(plan.memory.bytes().saturating_add(staging), u64::saturating_add);
    let what = || "bytes of memory".to_string();
    if let Some(allows) = budget.filter(|&allows| needs > allows) {
        return Err(Error::Limit { part: "the session".into(), what: what(), needs, allows, device: "its budget".into() });
    }
    // A GPU reports its limits. On the CPU an allocation that fails would end the process, so it is tried first.
    let allows = if device.keeps().0 { needs } else { allocatable(needs) };
    if allows < needs {
        let part = format!("a batch of {}", plan.batch);
        return Err(Error::Limit { part, what: what(), needs, allows, device: "this machine".into() });
    }
    Ok(())
}

/// How many of `bytes` the system can allocate in one piece, halved until an allocation succeeds.
fn allocatable(bytes: u64) -> u64 {
    let allocates = |bytes: &u64| usize::try_from(*bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
    std::iter::successors(Some(bytes), |bytes| Some(bytes / 2)).find(allocates).unwrap_or(0)
}

/// Describes how layer `index` runs.
pub(super) fn layer_choice(
    artifact: &Artifact,
    plan: &Plan,
    index: usize,
    kernels: &[Vec<&'static str>],
    halves: bool,
    choice: Choice,
) -> LayerChoice {
    let layer = &artifact.model().layers[index];
    let steps: Vec<_> = plan.steps.iter().zip(kernels).filter(|(s, _)| s.layer == index).collect();
    let (input, output) = (steps.first().map_or_else(Slot::default, |s| s.0.input()), plan.values[artifact.value_of(index)]);
    let flat = matches!(steps.first().map(|s| &s.0.kind), Some(StepKind::Linear(_)));
    let weight = layer.op.weight();
    let weight_bytes = steps.iter().map(|s| step_bytes(artifact, s.0, halves)).sum();
    LayerChoice {
        name: layer.name.clone(),
        inputs: if flat { input.len() } else { input.channels },
        outputs: output.channels,
        rank: weight.and_then(|w| w.rank(artifact)),
        input_rank: weight.and_then(|w| w.input_rank(artifact)),
        form: plan.forms[index],
        macs: weight.map_or(0, |_| steps.iter().map(|s| s.0.macs()).sum()),
        weight_bytes,
        moves: steps.iter().filter(|s| s.0.kind == StepKind::Move).count(),
        bytes: steps.iter().map(|s| 4 * s.0.values() * plan.batch as u64).sum::<u64>() + weight_bytes,
        kernels: steps.iter().flat_map(|s| s.1.iter().copied()).collect(),
        measured_us: choice.measured_us,
    }
}
