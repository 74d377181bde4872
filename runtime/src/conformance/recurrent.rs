//! Recurrent layers of every cell and setting, drawn by key.

use super::cases::Draw;
use crate::artifact::{Activation, Artifact, Cell, Input, Layer, Model, Op, Recurrent, TensorData, TensorSpec, Weight};

/// Lengths of states that find the edges of vectors.
const HIDDEN: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 33, 64, 70];

/// A network of one recurrent layer and what it is given, input after input.
#[derive(Debug)]
pub(crate) struct RecurrentCase {
    pub(crate) artifact: Artifact,
    pub(crate) inputs: Vec<Vec<f32>>,
    pub(crate) batch: usize,
}

impl RecurrentCase {
    /// Case `key`.
    pub(crate) fn draw(key: u64) -> Self {
        let mut draw = Draw::new(key);
        let cells = [
            Cell::Lstm { coupled: false },
            Cell::Lstm { coupled: true },
            Cell::Gru { reset_after: false },
            Cell::Gru { reset_after: true },
            Cell::Rnn,
        ];
        let cell = cells[key as usize % cells.len()];
        let (hidden, steps, sequences) = (draw.pick(HIDDEN), 1 + draw.below(9), draw.pick(&[1, 1, 2, 5]));
        let channels = cell.gates() * hidden;
        let mut tensors = Vec::new();
        let mut tensor = |name: &str, shape: &[usize], values: Vec<f32>| {
            tensors.push(TensorData::f32(name, shape, values));
            tensors.len() as u32 - 1
        };
        // R's rows sum to some 1, so that what a step is off by does not grow from step to step.
        let scaled = |draw: &mut Draw, len: usize, by: f32| draw.values(len).iter().map(|x| x * by).collect::<Vec<f32>>();
        let weight = match draw.below(2) {
            0 => Weight::Dense(tensor("r", &[channels, hidden], scaled(&mut draw, channels * hidden, 2.0 / hidden as f32))),
            _ => {
                let rank = 1 + draw.below(hidden);
                let v = tensor("v", &[rank, hidden], scaled(&mut draw, rank * hidden, 2.0 / hidden as f32));
                let u = tensor("u", &[rank, channels], scaled(&mut draw, rank * channels, 2.0 / rank as f32));
                Weight::LowRank { v, u, sigma: tensor("sigma", &[rank], vec![1.0; rank]), tail_energy: 0.0 }
            }
        };
        let mut maybe = |name: &str, len: usize, draw: &mut Draw| (draw.below(2) == 0).then(|| tensor(name, &[len], draw.values(len)));
        let bias = maybe("bias", channels, &mut draw);
        let peepholes = if cell.states() == 2 { maybe("peepholes", 3 * hidden, &mut draw) } else { None };
        let usual = [Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
        let others = [Activation::HardSigmoid, Activation::Softsign, Activation::Clip { low: -0.5, high: 0.75 }];
        let activations = match cell {
            Cell::Rnn => vec![draw.pick(&[Activation::Tanh, Activation::Relu6, Activation::LeakyRelu(0.1)])],
            cell => (if draw.below(3) == 0 { others } else { usual })[..cell.activations()].to_vec(),
        };
        let (reverse, states, initial, lengths) = (draw.below(2) == 0, draw.below(2) == 0, draw.below(2) == 0, draw.below(3) == 0);
        let op = Recurrent { cell, reverse, states, weight, bias, peepholes, initial, lengths, activations };
        let batch = draw.pick(&[1, 2, 3, 9]);
        let mut shapes = vec![vec![channels, steps, sequences]];
        let mut inputs = vec![draw.values(batch * channels * steps * sequences).iter().map(|x| 2.0 * x).collect()];
        if initial {
            shapes.push(vec![cell.states() * sequences, hidden]);
            inputs.push(draw.values(batch * cell.states() * sequences * hidden));
        }
        if lengths {
            shapes.push(vec![sequences]);
            inputs.push((0..batch * sequences).map(|_| draw.below(steps + 2) as f32).collect());
        }
        let reads = (0..inputs.len() as u32).collect();
        let layers = vec![Layer { name: "recurrent".into(), inputs: reads, op: Op::Recurrent(op) }];
        let mut model = Model::new("case", &[1], layers);
        let input = |(at, shape): (usize, &Vec<usize>)| {
            let shape: Vec<u32> = shape.iter().map(|&d| d as u32).collect();
            Input { spec: TensorSpec::new(at.to_string(), &shape), ..Input::new(&shape) }
        };
        model.inputs = shapes.iter().enumerate().map(input).collect();
        Self { artifact: Artifact::build(model, tensors).unwrap(), inputs, batch }
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices;
    use super::*;
    use crate::plan::Form;
    use crate::{ArrayView, Forms, Options, Session, reference};

    #[test]
    fn drawn_recurrent_layers_agree_with_f64_in_every_form() {
        for device in devices() {
            for key in 0..300 {
                let case = RecurrentCase::draw(key);
                let inputs: Vec<&[f32]> = case.inputs.iter().map(Vec::as_slice).collect();
                let expected = reference::values(&case.artifact, &inputs).pop().unwrap();
                for form in [Form::Dense, Form::TwoStage] {
                    let options = Options { batch: case.batch, forms: Forms::All(form), keep_factors: true, ..Options::default() };
                    let mut session = Session::new(&device, &case.artifact, &options).unwrap();
                    let names: Vec<String> = (0..inputs.len()).map(|at| at.to_string()).collect();
                    let arrays: Vec<(&str, ArrayView<'_>)> =
                        names.iter().zip(&inputs).map(|(name, values)| (name.as_str(), ArrayView::F32(values))).collect();
                    for _ in 0..2 {
                        session.poison();
                        let outputs = session.run(&arrays[..]).unwrap();
                        let got = outputs.iter().next().unwrap().data.to_f32();
                        expected.compare(&got).unwrap_or_else(|e| {
                            let op = &case.artifact.model().layers[0].op;
                            panic!("case {key} as {form:?} on {}: {e}\n{op:?} of {:?}", device.info(), case.artifact.shapes())
                        });
                    }
                }
            }
        }
    }
}
