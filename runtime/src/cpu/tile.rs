//! The kernel of every product on the CPU: rows × a panel of outputs, summed in registers over all inputs.

use super::epilogue::Epilogue;
use super::packed::{Packed, Panel};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Base, Level, Vector, level};

/// The widest panel.
const WIDEST: usize = 32;
/// Rows of a full tile on most levels; blocks of rows should be multiples of it.
pub(super) const ROWS: usize = 12;

/// Rows of inputs, each in segments that lie apart: one segment for a matrix, one a tap for a convolution.
pub(super) trait Source: Copy + Sync {
    /// Goes through rows in order.
    type Cursor: Clone;
    /// Where one row's segments lie.
    type Place: Copy;

    /// At `row`.
    fn start(&self, row: usize) -> Self::Cursor;
    /// The next row.
    fn advance(&self, cursor: &mut Self::Cursor) -> Self::Place;
    /// Rows and columns of segments.
    fn taps(&self) -> [usize; 2];
    /// Values of a segment.
    fn channels(&self) -> usize;
    /// Segment (`y`, `x`) of a row.
    fn segment(&self, place: Self::Place, y: usize, x: usize) -> &[f32];
    /// Values that are read in all, for deciding who reads what.
    fn len(&self) -> usize;
}

/// Where a block writes: column c of the weight goes to y[row · stride + c − first_column], where row 0 is the first of
/// the block.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) y: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) first_column: usize,
}

/// Computes `panels` of `w` for `rows` of `source` on this thread. Row 0 of `target` and of `epilogue` is the first.
pub(super) fn block<S: Source>(
    source: S,
    w: &Packed,
    rows: std::ops::Range<usize>,
    panels: &[Panel],
    epilogue: Epilogue<'_>,
    mut target: Target<'_>,
) {
    for &panel in panels {
        let work = Work { source, w, panel, rows: rows.clone(), epilogue };
        match level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level says that the features were found.
            Level::Avx512 => unsafe { avx512(&work, &mut target) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { avx2(&work, &mut target) },
            Level::Base => base(&work, &mut target),
        }
    }
}

/// One panel for some rows.
struct Work<'a, S> {
    source: S,
    w: &'a Packed,
    panel: Panel,
    rows: std::ops::Range<usize>,
    epilogue: Epilogue<'a>,
}

/// 32 registers: 24 sums, a line of weights, and values that are broadcast from memory.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn avx512<S: Source>(work: &Work<'_, S>, target: &mut Target<'_>) {
    match work.panel.width {
        32 => work.run::<Avx512, 2, 12>(target),
        16 => work.run::<Avx512, 1, 12>(target),
        _ => work.run::<Avx2, 1, 12>(target),
    }
}

/// 16 registers: 12 sums.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<S: Source>(work: &Work<'_, S>, target: &mut Target<'_>) {
    match work.panel.width {
        16 => work.run::<Avx2, 2, 6>(target),
        _ => work.run::<Avx2, 1, 12>(target),
    }
}

/// 32 registers of four on Arm: 24 sums.
fn base<S: Source>(work: &Work<'_, S>, target: &mut Target<'_>) {
    match work.panel.width {
        16 => work.run::<Base, 4, 6>(target),
        _ => work.run::<Base, 2, 6>(target),
    }
}

