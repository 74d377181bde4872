//! y = act(x·Wᵀ + b) on the CPU: weights packed once into panels, a register tile of ROWS × 16 outputs, both cores.
//!
//! The tile is plain Rust over arrays of constant size; the compiler turns it into vector code for whatever features
//! its caller enables, so there is one kernel and one `unsafe` call for each level of features.

use rayon::prelude::*;

use super::epilogue::Epilogue;

/// Columns of a panel: two AVX registers, four NEON ones.
pub(super) const COLUMNS: usize = 16;
/// Rows of a full tile: 6 × 2 accumulators leave room for the panel's two registers and one broadcast among 16.
pub(super) const ROWS: usize = 6;
/// Below this many multiply–accumulates waking a second thread costs more than it saves.
pub(super) const PARALLEL_MACS: usize = 300_000;

/// A weight [outputs, inputs] in panels of [`COLUMNS`] outputs: for each input the panel's 16 weights, zero beyond the
/// last output.
#[derive(Debug)]
pub(super) struct Packed {
    inputs: usize,
    outputs: usize,
    panels: Vec<f32>,
}

impl Packed {
    /// Packs `weight`, whose element (o, i) is `at(o, i)`.
    pub(super) fn new(outputs: usize, inputs: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut panels = vec![0.0; outputs.div_ceil(COLUMNS) * inputs * COLUMNS];
        for (p, panel) in panels.chunks_exact_mut(inputs * COLUMNS).enumerate() {
            for (i, line) in panel.chunks_exact_mut(COLUMNS).enumerate() {
                for (o, w) in (p * COLUMNS..outputs).zip(line) {
                    *w = at(o, i);
                }
            }
        }
        Self { inputs, outputs, panels }
    }

    /// Panels of the weight.
    pub(super) fn count(&self) -> usize {
        self.outputs.div_ceil(COLUMNS)
    }

    /// The panel of outputs from `panel` · [`COLUMNS`] on.
    pub(super) fn panel(&self, panel: usize) -> &[f32] {
        let len = self.inputs * COLUMNS;
        &self.panels[panel * len..][..len]
    }

    /// Outputs of the weight.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }
}

/// Rows of activations: row r starts at r · stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// Rows of activations to be written: row r starts at r · stride.
#[derive(Debug)]
pub(super) struct RowsMut<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
}

/// Computes all outputs for all rows; splits the work over threads where that pays.
pub(super) fn linear(x: Rows<'_>, w: &Packed, epilogue: Epilogue<'_>, y: RowsMut<'_>) {
    let RowsMut { data: y, stride: y_stride } = y;
    let macs = x.count * w.inputs * w.outputs;
    let threads = rayon::current_num_threads();
    if macs < PARALLEL_MACS || threads == 1 {
        return block(x, w, 0..w.outputs.div_ceil(COLUMNS), epilogue, Target { y, stride: y_stride, first_column: 0 });
    }
    if x.count >= 2 * ROWS * threads {
        // Many rows: each thread takes some of them and all of the weight.
        let chunk = row_chunk(x.count, threads);
        y.par_chunks_mut(chunk * y_stride).zip(x.data.par_chunks(chunk * x.stride)).enumerate().for_each(|(i, (y, data))| {
            let rows = Rows { data, stride: x.stride, count: chunk.min(x.count.saturating_sub(i * chunk)) };
            let epilogue = epilogue.skip(i * chunk);
            block(rows, w, 0..w.outputs.div_ceil(COLUMNS), epilogue, Target { y, stride: y_stride, first_column: 0 });
        });
    } else if x.count == 1 {
        // One row: each thread takes some of the weight, which is what has to be read from memory.
        let panels = w.outputs.div_ceil(COLUMNS).div_ceil(threads);
        y[..w.outputs].par_chunks_mut(panels * COLUMNS).enumerate().for_each(|(i, y)| {
            let first = i * panels;
            let range = first..first + y.len().div_ceil(COLUMNS);
            block(x, w, range, epilogue, Target { y, stride: 0, first_column: first * COLUMNS });
        });
    } else {
        // A few rows: each thread takes some of the weight again and scatters its columns.
        let panels = w.outputs.div_ceil(COLUMNS).div_ceil(threads);
        let columns: Vec<(usize, Vec<f32>)> = (0..threads)
            .into_par_iter()
            .map(|i| {
                let first = (i * panels).min(w.outputs.div_ceil(COLUMNS));
                let last = (first + panels).min(w.outputs.div_ceil(COLUMNS));
                let width = (last * COLUMNS).min(w.outputs).saturating_sub(first * COLUMNS);
                let mut part = vec![0.0; x.count * width];
                block(x, w, first..last, epilogue, Target { y: &mut part, stride: width, first_column: first * COLUMNS });
                (first * COLUMNS, part)
            })
            .collect();
        for (first, part) in &columns {
            let width = part.len() / x.count;
            if width > 0 {
                for (row, line) in part.chunks_exact(width).enumerate() {
                    y[row * y_stride + first..][..width].copy_from_slice(line);
                }
            }
        }
    }
}

