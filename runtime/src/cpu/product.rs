//! Products of many rows with a weight, and with two in a row, shared out over the threads.

use std::ops::Range;
use std::sync::Mutex;

use super::epilogue::Epilogue;
use super::packed::{Packed, Panel};
use super::threads;
use super::tile::{self, ROWS, Source, Target};
use crate::lock::lock;

/// Below this many multiply–accumulates a second thread costs more than it saves.
pub(super) const PARALLEL_MACS: usize = 100_000;
/// Values of a block where each is computed by itself: enough to be worth a thread.
pub(super) const BLOCK_VALUES: usize = 8192;
/// Rows of a block: enough to use a panel of weights often, few enough that their inputs stay in a near cache.
const BLOCK: usize = 8 * ROWS;
/// The same where an intermediate goes with them.
pub(super) const PAIR_BLOCK: usize = 4 * ROWS;

/// Rows of activations: row r starts at r · stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    /// Values of a row.
    pub(super) width: usize,
}

impl Source for Rows<'_> {
    type Cursor = usize;
    type Place = usize;

    #[inline(always)]
    fn start(&self, row: usize) -> usize {
        row * self.stride
    }

    #[inline(always)]
    fn advance(&self, cursor: &mut usize) -> usize {
        let place = *cursor;
        *cursor += self.stride;
        place
    }

    #[inline(always)]
    fn taps(&self) -> [usize; 2] {
        [1, 1]
    }

    #[inline(always)]
    fn channels(&self) -> usize {
        self.width
    }

    #[inline(always)]
    fn segment(&self, place: usize, _: usize, _: usize) -> &[f32] {
        &self.data[place..][..self.width]
    }

    fn len(&self) -> usize {
        self.data.len()
    }
}

/// Rows of activations to be written: row r starts at r · stride.
#[derive(Debug)]
pub(super) struct RowsMut<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
}

/// Scratch that a thread keeps between blocks and between runs.
#[derive(Debug)]
pub(super) struct Scratch {
    /// The intermediate of a pair, or columns on their way to their rows.
    pub(super) hidden: Vec<f32>,
    /// Gathered windows.
    pub(super) gathered: Vec<f32>,
}

/// One [`Scratch`] a thread.
#[derive(Debug)]
pub(super) struct Scratches(Vec<Mutex<Scratch>>);

impl Scratches {
    /// One for each thread that there may be, for pairs through `rank` values and for gathered windows of `width` values,
    /// so that no run needs more.
    pub(super) fn new(rank: usize, width: usize) -> Self {
        let one = || Mutex::new(Scratch { hidden: vec![0.0; PAIR_BLOCK * rank], gathered: vec![0.0; PAIR_BLOCK * width] });
        Self((0..threads::count()).map(|_| one()).collect())
    }

    /// The scratch of `thread`.
    pub(super) fn lend<T>(&self, thread: usize, work: impl FnOnce(&mut Scratch) -> T) -> T {
        work(&mut lock(&self.0[thread]))
    }

    /// Fills everything that a run must write before it reads with NaN.
    pub(super) fn poison(&self) {
        for thread in 0..self.0.len() {
            self.lend(thread, |s| [&mut s.hidden, &mut s.gathered].into_iter().for_each(|v| v.fill(f32::NAN)));
        }
    }
}

