//! Questions about a layer and its tensors: its weight, its activation, how its window moves, how many bytes there are.

use super::file::Artifact;
use super::{Activation, Dtype, Op, Recurrent, TensorId, TensorInfo, Weight, Window};

impl Op {
    /// Whether it is a tensor of the file.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Constant { .. })
    }

    /// The weight of a layer that has one.
    pub fn weight(&self) -> Option<&Weight> {
        match self {
            Self::Linear { weight, .. } | Self::Conv { weight, .. } | Self::Recurrent(Recurrent { weight, .. }) => Some(weight),
            Self::Pool { .. } | Self::GlobalAveragePool | Self::Add { .. } | Self::Activate(_) => None,
            Self::Affine { .. } | Self::Concat { .. } | Self::Softmax { .. } | Self::Rearrange { .. } => None,
            Self::Multiply { .. } | Self::LayerNorm { .. } | Self::Attention { .. } | Self::Embed { .. } => None,
            Self::Constant { .. } | Self::Primitive(_) => None,
        }
    }

    /// The activation that is applied last, of a layer that can have one.
    pub fn activation(&self) -> Option<Activation> {
        match self {
            Self::Linear { activation, .. }
            | Self::Conv { activation, .. }
            | Self::Add { activation, .. }
            | Self::Affine { activation, .. }
            | Self::Concat { activation }
            | Self::Multiply { activation }
            | Self::Activate(activation) => Some(*activation),
            Self::Pool { .. } | Self::GlobalAveragePool | Self::Softmax { .. } | Self::Rearrange { .. } => None,
            Self::LayerNorm { .. } | Self::Attention { .. } | Self::Embed { .. } => None,
            Self::Constant { .. } | Self::Primitive(_) | Self::Recurrent(_) => None,
        }
    }
}

impl Weight {
    /// Components of the factor pair, or Tucker's output rank; `None` for a dense weight.
    pub fn rank(&self, artifact: &Artifact) -> Option<usize> {
        let id = match self {
            Self::Dense(_) => return None,
            Self::LowRank { v, .. } | Self::Spatial { v, .. } => v,
            Self::Tucker2 { core, .. } => core,
        };
        artifact.tensor_shape(*id).first().map(|&r| r as usize)
    }

    /// Tucker's input rank; `None` for every other form.
    pub fn input_rank(&self, artifact: &Artifact) -> Option<usize> {
        match self {
            Self::Tucker2 { a, .. } => artifact.tensor_shape(*a).first().map(|&r| r as usize),
            Self::Dense(_) | Self::LowRank { .. } | Self::Spatial { .. } => None,
        }
    }

    /// `dense`, `low-rank` (of a fully connected layer), `channel` (of a convolution), `spatial` or `tucker2`.
    pub fn scheme(&self, of_conv: bool) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::LowRank { .. } if of_conv => "channel",
            Self::LowRank { .. } => "low-rank",
            Self::Spatial { .. } => "spatial",
            Self::Tucker2 { .. } => "tucker2",
        }
    }

    /// The tensors that hold it.
    pub fn tensors(&self) -> Vec<TensorId> {
        match *self {
            Self::Dense(id) => vec![id],
            Self::LowRank { v, u, sigma, .. } | Self::Spatial { v, u, sigma, .. } => vec![v, u, sigma],
            Self::Tucker2 { a, core, b, .. } => vec![a, core, b],
        }
    }
}

impl Activation {
    /// As tables call it; nothing for none.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::LeakyRelu(_) => "leaky relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::HardSigmoid => "hard sigmoid",
            Self::HardSwish => "hard swish",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu (tanh)",
            Self::Clip { .. } => "clip",
            Self::Elu(_) => "elu",
            Self::ThresholdedRelu(_) => "thresholded relu",
            Self::Softplus => "softplus",
            Self::Softsign => "softsign",
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Sqrt => "sqrt",
            Self::Reciprocal => "reciprocal",
            Self::Abs => "abs",
            Self::Erf => "erf",
        })
    }
}

impl Window {
    /// A window of one element that moves by one.
    pub const POINT: Self = Self { kernel: [1, 1], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };

    /// Whether this window sees each element alone.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0; 4]
    }

    /// Outputs along an axis (0 down, 1 right) of `len` inputs, by PyTorch's floor formula; 0 where the window does not
    /// fit.
    pub fn output(&self, axis: usize, len: usize) -> usize {
        let [kernel, stride, dilation] = [self.kernel[axis], self.stride[axis], self.dilation[axis]].map(|n| n as usize);
        let span = dilation.saturating_mul(kernel.saturating_sub(1)).saturating_add(1);
        let padded = len.saturating_add(self.padding[axis] as usize).saturating_add(self.padding[axis + 2] as usize);
        if stride == 0 || padded < span { 0 } else { (padded - span) / stride + 1 }
    }
}

impl TensorInfo {
    /// Elements; saturates, so that an impossible shape never looks small.
    pub fn element_count(&self) -> u64 {
        self.shape.iter().fold(1u64, |n, &d| n.saturating_mul(u64::from(d)))
    }

    /// Bytes in the file, padding left out; saturates as [`TensorInfo::element_count`].
    pub fn byte_len(&self) -> u64 {
        self.element_count().saturating_mul(self.dtype.size())
    }
}

impl Dtype {
    /// Bytes an element.
    pub fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}
