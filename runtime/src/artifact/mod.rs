//! The `.thin` file: what it says, what must hold before anyone trusts it, reading and writing. docs/format.md is the
//! specification.

mod bounded;
mod check;
mod ends;
mod error;
mod nested;
mod preamble;
mod preprocess;
mod read;
mod shapes;
mod shares;
pub mod v1;
pub mod v2;
mod write;
mod write_atomic;

use std::borrow::Cow;
use std::ops::Range;

pub use check::Limits;
pub use error::FormatError;
pub(crate) use preamble::VERSION;
pub use v2::{
    AccuracyNote, Activation, Channels, Dtype, Element, Input, InputKind, Layer, LayerNote, Meaning, Model, Nested, Op, Output, PoolKind,
    Preprocess, Provenance, Residual, Section, Stride, TensorId, TensorInfo, TensorSpec, TimeNote, ValueId, Weight, Window,
};
pub use write::TensorData;
pub use write_atomic::write_atomic;

/// A checked network with its tensors: whoever holds one need not doubt it.
#[derive(Debug)]
pub struct Artifact {
    model: Model,
    /// Shape of every value for one sample, 0 being the input.
    shapes: Vec<Vec<usize>>,
    bytes: Bytes,
    /// What the layers need for smaller ranks, by rising layer.
    nested: Vec<Nested>,
    /// Where the data part lies in `bytes`.
    data: Range<usize>,
}

/// The file's bytes, wherever they live.
enum Bytes {
    Owned(Vec<u8>),
    #[cfg(feature = "mmap")]
    Mapped(memmap2::Mmap),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            #[cfg(feature = "mmap")]
            Self::Mapped(map) => map,
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Artifact {
    /// What the header says.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The whole file, as it stands on a disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The array that the network takes.
    pub fn input(&self) -> &Input {
        &self.model.inputs[0]
    }

    /// The array that the network gives.
    pub fn output(&self) -> &Output {
        &self.model.outputs[0]
    }

    /// Shape of every value for one sample: index 0 is the input, i + 1 the output of layer i.
    pub fn shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }

    /// Elements of one sample's input.
    pub fn input_len(&self) -> usize {
        self.shapes.first().map_or(0, |s| s.iter().product())
    }

    /// Elements of one sample's output.
    pub fn output_len(&self) -> usize {
        self.shapes.last().map_or(0, |s| s.iter().product())
    }

    /// Axis lengths of a tensor; empty for an id that the table does not hold.
    pub fn tensor_shape(&self, id: TensorId) -> &[u32] {
        self.model.tensors.get(id as usize).map_or(&[], |t| &t.shape)
    }

    /// A tensor's elements, row-major, as f32: borrowed where the bytes can be read in place. Empty for an id that the
    /// table does not hold.
    pub fn tensor(&self, id: TensorId) -> Cow<'_, [f32]> {
        let Some(info) = self.model.tensors.get(id as usize) else { return Cow::Borrowed(&[]) };
        let start = self.data.start + info.offset as usize;
        let bytes = &self.bytes[start..start + info.byte_len() as usize];
        match info.dtype {
            Dtype::F32 => read::floats(bytes),
            Dtype::F16 => Cow::Owned(read::chunks(bytes).map(|b| half::f16::from_le_bytes(b).to_f32()).collect()),
        }
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
    /// Outputs along an axis (0 down, 1 right) of `len` inputs, by PyTorch's floor formula; 0 where the window does not
    /// fit.
    pub fn output(&self, axis: usize, len: usize) -> usize {
        let [kernel, stride, dilation] = [self.kernel[axis], self.stride[axis], self.dilation[axis]].map(|n| n as usize);
        let span = dilation.saturating_mul(kernel.saturating_sub(1)).saturating_add(1);
        let padded = len.saturating_add(self.padding[axis] as usize).saturating_add(self.padding[axis + 2] as usize);
        if stride == 0 || padded < span { 0 } else { (padded - span) / stride + 1 }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 6 → 4 dense with bias, 4 → 3 at rank 2 without, both with ReLU; small whole numbers as weights.
    pub(crate) fn two_layers() -> Artifact {
        Artifact::build(write::tests::sample(), write::tests::sample_tensors()).unwrap()
    }
}
