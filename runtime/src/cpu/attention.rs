//! Multi-head attention on the CPU, a tile of keys at a time with the softmax going along, so that no matrix of scores is
//! ever written (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135). Keys and values are packed as
//! weights are, and both products run on the tiles of all others.

use std::sync::{Arc, Mutex, PoisonError};

use super::epilogue::{Epilogue, Residual};
use super::exp::exp;
use super::lanes::{LANES, halved};
use super::packed::Packed;
use super::product::{PARALLEL_MACS, Rows, RowsMut, blocks, split_off};
use super::simd::vectorized;
use super::threads;
use super::tile::{self, Target};
use crate::artifact;
use crate::lock::lock;
use crate::plan::{AttentionStep, Slot, Step};

/// Queries of a block.
const QUERIES: usize = 24;
/// Keys of a tile: with the queries' scores and outputs they stay in a near cache.
const KEYS: usize = 256;

/// Packed keys (scaled) and values of each tile of each head of each sample. Every run writes it before reading it, so all
/// layers of equal sizes share one.
#[derive(Debug)]
pub(super) struct Workspace {
    packed: Vec<[Packed; 2]>,
    /// Samples, heads, keys of a sample, channels of a head.
    sizes: [usize; 4],
}

/// An attention step and the workspace that its runs pack into.
#[derive(Debug)]
pub(super) struct Attention {
    step: AttentionStep,
    /// Of queries, keys and values.
    slots: [Slot; 3],
    output: Slot,
    workspace: Arc<Mutex<Workspace>>,
    scratches: Vec<Mutex<Scratch>>,
}

/// What a thread keeps from one block to the next.
#[derive(Debug)]
struct Scratch {
    /// A tile's scores, then their exponentials, [QUERIES][KEYS].
    scores: Vec<f32>,
    /// What the tiles so far gave, and a second buffer for the next sum, [QUERIES][channels of a head padded to 4].
    sums: [Vec<f32>; 2],
    /// The state of the online softmax for each query.
    states: Vec<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The largest score so far.
    most: f32,
    /// The sum of exp(score − most) so far.
    sum: f32,
    /// What earlier sums are multiplied by, because the last tile raised `most`.
    rescale: f32,
}

const START: State = State { most: f32::NEG_INFINITY, sum: 0.0, rescale: 0.0 };

impl Workspace {
    fn new(sizes: [usize; 4]) -> Self {
        let [samples, heads, keys, size] = sizes;
        let tile = |first: usize| {
            let keys = KEYS.min(keys - first);
            [Packed::new(keys, size, |_, _| 0.0), Packed::new(size, keys, |_, _| 0.0)]
        };
        Self { packed: (0..samples * heads).flat_map(|_| (0..keys).step_by(KEYS).map(tile)).collect(), sizes }
    }
}

/// Bytes of the workspace of `batch` samples with `keys` keys each.
pub(super) fn workspace_bytes(step: &AttentionStep, keys: usize, batch: usize) -> u64 {
    // Keys are outputs of their panels, of 8; values have channels for outputs.
    let (keys, size) = (keys.next_multiple_of(8) as u64, step.size.next_multiple_of(8) as u64);
    (8 * (batch * step.heads) as u64).saturating_mul(keys).saturating_mul(size)
}

/// Bytes that a thread works in.
pub(super) fn scratch_bytes(step: &AttentionStep) -> u64 {
    4 * (QUERIES * (KEYS + 2 * step.size.next_multiple_of(4))) as u64
}

