//! Recurrent layers: what goes from step to step. What the input gives the gates is a linear layer of its own.

use serde::{Deserialize, Serialize};
use thinfer::artifact::{self, Activation, Cell, Weight};

use super::{ParamSpec, Role};

/// A cell that goes along the rows of an image [gates · hidden, steps, sequences] of what the gates are given by the input, as the file's
/// `Recurrent` says it. Behind it the layer reads the initial states, [states · sequences, hidden], and the lengths, [sequences], if it
/// has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurrent {
    /// What a step does.
    pub cell: Cell,
    /// Elements of a state.
    pub hidden: usize,
    /// Whether the last step comes first.
    pub reverse: bool,
    /// Whether the last states follow the steps.
    pub states: bool,
    /// Whether a bias of [gates · hidden] is added to the product with the hidden state.
    pub bias: bool,
    /// Whether an LSTM has peepholes, [3 · hidden].
    pub peepholes: bool,
    /// Whether it reads initial states.
    pub initial: bool,
    /// Whether it reads lengths.
    pub lengths: bool,
    /// The cell's activations.
    pub activations: Vec<Activation>,
}

impl Recurrent {
    /// Rows of the weight, [gates · hidden, hidden]; saturates.
    pub fn outputs(&self) -> usize {
        self.cell.gates().saturating_mul(self.hidden)
    }

    /// Its tensors as node `name`.
    pub fn params(&self, name: &str) -> Vec<ParamSpec> {
        let (outputs, hidden) = (self.outputs(), self.hidden);
        let spec = |suffix: &str, shape: &[usize], role| ParamSpec { name: format!("{name}.{suffix}"), shape: shape.to_vec(), role };
        let mut specs = vec![spec("weight", &[outputs, hidden], Role::Weight { fan_in: hidden })];
        specs.extend(self.bias.then(|| spec("bias", &[outputs], Role::Bias { fan_in: hidden })));
        specs.extend(self.peepholes.then(|| spec("peepholes", &[hidden.saturating_mul(3)], Role::Constant)));
        specs
    }

    /// The output's shape.
    ///
    /// # Errors
    /// A phrase that says what was expected and what came.
    pub fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        self.stored(Weight::Dense(0), None, self.peepholes.then_some(0)).output_shape(inputs, [self.outputs(), self.hidden])
    }

    /// As the file has it, with these tensors.
    pub fn stored(&self, weight: Weight, bias: Option<u32>, peepholes: Option<u32>) -> artifact::Recurrent {
        let &Self { cell, reverse, states, initial, lengths, .. } = self;
        artifact::Recurrent { cell, reverse, states, weight, bias, peepholes, initial, lengths, activations: self.activations.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recurrent_layer_owns_a_matrix_and_what_stands_beside_it() {
        let op = Recurrent {
            cell: Cell::Lstm { coupled: false },
            hidden: 3,
            reverse: false,
            states: true,
            bias: true,
            peepholes: true,
            initial: false,
            lengths: false,
            activations: vec![Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
        };
        assert_eq!(op.output_shape(&[&[12, 5, 2]]), Ok(vec![3, 7, 2]));
        let shapes: Vec<_> = op.params("l").into_iter().map(|p| (p.name, p.shape)).collect();
        assert_eq!(shapes, [("l.weight".into(), vec![12, 3]), ("l.bias".into(), vec![12]), ("l.peepholes".into(), vec![9])]);
        assert!(op.output_shape(&[&[12, 5, 2], &[2]]).unwrap_err().contains("reads 1 values"));
    }
}
