//! The steps of a network before they have buffers.

use super::expand::{From, Part, expand};
use super::layout::{LaidOut, is_reshape, laid_out};
use super::{Form, StepKind};
use crate::artifact::Artifact;

/// A value, or the same elements seen in another shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    /// Which of the stored values: the network's inputs, then what each step writes.
    pub(super) stored: usize,
    /// Channels, height and width as it is seen.
    pub(super) shape: LaidOut,
}

/// A step that knows which values it reads, and not yet where they are.
#[derive(Debug)]
pub(super) struct DraftStep {
    pub(super) layer: usize,
    pub(super) kind: StepKind,
    pub(super) reads: Vec<View>,
    /// Channels, height and width of what it writes.
    pub(super) shape: LaidOut,
}

/// All steps of a network.
#[derive(Debug)]
pub(super) struct Draft {
    /// Channels, height and width of each input.
    pub(super) inputs: Vec<LaidOut>,
    pub(super) steps: Vec<DraftStep>,
    /// Each value of the model.
    pub(super) values: Vec<View>,
}

impl Draft {
    /// The steps of `artifact`, each layer in its one of `forms`.
    pub(super) fn new(artifact: &Artifact, forms: &[Form]) -> Self {
        let laid_out = laid_out(artifact);
        let inputs = laid_out[..artifact.inputs().len()].to_vec();
        let values = inputs.iter().enumerate().map(|(stored, &shape)| View { stored, shape }).collect();
        let mut draft = Self { inputs, steps: Vec::new(), values };
        for (index, layer) in artifact.model().layers.iter().enumerate() {
            let reads: Vec<View> = layer.inputs.iter().map(|&v| draft.values[v as usize]).collect();
            let (elements, shape) = (reads[0].shape.iter().product(), laid_out[artifact.value_of(index)]);
            let value = if is_reshape(&layer.op, elements) {
                draft.reshaped(index, reads[0], shape)
            } else {
                draft.expanded(index, &reads, expand(artifact, &|value| laid_out[value], index, forms[index]))
            };
            draft.values.push(value);
        }
        draft
    }

    /// Every stored value's shape.
    pub(super) fn stored(&self) -> Vec<LaidOut> {
        self.inputs.iter().copied().chain(self.steps.iter().map(|s| s.shape)).collect()
    }

    fn push(&mut self, step: DraftStep) -> View {
        let view = View { stored: self.inputs.len() + self.steps.len(), shape: step.shape };
        self.steps.push(step);
        view
    }

    /// `from` in another shape. The same memory serves where both are plain, or images with the same channels in the same order
    /// of pixels; else elements are moved.
    fn reshaped(&mut self, layer: usize, from: View, shape: LaidOut) -> View {
        if from.shape[0] == shape[0] {
            return View { shape, ..from };
        }
        self.push(DraftStep { layer, kind: StepKind::Move, reads: vec![from], shape })
    }

    fn expanded(&mut self, layer: usize, inputs: &[View], parts: Vec<Part>) -> View {
        let mut last = inputs[0];
        for Part { kind, shape, reads } in parts {
            let read = |from: &From| match *from {
                From::Layer(at) => inputs.get(at).copied(),
                From::Previous => Some(last),
            };
            let reads = reads.iter().filter_map(read).collect();
            last = self.push(DraftStep { layer, kind, reads, shape });
        }
        last
    }
}
