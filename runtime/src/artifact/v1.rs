//! Version 1 of the format: what the postcard header says. postcard does not describe itself, so these types, their fields'
//! order and their variants' order are the format: they never change. A later version has its own module and a `From` this
//! one, and uses the types here that it left as they are: small ones that have no reason to grow.

use serde::{Deserialize, Serialize};

use super::bounded::bounded;

/// Index into [`Model::tensors`].
pub type TensorId = u32;

/// Names a value: 0 is the network's input, i + 1 the output of layer i.
pub type ValueId = u32;

/// A whole network: layers in execution order, each reading earlier values; the last layer's output is the network's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The architecture's name (`fcn8`).
    pub name: String,
    /// Shape of one sample, batch axis left out: [features] or [channels, height, width].
    pub input: Vec<u32>,
    /// How 8-bit images become the network's input.
    pub preprocess: Preprocess,
    /// Class names by output index; may be empty.
    #[serde(deserialize_with = "bounded")]
    pub classes: Vec<String>,
    /// Layers in execution order.
    #[serde(deserialize_with = "bounded")]
    pub layers: Vec<Layer>,
    /// The tensors, in the order in which they stand in the file.
    #[serde(deserialize_with = "bounded")]
    pub tensors: Vec<TensorInfo>,
    /// Where the network came from and what is known of it.
    pub provenance: Provenance,
}

/// How 8-bit images become inputs: x = (pixel · scale − mean[c]) / std[c] for each channel c.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Multiplies the pixel first; 1/255 for the usual range 0…1.
    pub scale: f32,
    /// Subtracted from each channel; empty for none, one value for all channels, or one a channel.
    pub mean: Vec<f32>,
    /// Divides each channel; empty for none, one value for all channels, or one a channel.
    pub std: Vec<f32>,
}

impl Default for Preprocess {
    /// Pixels to 0…1, nothing else.
    fn default() -> Self {
        Self { scale: 1.0 / 255.0, mean: Vec::new(), std: Vec::new() }
    }
}

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
}

/// `size` steps of `stride` elements each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stride {
    /// How many.
    pub size: u32,
    /// Elements from one to the next; 0 repeats one.
    pub stride: u32,
}

/// How a kernel moves over an image: height first, width second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its size.
    pub kernel: [u32; 2],
    /// Steps from one output to the next.
    pub stride: [u32; 2],
    /// Rows and columns added around the image: top, left, bottom, right.
    pub padding: [u32; 4],
    /// Distance of the kernel's elements.
    pub dilation: [u32; 2],
}

/// How a second input r is added: y[c, i, j] += r[c − offset, i·stride, j·stride], 0 where r has no such channel. Stride 1
/// and offset 0 add it as it is; the CIFAR ResNets' option A has stride 2 and an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residual {
    /// Steps in r for one step in y.
    pub stride: u32,
    /// The channel of y that r's first channel is added to.
    pub offset: u32,
}

/// Which value of a window a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolKind {
    /// The largest; padding never wins.
    Max,
    /// The mean of the elements that are there.
    Average,
    /// The mean with padding counted as zeros.
    AverageWithPadding,
}

