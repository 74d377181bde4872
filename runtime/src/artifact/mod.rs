//! The `.thin` file: what it says, what must hold before anyone trusts it, reading and writing. docs/format.md is the
//! specification.

mod bounded;
mod check;
mod check_ends;
mod cost;
mod ends;
mod layer;
mod nested;
mod preamble;
mod preprocess;
mod read;
mod sections;
mod shapes;
mod shares;
pub mod v1;
pub mod v2;
mod write;
mod write_atomic;

use std::borrow::Cow;
use std::ops::Range;

pub use crate::error::FormatError;
pub use check::Limits;
pub(crate) use cost::layer_macs;
#[cfg(any(test, feature = "tools"))]
pub(crate) use preamble::VERSION;
pub use sections::Sections;
pub use v2::{
    AccuracyNote, Activation, Channels, Dtype, Element, Input, InputKind, Layer, LayerNote, Meaning, Model, Nested, Op, Output, PoolKind,
    Preprocess, Provenance, Residual, Section, State, Stride, TensorId, TensorInfo, TensorSpec, TimeNote, Tuned, TunedLayer, ValueId,
    Weight, Window,
};
pub use write::TensorData;
pub use write_atomic::write_atomic;

/// A checked network with its tensors: whoever holds one need not doubt it.
#[derive(Debug)]
pub struct Artifact {
    model: Model,
    /// What is known of every value, the inputs first.
    values: Values,
    bytes: Bytes,
    /// What stands behind the network.
    sections: Sections,
    /// Where the data part lies in `bytes`.
    data: Range<usize>,
}

/// What follows from a network for its values: first its inputs, then what each layer gives.
#[derive(Clone, Debug, Default, PartialEq)]
struct Values {
    /// Shape of each for one sample.
    shapes: Vec<Vec<usize>>,
    /// Whether each sample has its own; else the value is the same for all samples of a run.
    sampled: Vec<bool>,
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

    /// The arrays that the network takes.
    pub fn inputs(&self) -> &[Input] {
        &self.model.inputs
    }

    /// The arrays that the network gives.
    pub fn outputs(&self) -> &[Output] {
        &self.model.outputs
    }

    /// The first array that the network takes, which is the only one of most networks.
    pub fn input(&self) -> &Input {
        &self.model.inputs[0]
    }

    /// The first array that the network gives, which is the only one of most networks.
    pub fn output(&self) -> &Output {
        &self.model.outputs[0]
    }

    /// The value that layer `index` gives.
    pub fn value_of(&self, index: usize) -> usize {
        self.model.inputs.len() + index
    }

    /// Shape of every value for one sample: first the inputs, then what each layer gives.
    pub fn shapes(&self) -> &[Vec<usize>] {
        &self.values.shapes
    }

    /// Whether each sample of a run has its own `value`; else it is the same for all of them.
    pub fn is_sampled(&self, value: usize) -> bool {
        self.values.sampled.get(value).copied().unwrap_or(false)
    }

    /// Whether a run may have several samples: whether any input has an axis of them.
    pub fn takes_samples(&self) -> bool {
        self.model.inputs.iter().any(|i| i.spec.sample_axis.is_some())
    }

    /// Elements of one sample of the first input.
    pub fn input_len(&self) -> usize {
        self.elements(0)
    }

    /// Elements of one sample of the first output.
    pub fn output_len(&self) -> usize {
        self.elements(self.output().value as usize)
    }

    /// Elements of one sample of `value`.
    pub fn elements(&self, value: usize) -> usize {
        self.values.shapes.get(value).map_or(0, |s| s.iter().product())
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 6 → 4 dense with bias, 4 → 3 at rank 2 without, both with ReLU; small whole numbers as weights.
    pub(crate) fn two_layers() -> Artifact {
        Artifact::build(write::tests::sample(), write::tests::sample_tensors()).unwrap()
    }
}
