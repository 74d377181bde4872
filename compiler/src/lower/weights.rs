//! From a weighted layer and its cut to what the file holds of it.

use thinfer::artifact::{Dtype, LayerNote, Nested, TensorData, TensorId, Weight};

use super::folded::{Kernel, Weighted};
use crate::error::{Error, Result};
use crate::factor::{Factoring, Factors, Rank};
use crate::rank::{Cut, Geometry, macs, params};

/// A weighted layer as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) form: Form,
    /// b, [out].
    pub(super) bias: Option<Vec<f32>>,
    /// The note on the cut, whether recomposed or not.
    pub(super) note: Option<LayerNote>,
}

/// The form of a weight.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// The kernel itself, [out, in, kh, kw].
    Dense(Vec<f32>),
    /// Its factors.
    Factors(Factors),
}

impl Weighted {
    /// The sizes of its images, for costs.
    pub(super) fn geometry(&self) -> Geometry {
        Geometry { input: self.input_size, output: self.output_size }
    }

    /// Whether a cut costs less than the dense form in multiply–accumulates or in parameters.
    pub(super) fn pays(&self, cut: Cut) -> bool {
        let (at, kernel) = (self.geometry(), &self.kernel);
        macs(kernel, &at, cut) < macs(kernel, &at, None) || params(kernel, cut) < params(kernel, None)
    }

    /// The layer uncut.
    pub(super) fn dense(&self) -> Written {
        Written { form: Form::Dense(self.folded_weight()), bias: self.bias.clone(), note: None }
    }

    /// The layer in the factors that its checkpoint holds, or uncut.
    pub(super) fn kept(&self, name: &str, factors: Option<&Factors>) -> Written {
        let Some(factors) = factors else { return self.dense() };
        let note = LayerNote { layer: name.into(), full_rank: output_rank(factors.scheme.full_rank(&self.kernel)), energy: 1.0 };
        Written { form: Form::Factors(factors.clone()), bias: self.bias.clone(), note: Some(note) }
    }

    /// The layer cut by `factoring` at `rank`: as factors, or as their product where `recompose` says so. `shift` is
    /// added to the bias beside what the cut itself corrects.
    pub(super) fn cut(&self, name: &str, factoring: &Factoring, rank: Rank, how: How<'_>) -> Result<Written> {
        let factors = factoring.truncate(rank, how.rescale)?;
        let note = LayerNote { layer: name.into(), full_rank: output_rank(factoring.full_rank()), energy: factors.energy as f32 };
        let bias = shifted(self.bias.as_deref(), [factors.bias.as_deref(), how.shift]);
        let form = if how.recompose { Form::Dense(factors.product()) } else { Form::Factors(factors) };
        Ok(Written { form, bias, note: Some(note) })
    }
}

/// The rank that a note tells: Tucker-2's of its output.
fn output_rank(rank: Rank) -> u32 {
    match rank {
        Rank::One(full) | Rank::Two { output: full, .. } => full as u32,
    }
}

/// How a layer is cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct How<'a> {
    /// Multiply the cut weight so that it keeps its energy (LRPET).
    pub(super) rescale: bool,
    /// Write the product of the factors.
    pub(super) recompose: bool,
    /// Added to the bias, [out].
    pub(super) shift: Option<&'a [f64]>,
}

/// A bias with corrections added; stays absent where there is nothing to add.
pub(super) fn shifted(bias: Option<&[f32]>, by: [Option<&[f64]>; 2]) -> Option<Vec<f32>> {
    let len = bias.map(<[f32]>::len).or_else(|| by.iter().flatten().map(|b| b.len()).next())?;
    let at = |o: usize| {
        let bias = bias.and_then(|b| b.get(o)).map_or(0.0, |&b| f64::from(b));
        (bias + by.iter().flatten().filter_map(|b| b.get(o)).sum::<f64>()) as f32
    };
    Some((0..len).map(at).collect())
}

