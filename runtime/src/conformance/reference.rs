//! The network in f64, with how far an f32 executor may be from it.

use crate::artifact::{Activation, Artifact, Op, Weight};

/// Share of Σ|x||w| that summing in f32 may lose in one layer. A rounding is 6e-8 of its partial sum; over a thousand
/// terms the roundings of one sum stay below this by a wide margin, while a lost, doubled or misplaced term of a sum of
/// a thousand drawn ones is far above it.
const TOLERANCE: f64 = 1e-6;

/// A value, and how far from it is still right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) value: f64,
    pub(crate) tolerance: f64,
}

/// The network's output for `input`, [rows, input length].
pub(crate) fn run(artifact: &Artifact, input: &[f32]) -> Vec<Expected> {
    let exact = |x: &f32| Expected { value: f64::from(*x), tolerance: 0.0 };
    let mut values: Vec<Expected> = input.iter().map(exact).collect();
    for (i, layer) in artifact.model().layers.iter().enumerate() {
        let Op::Linear { weight, bias, activation } = &layer.op else { unreachable!("cases are fully connected") };
        let len = |value: usize| artifact.shapes()[value].iter().product::<usize>();
        let (inputs, outputs) = (len(layer.inputs[0] as usize), len(i + 1));
        values = match *weight {
            Weight::Dense(id) => {
                let w = artifact.tensor(id);
                product(&values, inputs, outputs, |o, i| w[o * inputs + i])
            }
            Weight::LowRank { v, u, .. } => {
                let (v, u) = (artifact.tensor(v), artifact.tensor(u));
                let rank = v.len() / inputs;
                let hidden = product(&values, inputs, rank, |r, i| v[r * inputs + i]);
                product(&hidden, rank, outputs, |o, r| u[r * outputs + o])
            }
            Weight::Spatial { .. } | Weight::Tucker2 { .. } => unreachable!("of convolutions only"),
        };
        let bias = bias.map(|id| artifact.tensor(id));
        for row in values.chunks_exact_mut(outputs) {
            for (o, y) in row.iter_mut().enumerate() {
                if let Some(bias) = &bias {
                    y.value += f64::from(bias[o]);
                    y.tolerance += TOLERANCE * f64::from(bias[o].abs());
                }
                if *activation == Activation::Relu {
                    y.value = y.value.max(0.0);
                }
            }
        }
    }
    values
}

fn product(x: &[Expected], inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<Expected> {
    let mut y = Vec::with_capacity(x.len() / inputs * outputs);
    for row in x.chunks_exact(inputs) {
        for o in 0..outputs {
            let mut sum = Expected::default();
            for (i, x) in row.iter().enumerate() {
                let w = f64::from(weight(o, i));
                sum.value += x.value * w;
                sum.tolerance += (x.tolerance + TOLERANCE * x.value.abs()) * w.abs();
            }
            y.push(sum);
        }
    }
    y
}

/// The first value that is too far off, as a message.
pub(crate) fn compare(expected: &[Expected], got: &[f32], outputs: usize) -> Result<(), String> {
    assert_eq!(expected.len(), got.len());
    for (i, (e, &g)) in expected.iter().zip(got).enumerate() {
        let off = (f64::from(g) - e.value).abs();
        if off.is_nan() || off > e.tolerance + f64::from(f32::MIN_POSITIVE) {
            return Err(format!("row {}, output {}: {g}, expected {} ± {:.1e}", i / outputs, i % outputs, e.value, e.tolerance));
        }
    }
    Ok(())
}