impl Attention {
    /// Prepares `step` for runs of `batch` samples. Steps of equal sizes share one of `workspaces`; a new one is added where none fits.
    pub(super) fn new(step: &AttentionStep, at: &Step, batch: usize, workspaces: &mut Vec<Arc<Mutex<Workspace>>>) -> Self {
        let slots = at.inputs[..].first_chunk().copied().unwrap_or([at.input(); 3]);
        let sizes = [batch, step.heads, slots[1].pixels(), step.size];
        let fits = |workspace: &&Arc<Mutex<Workspace>>| lock(workspace).sizes == sizes;
        let workspace = match workspaces.iter().find(fits) {
            Some(workspace) => Arc::clone(workspace),
            None => {
                workspaces.push(Arc::new(Mutex::new(Workspace::new(sizes))));
                Arc::clone(&workspaces[workspaces.len() - 1])
            }
        };
        let width = step.size.next_multiple_of(4);
        let scratch = || Scratch {
            scores: vec![0.0; QUERIES * KEYS],
            sums: [vec![0.0; QUERIES * width], vec![0.0; QUERIES * width]],
            states: vec![START; QUERIES],
        };
        let scratches = (0..threads::count()).map(|_| Mutex::new(scratch())).collect();
        Self { step: *step, slots, output: at.output, workspace, scratches }
    }

    /// Fills everything that a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        lock(&self.workspace).packed.iter_mut().flatten().for_each(Packed::poison);
        for scratch in &mut self.scratches {
            let scratch = scratch.get_mut().unwrap_or_else(PoisonError::into_inner);
            scratch.scores.fill(f32::NAN);
            scratch.sums.iter_mut().for_each(|s| s.fill(f32::NAN));
        }
    }

    /// Computes `samples` samples of `output` from those of queries, keys and values.
    pub(super) fn run(&self, [queries, keys, values]: [&[f32]; 3], samples: usize, output: &mut [f32]) {
        let pixels = self.output.pixels();
        let tiles = self.slots[1].pixels().div_ceil(KEYS);
        let macs = 2 * samples * pixels * self.slots[1].pixels() * self.step.size * self.step.heads;
        let alone = threads::count() == 1 || macs < PARALLEL_MACS;
        let workspace = &mut *lock(&self.workspace);
        self.pack(&mut workspace.packed, keys, values, samples, tiles, alone);
        let packed = &workspace.packed;
        let rows = RowsMut { data: output, stride: self.output.channel_stride() };
        blocks(samples * pixels, QUERIES, alone, rows, |thread, range, y, stride| {
            let mut scratch = lock(&self.scratches[thread]);
            let mut from = range.start;
            while from < range.end {
                // A block may end one sample and begin the next.
                let (sample, to) = (from / pixels, range.end.min((from / pixels + 1) * pixels));
                let y = &mut y[(from - range.start) * stride..(to - range.start) * stride];
                for head in 0..self.step.heads {
                    let first = (sample * self.step.heads + head) * tiles;
                    self.head(queries, from..to, head, &packed[first..first + tiles], &mut scratch, y);
                }
                from = to;
            }
        });
    }

    /// Packs keys and values of all heads.
    fn pack(&self, packed: &mut [[Packed; 2]], keys: &[f32], values: &[f32], samples: usize, tiles: usize, alone: bool) {
        let (step, slots) = (self.step, self.slots);
        let used = samples * step.heads * tiles;
        let one = |(at, [k, v]): (usize, &mut [Packed; 2])| {
            let (sample, head, first) = (at / tiles / step.heads, at / tiles % step.heads, at % tiles * KEYS);
            let begin = |which: usize| {
                let slot = slots[which];
                sample * slot.stride() + first * slot.channel_stride() + step.first[which] + head * step.size
            };
            let (keys, values) = (&keys[begin(1)..], &values[begin(2)..]);
            let [_, k_stride, v_stride] = slots.map(|s| s.channel_stride());
            k.refill(|u, c| step.scale * keys[u * k_stride + c]);
            v.refill(|c, u| values[u * v_stride + c]);
        };
        let mut rest = &mut packed[..used];
        if alone {
            return rest.iter_mut().enumerate().for_each(one);
        }
        let each = used.div_ceil(threads::count());
        let share = |thread: usize| {
            let len = each.min(rest.len());
            (thread * each..).zip(split_off(&mut rest, len))
        };
        threads::for_each(share, |_, item| one(item));
    }

    /// One head of the queries `range` of the batch; `y` begins with the first of them.
    fn head(
        &self,
        queries: &[f32],
        range: std::ops::Range<usize>,
        head: usize,
        tiles: &[[Packed; 2]],
        scratch: &mut Scratch,
        y: &mut [f32],
    ) {
        let Scratch { scores, sums: [sums, next], states } = scratch;
        let (size, count) = (self.step.size, range.len());
        let stride = self.slots[0].channel_stride();
        let source = Rows { data: &queries[range.start * stride + self.step.first[0] + head * size..], stride, width: size };
        let slot = Slot { buffer: 0, channels: size, height: count, width: 1 };
        let states = &mut states[..count];
        states.fill(START);
        for (at, [keys, values]) in tiles.iter().enumerate() {
            tile::block(source, keys, 0..count, keys.panels(), Epilogue::NONE, Target { y: scores, stride: KEYS, first_column: 0 });
            vectorized(
                #[inline(always)]
                || {
                    for (scores, state) in scores.chunks_exact_mut(KEYS).zip(states.iter_mut()) {
                        soften(&mut scores[..keys.outputs()], state);
                    }
                },
            );
            let mut epilogue = Epilogue::NONE;
            if at > 0 {
                for (sums, state) in sums.chunks_exact_mut(slot.channel_stride()).zip(states.iter()) {
                    sums.iter_mut().for_each(|s| *s *= state.rescale);
                }
                epilogue.residual = Some(Residual::new(sums, slot, slot, artifact::Residual { stride: 1, offset: 0 }));
            }
            let weights = Rows { data: scores, stride: KEYS, width: keys.outputs() };
            let target = Target { y: next, stride: slot.channel_stride(), first_column: 0 };
            tile::block(weights, values, 0..count, values.panels(), epilogue, target);
            std::mem::swap(sums, next);
        }
        // Heads lie in whole vec4s.
        let (stride, padded) = (self.output.channel_stride(), slot.channel_stride());
        for ((y, sums), state) in y.chunks_exact_mut(stride).zip(sums.chunks_exact(slot.channel_stride())).zip(states) {
            let by = 1.0 / state.sum;
            let (values, padding) = y[head * padded..][..padded].split_at_mut(size);
            values.iter_mut().zip(sums).for_each(|(y, s)| *y = s * by);
            padding.fill(0.0);
        }
    }
}

