//! Recurrent layers: a cell that goes from step to step along the rows of an image.

use serde::{Deserialize, Serialize};

use super::{Activation, TensorId, Weight};
use crate::artifact::bounded::bounded;

/// A recurrent cell, applied step by step to each of some independent sequences. The first value that the layer reads is an image
/// [gates · hidden, steps, sequences] of what the gates are given by the input: the product of the input and its weight, bias included. The
/// output is the image [hidden, steps, sequences] of the hidden states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurrent {
    /// What a step does.
    pub cell: Cell,
    /// Whether the last step comes first.
    pub reverse: bool,
    /// Whether the states behind the last step follow the steps along the output's second axis: the hidden state, then an LSTM's cell state.
    pub states: bool,
    /// R, [gates · hidden, hidden], or its factors.
    pub weight: Weight,
    /// Added to R·h, [gates · hidden].
    pub bias: Option<TensorId>,
    /// What an LSTM's cell state is multiplied by where it is added to the gates i, o and f, [3 · hidden].
    pub peepholes: Option<TensorId>,
    /// Whether the next value that the layer reads is the initial states, [states · sequences, hidden]: the hidden states of all sequences,
    /// then an LSTM's cell states. Else they are zeros.
    pub initial: bool,
    /// Whether the last value that the layer reads is how many steps each sequence has, [sequences]. Behind them hidden states are zeros.
    pub lengths: bool,
    /// What the cell calls f, g and h, as many as it has.
    #[serde(deserialize_with = "bounded")]
    pub activations: Vec<Activation>,
}

/// What a step does with x, what the gates are given by the input, and with the hidden state h. A subscript names a gate: its rows of x, of R
/// and of the bias b; ⊙ multiplies element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    /// Gates i, o, f, c, in this order (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), p being the peepholes:
    /// i = f(x_i + R_i·h + b_i + p_i ⊙ c), f = f(x_f + R_f·h + b_f + p_f ⊙ c), c′ = f ⊙ c + i ⊙ g(x_c + R_c·h + b_c),
    /// o = f(x_o + R_o·h + b_o + p_o ⊙ c′), h′ = o ⊙ h(c′).
    Lstm {
        /// Whether f = 1 − i instead.
        coupled: bool,
    },
    /// Gates z, r, n, in this order (Cho et al. 2014, arXiv 1406.1078): z = f(x_z + R_z·h + b_z), r = f(x_r + R_r·h + b_r),
    /// n = g(x_n + R_n·(r ⊙ h) + b_n), h′ = (1 − z) ⊙ n + z ⊙ h.
    Gru {
        /// Whether n = g(x_n + r ⊙ (R_n·h + b_n)) instead.
        reset_after: bool,
    },
    /// h′ = f(x + R·h + b).
    Rnn,
}

impl Cell {
    /// Gates.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm { .. } => 4,
            Self::Gru { .. } => 3,
            Self::Rnn => 1,
        }
    }

    /// States that go from step to step.
    pub fn states(self) -> usize {
        if matches!(self, Self::Lstm { .. }) { 2 } else { 1 }
    }

    /// Activations.
    pub fn activations(self) -> usize {
        match self {
            Self::Lstm { .. } => 3,
            Self::Gru { .. } => 2,
            Self::Rnn => 1,
        }
    }

    /// As messages and tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lstm { .. } => "lstm",
            Self::Gru { .. } => "gru",
            Self::Rnn => "rnn",
        }
    }
}

impl Recurrent {
    /// Values that the layer reads.
    pub fn reads(&self) -> usize {
        1 + usize::from(self.initial) + usize::from(self.lengths)
    }

