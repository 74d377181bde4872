//! y = act((x·Vᵀ)·U'ᵀ + b) in one dispatch. Two kernels: one keeps the intermediate in workgroup memory, one in registers.

use thinfer_shaders::{Kernel, variants};

use super::cost::{Machine, Stage};
use super::{Context, Dispatch, Grid, SOFTWARE_TRIPS, Shape};
use crate::artifact::Activation;
use crate::error::{Error, Result};
use crate::gpu::buffers::{PANEL, pack_rows, pack_transposed};
use crate::gpu::device::Gpu;
use crate::plan::{Slot, StepKind};

/// A factored weight: V as [rank, inputs], Uᵀ as [rank, outputs], both row-major.
#[derive(Clone, Copy)]
pub(in crate::gpu) struct Factors<'a> {
    pub(in crate::gpu) rank: usize,
    pub(in crate::gpu) v: &'a [f32],
    pub(in crate::gpu) u: &'a [f32],
}

/// The constants of a variant and what follows from them.
struct Variant {
    kernel: &'static Kernel,
    /// Rows of a workgroup, or of an invocation in registers.
    rows: u64,
    /// Rows of a task.
    tm: u64,
    /// vec4s of a task.
    tn: u64,
    slices: u64,
    capacity4: usize,
    registers: bool,
}

/// vec4s of a layer's inputs, rank and outputs.
#[derive(Clone, Copy)]
struct Lengths {
    inputs4: u64,
    rank4: u64,
    outputs4: u64,
}

impl Lengths {
    fn new(inputs: usize, rank: usize, outputs: usize) -> Self {
        let quarter = |n: usize| n.div_ceil(4) as u64;
        Self { inputs4: quarter(inputs), rank4: quarter(rank), outputs4: quarter(outputs) }
    }
}

impl Variant {
    fn new(kernel: &'static Kernel) -> Self {
        let registers = kernel.kernel == "low_rank_registers";
        let define = |name| u64::from(kernel.define(name).unwrap_or(1));
        let (tm, capacity4) = (define("BM"), define("R4"));
        let (rows, tn) = if registers { (tm, capacity4) } else { (define("TM"), define("BN")) };
        Self { kernel, rows, tm, tn, slices: define("KS"), capacity4: capacity4 as usize, registers }
    }

    /// The two stages as a workgroup sees them.
    fn stages(&self, l: Lengths) -> [Stage; 2] {
        let &Self { tm, tn, .. } = self;
        if self.registers {
            let tasks = u64::from(self.kernel.invocations());
            return [l.inputs4, l.outputs4].map(|length| Stage { tasks, length, tm, tn });
        }
        let tasks = |columns4: u64| self.rows / tm * columns4.div_ceil(tn);
        [
            Stage { tasks: tasks(l.rank4) * self.slices, length: l.inputs4.div_ceil(self.slices), tm, tn },
            Stage { tasks: tasks(l.outputs4), length: l.rank4, tm, tn },
        ]
    }

    /// Loop iterations of the busiest invocation.
    fn trips(&self, l: Lengths) -> u64 {
        if self.registers {
            return l.inputs4 + l.outputs4;
        }
        let threads = u64::from(self.kernel.invocations());
        let reduce = (self.rows * l.rank4).div_ceil(threads) * self.slices;
        self.stages(l).iter().map(|s| s.tasks.div_ceil(threads) * (1 + s.length)).sum::<u64>() + reduce
    }

    /// Estimated time for `rows` rows.
    fn time(&self, rows: u64, l: Lengths, machine: Machine) -> u64 {
        let units = rows.div_ceil(self.rows);
        if !self.registers {
            return machine.time(units, &self.stages(l));
        }
        let threads = u64::from(self.kernel.invocations());
        let stages = self.stages(l).map(|s| Stage { tasks: units.min(threads), ..s });
        machine.time(units.div_ceil(threads), &stages)
    }

    fn fits(&self, gpu: &Gpu, l: Lengths) -> bool {
        let limits = gpu.limits();
        l.rank4 <= self.capacity4 as u64
            && self.kernel.workgroup_bytes <= limits.max_compute_workgroup_storage_size
            && self.kernel.invocations() <= limits.max_compute_invocations_per_workgroup
            && (!gpu.is_software() || self.trips(l) <= SOFTWARE_TRIPS)
    }
}

fn all() -> impl Iterator<Item = Variant> {
    // Of two that are estimated alike, the one without a barrier.
    variants("low_rank_registers").chain(variants("low_rank")).map(Variant::new)
}

/// Whether a layer of `inputs` and `outputs` features can be fused at `rank` on this device.
pub(crate) fn supports_fused(gpu: &Gpu, inputs: usize, rank: usize, outputs: usize) -> bool {
    all().any(|v| v.fits(gpu, Lengths::new(inputs, rank, outputs)))
}

/// Whether this device has a kernel for a step of two matrices.
pub(crate) fn supports_fused_step(gpu: &Gpu, step: &StepKind) -> bool {
    match step {
        StepKind::Linear(l) => supports_fused(gpu, l.inputs, l.rank, l.outputs),
        _ => false,
    }
}

/// The variant of the least estimated time for `rows` rows, `None` where none fits.
fn choose(gpu: &Gpu, rows: usize, l: Lengths) -> Option<&'static Kernel> {
    let machine = Machine::of(gpu);
    all().filter(|v| v.fits(gpu, l)).min_by_key(|v| v.time(rows as u64, l, machine)).map(|v| v.kernel)
}

/// Packs the factors for the chosen variant and binds the layer.
pub(in crate::gpu) fn dispatch(
    context: &Context<'_>,
    pick: Option<&'static Kernel>,
    (input, output): (Slot, Slot),
    factors: Factors<'_>,
    bias: Vec<f32>,
    activation: Activation,
) -> Result<Dispatch> {
    let Factors { rank, v, u } = factors;
    let Some(kernel) = pick.or_else(|| choose(context.gpu, context.batch, Lengths::new(input.len(), rank, output.len()))) else {
        let what = "components in a fused layer".into();
        let allows = all().map(|v| v.capacity4 * 4).max().unwrap_or(0) as u64;
        let device = context.gpu.info().name.clone();
        return Err(Error::Limit { layer: context.layer.into(), what, needs: rank as u64, allows, device });
    };
    let variant = Variant::new(kernel);
    context.at_most("components in a fused layer", rank as u64, variant.capacity4 as u64 * 4)?;
    // In registers the rank is a constant of the kernel: the rest of it is padding.
    let (panel, least) = if variant.registers { (variant.capacity4, variant.capacity4 * 4) } else { (PANEL, 0) };
    let v = pack_transposed(v, rank, input.len(), panel);
    let u = pack_rows(u, rank, output.len(), PANEL, least);
    let mut shape = Shape::new(v.rows4, input, output, activation);
    shape.rank4 = v.columns4;
    shape.column_groups = shape.outputs4.div_ceil(variant.tn as u32);
    let trips = variant.trips(Lengths::new(input.len(), rank, output.len()));
    let units = if variant.registers { kernel.invocations() } else { 1 };
    let grid = Grid { rows: variant.rows as u32, columns: 1, units };
    context.dispatch(kernel, shape, grid, trips, (input, &[v.values, u.values, bias], output))
}