/// One step of the online softmax: the scores of one more tile of keys become exp(score − the largest score so far).
#[inline(always)]
fn soften(scores: &mut [f32], state: &mut State) {
    let mut largest = [state.most; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks.chain([rest]) {
        for (most, &s) in largest.iter_mut().zip(chunk) {
            *most = if s > *most { s } else { *most };
        }
    }
    let most = halved(largest, |a, b| if b > a { b } else { a });
    let mut sums = [0f32; LANES];
    let mut chunks = scores.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (sum, s) in sums.iter_mut().zip(chunk) {
            *s = exp(*s - most);
            *sum += *s;
        }
    }
    for (sum, s) in sums.iter_mut().zip(chunks.into_remainder()) {
        *s = exp(*s - most);
        *sum += *s;
    }
    state.rescale = exp(state.most - most);
    *state = State { most, sum: state.sum * state.rescale + halved(sums, |a, b| a + b), rescale: state.rescale };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_scores_make_one_softmax_however_large_they_are() {
        let scores: Vec<f32> = (0..41).map(|i| 5e4 + ((i * 17) % 41) as f32 / 4.0).collect();
        let mut state = START;
        let mut all = Vec::new();
        for part in scores.chunks(19) {
            let mut part = part.to_vec();
            soften(&mut part, &mut state);
            all.iter_mut().for_each(|s| *s *= state.rescale);
            all.extend(part);
        }
        let total: f64 = scores.iter().map(|&s| f64::from(s - 5e4 - 10.0).exp()).sum();
        for (got, s) in all.iter().zip(&scores) {
            let want = f64::from(s - 5e4 - 10.0).exp() / total;
            assert!((f64::from(got / state.sum) - want).abs() < 1e-6);
        }
    }
}
