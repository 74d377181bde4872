//! From an artifact, a batch and a choice of forms to the steps that an executor takes and the buffers that it needs.
//! A plan knows no device: executors read it, pack the weights it names and record its steps.

mod buffers;
mod draft;
mod expand;
mod form;
mod layout;
mod matrix;
mod operand;
mod primitive;
mod primitive_steps;
mod slot;
mod step;
mod transfer;

pub use buffers::Memory;
pub use expand::Factored;
pub use form::Form;
pub use layout::Layout;
pub use matrix::{Matrix, matrix};
pub use operand::Operand;
pub(crate) use operand::coalesce;
pub use primitive_steps::{JoinStep, LookupStep, MapStep, MatMulStep, PickStep, ReduceStep, ResampleStep, SoftmaxStep};
pub use slot::Slot;
pub use step::{AttentionStep, ConvStep, LayerNormStep, LinearStep, PoolStep, RearrangeStep, RecurrentStep, Step, StepKind};
pub(crate) use transfer::{Fill, Read};

use crate::artifact::{Artifact, TensorId};
use crate::error::{Error, Result};
use draft::Draft;

/// Everything an executor needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The most samples of one run.
    pub batch: usize,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// The form that each layer of the model got; [`Form::Dense`] for those without a choice.
    pub forms: Vec<Form>,
    /// Buffers, shared by values that do not live at the same time.
    pub memory: Memory,
    /// The slot of each of the network's inputs.
    pub inputs: Vec<Slot>,
    /// The slot of each of the network's outputs.
    pub outputs: Vec<Slot>,
    /// The slot of each constant, a buffer of its own that holds the tensor once, whatever the batch.
    pub constants: Vec<(TensorId, Slot)>,
    /// The slot of each value of the model while it is live: the inputs, then the output of each layer.
    pub values: Vec<Slot>,
}

impl Plan {
    /// Plans runs of up to `batch` samples; `form` is asked for each layer that is stored as factors.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch of none or one whose buffers have no representable size.
    pub fn new(artifact: &Artifact, batch: usize, form: impl FnMut(&Factored) -> Form) -> Result<Self> {
        Self::build(artifact, batch, form, false)
    }

    /// As [`Plan::new`], but no two values share a buffer, so that each can be read when the run is over.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn keeping_values(artifact: &Artifact, batch: usize, form: impl FnMut(&Factored) -> Form) -> Result<Self> {
        Self::build(artifact, batch, form, true)
    }

    fn build(artifact: &Artifact, batch: usize, mut form: impl FnMut(&Factored) -> Form, keep: bool) -> Result<Self> {
        if batch == 0 {
            return Err(Error::invalid("batch", "must be at least 1"));
        }
        let layers = &artifact.model().layers;
        let form = |index: usize| {
            expand::factored(artifact, index).map_or(Form::Dense, |f| match form(&f) {
                Form::Fused if f.fused.is_none() => Form::TwoStage,
                form => form,
            })
        };
        let forms: Vec<Form> = (0..layers.len()).map(form).collect();
        let draft = Draft::new(artifact, &forms);
        let reads: Vec<Vec<usize>> = draft.steps.iter().map(|s| s.reads.iter().map(|r| r.stored).collect()).collect();
        let outputs: Vec<usize> = artifact.outputs().iter().map(|o| o.value as usize).collect();
        let lasting: Vec<usize> = outputs.iter().map(|&v| draft.values[v].stored).collect();
        let lives = buffers::Lives { inputs: draft.inputs.len(), constants: draft.constants.len(), reads: &reads, outputs: &lasting };
        let assigned = buffers::assign(&draft.stored(), &lives, batch, keep)
            .ok_or_else(|| Error::invalid("batch", format!("{batch} samples need more memory than can be addressed")))?;
        let slot = |view: &draft::View| {
            let [channels, height, width] = view.shape;
            Slot { channels, height, width, ..assigned.values[view.stored] }
        };
        let values: Vec<Slot> = draft.values.iter().map(slot).collect();
        let steps = draft.steps.iter().enumerate().map(|(i, step)| Step {
            layer: step.layer,
            name: layers[step.layer].name.clone(),
            kind: step.kind.clone(),
            inputs: step.reads.iter().map(slot).collect(),
            output: assigned.values[draft.before_steps() + i],
        });
        let constants = draft.constants.iter().enumerate().map(|(i, c)| (c.0, assigned.values[draft.inputs.len() + i])).collect();
        Ok(Self {
            batch,
            constants,
            steps: steps.collect(),
            forms,
            inputs: values[..draft.inputs.len()].to_vec(),
            outputs: outputs.iter().map(|&v| values[v]).collect(),
            values,
            memory: assigned.memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;

    #[test]
    fn only_factored_layers_are_asked_for_a_form() {
        let artifact = two_layers();
        let mut asked = Vec::new();
        let plan = Plan::new(&artifact, 3, |f| {
            asked.push((f.layer, f.rank, f.dense_macs, f.thin_macs));
            Form::TwoStage
        })
        .unwrap();
        assert_eq!(asked, [(1, 2, 12, 14)]);
        assert_eq!(plan.forms, [Form::Dense, Form::TwoStage]);
        assert_eq!(plan.steps.iter().map(|s| (s.layer, s.macs())).collect::<Vec<_>>(), [(0, 24), (1, 8), (1, 6)]);
        let fused = Plan::new(&artifact, 3, |_| Form::Fused).unwrap();
        assert_eq!(fused.steps.iter().map(Step::macs).collect::<Vec<_>>(), [24, 14]);
        assert!(Plan::new(&artifact, 0, |_| Form::Dense).is_err());
        assert!(Plan::new(&artifact, usize::MAX / 2, |_| Form::Dense).is_err());
    }

    #[test]
    fn a_step_never_writes_what_it_reads() {
        for form in [Form::Dense, Form::TwoStage, Form::Fused] {
            let plan = Plan::new(&two_layers(), 5, |_| form).unwrap();
            assert!(plan.steps.iter().all(|s| s.inputs.iter().all(|i| i.buffer != s.output.buffer)));
        }
    }
}