/// The first `len` of `buffer`, which grows to that once.
pub(super) fn grown(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// y = act(x·Wᵀ + b) for `rows` rows of `source`.
pub(super) fn product<S: Source>(source: S, rows: usize, w: &Packed, epilogue: Epilogue<'_>, y: RowsMut<'_>, staging: &mut Vec<f32>) {
    let threads = threads::count();
    let alone = threads == 1 || rows * w.inputs() * w.outputs() < PARALLEL_MACS;
    // Whichever is larger, the weight or the rows, should be read once.
    let by_panels = !alone && w.panels().len() >= threads && (w.len() > 2 * source.len() || rows < 2 * threads);
    if by_panels {
        return panel_by_panel(source, rows, w, epilogue, y, staging);
    }
    blocks(rows, BLOCK, alone, y, |_, range, y, stride| {
        let epilogue = epilogue.skip(range.start);
        tile::block(source, w, range, w.panels(), epilogue, Target { y, stride, first_column: 0 });
    });
}

/// Calls `work` with a thread's number, a block of rows, at most `most`, and the part of `y` that they start at, for all.
pub(super) fn blocks(rows: usize, most: usize, alone: bool, y: RowsMut<'_>, work: impl Fn(usize, Range<usize>, &mut [f32], usize) + Sync) {
    let RowsMut { data, stride } = y;
    let threads = if alone { 1 } else { threads::count() };
    // As many blocks a thread for all of them.
    let parts = rows.div_ceil(most).next_multiple_of(threads).max(1);
    let block = rows.div_ceil(parts).next_multiple_of(4);
    let share = parts / threads * block;
    let one = |thread: usize, (first, y): (usize, &mut [f32])| {
        let range = first..(first + block).min(rows);
        if !range.is_empty() {
            work(thread, range, y, stride);
        }
    };
    let chunks = |from: usize, part| (from..).step_by(block).zip(<[f32]>::chunks_mut(part, block * stride));
    if alone {
        return chunks(0, data).for_each(|chunk| one(0, chunk));
    }
    let mut rest = data;
    let share_of = |thread: usize| {
        let at = (share * stride).min(rest.len());
        chunks(thread * share, split_off(&mut rest, at))
    };
    threads::for_each(share_of, one);
}

/// Each thread computes some panels of the weight for all rows, so that the large weight is read once.
fn panel_by_panel<S: Source>(source: S, rows: usize, w: &Packed, epilogue: Epilogue<'_>, y: RowsMut<'_>, staging: &mut Vec<f32>) {
    let RowsMut { data: y, stride } = y;
    let one = |panel: Panel, y: &mut [f32], stride: usize| {
        let target = Target { y, stride, first_column: epilogue.first_channel + panel.column };
        tile::block(source, w, 0..rows, &[panel], epilogue, target);
    };
    // One row's columns lie side by side, so each panel writes its own; else each has a part of the staging area.
    let mut rest = if rows == 1 { &mut y[epilogue.first_channel..] } else { grown(staging, rows * w.outputs()) };
    let each = w.panels().len().div_ceil(threads::count());
    let share = |thread: usize| {
        let panels = w.panels().get(thread * each..).unwrap_or_default();
        let panels = &panels[..each.min(panels.len())];
        let columns: usize = panels.iter().map(|&panel| w.columns(panel)).sum();
        let mut part = split_off(&mut rest, rows * columns);
        panels.iter().map(move |&panel| (panel, split_off(&mut part, rows * w.columns(panel))))
    };
    threads::for_each(share, |_, (panel, part)| one(panel, part, w.columns(panel)));
    if rows == 1 {
        return;
    }
    let mut from = &staging[..];
    for &panel in w.panels() {
        let width = w.columns(panel);
        let (part, after) = from.split_at(rows * width);
        from = after;
        for (line, row) in part.chunks_exact(width).zip(y.chunks_mut(stride)) {
            row[epilogue.first_channel + panel.column..][..width].copy_from_slice(line);
        }
    }
}

/// The first `len` of `rest`, which keeps the others.
pub(super) fn split_off<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (part, after) = std::mem::take(rest).split_at_mut(len);
    *rest = after;
    part
}

/// y = act((x·Vᵀ)·Uᵀ + b) for `rows` rows of `source`, a block of rows at a time, so that the intermediate is read while
/// it is in the nearest cache.
pub(super) fn pair<S: Source>(source: S, rows: usize, [v, u]: [&Packed; 2], epilogue: Epilogue<'_>, y: RowsMut<'_>, scratches: &Scratches) {
    let alone = threads::count() == 1 || rows * v.outputs() * (v.inputs() + u.outputs()) < PARALLEL_MACS;
    blocks(rows, PAIR_BLOCK, alone, y, |thread, range, y, stride| {
        scratches.lend(thread, |scratch| {
            both(source, range.clone(), [v, u], epilogue, &mut scratch.hidden, Target { y, stride, first_column: 0 })
        });
    });
}

