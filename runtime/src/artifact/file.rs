//! A network that was read and checked, with its tensors.

use std::borrow::Cow;
use std::ops::Range;

use super::bytes::{Bytes, chunks, floats};
use super::sections::Sections;
use super::{Dtype, Input, Model, Output, TensorId};

/// A network that passed all checks, with its tensors.
#[derive(Debug)]
pub struct Artifact {
    pub(super) model: Model,
    /// What is known of every value, the inputs first.
    pub(super) values: Values,
    pub(super) bytes: Bytes,
    /// The sections of the header that follow the model.
    pub(super) sections: Sections,
    /// Where the data part lies in `bytes`.
    pub(super) data: Range<usize>,
}

/// What follows from a network for its values: first its inputs, then what each layer gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values {
    /// Shape of each for one sample.
    pub(super) shapes: Vec<Vec<usize>>,
    /// Whether each sample has its own; else the value is the same for all samples of a run.
    pub(super) sampled: Vec<bool>,
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
            Dtype::F32 => floats(bytes),
            Dtype::F16 => Cow::Owned(chunks(bytes).map(|b| half::f16::from_le_bytes(b).to_f32()).collect()),
        }
    }
}