/// The form in which a layer's weight is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Weight {
    /// The matrix itself, [outputs, inputs]; a kernel as [outputs, inputs / groups, height, width].
    Dense(TensorId),
    /// W = U·V over a kernel's [outputs, inputs · height · width]; both rank-major, most important component first, so that the first r' rows of each are the best
    /// factors of rank r' and one contiguous range.
    LowRank {
        /// V, [rank, inputs]; of a kernel [rank, inputs, height, width], which moves as the kernel does.
        v: TensorId,
        /// Uᵀ, [rank, outputs]; of a kernel a 1×1 convolution.
        u: TensorId,
        /// The singular values of the components, [rank].
        sigma: TensorId,
        /// Σσ² of what was cut off.
        tail_energy: f32,
    },
    /// A kernel as columns, then rows: W[o, i, y, x] = Σ_r Uᵀ[r, o, x]·V[r, i, y]. Rank-major as `LowRank`.
    Spatial {
        /// V, [rank, inputs, height]: a height × 1 convolution with the kernel's vertical stride, padding and dilation.
        v: TensorId,
        /// Uᵀ, [rank, outputs, width]: a 1 × width convolution with the horizontal ones.
        u: TensorId,
        /// The singular values of the components, [rank].
        sigma: TensorId,
        /// Σσ² of what was cut off.
        tail_energy: f32,
    },
    /// A kernel as Tucker-2: W[o, i, y, x] = Σ_{p,q} B[p, o]·C[p, q, y, x]·A[q, i].
    Tucker2 {
        /// A, [input rank, inputs]: a 1×1 convolution.
        a: TensorId,
        /// C, [output rank, input rank, height, width]: moves as the kernel does.
        core: TensorId,
        /// B, [output rank, outputs]: a 1×1 convolution.
        b: TensorId,
        /// ‖W‖² − ‖C‖² at these ranks.
        tail_energy: f32,
    },
}

/// Applied to each element of a layer's output. NaN stays NaN or becomes what the device's min and max make of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x where positive, else the slope times x.
    LeakyRelu(f32),
    /// 1 / (1 + e^−x).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// min(max(x/6 + 1/2, 0), 1).
    HardSigmoid,
    /// x · min(max(x/6 + 1/2, 0), 1).
    HardSwish,
    /// x / (1 + e^−x).
    Silu,
    /// x · Φ(x) by the error function.
    Gelu,
    /// x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))).
    GeluTanh,
}

/// Name, type, shape and place of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// A name for tables and messages (`layers.0.weight.v`).
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Axis lengths, outermost first; elements are row-major, little-endian.
    pub shape: Vec<u32>,
    /// First byte, counted from the start of the data part; a multiple of 64.
    pub offset: u64,
}

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
}

/// What a factored layer needs beside its factors to be run at smaller ranks. A header may hold a list of these behind its
/// [`Model`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nested {
    /// The layer's place.
    pub layer: u32,
    /// The mean of what its first factor gives, for each position of the kernel behind it: [rank] of `LowRank`, [rank, width]
    /// of `Spatial`, [input rank, height, width] of `Tucker2`.
    pub means: Option<TensorId>,
    /// Whether Uᵀ (of `Tucker2`, Bᵀ) is scaled so that the weight has the energy that it had before it was cut.
    pub gained: bool,
}

/// Where a network came from. Nothing here changes what is computed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program that wrote the file, with its version.
    pub tool: String,
    /// The checkpoint's file name, without its folder.
    pub source: String,
    /// How it was trained, if that is known (`lorita factors=2`).
    pub method: String,
    /// How the ranks were chosen (`global:0.25`).
    pub policy: String,
    /// Multiply–accumulates for one sample as stored (conv and linear).
    pub macs: u64,
    /// The same if every layer were dense.
    pub dense_macs: u64,
    /// Stored parameters of conv and linear layers, biases included.
    pub params: u64,
    /// The same if every layer were dense.
    pub dense_params: u64,
    /// What is known of each layer's weight.
    #[serde(deserialize_with = "bounded")]
    pub layers: Vec<LayerNote>,
    /// Accuracies that were measured on the way.
    #[serde(deserialize_with = "bounded")]
    pub accuracies: Vec<AccuracyNote>,
    /// Times that were measured on the way.
    #[serde(deserialize_with = "bounded")]
    pub times: Vec<TimeNote>,
}

/// How one layer's weight was cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerNote {
    /// The layer's name.
    pub layer: String,
    /// Its rank before the cut.
    pub full_rank: u32,
    /// Share of Σσ² kept, 0…1.
    pub energy: f32,
}

/// One measured accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccuracyNote {
    /// The data set and which part of it (`mnist split of train`).
    pub data: String,
    /// Images classified rightly.
    pub correct: u64,
    /// Images judged.
    pub count: u64,
}

/// One measured time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeNote {
    /// The adapter's name.
    pub adapter: String,
    /// Samples a run.
    pub batch: u32,
    /// Median milliseconds a run.
    pub ms: f32,
}
