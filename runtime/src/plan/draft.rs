//! The steps of a network before they have buffers.

use super::expand::{From, Part, expand};
use super::layout::{is_reshape, laid_out};
use super::operand::LaidOut;
use super::{Form, StepKind, primitive};
use crate::artifact::{Artifact, Op, Primitive, TensorId};

/// A value, or the same elements seen in another shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    /// Which of the stored values: the network's inputs, its constants, then what each step writes.
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
    /// Each constant, which is plain.
    pub(super) constants: Vec<(TensorId, LaidOut)>,
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
        let layers = &artifact.model().layers;
        let constants = layers.iter().enumerate().filter_map(|(index, layer)| match layer.op {
            Op::Constant { tensor } => Some((tensor, laid_out[artifact.value_of(index)])),
            _ => None,
        });
        let mut draft = Self { inputs, constants: constants.collect(), steps: Vec::new(), values };
        let mut constants = 0;
        for (index, layer) in layers.iter().enumerate() {
            let reads: Vec<View> = layer.inputs.iter().map(|&v| draft.values[v as usize]).collect();
            let shape = laid_out[artifact.value_of(index)];
            let value = match (&layer.op, reads.first()) {
                (Op::Primitive(p), _) => {
                    let shapes = layer.inputs.iter().map(|&v| &artifact.shapes()[v as usize][..]).collect::<Vec<_>>();
                    draft.primitive(index, p, &shapes, reads, shape)
                }
                (op, Some(&first)) if is_reshape(op, first.shape.iter().product()) => draft.reshaped(index, first, shape),
                (_, Some(_)) => draft.expanded(index, &reads, expand(artifact, &|value| laid_out[value], index, forms[index])),
                // Only a constant reads nothing.
                (_, None) => {
                    constants += 1;
                    View { stored: draft.inputs.len() + constants - 1, shape }
                }
            };
            draft.values.push(value);
        }
        draft
    }

    /// How many values there are before the first step.
    pub(super) fn before_steps(&self) -> usize {
        self.inputs.len() + self.constants.len()
    }

    /// Every stored value's shape.
    pub(super) fn stored(&self) -> Vec<LaidOut> {
        let before = self.inputs.iter().copied().chain(self.constants.iter().map(|c| c.1));
        before.chain(self.steps.iter().map(|s| s.shape)).collect()
    }

    fn push(&mut self, step: DraftStep) -> View {
        let view = View { stored: self.before_steps() + self.steps.len(), shape: step.shape };
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

    /// A primitive that reads `reads`, values of `shapes`; what it cannot read in its layout is moved to the plain one first.
    fn primitive(&mut self, layer: usize, p: &Primitive, shapes: &[&[usize]], mut reads: Vec<View>, shape: LaidOut) -> View {
        loop {
            let constants = self.inputs.len()..self.before_steps();
            let seen: Vec<_> =
                reads.iter().map(|view| primitive::Seen { laid_out: view.shape, constant: constants.contains(&view.stored) }).collect();
            match primitive::step(p, shapes, &seen, shape) {
                Ok(kind) => return self.push(DraftStep { layer, kind, reads, shape }),
                Err(primitive::Misfit::Output) => {
                    let plain = self.primitive(layer, p, shapes, reads, [shape.iter().product(), 1, 1]);
                    return self.reshaped(layer, plain, shape);
                }
                Err(primitive::Misfit::Input(at)) => {
                    let plain = [reads[at].shape.iter().product(), 1, 1];
                    reads[at] = self.push(DraftStep { layer, kind: StepKind::Move, reads: vec![reads[at]], shape: plain });
                }
            }
        }
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