impl<S: Source> Work<'_, S> {
    /// All rows, in tiles of `R` and, for the last ones, of fewer; a panel is `P` vectors wide.
    #[inline(always)]
    fn run<V: Vector, const P: usize, const R: usize>(&self, target: &mut Target<'_>) {
        let mut cursor = self.source.start(self.rows.start);
        let (mut row, count) = (0, self.rows.len());
        if count == 1 && self.source.taps() == [1, 1] {
            return self.single::<V, P>(target);
        }
        while count - row >= R {
            self.tile::<V, P, R>(&mut cursor, row, target);
            row += R;
        }
        while row < count {
            match count - row {
                8.. => self.tile::<V, P, 8>(&mut cursor, row, target),
                4.. => self.tile::<V, P, 4>(&mut cursor, row, target),
                2.. => self.tile::<V, P, 2>(&mut cursor, row, target),
                _ => self.tile::<V, P, 1>(&mut cursor, row, target),
            }
            row += match count - row {
                8.. => 8,
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
        }
    }

    /// `R` rows from `row` on.
    #[inline(always)]
    fn tile<V: Vector, const P: usize, const R: usize>(&self, cursor: &mut S::Cursor, row: usize, target: &mut Target<'_>) {
        let mut places = [self.source.advance(cursor); R];
        for place in &mut places[1..] {
            *place = self.source.advance(cursor);
        }
        let channels = self.source.channels();
        let mut weights = self.w.weights(self.panel).chunks_exact((channels * P * V::LANES).max(1));
        let mut sums = [[V::splat(0.0); P]; R];
        let [height, width] = self.source.taps();
        for y in 0..height {
            for x in 0..width {
                let Some(weights) = weights.next() else { break };
                let mut lines: [&[f32]; R] = [&[]; R];
                for r in 0..R {
                    lines[r] = self.source.segment(places[r], y, x);
                    assert!(lines[r].len() >= channels, "a source gives segments of its length");
                }
                // SAFETY: every line was just found to hold `channels` values.
                sums = unsafe { accumulate::<V, P, R>(&lines, channels, weights, sums) };
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            self.store(sums, row + r, target);
        }
    }

    /// One row of a matrix: four sums a column hide the latency of the additions that a single one would wait for.
    #[inline(always)]
    fn single<V: Vector, const P: usize>(&self, target: &mut Target<'_>) {
        const SPLIT: usize = 4;
        let place = self.source.advance(&mut self.source.start(self.rows.start));
        let x = self.source.segment(place, 0, 0);
        let weights = self.w.weights(self.panel);
        let mut sums = [[V::splat(0.0); P]; SPLIT];
        let (mut lines, mut values) = (weights.chunks_exact(SPLIT * P * V::LANES), x.chunks_exact(SPLIT));
        for (line, value) in (&mut lines).zip(&mut values) {
            for s in 0..SPLIT {
                let a = V::splat(value[s]);
                for p in 0..P {
                    sums[s][p] = a.mul_add(V::load(&line[(s * P + p) * V::LANES..]), sums[s][p]);
                }
            }
        }
        for (line, &value) in lines.remainder().chunks_exact(P * V::LANES).zip(values.remainder()) {
            for p in 0..P {
                sums[0][p] = V::splat(value).mul_add(V::load(&line[p * V::LANES..]), sums[0][p]);
            }
        }
        let one = V::splat(1.0);
        for s in 1..SPLIT {
            for p in 0..P {
                sums[0][p] = sums[s][p].mul_add(one, sums[0][p]);
            }
        }
        self.store(&sums[0], 0, target);
    }

    /// Finishes a row's sums and writes them.
    #[inline(always)]
    fn store<V: Vector, const P: usize>(&self, sums: &[V; P], row: usize, target: &mut Target<'_>) {
        let Panel { column, width, .. } = self.panel;
        let columns = self.w.columns(self.panel);
        let mut values = [0f32; WIDEST];
        for p in 0..P {
            sums[p].store(&mut values[p * V::LANES..]);
        }
        let to = row * target.stride + self.epilogue.first_channel + column - target.first_column;
        // A length that the compiler knows makes vectors of the whole epilogue.
        if columns == width {
            let values = &mut values[..P * V::LANES];
            self.epilogue.finish(values, row, column);
            target.y[to..][..P * V::LANES].copy_from_slice(values);
        } else {
            self.epilogue.finish(&mut values[..columns], row, column);
            target.y[to..][..columns].copy_from_slice(&values[..columns]);
        }
    }
}

/// `sums` and what the first `channels` values of `lines` times `weights`, a line of P vectors each, add to them. By value:
/// sums that are read from elsewhere in a loop would be written to memory in each turn.
///
/// # Safety
/// Every line must hold `channels` values. The compiler does not see it where R lines are too many, and a check in the
/// innermost loop halves its speed.
#[inline(always)]
unsafe fn accumulate<V: Vector, const P: usize, const R: usize>(
    lines: &[&[f32]; R],
    channels: usize,
    weights: &[f32],
    mut sums: [[V; P]; R],
) -> [[V; P]; R] {
    for (i, line) in (0..channels).zip(weights.chunks_exact(P * V::LANES)) {
        let mut w = [V::splat(0.0); P];
        for p in 0..P {
            w[p] = V::load(&line[p * V::LANES..]);
        }
        for r in 0..R {
            // SAFETY: as the caller promises; i is less than `channels`.
            let a = V::splat(unsafe { *lines[r].get_unchecked(i) });
            for p in 0..P {
                sums[r][p] = a.mul_add(w[p], sums[r][p]);
            }
        }
    }
    sums
}
