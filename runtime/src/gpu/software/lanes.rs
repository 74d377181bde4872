//! The kernels that work by subgroups of 8 lanes, for adapters that keep values and weights in textures: one for every
//! product and convolution without groups, one for a factor pair whose intermediate stays in registers.

use thinfer_shaders::Kernel;

use super::storage::LANES;
use crate::error::Result;
use crate::gpu::buffers::Weight;
use crate::gpu::device::Gpu;
use crate::gpu::factors::{Factors, Lengths, RANK};
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid, SOFTWARE_TRIP_LIMIT};
use crate::gpu::shape::{Shape, Values};

/// Prices in units of a multiply–add of a vector, from lavapipe 22 on Zen 4: a texel for each lane, handing one float
/// around, storing a vec4, and what a tap costs beyond its loads.
const LOAD: u64 = 14;
const SHUFFLE: u64 = 1;
const STORE: u64 = 60;
const TAP: u64 = 30;

/// What a variant of `lanes` does in a task, from its constants.
#[derive(Clone, Copy, Debug)]
struct Tile {
    /// Lanes beside each other, and how many groups of them have rows of their own.
    across: u64,
    parts: u64,
    /// vec4s of outputs of a lane.
    tn: u64,
    /// Rows of a part.
    tm: u64,
    /// vec4s of inputs of one iteration.
    slices: u64,
    /// Loads of x in an iteration.
    loads: u64,
    /// Rows stored at a time.
    stored: u64,
}

impl Tile {
    fn new(kernel: &Kernel) -> Self {
        let define = |name| u64::from(kernel.define(name).unwrap_or(1));
        let (across, tm, rows) = (define("CL"), define("TM"), define("RX"));
        let parts = u64::from(LANES) / across;
        Self { across, parts, tn: define("TN"), tm, slices: across / rows, loads: tm / rows, stored: define("SB") }
    }

    /// vec4s of outputs of a task.
    fn width(&self) -> u64 {
        self.across * self.tn
    }

    /// Rows of a task.
    fn height(&self) -> u64 {
        self.parts * self.tm
    }

    /// Estimated time for `rows` × `outputs4` vec4s on so many cores.
    fn time(&self, rows: u64, outputs4: u64, taps: u64, inputs4: u64, cores: u64) -> u64 {
        let tasks = rows.div_ceil(self.height()).saturating_mul(outputs4.div_ceil(self.width()));
        let slice = 4 * self.tn * LOAD + self.tm * (4 * SHUFFLE + 16 * self.tn);
        let tap = inputs4 * slice + (inputs4.div_ceil(self.slices) * LOAD + TAP) * self.loads;
        tasks.div_ceil(cores).saturating_mul(taps.saturating_mul(tap) + self.tm * self.tn * STORE)
    }

    fn trip_count(&self, taps: u64, inputs4: u64) -> u64 {
        taps * (2 + inputs4.div_ceil(self.slices) + if self.slices > 1 { inputs4 } else { 0 }) + self.tm / self.stored
    }
}

/// The variants with their estimated times for `rows` rows of so many vec4s, summed over `taps` × `inputs4`.
pub(in crate::gpu) fn tiles(gpu: &Gpu, rows: u64, outputs4: u64, taps: u64, inputs4: u64) -> Vec<Candidate> {
    let time = |t: Tile| t.time(rows, outputs4, taps, inputs4, gpu.cores());
    let all = gpu.variants("lanes").map(|kernel| (kernel, Tile::new(kernel)));
    let fitting = all.filter(|(_, t)| t.trip_count(taps, inputs4) <= SOFTWARE_TRIP_LIMIT);
    fitting.map(|(kernel, t)| Candidate { kernel, time: time(t) }).collect()
}

