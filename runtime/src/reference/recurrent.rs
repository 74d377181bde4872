//! Recurrent layers, a sequence and a step at a time.

use super::{Expected, Kernel, TOLERANCE, Value, activate};
use crate::artifact::{Activation, Cell, Recurrent};

/// A layer's weights.
pub(super) struct Weights {
    /// R.
    pub(super) kernel: Kernel,
    /// The recurrent bias, or zeros.
    pub(super) bias: Vec<f64>,
    /// The peepholes, or zeros.
    pub(super) peepholes: Vec<f64>,
}

/// What the layer gives for its values: the gates' inputs, then initial states and lengths, if it reads them.
pub(super) fn recurrent(layer: &Recurrent, weights: &Weights, inputs: &[&Value]) -> Value {
    let [channels, steps, sequences] = inputs[0].image();
    let (hidden, states) = (channels / layer.cell.gates(), layer.cell.states());
    let rows = steps + if layer.states { states } else { 0 };
    let samples = inputs[0].samples().count();
    let mut y = vec![Expected::default(); samples * hidden * rows * sequences];
    for (sample, sequence) in (0..samples * sequences).map(|n| (n / sequences, n % sequences)) {
        let initial = |state: usize| -> Vec<Expected> {
            let from = |i: usize| inputs[1].elements[((sample * states + state) * sequences + sequence) * hidden + i];
            (0..hidden).map(|i| if layer.initial { from(i) } else { Expected::default() }).collect()
        };
        let mut state: Vec<Vec<Expected>> = (0..states).map(initial).collect();
        let length = if layer.lengths { inputs[inputs.len() - 1].elements[sample * sequences + sequence].value } else { f64::INFINITY };
        let place = |i: usize, row: usize| ((sample * hidden + i) * rows + row) * sequences + sequence;
        for at in 0..steps {
            let t = if layer.reverse { steps - 1 - at } else { at };
            if t as f64 >= length {
                continue;
            }
            let x: Vec<Expected> =
                (0..channels).map(|c| inputs[0].elements[((sample * channels + c) * steps + t) * sequences + sequence]).collect();
            step(layer, weights, &x, &mut state);
            (0..hidden).for_each(|i| y[place(i, t)] = state[0][i]);
        }
        for (number, state) in state.iter().enumerate().filter(|_| layer.states) {
            (0..hidden).for_each(|i| y[place(i, steps + number)] = state[i]);
        }
    }
    Value { shape: vec![hidden, rows, sequences], elements: y }
}

/// One step of a sequence.
fn step(layer: &Recurrent, weights: &Weights, x: &[Expected], state: &mut [Vec<Expected>]) {
    let hidden = state[0].len();
    let h = state[0].clone();
    // R·v + b of one gate.
    let product = |gate: usize, v: &[Expected]| -> Vec<Expected> {
        let one = |o: usize| {
            let row = gate * hidden + o;
            let mut sum = Expected { value: weights.bias[row], tolerance: TOLERANCE * weights.bias[row].abs() };
            for (i, v) in v.iter().enumerate() {
                let at = row * hidden + i;
                sum.value += weights.kernel.weights[at] * v.value;
                sum.tolerance += weights.kernel.magnitudes[at] * (v.tolerance + weights.kernel.rounding * v.value.abs());
            }
            sum
        };
        (0..hidden).map(one).collect()
    };
    let input = |gate: usize| &x[gate * hidden..(gate + 1) * hidden];
    let f = |at: usize, v: Vec<Expected>| activated(layer.activations[at], v);
    match layer.cell {
        Cell::Rnn => state[0] = f(0, sum(input(0), &product(0, &h))),
        Cell::Gru { reset_after } => {
            let [z, r] = [0, 1].map(|gate| f(0, sum(input(gate), &product(gate, &h))));
            let kept = if reset_after { times(&r, &product(2, &h)) } else { product(2, &times(&r, &h)) };
            let n = f(1, sum(input(2), &kept));
            state[0] = sum(&times(&complement(&z), &n), &times(&z, &h));
        }
        Cell::Lstm { coupled } => {
            let peep = |gate: usize, c: &[Expected]| -> Vec<Expected> {
                let p = &weights.peepholes[gate * hidden..(gate + 1) * hidden];
                times(&p.iter().map(|&value| Expected { value, tolerance: 0.0 }).collect::<Vec<_>>(), c)
            };
            let gate = |gate: usize, c: &[Expected]| f(0, sum(&sum(input(gate), &product(gate, &h)), &peep(gate, c)));
            let c = state[1].clone();
            let i = gate(0, &c);
            let forget = if coupled { complement(&i) } else { gate(2, &c) };
            let candidate = f(1, sum(input(3), &product(3, &h)));
            let next = sum(&times(&forget, &c), &times(&i, &candidate));
            state[0] = times(&gate(1, &next), &f(2, next.clone()));
            state[1] = next;
        }
    }
}

fn activated(activation: Activation, elements: Vec<Expected>) -> Vec<Expected> {
    let mut value = Value { shape: vec![elements.len()], elements };
    activate(&mut value, activation);
    value.elements
}

fn sum(a: &[Expected], b: &[Expected]) -> Vec<Expected> {
    let one = |(a, b): (&Expected, &Expected)| {
        let value = a.value + b.value;
        Expected { value, tolerance: a.tolerance + b.tolerance + TOLERANCE * value.abs() }
    };
    a.iter().zip(b).map(one).collect()
}

fn times(a: &[Expected], b: &[Expected]) -> Vec<Expected> {
    let one = |(a, b): (&Expected, &Expected)| {
        let value = a.value * b.value;
        let off = a.value.abs() * b.tolerance + b.value.abs() * a.tolerance + a.tolerance * b.tolerance;
        Expected { value, tolerance: off + TOLERANCE * value.abs() }
    };
    a.iter().zip(b).map(one).collect()
}

/// 1 − x.
fn complement(x: &[Expected]) -> Vec<Expected> {
    x.iter().map(|x| Expected { value: 1.0 - x.value, tolerance: x.tolerance + TOLERANCE }).collect()
}
