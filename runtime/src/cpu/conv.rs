//! Convolutions on the CPU: pointwise ones as a product over pixels, others block by block of output pixels straight from
//! the image, with a second 1×1 stage while the block is in the nearest cache.

use rayon::prelude::*;

use super::conv_tile::{self, Source, Taps};
use super::depthwise::Depthwise;
use super::epilogue::{Epilogue, Residual};
use super::gemm::{self, COLUMNS, PARALLEL_MACS, Packed, ROWS, Rows, RowsMut, Target};
use crate::artifact::{Activation, Artifact};
use crate::plan::{ConvStep, Step, matrix};

/// Output pixels of a block: enough to use a panel of weights often, few enough that their inputs stay in a near cache.
const BLOCK: usize = 16 * ROWS;
/// The same where an intermediate goes with them.
const FUSED_BLOCK: usize = 8 * ROWS;
/// Below so many channels a tap is too short a loop: the windows of a block are gathered into rows first.
const GATHER_BELOW: usize = 12;

/// A step with its weights packed.
#[derive(Debug)]
pub(super) struct Conv {
    kernel: Kernel,
    bias: Option<Vec<f32>>,
    activation: Activation,
    /// Of a fused pointwise pair, for all pixels; a block of them uses its part while it is in the nearest cache.
    intermediate: Vec<f32>,
}

#[derive(Debug)]
enum Kernel {
    /// 1×1, each pixel once; the second matrix where it is fused.
    Pointwise(Packed, Option<Packed>),
    Depthwise(Depthwise),
    Windows(Windows),
}

#[derive(Debug)]
struct Windows {
    taps: Taps,
    /// One a group, inputs [taps, channels].
    groups: Vec<Packed>,
    second: Option<Packed>,
    /// As many zeros as a group has input channels.
    zeros: Vec<f32>,
    macs: usize,
}

/// What a thread keeps from one block to the next.
#[derive(Debug, Default)]
struct Scratch {
    /// Gathered windows.
    rows: Vec<f32>,
    /// The intermediate of a fused pair.
    hidden: Vec<f32>,
}

impl Conv {
    /// Packs the weights that `layer` names.
    pub(super) fn new(artifact: &Artifact, step: &Step, layer: &ConvStep) -> Self {
        let w = matrix(artifact, &layer.matrix);
        let second = layer.second.as_ref().map(|second| {
            let u = matrix(artifact, second);
            Packed::new(layer.outputs, layer.rank, |o, r| u[o * layer.rank + r])
        });
        let bias = layer.bias.map(|id| artifact.tensor(id).into_owned());
        let outputs = if second.is_some() { layer.rank } else { layer.outputs };
        let channels = layer.inputs / layer.groups.max(1);
        let kernel = if layer.is_pointwise() {
            Kernel::Pointwise(Packed::new(outputs, channels, |o, i| w[o * channels + i]), second)
        } else if layer.is_depthwise() {
            Kernel::Depthwise(Depthwise::new(&w, &layer.window, step.input, step.output))
        } else {
            let taps = Taps::new(&layer.window, step.input, step.output);
            let (count, each) = (taps.count(), outputs / layer.groups);
            let pack = |group: usize| {
                Packed::new(each, count * channels, |o, i| w[((group * each + o) * channels + i % channels) * count + i / channels])
            };
            let macs = step.macs() as usize;
            Kernel::Windows(Windows { taps, groups: (0..layer.groups).map(pack).collect(), second, zeros: vec![0.0; channels], macs })
        };
        Self { kernel, bias, activation: layer.activation, intermediate: Vec::new() }
    }

    /// Computes the images of `output` from those of `input`, which lie as `step`'s slots say.
    pub(super) fn run(&mut self, input: &[f32], residual: Option<Residual<'_>>, step: &Step, output: &mut [f32]) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), residual, activation: self.activation, ..Epilogue::NONE };
        let (from, to) = (step.input.channel_stride(), step.output.channel_stride());
        let pixels = output.len() / to;
        match &self.kernel {
            Kernel::Pointwise(first, second) => {
                let x = Rows { data: input, stride: from, count: pixels };
                match second {
                    None => gemm::linear(x, first, epilogue, RowsMut { data: output, stride: to }),
                    Some(u) => {
                        let rank = first.outputs();
                        self.intermediate.resize(pixels * rank, 0.0);
                        let h = RowsMut { data: &mut self.intermediate, stride: rank };
                        gemm::low_rank(x, first, u, epilogue, h, RowsMut { data: output, stride: to });
                    }
                }
            }
            Kernel::Depthwise(depthwise) => depthwise.run(input, epilogue, output),
            Kernel::Windows(windows) => windows.run(input, epilogue, pixels, to, output),
        }
        // Whoever reads the padding multiplies it with zeros, so it must be no NaN.
        let channels = step.output.channels;
        if channels < to {
            output.chunks_exact_mut(to).for_each(|pixel| pixel[channels..].fill(0.0));
        }
    }
}

impl Conv {
    /// Fills what a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        self.intermediate.fill(f32::NAN);
    }
}

