//! Convolutions on the CPU: pointwise ones as a product over pixels, others as one whose rows are read straight from the
//! image, with a second 1×1 stage while a block's intermediate is in the nearest cache.

use super::depthwise::Depthwise;
use super::epilogue::{Epilogue, Residual};
use super::packed::Packed;
use super::product::{self, PAIR_BLOCK, Rows, RowsMut, Scratch, Scratches, grown};
use super::taps::{Taps, Windows};
use super::threads;
use super::tile::{self, Target};
use crate::artifact::{Activation, Artifact};
use crate::plan::{ConvStep, Step, matrix};

/// Below so many channels a tap is too short a loop: the windows of a block are gathered into rows first.
pub(super) const GATHER_BELOW: usize = 12;

/// A step with its weights packed.
#[derive(Debug)]
pub(super) struct Conv {
    kernel: Kernel,
    bias: Option<Vec<f32>>,
    activation: Activation,
    scratches: Scratches,
    staging: Vec<f32>,
}

#[derive(Debug)]
enum Kernel {
    /// 1×1, each pixel once; the second matrix where it is fused.
    Pointwise(Packed, Option<Packed>),
    Depthwise(Depthwise),
    /// Windows read from where they lie; inputs are [taps, channels].
    Direct {
        taps: Taps,
        w: Packed,
        second: Option<Packed>,
        zeros: Vec<f32>,
    },
    /// Few channels: windows are gathered into rows, pixels with their padding; inputs are [taps, channels with padding].
    Gathered {
        taps: Taps,
        w: Packed,
        second: Option<Packed>,
    },
    /// A weight a group.
    Grouped {
        taps: Taps,
        groups: Vec<Packed>,
        zeros: Vec<f32>,
    },
}

impl Conv {
    /// Packs the weights that `layer` names.
    pub(super) fn new(artifact: &Artifact, step: &Step, layer: &ConvStep) -> Self {
        let w = matrix(artifact, &layer.matrix);
        let second = layer.second.as_ref().map(|second| {
            let u = matrix(artifact, second);
            Packed::new(layer.outputs, layer.rank, |o, r| u[o * layer.rank + r])
        });
        let outputs = if second.is_some() { layer.rank } else { layer.outputs };
        let channels = layer.inputs / layer.groups.max(1);
        let taps = || Taps::new(&layer.window, step.input(), step.output);
        // Where an output's weights for (tap, channel) lie: the file has the taps of a channel side by side.
        let order = |count: usize| (0..count * channels).map(|i| i % channels * count + i / channels).collect::<Vec<_>>();
        let kernel = if layer.is_pointwise() {
            Kernel::Pointwise(Packed::new(outputs, channels, |o, i| w[o * channels + i]), second)
        } else if layer.is_depthwise() {
            Kernel::Depthwise(Depthwise::new(&w, &layer.window, step.input(), step.output))
        } else if layer.groups > 1 {
            let (taps, each) = (taps(), outputs / layer.groups);
            let order = order(taps.count());
            let pack = |group: usize| Packed::new(each, order.len(), |o, i| w[(group * each + o) * order.len() + order[i]]);
            Kernel::Grouped { groups: (0..layer.groups).map(pack).collect(), taps, zeros: vec![0.0; channels] }
        } else {
            let taps = taps();
            let (count, padded) = (taps.count(), step.input().channel_stride());
            if channels < GATHER_BELOW {
                let at = |o: usize, i: usize| {
                    let (tap, channel) = (i / padded, i % padded);
                    if channel < channels { w[(o * channels + channel) * count + tap] } else { 0.0 }
                };
                Kernel::Gathered { w: Packed::new(outputs, count * padded, at), taps, second }
            } else {
                let order = order(count);
                let w = Packed::new(outputs, order.len(), |o, i| w[o * order.len() + order[i]]);
                Kernel::Direct { taps, w, second, zeros: vec![0.0; channels] }
            }
        };
        let bias = layer.bias.map(|id| artifact.tensor(id).into_owned());
        let width = if let Kernel::Gathered { w, .. } = &kernel { w.inputs() } else { 0 };
        let scratches = Scratches::new(if layer.second.is_some() { layer.rank } else { 0 }, width);
        Self { kernel, bias, activation: layer.activation, scratches, staging: Vec::new() }
    }

    /// Computes the images of `output` from those of `input`, which lie as `step`'s slots say.
    pub(super) fn run(&mut self, input: &[f32], residual: Option<Residual<'_>>, step: &Step, output: &mut [f32]) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), residual, activation: self.activation, ..Epilogue::NONE };
        let (from, to) = (step.input().channel_stride(), step.output.channel_stride());
        let pixels = output.len() / to;
        let y = RowsMut { data: output, stride: to };
        let (scratches, staging) = (&self.scratches, &mut self.staging);
        match &self.kernel {
            Kernel::Pointwise(w, second) => {
                let x = Rows { data: input, stride: from, width: w.inputs() };
                product::one_or_two(x, pixels, (w, second.as_ref()), epilogue, y, scratches, staging);
            }
            Kernel::Direct { taps, w, second, zeros } => {
                let x = Windows { input, taps, first_channel: 0, zeros };
                product::one_or_two(x, pixels, (w, second.as_ref()), epilogue, y, scratches, staging);
            }
            Kernel::Gathered { taps, w, second } => gathered(taps, [Some(w), second.as_ref()], input, epilogue, y, scratches),
            Kernel::Grouped { taps, groups, zeros } => {
                for (group, w) in groups.iter().enumerate() {
                    let x = Windows { input, taps, first_channel: group * zeros.len(), zeros };
                    let epilogue = Epilogue { first_channel: group * w.outputs(), ..epilogue };
                    product::product(x, pixels, w, epilogue, RowsMut { data: &mut *y.data, stride: to }, staging);
                }
            }
            Kernel::Depthwise(depthwise) => depthwise.run(input, epilogue, y.data),
        }
        // Readers multiply the padding by weights of zero, so it must not be NaN.
        let channels = step.output.channels;
        if channels < to {
            output.chunks_exact_mut(to).for_each(|pixel| pixel[channels..].fill(0.0));
        }
    }

    /// Fills what a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        self.scratches.poison();
        self.staging.fill(f32::NAN);
    }
}

/// A block of pixels at a time: their windows into rows, then one product or two.
fn gathered(taps: &Taps, w: [Option<&Packed>; 2], input: &[f32], epilogue: Epilogue<'_>, y: RowsMut<'_>, scratches: &Scratches) {
    let [Some(first), second] = w else { return };
    let (pixels, width) = (y.data.len() / y.stride, first.inputs());
    let outputs = second.map_or(first.outputs(), |u| u.outputs());
    let alone = threads::count() == 1 || pixels * first.outputs() * (width + outputs) < product::PARALLEL_MACS;
    product::blocks(pixels, PAIR_BLOCK, alone, y, |thread, range, y, stride| {
        scratches.lend(thread, |Scratch { hidden, gathered }| {
            let rows = grown(gathered, range.len() * width);
            let mut at = taps.from(range.start);
            rows.chunks_exact_mut(width).for_each(|row| at.advance().gather(input, row));
            let x = Rows { data: rows, stride: width, width };
            let (count, epilogue) = (range.len(), epilogue.skip(range.start));
            let target = Target { y, stride, first_column: 0 };
            match second {
                None => tile::block(x, first, 0..count, first.panels(), epilogue, target),
                Some(u) => product::both(x, 0..count, [first, u], epilogue, hidden, target),
            }
        });
    });
}
