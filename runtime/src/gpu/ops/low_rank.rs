//! y = act(U·(V·x) + b + r) in one dispatch, over rows of features or under a window over images. Two kernels for each: one
//! keeps the intermediate in workgroup memory, one in registers.

use thinfer_shaders::{Kernel, variants};

use super::cost::{Machine, Stage};
use crate::error::Result;
use crate::gpu::buffers::{PANEL, Weight};
use crate::gpu::device::Gpu;
use crate::gpu::factors::{Factors, Lengths, RANK};
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid, SOFTWARE_TRIP_LIMIT};
use crate::gpu::shape::{Shape, Values};
use crate::gpu::software::lanes;
use crate::gpu::software::storage::Storage;

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

impl Variant {
    fn new(kernel: &'static Kernel) -> Self {
        let registers = kernel.kernel.ends_with("registers");
        let define = |name| u64::from(kernel.define(name).unwrap_or(1));
        let (tm, capacity4) = (define("BM"), define("R4"));
        let (rows, tn) = if registers { (tm, capacity4) } else { (define("TM"), define("BN")) };
        Self { kernel, rows, tm, tn, slices: define("KS"), capacity4: capacity4 as usize, registers }
    }

    /// The two stages as a workgroup sees them.
    fn stages(&self, l: Lengths) -> [Stage; 2] {
        let &Self { tm, tn, .. } = self;
        let taps = l.taps.unwrap_or(1);
        if self.registers {
            let tasks = u64::from(self.kernel.invocations());
            return [taps * l.inputs4, l.outputs4].map(|length| Stage { tasks, length, tm, tn });
        }
        let tasks = |columns4: u64| self.rows / tm * columns4.div_ceil(tn);
        [
            Stage { tasks: tasks(l.rank4) * self.slices, length: taps * l.inputs4.div_ceil(self.slices), tm, tn },
            Stage { tasks: tasks(l.outputs4), length: l.rank4, tm, tn },
        ]
    }

    /// Loop iterations of the busiest invocation.
    fn trip_count(&self, l: Lengths) -> u64 {
        let first = l.trip_count(l.inputs4.div_ceil(self.slices));
        if self.registers {
            return first + l.outputs4;
        }
        let threads = u64::from(self.kernel.invocations());
        let reduce = (self.rows * l.rank4).div_ceil(threads) * self.slices;
        let stages = self.stages(l).into_iter().zip([first, l.rank4]);
        stages.map(|(s, trip_count)| s.tasks.div_ceil(threads) * (1 + trip_count)).sum::<u64>() + reduce
    }

    /// Estimated time for `rows` rows.
    fn time(&self, rows: u64, l: Lengths, machine: Machine) -> u64 {
        let units = rows.div_ceil(self.rows);
        if !self.registers {
            let [first, second] = self.stages(l);
            let slices = if self.slices > 1 { self.slices } else { 0 };
            let reduce = Stage { tasks: self.rows * l.rank4, length: slices, tm: 1, tn: 0 };
            let time = machine.time(units, &[first, reduce, second]);
            // Barriers and workgroup memory took lavapipe a quarter longer than registers at 64→64, 3×3, rank 8.
            return if l.taps.is_some() { time / 4 * 5 } else { time };
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
            && (!gpu.is_software() || self.trip_count(l) <= SOFTWARE_TRIP_LIMIT)
    }
}

/// The variants for rows of features, or for windows.
fn all(windows: bool) -> impl Iterator<Item = Variant> {
    let kernels = if windows { ["conv_low_rank_registers", "conv_low_rank"] } else { ["low_rank_registers", "low_rank"] };
    // Of two that are estimated alike, the one without a barrier.
    kernels.into_iter().flat_map(variants).map(Variant::new)
}

/// The variants that can run a factor pair of these lengths, with their estimated times for `rows` rows.
pub(super) fn candidates(gpu: &Gpu, rows: u64, l: Lengths) -> Vec<Candidate> {
    if gpu.storage() == Storage::Textures {
        return lanes::pairs(gpu, rows, l);
    }
    let machine = Machine::of(gpu);
    let fitting = all(l.taps.is_some()).filter(|v| v.fits(gpu, l));
    fitting.map(|v| Candidate { kernel: v.kernel, time: v.time(rows, l, machine) }).collect()
}

/// The most components that a fused layer can have.
pub(super) fn capacity(gpu: &Gpu) -> u64 {
    let kernels = match gpu.storage() {
        Storage::Textures => ["lanes_low_rank", "lanes_low_rank"],
        Storage::Buffers => ["low_rank", "conv_low_rank"],
    };
    kernels.into_iter().flat_map(variants).filter_map(|k| k.define("R4")).max().map_or(0, |r| u64::from(r) * 4)
}

/// Packs the factors for `kernel` and binds the step; `windows` says whether V moves over an image.
pub(super) fn dispatch(
    context: &Context<'_>,
    kernel: &'static Kernel,
    mut shape: Shape,
    values: &Values,
    factors: &Factors<'_>,
    windows: bool,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let (rank, outputs) = (factors.v.outputs, values.output.channels);
    let quarter = |n: usize| n.div_ceil(4) as u64;
    let lengths = Lengths {
        inputs4: quarter(factors.v.inputs),
        taps: windows.then_some(factors.v.taps as u64),
        rank4: quarter(rank),
        outputs4: quarter(outputs),
    };
    if kernel.lanes().is_some() {
        return lanes::dispatch_pair(context, kernel, shape, values, factors, lengths, bias);
    }
    let variant = Variant::new(kernel);
    context.at_most(RANK, rank as u64, variant.capacity4 as u64 * 4)?;
    // In registers the rank is a constant of the kernel: the rest of it is padding.
    let (panel, least) = if variant.registers { (variant.capacity4, variant.capacity4 * 4) } else { (PANEL, 0) };
    let v = factors.v.pack(panel, 0);
    let u = Weight { values: factors.u, outputs, inputs: rank, taps: 1 }.pack(PANEL, least);
    shape.inputs4 = v.inputs4;
    shape.rank4 = v.columns4;
    shape.column_groups = shape.outputs4.div_ceil(variant.tn as u32);
    let units = if variant.registers { kernel.invocations() } else { 1 };
    let grid = Grid { pixels: shape.pixels, rows: variant.rows as u32, columns: 1, units };
    context.dispatch(kernel, shape, grid, variant.trip_count(lengths), values, &[v.values, u.values, bias])
}
