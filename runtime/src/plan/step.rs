//! The primitive steps that a run consists of.

use super::matrix::is_half;
use super::primitive_steps::{JoinStep, LookupStep, MapStep, MatMulStep, PickStep, ReduceStep, ResampleStep, SoftmaxStep};
use super::{Matrix, Slot};
use crate::artifact::{Activation, Artifact, Cell, PoolKind, Residual, Stride, TensorId, Window};

/// One step of a run; steps follow each other, each reading what earlier ones wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Index of the layer in the model; a factored layer may have several steps.
    pub layer: usize,
    /// The layer's name.
    pub name: String,
    /// What is computed.
    pub kind: StepKind,
    /// The slots of its operands, in order: a residual is the second.
    pub inputs: Vec<Slot>,
    /// The slot of the output; never in a buffer that the step reads.
    pub output: Slot,
}

/// What a step computes.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// y = act(x·Wᵀ + b).
    Linear(LinearStep),
    /// y = act(conv(x, W) + b + residual).
    Conv(ConvStep),
    /// The largest or the mean value under a window.
    Pool(PoolStep),
    /// The mean of each channel.
    GlobalAveragePool,
    /// y = act(x + residual); channels that x lacks are 0.
    Add {
        /// How the second input is added.
        residual: Residual,
        /// Applied last.
        activation: Activation,
    },
    /// y = act(x).
    Activate(Activation),
    /// Softmax over the channels of each pixel, or its logarithm.
    Softmax {
        /// Whether the logarithm is given.
        log: bool,
    },
    /// Elements in another order.
    Rearrange(RearrangeStep),
    /// The same elements in the other layout.
    Move,
    /// y = act(x · second input), which is of one pixel where it is the same for all.
    Multiply {
        /// Applied last.
        activation: Activation,
    },
    /// The channels of each pixel less their mean, over their deviation, scaled and shifted.
    LayerNorm(LayerNormStep),
    /// Softmax of queries times keys, times values.
    Attention(AttentionStep),
    /// y = table + x behind rows of the table alone; the table, [channels, tokens].
    Embed(TensorId),
    /// A function of each element.
    Map(MapStep),
    /// Many elements made one.
    Reduce(ReduceStep),
    /// Softmax along any axis.
    SoftmaxOver(SoftmaxStep),
    /// Products of matrices that are both computed.
    MatMul(MatMulStep),
    /// Elements by tables of indices.
    Pick(PickStep),
    /// Weighted sums along an axis.
    Resample(ResampleStep),
    /// Values one after the other.
    Join(JoinStep),
    /// Elements at computed indices.
    Lookup(LookupStep),
    /// A recurrent cell along the rows of an image.
    Recurrent(RecurrentStep),
}

/// A recurrent layer. The first input is an image [steps, sequences, gates · hidden]; the initial states, if there are any, and the lengths
/// follow, both plain. The output is an image [steps and states, sequences, hidden].
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentStep {
    /// What a step of a sequence does.
    pub cell: Cell,
    /// Elements of a state.
    pub hidden: usize,
    /// Steps of a sequence.
    pub steps: usize,
    /// Sequences of a sample.
    pub sequences: usize,
    /// Whether the last step comes first.
    pub reverse: bool,
    /// Whether the last states follow the steps.
    pub states: bool,
    /// R, or V of its factors.
    pub matrix: Matrix,
    /// If set, `matrix` gives `rank` values, and this R·h from them.
    pub second: Option<Matrix>,
    /// Values between the two matrices; 0 without a second.
    pub rank: usize,
    /// Where the recurrent bias is stored.
    pub bias: Option<TensorId>,
    /// Where an LSTM's peepholes are stored.
    pub peepholes: Option<TensorId>,
    /// Whether the initial states are an input.
    pub initial: bool,
    /// Whether the lengths of the sequences are an input.
    pub lengths: bool,
    /// The cell's activations.
    pub activations: Vec<Activation>,
}

/// A layer normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNormStep {
    /// Multiplies, [channels].
    pub scale: TensorId,
    /// Is added, [channels].
    pub shift: TensorId,
    /// Added to the variance before the root.
    pub eps: f32,
}

/// Multi-head attention over pixels. Queries are the input; keys and values are the second and third input, or where there
/// are none other channels of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionStep {
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub size: usize,
    /// Multiplies the products of queries and keys.
    pub scale: f32,
    /// The channel at which queries, keys and values begin in what they are read from.
    pub first: [usize; 3],
}

/// A fully connected layer, or a stage of one, over all elements of a sample; a row is a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearStep {
    /// Features in: the input's elements without padding.
    pub inputs: usize,
    /// Features out.
    pub outputs: usize,
    /// What the input is multiplied by. Its columns stand in the order channel, row, column; see
    /// [`Slot::permute_columns`].
    pub matrix: Matrix,
    /// If set, `matrix` gives `rank` features, and this gives the outputs from them, in the same step.
    pub second: Option<Matrix>,
    /// Features between the two matrices; 0 without a second.
    pub rank: usize,
    /// Where the bias is stored.
    pub bias: Option<TensorId>,
    /// Applied last.
    pub activation: Activation,
}

/// A convolution, or a stage of one.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvStep {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// How the kernel of `matrix` moves.
    pub window: Window,
    /// Groups that input and output channels fall into.
    pub groups: usize,
    /// The kernel.
    pub matrix: Matrix,
    /// If set, `matrix` gives `rank` channels, and this, 1×1, gives the outputs from them, in the same step.
    pub second: Option<Matrix>,
    /// Channels between the two matrices; 0 without a second.
    pub rank: usize,
    /// Where the bias is stored.
    pub bias: Option<TensorId>,
    /// How the second input is added before the activation, if there is one.
    pub residual: Option<Residual>,
    /// Applied last.
    pub activation: Activation,
}

