//! y = act((x·Vᵀ)·U'ᵀ + b) in one dispatch. Two kernels: one keeps the intermediate in workgroup memory, one in registers.

use thinfer_shaders::{Kernel, variants};

use super::linear::wanted_invocations;
use super::{Context, Dispatch, Grid, SOFTWARE_TRIPS, Shape};
use crate::artifact::Activation;
use crate::error::{Error, Result};
use crate::gpu::buffers::{pack_rows, pack_transposed};
use crate::gpu::device::Gpu;
use crate::plan::Slot;

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
    /// Rows that share a loaded weight.
    block: u64,
    slices: u64,
    capacity4: usize,
    registers: bool,
}

impl Variant {
    fn new(kernel: &'static Kernel) -> Self {
        let registers = kernel.kernel == "low_rank_registers";
        let define = |name| u64::from(kernel.define(name).unwrap_or(1));
        let block = define("BM");
        let rows = if registers { block } else { define("TM") };
        Self { kernel, rows, block, slices: define("KS"), capacity4: define("R4") as usize, registers }
    }

    /// Loop iterations of the busiest invocation.
    fn trips(&self, inputs4: u64, rank4: u64, outputs4: u64) -> u64 {
        if self.registers {
            return inputs4 + outputs4;
        }
        let (blocks, threads) = (self.rows / self.block, u64::from(self.kernel.invocations()));
        let first = (self.slices * blocks * rank4).div_ceil(threads) * (1 + inputs4.div_ceil(self.slices));
        let between = (self.rows * rank4).div_ceil(threads) * self.slices;
        first + between + (blocks * outputs4).div_ceil(threads) * (1 + rank4)
    }

    fn fits(&self, gpu: &Gpu, inputs: usize, rank: usize, outputs: usize) -> bool {
        let (inputs4, rank4, outputs4) = (inputs.div_ceil(4), rank.div_ceil(4), outputs.div_ceil(4));
        let limits = gpu.limits();
        rank4 <= self.capacity4
            && self.kernel.workgroup_bytes <= limits.max_compute_workgroup_storage_size
            && self.kernel.invocations() <= limits.max_compute_invocations_per_workgroup
            && (!gpu.is_software() || self.trips(inputs4 as u64, rank4 as u64, outputs4 as u64) <= SOFTWARE_TRIPS)
    }
}

fn all() -> impl Iterator<Item = Variant> {
    variants("low_rank").chain(variants("low_rank_registers")).map(Variant::new)
}

/// Whether a layer of `inputs` and `outputs` features can be fused at `rank` on this device.
pub(crate) fn supports_fused(gpu: &Gpu, inputs: usize, rank: usize, outputs: usize) -> bool {
    all().any(|v| v.fits(gpu, inputs, rank, outputs))
}

/// The variant for `rows` rows, `None` where none fits.
fn choose(gpu: &Gpu, rows: usize, inputs: usize, rank: usize, outputs: usize) -> Option<&'static Kernel> {
    let software = gpu.is_software();
    let (rows, rank4) = (rows as u64, rank.div_ceil(4) as u64);
    let cost = |v: &Variant| {
        // As for the dense tiles: work of one invocation × how often the device must be filled. In registers the
        // rank's vec4s share each load of inputs; in workgroup memory every one of them loads the inputs again.
        let units = rows.div_ceil(v.rows);
        let (invocations, work, serial) = if v.registers {
            let held = v.capacity4 as u64;
            (units, v.block * 4 + held * 16 + 16 * v.block * held, (inputs + outputs) as u64)
        } else {
            let threads = u64::from(v.kernel.invocations());
            let tasks = |n: u64| (n * v.rows / v.block).div_ceil(threads);
            let trips = tasks(v.slices * rank4) * (inputs as u64).div_ceil(v.slices) + tasks(outputs.div_ceil(4) as u64) * rank as u64;
            (units * threads, 16 + 4 * v.block + 16 * v.block, trips)
        };
        invocations.max(wanted_invocations(software)).saturating_mul(work).saturating_mul(serial)
    };
    all().filter(|v| v.fits(gpu, inputs, rank, outputs)).min_by_key(cost).map(|v| v.kernel)
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
    let Some(kernel) = pick.or_else(|| choose(context.gpu, context.batch, input.len, rank, output.len)) else {
        let what = "components in a fused layer".into();
        let allows = all().map(|v| v.capacity4 * 4).max().unwrap_or(0) as u64;
        let device = context.gpu.info().name.clone();
        return Err(Error::Limit { layer: context.layer.into(), what, needs: rank as u64, allows, device });
    };
    let variant = Variant::new(kernel);
    context.at_most("components in a fused layer", rank as u64, variant.capacity4 as u64 * 4)?;
    // In registers the rank is a constant of the kernel: the rest of it is padding.
    let width = if variant.registers { variant.capacity4 } else { 0 };
    let v = pack_transposed(v, rank, input.len, width);
    let u = pack_rows(u, rank, output.len, width);
    let mut shape = Shape::new(v.rows4, input, output, activation);
    shape.rank4 = v.columns4;
    let trips = variant.trips(v.rows4.into(), v.columns4.into(), u.columns4.into());
    let units = if variant.registers { kernel.invocations() } else { 1 };
    let grid = Grid { rows: variant.rows as u32, columns: 1, units };
    context.dispatch(kernel, shape, grid, trips, (input, &[v.values, u.values, bias], output))
}