/// Binds rows × a matrix, under a window or not.
pub(in crate::gpu) fn dispatch(
    context: &Context<'_>,
    kernel: &'static Kernel,
    taps: u64,
    mut shape: Shape,
    values: &Values,
    weight: Weight<'_>,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let tile = Tile::new(kernel);
    let packed = weight.pack(tile.width() as usize, 0);
    shape.inputs4 = packed.inputs4;
    shape.column_groups = packed.columns4.div_ceil(tile.width() as u32);
    let grid = Grid { pixels: shape.pixels, rows: tile.height() as u32, columns: shape.column_groups, units: 1 };
    let trip_count = tile.trip_count(taps, u64::from(packed.inputs4));
    context.dispatch(kernel, shape, grid, trip_count, values, &[packed.values, bias])
}

/// A variant of `lanes_low_rank`.
#[derive(Clone, Copy, Debug)]
struct Pair {
    rank4: u64,
    /// Rows of a lane.
    rows: u64,
}

impl Pair {
    fn new(kernel: &Kernel) -> Self {
        let define = |name| u64::from(kernel.define(name).unwrap_or(1));
        Self { rank4: define("R4"), rows: define("BM") }
    }

    fn time(&self, rows: u64, l: Lengths, cores: u64) -> u64 {
        let weights = self.rank4.div_ceil(2) * LOAD + 16 * self.rank4 * SHUFFLE + 16 * self.rank4 * self.rows;
        let first = l.taps.unwrap_or(1) * (l.inputs4 * (weights + self.rows * LOAD) + self.rows * TAP);
        let tasks = rows.div_ceil(u64::from(LANES) * self.rows);
        tasks.div_ceil(cores).saturating_mul(first + l.outputs4 * (weights + self.rows * STORE))
    }

    fn trip_count(&self, l: Lengths) -> u64 {
        l.taps.unwrap_or(1) * (2 + l.inputs4) + l.outputs4
    }

    fn fits(&self, l: Lengths) -> bool {
        l.rank4 <= self.rank4 && self.trip_count(l) <= SOFTWARE_TRIP_LIMIT
    }
}

/// The variants that can run a factor pair of these lengths, with their estimated times for `rows` rows.
pub(in crate::gpu) fn pairs(gpu: &Gpu, rows: u64, l: Lengths) -> Vec<Candidate> {
    let all = gpu.variants("lanes_low_rank").map(|kernel| (kernel, Pair::new(kernel)));
    all.filter(|(_, p)| p.fits(l)).map(|(kernel, p)| Candidate { kernel, time: p.time(rows, l, gpu.cores()) }).collect()
}

/// Binds a factor pair.
pub(in crate::gpu) fn dispatch_pair(
    context: &Context<'_>,
    kernel: &'static Kernel,
    mut shape: Shape,
    values: &Values,
    factors: &Factors<'_>,
    lengths: Lengths,
    bias: Vec<f32>,
) -> Result<Dispatch> {
    let pair = Pair::new(kernel);
    context.at_most(RANK, factors.v.outputs as u64, pair.rank4 * 4)?;
    let least = pair.rank4 as usize * 4;
    let v = factors.v.pack(least / 4, 0);
    let u = Weight { values: factors.u, outputs: values.output.channels, inputs: factors.v.outputs, taps: 1 }.pack(1, least);
    shape.inputs4 = v.inputs4;
    shape.rank4 = pair.rank4 as u32;
    let grid = Grid { pixels: shape.pixels, rows: LANES * pair.rows as u32, columns: 1, units: 1 };
    context.dispatch(kernel, shape, grid, pair.trip_count(lengths), values, &[v.values, u.values, bias])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(rows: u64, outputs4: u64, taps: u64, inputs4: u64) -> &'static str {
        let all = thinfer_shaders::variants("lanes");
        all.min_by_key(|k| Tile::new(k).time(rows, outputs4, taps, inputs4, 2)).unwrap().name
    }

    #[test]
    fn tiles_follow_the_shape() {
        // Whole maps, a few channels, 4×4 and 2×2 maps, one vector.
        assert_eq!(best(1024, 16, 9, 16), "lanes_16x2");
        assert_eq!(best(1024, 4, 9, 4), "lanes_16x1_4");
        assert_eq!(best(16, 128, 9, 128), "lanes_16x2");
        assert_eq!(best(4, 128, 9, 128), "lanes_4x1");
        assert_eq!(best(1, 256, 1, 256), "lanes_1x1");
    }
}