/// A pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStep {
    /// Which value of the window.
    pub kind: PoolKind,
    /// How the window moves.
    pub window: Window,
}

/// Elements in another order, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RearrangeStep {
    /// The input's element that the output's first one is, both counted channel after channel.
    pub offset: u32,
    /// Outermost first.
    pub steps: Vec<Stride>,
}

impl RearrangeStep {
    /// All of `elements` in their order.
    pub(crate) fn identity(elements: usize) -> Self {
        Self { offset: 0, steps: vec![Stride { size: elements as u32, stride: 1 }] }
    }

    /// The input's element that the output's element `n` is.
    pub fn source(&self, n: usize) -> usize {
        let mut left = n;
        self.steps.iter().rev().fold(self.offset as usize, |at, step| {
            let index = left % (step.size as usize).max(1);
            left /= (step.size as usize).max(1);
            at + index * step.stride as usize
        })
    }
}

impl ConvStep {
    /// Whether the kernel is 1×1 and reads each pixel once: a product over pixels as rows.
    pub fn is_pointwise(&self) -> bool {
        self.groups == 1 && self.window.is_pointwise()
    }

    /// Whether each channel has a kernel of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.inputs && self.outputs == self.inputs
    }

    /// What one output is summed over: inputs of a group under all taps.
    #[cfg(feature = "wgpu")]
    pub(crate) fn fan_in(&self) -> u64 {
        ((self.inputs / self.groups.max(1)) as u64).saturating_mul(self.taps())
    }

    /// Elements of a window.
    fn taps(&self) -> u64 {
        u64::from(self.window.kernel[0]) * u64::from(self.window.kernel[1])
    }
}

impl StepKind {
    /// Whether all weights that it multiplies by are stored in f16.
    pub(crate) fn is_half(&self, artifact: &Artifact) -> bool {
        let (matrix, second) = match self {
            Self::Linear(l) => (&l.matrix, &l.second),
            Self::Conv(c) => (&c.matrix, &c.second),
            _ => return false,
        };
        is_half(artifact, matrix) && second.as_ref().is_none_or(|second| is_half(artifact, second))
    }

    /// Elements of its matrices, the second one's 0 where there is none, with inputs and outputs padded to multiples of
    /// `inputs_to` and `outputs_to`.
    pub(crate) fn matrix_lens(&self, inputs_to: usize, outputs_to: usize) -> [u64; 2] {
        let (taps, inputs, outputs, rank) = match self {
            Self::Linear(l) => (1, l.inputs, l.outputs, l.second.as_ref().map(|_| l.rank)),
            Self::Conv(c) => (c.taps(), c.inputs / c.groups.max(1), c.outputs, c.second.as_ref().map(|_| c.rank)),
            Self::Recurrent(r) => (1, r.hidden, r.cell.gates() * r.hidden, r.second.as_ref().map(|_| r.rank)),
            _ => return [0; 2],
        };
        let matrix = |taps: u64, inputs: usize, outputs: usize| {
            let [inputs, outputs] = [inputs.next_multiple_of(inputs_to), outputs.next_multiple_of(outputs_to)].map(|n| n as u64);
            taps.saturating_mul(inputs).saturating_mul(outputs)
        };
        [matrix(taps, inputs, rank.unwrap_or(outputs)), rank.map_or(0, |rank| matrix(1, rank, outputs))]
    }

    /// Multiply–accumulates for one sample whose output has `pixels` pixels; pools, sums and activations count none.
    pub fn macs(&self, pixels: usize) -> u64 {
        let one = self.matrix_lens(1, 1).into_iter().fold(0, u64::saturating_add);
        match self {
            Self::Conv(_) => one.saturating_mul(pixels as u64),
            Self::Recurrent(r) => one.saturating_mul((r.steps * r.sequences) as u64),
            _ => one,
        }
    }

    /// As messages and tables call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear(_) => "linear",
            Self::Conv(_) => "conv",
            Self::Pool(_) => "pool",
            Self::GlobalAveragePool => "global average pool",
            Self::Add { .. } => "add",
            Self::Activate(_) => "activate",
            Self::Softmax { .. } => "softmax",
            Self::Rearrange(_) => "rearrange",
            Self::Move => "move",
            Self::Multiply { .. } => "multiply",
            Self::LayerNorm(_) => "layer norm",
            Self::Attention(_) => "attention",
            Self::Embed(_) => "embed",
            Self::Map(_) => "map",
            Self::Reduce(_) => "reduce",
            Self::SoftmaxOver(_) => "softmax",
            Self::MatMul(_) => "matmul",
            Self::Pick(_) => "pick",
            Self::Resample(_) => "resample",
            Self::Join(_) => "join",
            Self::Lookup(_) => "lookup",
            Self::Recurrent(r) => r.cell.name(),
        }
    }
}

impl Step {
    /// The first value that it reads.
    pub fn input(&self) -> Slot {
        self.inputs.first().copied().unwrap_or_default()
    }

    /// The second value that it reads, and how it is added before the activation, of a step that adds one.
    pub fn residual(&self) -> Option<(Slot, Residual)> {
        let how = match &self.kind {
            StepKind::Conv(c) => c.residual?,
            StepKind::Add { residual, .. } => *residual,
            _ => return None,
        };
        Some((*self.inputs.get(1)?, how))
    }

    /// Values of one sample that are read and written, weights apart.
    pub fn values(&self) -> u64 {
        self.inputs.iter().chain([&self.output]).map(|slot| slot.stride() as u64).sum()
    }

    /// Multiply–accumulates for one sample.
    pub fn macs(&self) -> u64 {
        self.kind.macs(self.output.pixels())
    }
}
