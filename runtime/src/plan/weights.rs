//! Weights as executors ask for them, whatever form they are stored in.

use std::borrow::Cow;

use crate::artifact::{Artifact, Weight};

/// The weight as one matrix [outputs, inputs], row-major; factors are multiplied: W = U·V, summed in f64 because a
/// rank-r product in f32 would add an error that the stored factors do not have.
pub fn dense_weight<'a>(artifact: &'a Artifact, weight: &Weight) -> Cow<'a, [f32]> {
    match *weight {
        Weight::Dense(id) => artifact.tensor(id),
        Weight::LowRank { v, u, .. } => {
            let (shape_v, shape_u) = (artifact.tensor_shape(v), artifact.tensor_shape(u));
            let (rank, inputs, outputs) = (shape_v[0] as usize, shape_v[1] as usize, shape_u[1] as usize);
            let (v, u) = (artifact.tensor(v), artifact.tensor(u));
            let mut dense = Vec::with_capacity(outputs * inputs);
            let mut row = vec![0f64; inputs];
            for o in 0..outputs {
                row.fill(0.0);
                for r in 0..rank {
                    let scale = f64::from(u[r * outputs + o]);
                    for (sum, &x) in row.iter_mut().zip(&v[r * inputs..(r + 1) * inputs]) {
                        *sum += scale * f64::from(x);
                    }
                }
                dense.extend(row.iter().map(|&x| x as f32));
            }
            Cow::Owned(dense)
        }
    }
}

/// V and Uᵀ.
pub(crate) type Factors<'a> = (Cow<'a, [f32]>, Cow<'a, [f32]>);

/// The factors of a weight that is stored as such: V as [rank, inputs] and Uᵀ as [rank, outputs], row-major.
pub fn low_rank_factors<'a>(artifact: &'a Artifact, weight: &Weight) -> Option<Factors<'a>> {
    match *weight {
        Weight::Dense(_) => None,
        Weight::LowRank { v, u, .. } => Some((artifact.tensor(v), artifact.tensor(u))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Op, tests::two_layers};

    #[test]
    fn factors_multiply_back_to_their_product() {
        let artifact = two_layers();
        let Op::Linear { weight, .. } = &artifact.model().layers[1].op;
        let (v, u) = low_rank_factors(&artifact, weight).unwrap();
        let dense = dense_weight(&artifact, weight);
        for o in 0..3 {
            for i in 0..4 {
                assert_eq!(dense[o * 4 + i], u[o] * v[i] + u[3 + o] * v[4 + i]);
            }
        }
    }
}