impl Windows {
    fn run(&self, input: &[f32], epilogue: Epilogue<'_>, pixels: usize, to: usize, output: &mut [f32]) {
        let threads = rayon::current_num_threads();
        let parallel = threads > 1 && self.macs.saturating_mul(pixels / self.taps.pixels().max(1)) >= PARALLEL_MACS;
        let most = if self.second.is_some() { FUSED_BLOCK } else { BLOCK };
        if parallel && self.groups.len() == 1 && self.second.is_none() && pixels < 2 * ROWS * threads {
            return self.split_panels(input, epilogue, pixels, to, output);
        }
        // As many blocks as threads at least, all of whole tiles.
        let block = if parallel { pixels.div_ceil(threads).next_multiple_of(ROWS).min(most) } else { most };
        let work = |scratch: &mut Scratch, (i, y): (usize, &mut [f32])| {
            let first = i * block;
            self.block(input, epilogue.skip(first), first..first + y.len() / to, to, scratch, y);
        };
        if parallel {
            output.par_chunks_mut(block * to).enumerate().for_each_init(Scratch::default, work);
        } else {
            let mut scratch = Scratch::default();
            output.chunks_mut(block * to).enumerate().for_each(|part| work(&mut scratch, part));
        }
    }

    /// Few pixels: each thread takes some of the weight, which is what has to be read from memory.
    fn split_panels(&self, input: &[f32], epilogue: Epilogue<'_>, pixels: usize, to: usize, output: &mut [f32]) {
        let (threads, w) = (rayon::current_num_threads(), &self.groups[0]);
        let each = w.count().div_ceil(threads);
        let parts: Vec<(usize, usize, Vec<f32>)> = (0..threads)
            .into_par_iter()
            .map(|i| {
                let (first, last) = ((i * each).min(w.count()), ((i + 1) * each).min(w.count()));
                let width = (last * COLUMNS).min(w.outputs()).saturating_sub(first * COLUMNS);
                let mut part = vec![0.0; pixels * width];
                let target = Target { y: &mut part, stride: width, first_column: first * COLUMNS };
                conv_tile::block(self.source(input, 0), w, 0..pixels, first..last, epilogue, target);
                (first * COLUMNS, width, part)
            })
            .collect();
        for (first, width, part) in parts.iter().filter(|p| p.1 > 0) {
            for (pixel, line) in part.chunks_exact(*width).enumerate() {
                output[pixel * to + first..][..*width].copy_from_slice(line);
            }
        }
    }

    fn source<'a>(&'a self, input: &'a [f32], group: usize) -> Source<'a> {
        Source { input, taps: &self.taps, first_channel: group * self.zeros.len(), zeros: &self.zeros }
    }

    /// All outputs of `pixels` of the batch into `y`, whose first row is the first of them.
    fn block(
        &self,
        input: &[f32],
        epilogue: Epilogue<'_>,
        pixels: std::ops::Range<usize>,
        to: usize,
        scratch: &mut Scratch,
        y: &mut [f32],
    ) {
        let count = pixels.len();
        let Some(u) = &self.second else {
            for (group, w) in self.groups.iter().enumerate() {
                let epilogue = Epilogue { first_channel: group * w.outputs(), ..epilogue };
                self.windows(input, group, w, epilogue, pixels.clone(), scratch, Target { y: &mut *y, stride: to, first_column: 0 });
            }
            return;
        };
        let w = &self.groups[0];
        let rank = w.outputs();
        let Scratch { hidden, .. } = scratch;
        let mut h = std::mem::take(hidden);
        h.resize(count * rank, 0.0);
        self.windows(input, 0, w, Epilogue::NONE, pixels, scratch, Target { y: &mut h, stride: rank, first_column: 0 });
        gemm::block(Rows { data: &h, stride: rank, count }, u, 0..u.count(), epilogue, Target { y, stride: to, first_column: 0 });
        scratch.hidden = h;
    }

    /// One group's windows of `pixels` times its weight.
    #[allow(clippy::too_many_arguments)]
    fn windows(
        &self,
        input: &[f32],
        group: usize,
        w: &Packed,
        epilogue: Epilogue<'_>,
        pixels: std::ops::Range<usize>,
        scratch: &mut Scratch,
        target: Target<'_>,
    ) {
        let channels = self.zeros.len();
        if channels >= GATHER_BELOW {
            return conv_tile::block(self.source(input, group), w, pixels, 0..w.count(), epilogue, target);
        }
        let (count, width) = (pixels.len(), self.taps.count() * channels);
        let rows = &mut scratch.rows;
        rows.resize(count * width, 0.0);
        let mut at = self.taps.from(pixels.start);
        for row in rows.chunks_exact_mut(width) {
            for (offset, out) in at.advance().offsets().zip(row.chunks_exact_mut(channels)) {
                match offset {
                    Some(offset) => out.copy_from_slice(&input[offset + group * channels..][..channels]),
                    None => out.fill(0.0),
                }
            }
        }
        gemm::block(Rows { data: rows, stride: width, count }, w, 0..w.count(), epilogue, target);
    }
}