/// Both stages of y = act((x·Vᵀ)·Uᵀ + b) for a block of rows at a time, so that the intermediate, which goes to `h`,
/// is read while it is still in the nearest cache.
pub(super) fn low_rank(x: Rows<'_>, v: &Packed, u: &Packed, epilogue: Epilogue<'_>, h: RowsMut<'_>, y: RowsMut<'_>) {
    let (RowsMut { data: h, stride: h_stride }, RowsMut { data: y, stride: y_stride }) = (h, y);
    let threads = rayon::current_num_threads();
    let both = |data: &[f32], first: usize, count: usize, h: &mut [f32], y: &mut [f32]| {
        let rows = Rows { data, stride: x.stride, count };
        block(rows, v, 0..v.outputs.div_ceil(COLUMNS), Epilogue::NONE, Target { y: h, stride: h_stride, first_column: 0 });
        let rows = Rows { data: h, stride: h_stride, count };
        block(rows, u, 0..u.outputs.div_ceil(COLUMNS), epilogue.skip(first), Target { y, stride: y_stride, first_column: 0 });
    };
    // Few rows a block keep its part of h in the nearest cache; a multiple of the tile's rows leaves no ragged ends.
    let parallel = x.count * v.outputs * (v.inputs + u.outputs) >= PARALLEL_MACS && threads > 1;
    let chunk = if parallel { row_chunk(x.count, threads).min(8 * ROWS) } else { 8 * ROWS };
    let parts = |i: usize| chunk.min(x.count.saturating_sub(i * chunk));
    if parallel {
        let parts_of = y.par_chunks_mut(chunk * y_stride).zip(h.par_chunks_mut(chunk * h_stride)).zip(x.data.par_chunks(chunk * x.stride));
        parts_of.enumerate().for_each(|(i, ((y, h), data))| both(data, i * chunk, parts(i), h, y));
    } else {
        let parts_of = y.chunks_mut(chunk * y_stride).zip(h.chunks_mut(chunk * h_stride)).zip(x.data.chunks(chunk * x.stride));
        parts_of.enumerate().for_each(|(i, ((y, h), data))| both(data, i * chunk, parts(i), h, y));
    }
}

/// The vector instructions that a block is computed with.
pub(super) fn features() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return "avx2";
    }
    if cfg!(target_arch = "aarch64") { "neon" } else { "portable" }
}

/// Rows for each of `threads` threads, a multiple of the tile's.
fn row_chunk(rows: usize, threads: usize) -> usize {
    rows.div_ceil(threads).next_multiple_of(ROWS)
}

/// Where a block writes: column c of the weight goes to y[row · stride + c − first_column].
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) y: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) first_column: usize,
}

