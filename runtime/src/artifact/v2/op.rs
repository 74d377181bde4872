//! What a layer of version 2 does. It has all that version 1 had; what is new stands at an enum's end.

use serde::{Deserialize, Serialize};

use super::{Activation, Primitive, Recurrent};
use crate::artifact::v1::{self, PoolKind, Residual, Stride, TensorId, ValueId, Weight, Window};

/// One fused operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The name of the layer in the checkpoint.
    pub name: String,
    /// The values it reads.
    pub inputs: Vec<ValueId>,
    /// What it does.
    pub op: Op,
}

/// What a layer does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// y = act(x·Wᵀ + b) over all elements of the sample, which are read as one vector, channel after channel.
    Linear {
        /// W, [outputs, inputs], or its factors.
        weight: Weight,
        /// b, [outputs].
        bias: Option<TensorId>,
        /// Applied last.
        activation: Activation,
    },
    /// y = act(conv(x, W) + b + residual), a cross-correlation over [channels, height, width] as PyTorch's `Conv2d`. A
    /// residual is the layer's second input.
    Conv {
        /// Output channels, and how the kernel moves.
        window: Window,
        /// Output channels.
        outputs: u32,
        /// Groups that input and output channels fall into; 1 unless the weight is dense.
        groups: u32,
        /// W, [outputs, inputs / groups, kernel height, kernel width], or its factors.
        weight: Weight,
        /// b, [outputs].
        bias: Option<TensorId>,
        /// How the second input is added, if there is one.
        residual: Option<Residual>,
        /// Applied last.
        activation: Activation,
    },
    /// The largest or the mean value under a window, channel by channel.
    Pool {
        /// Which of them.
        kind: PoolKind,
        /// How the window moves.
        window: Window,
    },
    /// The mean of each channel: [channels, height, width] → [channels].
    GlobalAveragePool,
    /// y = act(a + residual of b): what could not be fused into a convolution.
    Add {
        /// How the second input is added.
        residual: Residual,
        /// Applied last.
        activation: Activation,
    },
    /// A function of each element alone: what could not be fused.
    Activate(Activation),
    /// y = act(scale[c]·x + shift[c]) for each channel of an image or feature of a vector: a normalisation that no weight
    /// could take in.
    Affine {
        /// Multiplies, [channels].
        scale: TensorId,
        /// Is added, [channels].
        shift: TensorId,
        /// Applied last.
        activation: Activation,
    },
    /// The channels of the first value, then those of the second.
    Concat {
        /// Applied last.
        activation: Activation,
    },
    /// Softmax over the channels of each pixel, or over a vector.
    Softmax {
        /// Whether its logarithm is given.
        log: bool,
    },
    /// Elements in another order, or some of them: element n of the output is the input's element offset + Σ iₖ·strideₖ,
    /// where n counts the steps' indices iₖ, the last fastest. Both count channel after channel, row after row.
    Rearrange {
        /// The output's shape.
        shape: Vec<u32>,
        /// The input's element that the output's first one is.
        offset: u32,
        /// Outermost first; their sizes multiply to the output's elements.
        steps: Vec<Stride>,
    },
    /// y = act(a · b): of two values of one shape, or of an image and a vector of its channels.
    Multiply {
        /// Applied last.
        activation: Activation,
    },
    /// y = scale[c]·(x − mean)/√(variance + eps) + shift[c], mean and variance being those of the channels of each pixel,
    /// or of a vector.
    LayerNorm {
        /// Multiplies, [channels].
        scale: TensorId,
        /// Is added, [channels].
        shift: TensorId,
        /// Added to the variance before the root.
        eps: f32,
    },
    /// Multi-head attention over pixels: y[t] = Σᵤ softmaxᵤ(scale · q[t]·k[u]) v[u] for each head, which owns as many
    /// consecutive channels as every other. Reads queries, keys and values, or one value of all their channels, in that order.
    Attention {
        /// Heads that the channels fall into.
        heads: u32,
        /// Multiplies the products of queries and keys.
        scale: f32,
    },
    /// What a transformer adds to its pixels: y[t] = table[t] + x[t − first], nothing of x for the first ones, of which
    /// there are as many as the table has more columns than x has pixels: class tokens.
    Embed {
        /// Is added, [channels, tokens].
        table: TensorId,
    },
    /// A tensor of the file as a value, the same for all samples. Only primitives read it.
    Constant {
        /// The value, in its shape.
        tensor: TensorId,
    },
    /// An operation over tensors of any axes.
    Primitive(Primitive),
    /// A recurrent cell that goes along the rows of an image.
    Recurrent(Recurrent),
}

impl From<v1::Layer> for Layer {
    fn from(old: v1::Layer) -> Self {
        let v1::Layer { name, inputs, op } = old;
        Self { name, inputs, op: op.into() }
    }
}

impl From<v1::Op> for Op {
    fn from(old: v1::Op) -> Self {
        use v1::Op as Old;
        match old {
            Old::Linear { weight, bias, activation } => Self::Linear { weight, bias, activation: activation.into() },
            Old::Conv { window, outputs, groups, weight, bias, residual, activation } => {
                Self::Conv { window, outputs, groups, weight, bias, residual, activation: activation.into() }
            }
            Old::Pool { kind, window } => Self::Pool { kind, window },
            Old::GlobalAveragePool => Self::GlobalAveragePool,
            Old::Add { residual, activation } => Self::Add { residual, activation: activation.into() },
            Old::Activate(activation) => Self::Activate(activation.into()),
            Old::Affine { scale, shift, activation } => Self::Affine { scale, shift, activation: activation.into() },
            Old::Concat { activation } => Self::Concat { activation: activation.into() },
            Old::Softmax { log } => Self::Softmax { log },
            Old::Rearrange { shape, offset, steps } => Self::Rearrange { shape, offset, steps },
            Old::Multiply { activation } => Self::Multiply { activation: activation.into() },
            Old::LayerNorm { scale, shift, eps } => Self::LayerNorm { scale, shift, eps },
            Old::Attention { heads, scale } => Self::Attention { heads, scale },
            Old::Embed { table } => Self::Embed { table },
        }
    }
}
