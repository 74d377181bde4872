//! From an artifact, a batch and a choice of forms to the steps that an executor takes and the buffers that it needs.
//! A plan knows no device: executors read it, pack the weights it names and record its steps.

mod buffers;
mod expand;
mod matrix;
mod slot;
mod step;

pub use buffers::Memory;
pub use expand::Factored;
pub(crate) use expand::{layer_macs, weight};
pub use matrix::{Matrix, matrix};
pub use slot::Slot;
pub use step::{AttentionStep, ConvStep, LayerNormStep, LinearStep, PoolStep, RearrangeStep, Step, StepKind};

use crate::artifact::{Artifact, Layer, Op, Residual};
use crate::error::{Error, Result};

/// How a layer's weight is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One matrix. A weight that is stored as factors is multiplied back when the session opens.
    Dense,
    /// As many steps as there are factors, the intermediates in memory.
    TwoStage,
    /// The last two factors in one step that keeps the intermediate in registers, workgroup memory or cache. A spatial
    /// pair cannot be fused; it runs two-stage.
    Fused,
}

impl Form {
    /// As messages and tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::TwoStage => "two-stage",
            Self::Fused => "fused",
        }
    }

    /// The form that [`Form::name`] calls so.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Dense, Self::TwoStage, Self::Fused].into_iter().find(|f| f.name() == name)
    }
}

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
    /// Where the network's input is put.
    pub input: Slot,
    /// Where the network's output is found.
    pub output: Slot,
    /// Where each value of the model lies while it lives: 0 the input, i + 1 the output of layer i.
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
        let mut shapes = vec![input_shape(artifact)];
        // Which of the step's values each value of the model is.
        let mut value_of = vec![0usize];
        let (mut drafts, mut reads, mut forms) = (Vec::new(), Vec::new(), Vec::new());
        for (index, layer) in layers.iter().enumerate() {
            let form = expand::factored(artifact, index).map_or(Form::Dense, |f| match form(&f) {
                Form::Fused if f.fused.is_none() => Form::TwoStage,
                form => form,
            });
            forms.push(form);
            let parts = expand::expand(artifact, index, form);
            let count = parts.len();
            // Beside the first: of a layer whose last step adds it, that one's; an attention's are its first step's.
            let seconds = |i: usize, kind: &StepKind| matches!(kind, StepKind::Attention(_)) || i + 1 == count && !is_attention(layer);
            for (i, part) in parts.into_iter().enumerate() {
                let value = |at: usize| layer.inputs.get(at).map_or(0, |&v| value_of[v as usize]);
                let mut from = vec![if i == 0 { value(0) } else { shapes.len() - 1 }];
                let residual = residual(artifact, layer).filter(|_| seconds(i, &part.kind));
                from.extend(residual.map(|_| value(1)));
                from.extend((layer.inputs.len() == 3 && residual.is_some()).then(|| value(2)));
                reads.push(from);
                shapes.push(part.shape);
                drafts.push((index, part.kind, residual));
            }
            value_of.push(shapes.len() - 1);
        }
        let assigned = buffers::assign(&shapes, &reads, batch, keep)
            .ok_or_else(|| Error::invalid("batch", format!("{batch} samples need more memory than can be addressed")))?;
        let values = &assigned.values;
        let steps = drafts.into_iter().zip(&reads).enumerate().map(|(i, ((layer, kind, residual), reads))| Step {
            layer,
            name: layers[layer].name.clone(),
            kind,
            input: values[reads[0]],
            residual: residual.map(|r| (values[reads[1]], r)),
            third: reads.get(2).map(|&v| values[v]),
            output: values[i + 1],
        });
        let (input, output) = (values[0], values[values.len() - 1]);
        let steps = steps.collect();
        let values = value_of.into_iter().map(|v| assigned.values[v]).collect();
        Ok(Self { batch, steps, forms, memory: assigned.memory, input, output, values })
    }
}

fn is_attention(layer: &Layer) -> bool {
    matches!(layer.op, Op::Attention { .. })
}

/// How the second input of a layer is added, if it has one.
fn residual(artifact: &Artifact, layer: &Layer) -> Option<Residual> {
    match &layer.op {
        Op::Conv { residual, .. } => *residual,
        Op::Add { residual, .. } => Some(*residual),
        Op::Multiply { .. } => Some(Residual { stride: 1, offset: 0 }),
        // The keys.
        Op::Attention { .. } if layer.inputs.len() == 3 => Some(Residual { stride: 1, offset: 0 }),
        // Behind the channels of the first.
        Op::Concat { .. } => {
            let first = layer.inputs.first().and_then(|&v| artifact.shapes().get(v as usize)?.first());
            Some(Residual { stride: 1, offset: first.map_or(0, |&c| c as u32) })
        }
        _ => None,
    }
}

/// The input's shape. An image that only fully connected layers read is kept as the vector that they see: padding a few
/// channels to 4 would multiply their work.
fn input_shape(artifact: &Artifact) -> [usize; 3] {
    let readers = artifact.model().layers.iter().filter(|l| l.inputs.contains(&0));
    if readers.clone().all(|l| matches!(l.op, Op::Linear { .. })) {
        return [artifact.input_len(), 1, 1];
    }
    artifact.shapes().first().map_or([0; 3], |s| expand::image(s))
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
            assert!(plan.steps.iter().all(|s| s.input.buffer != s.output.buffer));
        }
    }
}
