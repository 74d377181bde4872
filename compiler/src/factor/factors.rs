//! A weight's factors at one rank, in the layouts of the file.

use super::{Rank, Scheme};
use crate::tensor::Kernel;

/// One factor, row-major, most important component first.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedFactor {
    /// What its tensor is called behind the weight's name: `v` and `u`, or `a`, `core` and `b`.
    pub suffix: &'static str,
    /// Axis lengths.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f32>,
}

/// W' at one rank.
///
/// Channel: `v` [r, in, kh, kw], `u` [r, out]. Spatial: `v` [r, in, kh], `u` [r, out, kw]. Tucker-2: `a` [r₂, in], `core`
/// [r₁, r₂, kh, kw], `b` [r₁, out]. Of a linear layer `v` is [r, in].
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// How W' is taken apart.
    pub scheme: Scheme,
    /// Components.
    pub rank: Rank,
    /// Sizes of W'.
    pub kernel: Kernel,
    /// The factors in the order in which they are applied.
    pub tensors: Vec<NamedFactor>,
    /// Root of each component's energy; empty for Tucker-2.
    pub sigma: Vec<f32>,
    /// Energy of what was cut off, in the measure that decided: Σσ², the output's variance, ‖W‖² − ‖core‖².
    pub tail_energy: f64,
    /// Share of the energy that is kept, 0…1.
    pub energy: f64,
    /// What the cut takes from the mean of each output, [out]: to be added to the bias.
    pub bias: Option<Vec<f64>>,
}

impl Factors {
    /// W', [out, in, kh, kw] row-major, summed in f64.
    pub fn product(&self) -> Vec<f32> {
        self.product_f64().into_iter().map(|x| x as f32).collect()
    }

    pub(super) fn product_f64(&self) -> Vec<f64> {
        let Kernel { outputs, inputs, height, width } = self.kernel;
        let columns = self.kernel.columns();
        let mut w = vec![0.0; self.kernel.len()];
        let get = |t: usize| self.tensors.get(t).map_or(&[][..], |t| &t.values[..]);
        match self.rank {
            Rank::One(rank) if self.scheme == Scheme::Spatial => {
                let (v, u) = (get(0), get(1));
                for r in 0..rank {
                    for o in 0..outputs {
                        for iy in 0..inputs * height {
                            let by = f64::from(v[r * inputs * height + iy]);
                            for x in 0..width {
                                w[o * columns + iy * width + x] += by * f64::from(u[(r * outputs + o) * width + x]);
                            }
                        }
                    }
                }
            }
            Rank::One(rank) => accumulate(&mut w, get(1), get(0), rank, outputs, columns),
            Rank::Two { output, input } => {
                let (area, a, core, b) = (height * width, get(0), get(1), get(2));
                // core over A first: [r₁, in·area].
                let mut middle = vec![0.0; output * columns];
                for p in 0..output {
                    for q in 0..input {
                        for i in 0..inputs {
                            let by = f64::from(a[q * inputs + i]);
                            for k in 0..area {
                                middle[p * columns + i * area + k] += by * f64::from(core[(p * input + q) * area + k]);
                            }
                        }
                    }
                }
                accumulate(&mut w, b, &middle, output, outputs, columns);
            }
        }
        w
    }
}

/// w[o, c] += Σ_r u[r, o]·v[r, c].
fn accumulate<T: Copy + Into<f64>>(w: &mut [f64], u: &[f32], v: &[T], rank: usize, outputs: usize, columns: usize) {
    for r in 0..rank {
        let v = &v[r * columns..(r + 1) * columns];
        for (o, row) in w.chunks_exact_mut(columns).enumerate() {
            let by = f64::from(u[r * outputs + o]);
            row.iter_mut().zip(v).for_each(|(w, &v)| *w += by * v.into());
        }
    }
}