    /// The output's shape for values of `inputs` and a weight of `outputs` rows and `hidden` columns.
    ///
    /// # Errors
    /// What does not fit, as a phrase that follows the layer's name.
    pub fn output_shape(&self, inputs: &[&[usize]], [outputs, hidden]: [usize; 2]) -> Result<Vec<usize>, String> {
        if inputs.len() != self.reads() {
            return Err(format!("a recurrent layer of these settings reads {} values, not {}", self.reads(), inputs.len()));
        }
        let &[channels, steps, sequences] = inputs[0] else {
            return Err(format!("reads images, its input has shape {:?}", inputs[0]));
        };
        let gates = self.cell.gates();
        if hidden.checked_mul(gates) != Some(outputs) || channels != outputs {
            return Err(format!(
                "a {} of {gates} gates cannot read {channels} channels by a recurrent weight of [{outputs}, {hidden}]",
                self.cell.name()
            ));
        }
        let states = self.cell.states();
        let initial = [sequences.saturating_mul(states), hidden];
        if self.initial && inputs[1] != initial {
            return Err(format!("its initial states have shape {:?} instead of {initial:?}", inputs[1]));
        }
        if let (true, Some(&lengths)) = (self.lengths, inputs.last())
            && lengths != [sequences]
        {
            return Err(format!("its lengths have shape {lengths:?} instead of [{sequences}]"));
        }
        if self.activations.len() != self.cell.activations() {
            let (wanted, found) = (self.cell.activations(), self.activations.len());
            return Err(format!("a {} has {wanted} activations, not {found}", self.cell.name()));
        }
        if self.peepholes.is_some() && states == 1 {
            return Err(format!("a {} has no peepholes", self.cell.name()));
        }
        let more = if self.states { states } else { 0 };
        Ok(vec![hidden, steps.saturating_add(more), sequences])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lstm() -> Recurrent {
        Recurrent {
            cell: Cell::Lstm { coupled: false },
            reverse: false,
            states: true,
            weight: Weight::Dense(0),
            bias: None,
            peepholes: None,
            initial: true,
            lengths: true,
            activations: vec![Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
        }
    }

    #[test]
    fn states_follow_the_steps() {
        let inputs: [&[usize]; 3] = [&[12, 5, 2], &[4, 3], &[2]];
        assert_eq!(lstm().output_shape(&inputs, [12, 3]), Ok(vec![3, 7, 2]));
        let gru = Recurrent { cell: Cell::Gru { reset_after: true }, activations: vec![Activation::Sigmoid, Activation::Tanh], ..lstm() };
        assert_eq!(gru.output_shape(&[&[9, 5, 2], &[2, 3], &[2]], [9, 3]), Ok(vec![3, 6, 2]));
        let plain = Recurrent { states: false, initial: false, lengths: false, ..lstm() };
        assert_eq!(plain.output_shape(&[&[12, 5, 2]], [12, 3]), Ok(vec![3, 5, 2]));
    }

    #[test]
    fn misfits_are_told() {
        let wrong = |r: Recurrent, inputs: &[&[usize]], weight| r.output_shape(inputs, weight).unwrap_err();
        assert!(wrong(lstm(), &[&[12, 5, 2]], [12, 3]).contains("reads 3 values, not 1"));
        assert!(wrong(lstm(), &[&[12, 5], &[4, 3], &[2]], [12, 3]).contains("reads images"));
        assert!(wrong(lstm(), &[&[12, 5, 2], &[4, 3], &[2]], [12, 4]).contains("12 channels"));
        assert!(wrong(lstm(), &[&[12, 5, 2], &[2, 3], &[2]], [12, 3]).contains("[2, 3] instead of [4, 3]"));
        assert!(wrong(lstm(), &[&[12, 5, 2], &[4, 3], &[3]], [12, 3]).contains("instead of [2]"));
        let few = Recurrent { activations: vec![Activation::Tanh], ..lstm() };
        assert!(wrong(few, &[&[12, 5, 2], &[4, 3], &[2]], [12, 3]).contains("3 activations, not 1"));
        let rnn = Recurrent { cell: Cell::Rnn, peepholes: Some(0), activations: vec![Activation::Tanh], ..lstm() };
        assert!(wrong(rnn, &[&[3, 5, 2], &[2, 3], &[2]], [3, 3]).contains("no peepholes"));
    }
}