impl Written {
    /// Multiply–accumulates for one sample, and parameters with the bias.
    pub(super) fn cost(&self, layer: &Weighted) -> (u64, u64) {
        let cut = match &self.form {
            Form::Dense(_) => None,
            Form::Factors(f) => Some((f.scheme, f.rank)),
        };
        let bias = self.bias.as_ref().map_or(0, |b| b.len() as u64);
        (macs(&layer.kernel, &layer.geometry(), cut), params(&layer.kernel, cut).saturating_add(bias))
    }

    /// What layer `index` needs for smaller ranks, if there is anything, its means stored through `put` as f32.
    pub(super) fn nested(&self, index: usize, name: &str, put: &mut dyn FnMut(TensorData) -> TensorId) -> Option<Nested> {
        let Form::Factors(factors) = &self.form else { return None };
        let Kernel { height, width, .. } = factors.kernel;
        let shape = match (factors.scheme, factors.rank) {
            (_, Rank::Two { input, .. }) => vec![input, height, width],
            (crate::factor::Scheme::Spatial, Rank::One(rank)) => vec![rank, width],
            (_, Rank::One(rank)) => vec![rank],
        };
        let known = !factors.means.is_empty();
        let means = known.then(|| put(TensorData::f32(format!("{name}.weight.means"), &shape, factors.means.clone())));
        (known || factors.rescaled).then_some(Nested { layer: index as u32, means, gained: factors.rescaled })
    }

    /// Stores the weight through `put`, factors as `dtype`, singular values as f32.
    ///
    /// # Errors
    /// [`Error::Invalid`] when factors lack a tensor.
    pub(super) fn store(&self, name: &str, layer: &Weighted, dtype: Dtype, put: &mut dyn FnMut(TensorData) -> TensorId) -> Result<Weight> {
        let factors = match &self.form {
            Form::Dense(values) => {
                let shape = layer.kernel.shape(layer.window.is_none());
                return Ok(Weight::Dense(put(TensorData { name: format!("{name}.weight"), dtype, shape, values: values.clone() })));
            }
            Form::Factors(factors) => factors,
        };
        let is_conv = layer.window.is_some();
        let mut ids = Vec::with_capacity(factors.tensors.len());
        for t in &factors.tensors {
            let mut shape = t.shape.clone();
            // A convolution's 1×1 kernel keeps its axes.
            if is_conv && t.suffix == "v" && shape.len() == 2 {
                shape.extend([1, 1]);
            }
            ids.push(put(TensorData { name: format!("{name}.weight.{}", t.suffix), dtype, shape, values: t.values.clone() }));
        }
        // The energy of weights near the largest f32 overflows.
        let tail_energy = factors.tail_energy.min(f32::MAX.into()) as f32;
        match (ids[..].first_chunk(), ids.len(), factors.rank) {
            (Some(&[v, u]), 2, Rank::One(rank)) => {
                let sigma = put(TensorData::f32(format!("{name}.weight.sigma"), &[rank], factors.sigma.clone()));
                Ok(match factors.scheme {
                    crate::factor::Scheme::Spatial => Weight::Spatial { v, u, sigma, tail_energy },
                    _ => Weight::LowRank { v, u, sigma, tail_energy },
                })
            }
            (Some(&[a, core]), 3, Rank::Two { .. }) => Ok(Weight::Tucker2 { a, core, b: ids[2], tail_energy }),
            _ => Err(Error::invalid(format!("layer '{name}'"), "its factors are not whole")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_add_up_and_stay_absent_where_nothing_is_added() {
        assert_eq!(shifted(None, [None, None]), None);
        assert_eq!(shifted(Some(&[1.0, 2.0]), [None, None]), Some(vec![1.0, 2.0]));
        assert_eq!(shifted(None, [Some(&[0.5]), Some(&[0.25])]), Some(vec![0.75]));
    }
}
