//! Weights multiplied out.

use super::TOLERANCE;
use crate::artifact::{Artifact, TensorId, Weight};

/// A weight multiplied out, [outputs, inputs, height, width] row-major, the same of its factors' magnitudes, and as many roundings
/// as it has stages.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(super) outputs: usize,
    pub(super) weights: Vec<f64>,
    pub(super) magnitudes: Vec<f64>,
    /// Share of |x||w| that its stages may lose.
    pub(super) rounding: f64,
}

/// How a kernel asks for its tensors.
type Get<'a> = &'a dyn Fn(TensorId) -> Vec<f64>;

impl Kernel {
    /// A weight that is one matrix of `outputs` rows.
    pub fn dense(outputs: usize, weights: Vec<f64>) -> Self {
        let magnitudes = weights.iter().map(|w| w.abs()).collect();
        Self { outputs, weights, magnitudes, rounding: TOLERANCE }
    }

    /// A weight of `artifact` whose kernel has so many rows and columns.
    pub fn of(artifact: &Artifact, weight: &Weight, [height, width]: [usize; 2]) -> Self {
        let get = |id: TensorId| artifact.tensor(id).iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let axis = |id: TensorId, at: usize| artifact.tensor_shape(id)[at] as usize;
        let taps = height * width;
        let both = |outputs, of: &dyn Fn(Get<'_>) -> Vec<f64>, stages: f64| Self {
            outputs,
            weights: of(&get),
            magnitudes: of(&|id| get(id).into_iter().map(f64::abs).collect()),
            rounding: stages * TOLERANCE,
        };
        match *weight {
            Weight::Dense(id) => Self::dense(axis(id, 0), get(id)),
            Weight::LowRank { v, u, .. } => {
                let (rank, outputs) = (axis(u, 0), axis(u, 1));
                let product = |get: Get<'_>| {
                    let (v, u) = (get(v), get(u));
                    let columns = v.len() / rank;
                    let at = |o: usize, i: usize| (0..rank).map(|r| u[r * outputs + o] * v[r * columns + i]).sum();
                    (0..outputs * columns).map(|n| at(n / columns, n % columns)).collect()
                };
                both(outputs, &product, 2.0)
            }
            Weight::Spatial { v, u, .. } => {
                let (rank, outputs, inputs) = (axis(u, 0), axis(u, 1), axis(v, 1));
                let product = |get: Get<'_>| {
                    let (v, u) = (get(v), get(u));
                    let at = |o: usize, i: usize, t: usize| -> f64 {
                        let (y, x) = (t / width, t % width);
                        (0..rank).map(|r| u[(r * outputs + o) * width + x] * v[(r * inputs + i) * height + y]).sum()
                    };
                    (0..outputs * inputs * taps).map(|n| at(n / taps / inputs, n / taps % inputs, n % taps)).collect()
                };
                both(outputs, &product, 2.0)
            }
            Weight::Tucker2 { a, core, b, .. } => {
                let (p, q, inputs, outputs) = (axis(core, 0), axis(core, 1), axis(a, 1), axis(b, 1));
                let product = |get: Get<'_>| {
                    let (a, core, b) = (get(a), get(core), get(b));
                    // [p, inputs, taps] first.
                    let half = |n: usize| -> f64 {
                        let (k, i, t) = (n / taps / inputs, n / taps % inputs, n % taps);
                        (0..q).map(|j| core[(k * q + j) * taps + t] * a[j * inputs + i]).sum()
                    };
                    let half: Vec<f64> = (0..p * inputs * taps).map(half).collect();
                    let at =
                        |n: usize| (0..p).map(|k| b[k * outputs + n / taps / inputs] * half[k * inputs * taps + n % (inputs * taps)]).sum();
                    (0..outputs * inputs * taps).map(at).collect()
                };
                both(outputs, &product, 3.0)
            }
        }
    }
}