/// [`product`] of one weight, [`pair`] of two.
pub(super) fn one_or_two<S: Source>(
    source: S,
    rows: usize,
    (w, second): (&Packed, Option<&Packed>),
    epilogue: Epilogue<'_>,
    y: RowsMut<'_>,
    scratches: &Scratches,
    staging: &mut Vec<f32>,
) {
    match second {
        None => product(source, rows, w, epilogue, y, staging),
        Some(u) => pair(source, rows, [w, u], epilogue, y, scratches),
    }
}

/// Both stages for `rows` on this thread.
pub(super) fn both<S: Source>(
    source: S,
    rows: Range<usize>,
    [v, u]: [&Packed; 2],
    epilogue: Epilogue<'_>,
    hidden: &mut Vec<f32>,
    target: Target<'_>,
) {
    let (rank, count, first) = (v.outputs(), rows.len(), rows.start);
    let h = grown(hidden, count * rank);
    tile::block(source, v, rows, v.panels(), Epilogue::NONE, Target { y: h, stride: rank, first_column: 0 });
    let h = Rows { data: h, stride: rank, width: rank };
    tile::block(h, u, 0..count, u.panels(), epilogue.skip(first), target);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Activation;
    use proptest::prelude::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / (1 << 23) as f32) - 1.0).collect()
    }

    fn reference(x: &[f64], w: &[f32], [rows, k, n]: [usize; 3], bias: Option<&[f32]>, relu: bool) -> Vec<f64> {
        let mut y = Vec::new();
        for r in 0..rows {
            for o in 0..n {
                let sum: f64 = (0..k).map(|i| x[r * k + i] * f64::from(w[o * k + i])).sum::<f64>() + bias.map_or(0.0, |b| f64::from(b[o]));
                y.push(if relu { sum.max(0.0) } else { sum });
            }
        }
        y
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&v| f64::from(v)).collect()
    }

    proptest! {
        #[test]
        fn every_split_of_the_work_gives_the_product(rows in 1usize..150, k in 1usize..300, n in 1usize..200, with_bias: bool, relu: bool) {
            let (x, w, bias) = (values(rows * k, 1), values(n * k, 2), values(n, 3));
            let packed = Packed::new(n, k, |o, i| w[o * k + i]);
            let epilogue = Epilogue { bias: with_bias.then_some(&bias[..]), ..Epilogue::NONE };
            let epilogue = Epilogue { activation: if relu { Activation::Relu } else { Activation::None }, ..epilogue };
            let want = reference(&wide(&x), &w, [rows, k, n], epilogue.bias, relu);
            let source = Rows { data: &x, stride: k, width: k };
            let mut staging = Vec::new();
            for by_panels in [None, Some(true)] {
                let mut y = vec![f32::NAN; rows * n];
                let to = RowsMut { data: &mut y, stride: n };
                match by_panels {
                    None => product(source, rows, &packed, epilogue, to, &mut staging),
                    Some(_) => panel_by_panel(source, rows, &packed, epilogue, to, &mut staging),
                }
                for (got, want) in y.iter().zip(&want) {
                    prop_assert!((f64::from(*got) - want).abs() <= 1e-6 * k as f64, "{} {}", got, want);
                }
            }
        }

        #[test]
        fn a_pair_gives_the_product_of_both(rows in 1usize..150, k in 1usize..200, rank in 1usize..70, n in 1usize..100) {
            let (x, v, u) = (values(rows * k, 1), values(rank * k, 2), values(n * rank, 3));
            let h = reference(&wide(&x), &v, [rows, k, rank], None, false);
            let want = reference(&h, &u, [rows, rank, n], None, false);
            let (v, u) = (Packed::new(rank, k, |o, i| v[o * k + i]), Packed::new(n, rank, |o, i| u[o * rank + i]));
            let mut y = vec![f32::NAN; rows * n];
            let source = Rows { data: &x, stride: k, width: k };
            pair(source, rows, [&v, &u], Epilogue::NONE, RowsMut { data: &mut y, stride: n }, &Scratches::new(rank, 0));
            for (got, want) in y.iter().zip(&want) {
                prop_assert!((f64::from(*got) - want).abs() <= 1e-6 * (k * rank) as f64, "{} {}", got, want);
            }
        }
    }
}
