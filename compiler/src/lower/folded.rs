//! The network of fused layers that folding makes, and that is factored and emitted.

use thinfer::artifact::{Activation, PoolKind, Primitive, Residual, Window};

use crate::graph::{self, Attention, Graph, Op, Rearrange};
use crate::rank::Pool;
pub use crate::tensor::Kernel;
use crate::tensor::{Tensor, count};

/// A network of fused layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Shape of one sample of each input, as a graph has it.
    pub inputs: Vec<Vec<usize>>,
    /// Layers in execution order.
    pub layers: Vec<FoldedLayer>,
    /// The values that the network gives: first come the inputs, then the output of each layer.
    pub outputs: Vec<usize>,
}

/// One fused layer; layer i defines value i + the number of the network's inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedLayer {
    /// The name of the node with the weight, else of the node itself.
    pub name: String,
    /// The values it reads; a residual is the second.
    pub inputs: Vec<usize>,
    /// What it does.
    pub op: FoldedOp,
}

impl FoldedLayer {
    /// What the layer does if it has a weight.
    pub fn weighted(&self) -> Option<&Weighted> {
        match &self.op {
            FoldedOp::Weighted(weighted) => Some(weighted),
            FoldedOp::Recurrent(recurrent) => Some(&recurrent.weighted),
            _ => None,
        }
    }

    /// Whether its weight is multiplied by what the layer itself gave the step before.
    pub fn is_recurrent(&self) -> bool {
        matches!(self.op, FoldedOp::Recurrent(_))
    }
}

/// The nodes of `graph` that were fused into other nodes' `layers`, by kind; kinds without nodes are left out.
pub fn fused(graph: &Graph, layers: &[FoldedLayer]) -> Vec<(&'static str, Vec<String>)> {
    let stands = |name: &str| layers.iter().any(|l| l.name == name);
    let kind = |op: &Op| match op {
        Op::BatchNorm(_) | Op::Affine { .. } => Some("normalisations folded into weights or each other"),
        Op::Add => Some("sums fused into convolutions"),
        Op::Activation(_) => Some("activations fused"),
        Op::ShortcutA(_) => Some("shortcuts read by sums"),
        _ => None,
    };
    let mut found: Vec<(&'static str, Vec<String>)> = Vec::new();
    for node in graph.nodes.iter().filter(|n| !stands(&n.name)) {
        let Some(kind) = kind(&node.op) else { continue };
        match found.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, nodes)) => nodes.push(node.name.clone()),
            None => found.push((kind, vec![node.name.clone()])),
        }
    }
    found
}

/// What a folded layer does.
#[derive(Clone, Debug, PartialEq)]
pub enum FoldedOp {
    /// A linear layer or a convolution with all that follows it before the next layer.
    Weighted(Weighted),
    /// A pool.
    Pool(PoolKind, Window),
    /// The mean of each channel.
    GlobalAveragePool,
    /// An addition that could not be fused.
    Add(Residual, Activation),
    /// An activation that could not be fused.
    Activate(Activation),
    /// A normalisation that could not be folded into a weight.
    Affine(Affine),
    /// The channels of the first value, then those of the second.
    Concat(Activation),
    /// Softmax over the channels, or its logarithm.
    Softmax {
        /// Whether the logarithm is given.
        log: bool,
    },
    /// Elements in another order.
    Rearrange(Rearrange),
    /// The product of two values, or of an image and a factor a channel.
    Multiply(Activation),
    /// Layer normalisation.
    LayerNorm(LayerNorm),
    /// Multi-head attention.
    Attention(Attention),
    /// Class tokens and positions.
    Embed(Table),
    /// A tensor, the same for all samples.
    Constant(Tensor),
    /// An operation over tensors of any axes.
    Primitive(Primitive),
    /// A recurrent cell.
    Recurrent(Box<Recurrent>),
}

/// A recurrent cell with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// What it does.
    pub settings: graph::Recurrent,
    /// R and the recurrent bias, over so many steps of so many sequences.
    pub weighted: Weighted,
    /// Peepholes, if it has them.
    pub peepholes: Option<Vec<f32>>,
}

/// y = table + x, behind rows of the table alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Channels of a token.
    pub channels: usize,
    /// [tokens][channels].
    pub table: Vec<f32>,
}

/// y = scale[c]·(x − mean)/√(variance + eps) + shift[c] over the channels of each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Multiplies, one a channel.
    pub scale: Vec<f32>,
    /// Is added, one a channel.
    pub shift: Vec<f32>,
    /// Added to the variance before the root.
    pub eps: f32,
}

/// y = act(scale[c]·x + shift[c]) for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Multiplies, one a channel.
    pub scale: Vec<f64>,
    /// Is added, one a channel.
    pub shift: Vec<f64>,
    /// Applied last.
    pub activation: Activation,
}

/// A batch norm that was folded into the layer before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// The node's name.
    pub name: String,
    /// Added to the variance before the root; `None` for a mere scale and shift, which has no statistics.
    pub eps: Option<f32>,
    /// Whether elements were moved between the layer and it, so that its channels are others than the layer's.
    pub moved: bool,
}

/// y = act(diag(scale)·W(x) + bias + residual).
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// Sizes of W.
    pub kernel: Kernel,
    /// The group of layers that shares a budget of singular values.
    pub pool: Pool,
    /// How W moves; `None` for a linear layer of vectors.
    pub window: Option<Window>,
    /// Groups that input and output channels fall into.
    pub groups: usize,
    /// W as it was trained, [outputs, inputs, height, width] row-major.
    pub weight: Vec<f32>,
    /// γ/√(var + ε) of a folded batch norm, for each output.
    pub scale: Option<Vec<f64>>,
    /// The normalisations behind W that were folded in, in their order.
    pub norms: Vec<Norm>,
    /// The scale of each input channel, if a normalisation before W was folded into W.
    pub absorbed: Option<Box<[f64]>>,
    /// Bias after folding.
    pub bias: Option<Vec<f32>>,
    /// How the second input is added.
    pub residual: Option<Residual>,
    /// Applied last.
    pub activation: Activation,
    /// Height and width of the input image; [1, 1] for a linear layer.
    pub input_size: [usize; 2],
    /// Height and width of the output image; [1, 1] for a linear layer.
    pub output_size: [usize; 2],
}

impl Weighted {
    /// diag(scale)·W, rounded to f32 once.
    pub fn folded_weight(&self) -> Vec<f32> {
        let columns = self.kernel.columns();
        match &self.scale {
            None => self.weight.clone(),
            Some(scale) => self.weight.iter().enumerate().map(|(i, &w)| (f64::from(w) * scale[i / columns]) as f32).collect(),
        }
    }

    /// Output positions of one sample.
    pub fn positions(&self) -> usize {
        self.output_size.iter().product()
    }

    /// Multiply–accumulates for one sample in dense form; saturates.
    pub fn dense_macs(&self) -> u64 {
        count(&[self.kernel.len(), self.positions()]).map_or(u64::MAX, |n| n as u64)
    }

    /// Parameters in dense form, bias included.
    pub fn dense_params(&self) -> u64 {
        (self.kernel.len() + self.bias.as_ref().map_or(0, Vec::len)) as u64
    }

    /// Whether it may be cut into factors: grouped weights stay dense.
    pub fn is_factorable(&self) -> bool {
        self.groups == 1
    }
}
