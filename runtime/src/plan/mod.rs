//! From an artifact, a batch and a choice of forms to the steps that an executor takes and the buffers that it needs.
//! A plan knows no device: executors read it, pack the weights it names and record its steps.

mod buffers;
mod weights;

use buffers::Use;
pub use buffers::{Memory, Slot};
pub use weights::{dense_weight, low_rank_factors};

use crate::artifact::{Activation, Artifact, Op, TensorId, Weight};
use crate::error::{Error, Result};

/// How a layer's weight is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One matrix. A weight that is stored as factors is multiplied back when the session opens.
    Dense,
    /// Two steps with the intermediate of `rank` features in memory.
    TwoStage,
    /// One step that keeps the intermediate in registers, workgroup memory or cache.
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
}

/// One step of a run; steps follow each other, each reading what earlier ones wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Index of the layer in the model.
    pub layer: usize,
    /// The layer's name.
    pub name: String,
    /// What is computed.
    pub kind: StepKind,
    /// Where the input lies.
    pub input: Slot,
    /// Where the output goes; never the input's buffer.
    pub output: Slot,
    /// Where a two-stage form keeps its intermediate; neither the input's nor the output's buffer.
    pub scratch: Option<Slot>,
}

/// What a step computes.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// y = act(x·Wᵀ + b).
    Linear(LinearStep),
}

/// A fully connected layer over rows of features.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearStep {
    /// Features in.
    pub inputs: usize,
    /// Features out.
    pub outputs: usize,
    /// Components of the factor pair; `None` for a weight stored dense.
    pub rank: Option<usize>,
    /// How it is executed; [`Form::Dense`] where `rank` is `None`.
    pub form: Form,
    /// Where the weight is stored.
    pub weight: Weight,
    /// Where the bias is stored.
    pub bias: Option<TensorId>,
    /// Applied last.
    pub activation: Activation,
}

/// Everything an executor needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The most samples of one run.
    pub batch: usize,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Buffers, shared by values that do not live at the same time.
    pub memory: Memory,
    /// Where the network's input is put.
    pub input: Slot,
    /// Where the network's output is found.
    pub output: Slot,
}

impl Plan {
    /// Plans runs of up to `batch` samples; `form` is asked for each layer that is stored as factors.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch of none or one whose buffers have no representable size.
    pub fn new(artifact: &Artifact, batch: usize, mut form: impl FnMut(usize, &LinearStep) -> Form) -> Result<Self> {
        if batch == 0 {
            return Err(Error::invalid("batch", "must be at least 1"));
        }
        let kinds: Vec<StepKind> = (0..artifact.model().layers.len()).map(|i| StepKind::Linear(linear(artifact, i, &mut form))).collect();
        let uses: Vec<Use> = kinds
            .iter()
            .zip(&artifact.model().layers)
            .map(|(StepKind::Linear(step), layer)| Use {
                reads: layer.inputs.iter().map(|&v| v as usize).collect(),
                scratch: if step.form == Form::TwoStage { step.rank } else { None },
            })
            .collect();
        let lengths: Vec<usize> = artifact.shapes().iter().map(|s| s.iter().product()).collect();
        let assigned = buffers::assign(&lengths, &uses, batch)
            .ok_or_else(|| Error::invalid("batch", format!("{batch} samples need more memory than can be addressed")))?;
        let steps = kinds
            .into_iter()
            .enumerate()
            .map(|(i, kind)| Step {
                layer: i,
                name: artifact.model().layers[i].name.clone(),
                kind,
                input: assigned.values[uses[i].reads[0]],
                output: assigned.values[i + 1],
                scratch: assigned.scratch[i],
            })
            .collect();
        let (input, output) = (assigned.values[0], assigned.values[lengths.len() - 1]);
        Ok(Self { batch, steps, memory: assigned.memory, input, output })
    }
}

/// Describes layer `index` and asks for its form if it has a choice.
fn linear(artifact: &Artifact, index: usize, form: &mut impl FnMut(usize, &LinearStep) -> Form) -> LinearStep {
    let layer = &artifact.model().layers[index];
    let Op::Linear { weight, bias, activation } = &layer.op;
    let len = |value: usize| artifact.shapes()[value].iter().product();
    let mut step = LinearStep {
        inputs: len(layer.inputs[0] as usize),
        outputs: len(index + 1),
        rank: weight.rank(artifact),
        form: Form::Dense,
        weight: weight.clone(),
        bias: *bias,
        activation: *activation,
    };
    if step.rank.is_some() {
        step.form = form(index, &step);
    }
    step
}

impl LinearStep {
    /// Multiply–accumulates for one sample in the planned form.
    pub fn macs(&self) -> u64 {
        match (self.form, self.rank) {
            (Form::TwoStage | Form::Fused, Some(rank)) => (rank * (self.inputs + self.outputs)) as u64,
            _ => (self.inputs * self.outputs) as u64,
        }
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
        let plan = Plan::new(&artifact, 3, |layer, step| {
            asked.push((layer, step.rank));
            Form::TwoStage
        })
        .unwrap();
        assert_eq!(asked, [(1, Some(2))]);
        let forms: Vec<_> = plan
            .steps
            .iter()
            .map(|s| match &s.kind {
                StepKind::Linear(l) => (l.form, l.macs()),
            })
            .collect();
        assert_eq!(forms, [(Form::Dense, 24), (Form::TwoStage, 14)]);
        assert!(Plan::new(&artifact, 0, |_, _| Form::Dense).is_err());
        assert!(Plan::new(&artifact, usize::MAX / 2, |_, _| Form::Dense).is_err());
    }

    #[test]
    fn a_step_never_shares_its_buffers() {
        let plan = Plan::new(&two_layers(), 5, |_, _| Form::TwoStage).unwrap();
        for step in &plan.steps {
            let scratch = step.scratch.map(|s| s.buffer);
            assert_ne!(step.input.buffer, step.output.buffer);
            assert!(scratch != Some(step.input.buffer) && scratch != Some(step.output.buffer));
        }
    }
}