/// Computes `panels` for all rows on this thread, with the widest vectors that this machine has.
pub(super) fn block(x: Rows<'_>, w: &Packed, panels: std::ops::Range<usize>, epilogue: Epilogue<'_>, target: Target<'_>) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(x: Rows<'_>, w: &Packed, panels: std::ops::Range<usize>, epilogue: Epilogue<'_>, target: Target<'_>) {
            block_generic::<true>(x, w, panels, epilogue, target);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: both features were just found.
            return unsafe { avx2(x, w, panels, epilogue, target) };
        }
    }
    // Every 64-bit Arm has fused multiply-add; plain x86-64 has not, and would call a library for each.
    block_generic::<{ cfg!(target_arch = "aarch64") }>(x, w, panels, epilogue, target);
}

#[inline(always)]
fn block_generic<const FMA: bool>(x: Rows<'_>, w: &Packed, panels: std::ops::Range<usize>, epilogue: Epilogue<'_>, mut target: Target<'_>) {
    if x.count == 1 {
        return wide_row::<FMA>(x.data, w, panels, epilogue, &mut target);
    }
    let mut row = 0;
    while row < x.count {
        let rows = (x.count - row).min(ROWS);
        for panel in panels.clone() {
            match rows {
                1 => tile::<FMA, 1>(x, w, row, panel, epilogue, &mut target),
                2 => tile::<FMA, 2>(x, w, row, panel, epilogue, &mut target),
                3 => tile::<FMA, 3>(x, w, row, panel, epilogue, &mut target),
                4 => tile::<FMA, 4>(x, w, row, panel, epilogue, &mut target),
                5 => tile::<FMA, 5>(x, w, row, panel, epilogue, &mut target),
                _ => tile::<FMA, ROWS>(x, w, row, panel, epilogue, &mut target),
            }
        }
        row += rows;
    }
}

/// ROWS rows from `row` on, one panel.
#[inline(always)]
fn tile<const FMA: bool, const R: usize>(
    x: Rows<'_>,
    w: &Packed,
    row: usize,
    panel: usize,
    epilogue: Epilogue<'_>,
    target: &mut Target<'_>,
) {
    let k = w.inputs;
    let lines: [&[f32]; R] = std::array::from_fn(|r| &x.data[(row + r) * x.stride..][..k]);
    let sums = accumulate::<FMA, R>(&lines, w.panel(panel), [[0f32; COLUMNS]; R]);
    for (r, sums) in sums.iter().enumerate() {
        store(sums, row + r, panel, w.outputs, epilogue, target);
    }
}

/// `sums` and what `lines` times `weights`, a line of [`COLUMNS`] an input, adds to them. By value, so that the compiler keeps them in registers over the loop.
#[inline(always)]
pub(super) fn accumulate<const FMA: bool, const R: usize>(
    lines: &[&[f32]; R],
    weights: &[f32],
    mut sums: [[f32; COLUMNS]; R],
) -> [[f32; COLUMNS]; R] {
    // One length for all of them, so that the loop has no check but its own.
    let count = weights.len() / COLUMNS;
    let lines: [&[f32]; R] = std::array::from_fn(|r| &lines[r][..count]);
    for (i, weights) in (0..count).zip(weights.chunks_exact(COLUMNS)) {
        for r in 0..R {
            let a = lines[r][i];
            for c in 0..COLUMNS {
                sums[r][c] = multiply_add::<FMA>(a, weights[c], sums[r][c]);
            }
        }
    }
    sums
}

/// One row: four sums a column hide the latency of the additions that a single row's tile would wait for.
#[inline(always)]
fn wide_row<const FMA: bool>(x: &[f32], w: &Packed, panels: std::ops::Range<usize>, epilogue: Epilogue<'_>, target: &mut Target<'_>) {
    const SPLIT: usize = 4;
    let k = w.inputs;
    for panel in panels {
        let weights = &w.panels[panel * k * COLUMNS..][..k * COLUMNS];
        let mut sums = [[0f32; COLUMNS]; SPLIT];
        let (mut lines, mut values) = (weights.chunks_exact(SPLIT * COLUMNS), x[..k].chunks_exact(SPLIT));
        for (line, value) in (&mut lines).zip(&mut values) {
            for s in 0..SPLIT {
                for c in 0..COLUMNS {
                    sums[s][c] = multiply_add::<FMA>(value[s], line[s * COLUMNS + c], sums[s][c]);
                }
            }
        }
        for (line, &value) in lines.remainder().chunks_exact(COLUMNS).zip(values.remainder()) {
            for c in 0..COLUMNS {
                sums[0][c] = multiply_add::<FMA>(value, line[c], sums[0][c]);
            }
        }
        let total: [f32; COLUMNS] = std::array::from_fn(|c| (sums[0][c] + sums[1][c]) + (sums[2][c] + sums[3][c]));
        store(&total, 0, panel, w.outputs, epilogue, target);
    }
}

#[inline(always)]
pub(super) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
pub(super) fn store(sums: &[f32; COLUMNS], row: usize, panel: usize, outputs: usize, epilogue: Epilogue<'_>, target: &mut Target<'_>) {
    let first = panel * COLUMNS;
    let width = COLUMNS.min(outputs - first);
    let mut values = *sums;
    // A length that the compiler knows makes vectors of the whole epilogue.
    if width == COLUMNS {
        epilogue.finish(&mut values, row, first);
    } else {
        epilogue.finish(&mut values[..width], row, first);
    }
    target.y[row * target.stride + epilogue.first_channel + first - target.first_column..][..width].copy_from_slice(&values[..width]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Activation;
    use proptest::prelude::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / (1 << 23) as f32) - 1.0).collect()
    }

    fn reference(x: &[f32], w: &[f32], rows: usize, k: usize, n: usize, bias: Option<&[f32]>, relu: bool) -> Vec<f64> {
        let mut y = Vec::new();
        for r in 0..rows {
            for o in 0..n {
                let sum: f64 =
                    (0..k).map(|i| f64::from(x[r * k + i]) * f64::from(w[o * k + i])).sum::<f64>() + bias.map_or(0.0, |b| f64::from(b[o]));
                y.push(if relu { sum.max(0.0) } else { sum });
            }
        }
        y
    }

    proptest! {
        #[test]
        fn every_split_of_the_work_gives_the_product(rows in 1usize..40, k in 1usize..300, n in 1usize..200, with_bias: bool, relu: bool) {
            let (x, w, bias) = (values(rows * k, 1), values(n * k, 2), values(n, 3));
            let packed = Packed::new(n, k, |o, i| w[o * k + i]);
            let epilogue = Epilogue { bias: with_bias.then_some(&bias[..]), ..Epilogue::NONE };
            let epilogue = Epilogue { activation: if relu { Activation::Relu } else { Activation::None }, ..epilogue };
            let mut y = vec![f32::NAN; rows * n];
            linear(Rows { data: &x, stride: k, count: rows }, &packed, epilogue, RowsMut { data: &mut y, stride: n });
            for (got, want) in y.iter().zip(reference(&x, &w, rows, k, n, epilogue.bias, relu)) {
                prop_assert!((f64::from(*got) - want).abs() <= 1e-6 * k as f64, "{} {}", got, want);
            }
        }

        #[test]
        fn the_portable_kernel_agrees_with_the_fast_one(rows in 1usize..14, k in 1usize..100, n in 1usize..50) {
            let (x, w) = (values(rows * k, 1), values(n * k, 2));
            let packed = Packed::new(n, k, |o, i| w[o * k + i]);
            let run = |portable: bool| {
                let mut y = vec![f32::NAN; rows * n];
                let (rows, target) = (Rows { data: &x, stride: k, count: rows }, Target { y: &mut y, stride: n, first_column: 0 });
                let panels = 0..n.div_ceil(COLUMNS);
                if portable { block_generic::<false>(rows, &packed, panels, Epilogue::NONE, target) } else { block(rows, &packed, panels, Epilogue::NONE, target) }
                y
            };
            for (a, b) in run(true).iter().zip(run(false)) {
                prop_assert!((a - b).abs() <= 1e-6 * k as f32);
            }
        }
    }
}
