//! A weight decomposed once, from which factors of any rank are cut.

use nalgebra::DMatrix;

use super::channel::Channel;
use super::factors::{equal_norms, named};
use super::matrix::from_rows;
use super::spatial::Spatial;
use super::tucker::Tucker;
use super::{Factors, LayerMoments, Rank, Scheme, grid};
use crate::error::{Error, Result};
use crate::tensor::Kernel;

/// Ranks of one kind that are tried, at most (about).
const GRID: usize = 32;

/// A weight decomposed by one scheme.
#[derive(Clone, Debug)]
pub struct Factoring {
    name: String,
    kernel: Kernel,
    weight: DMatrix<f64>,
    form: Form,
    /// Energy of the whole weight, in the measure that decides.
    total: f64,
    /// Multiplied into output o of the factors: lets a weight be cut by its raw spectrum and used folded.
    row_scale: Option<Vec<f64>>,
    data: Option<Means>,
}

#[derive(Clone, Debug)]
enum Form {
    Channel(Channel),
    Spatial(Spatial),
    Tucker(Box<Tucker>),
}

/// The data's mean.
#[derive(Clone, Debug)]
enum Means {
    /// Of the patches, [in·kh·kw].
    Patches(nalgebra::DVector<f64>),
    /// Of the outputs, [out].
    Outputs(nalgebra::DVector<f64>),
}

impl Factoring {
    /// Decomposes `weight`, [out, in, kh, kw] row-major, for its data where `data` is given (the spatial and Tucker
    /// schemes need moments of patches, and cut the weight for itself where there are only those of outputs).
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `name` when sizes differ, a value is not finite, or an iteration fails.
    pub fn new(name: &str, weight: &[f32], kernel: Kernel, scheme: Scheme, data: Option<&LayerMoments>) -> Result<Self> {
        let fail = |why: String| Error::invalid(format!("weight '{name}'"), why);
        if weight.is_empty() || kernel.len() != weight.len() {
            return Err(fail(format!("{} values are no {:?} kernel", weight.len(), kernel.shape(false))));
        }
        if !weight.iter().all(|x| x.is_finite()) {
            return Err(fail("holds a NaN or an infinity".into()));
        }
        let weight = from_rows(kernel.outputs, kernel.columns(), weight);
        let scheme = scheme.of(&kernel);
        let (moments, wanted) = match data {
            Some(LayerMoments::Patches(m)) => (Some(m), kernel.columns()),
            Some(LayerMoments::Outputs(m)) => (Some(m), kernel.outputs),
            None => (None, 0),
        };
        let (mut output, mut patches, mut means) = (None, None, None);
        if let (Some(moments), Some(data)) = (moments, data) {
            if moments.len() != wanted || moments.is_empty() {
                return Err(fail(format!(
                    "moments of {} vectors of {} values, not {wanted}",
                    u8::from(!moments.is_empty()),
                    moments.len()
                )));
            }
            let covariance = moments.covariance();
            if !covariance.iter().all(|x| x.is_finite()) {
                return Err(fail("the moments of its data are not finite".into()));
            }
            match data {
                LayerMoments::Patches(_) => {
                    output = Some(&weight * &covariance * weight.transpose());
                    patches = Some(covariance);
                    means = Some(Means::Patches(moments.mean()));
                }
                LayerMoments::Outputs(_) if scheme == Scheme::Channel => {
                    output = Some(covariance);
                    means = Some(Means::Outputs(moments.mean()));
                }
                LayerMoments::Outputs(_) => {}
            }
        }
        let total = output.as_ref().map_or_else(|| weight.norm_squared(), DMatrix::trace);
        let form = match scheme {
            Scheme::Channel => Form::Channel(Channel::new(name, weight.clone(), output)?),
            Scheme::Spatial => Form::Spatial(Spatial::new(name, &kernel, &weight, patches.as_ref())?),
            Scheme::Tucker2 => Form::Tucker(Box::new(Tucker::new(name, &kernel, weight.clone(), patches.as_ref())?)),
        };
        Ok(Self { name: name.into(), kernel, weight, form, total, row_scale: None, data: means })
    }

    /// The same decomposition of a weight whose output o is used multiplied by `scale[o]`: the cut follows the spectrum
    /// without the scale, the factors carry it.
    #[must_use]
    pub fn with_row_scale(mut self, scale: Vec<f64>) -> Self {
        self.row_scale = Some(scale);
        self
    }

    /// Sizes of the weight.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// How it was taken apart.
    pub fn scheme(&self) -> Scheme {
        match self.form {
            Form::Channel(_) => Scheme::Channel,
            Form::Spatial(_) => Scheme::Spatial,
            Form::Tucker(_) => Scheme::Tucker2,
        }
    }

    /// Whether errors are those of the layer's output on its data.
    pub fn is_data_aware(&self) -> bool {
        self.data.is_some()
    }

    /// The ranks at which nothing is cut.
    pub fn full_rank(&self) -> Rank {
        self.scheme().full_rank(&self.kernel)
    }

    /// Root of each component's energy, in the order in which they are kept: singular values, or what stands for them
    /// with data. Tucker-2's are those of its output.
    pub fn sigma(&self) -> Vec<f64> {
        self.energies().iter().map(|e| e.max(0.0).sqrt()).collect()
    }

    fn energies(&self) -> &[f64] {
        match &self.form {
            Form::Channel(c) => c.energies(),
            Form::Spatial(s) => s.energies(),
            Form::Tucker(t) => t.table().last().map_or(&[], |(_, energies)| energies),
        }
    }

    /// Ranks within those that there are.
    pub fn clamp(&self, rank: Rank) -> Rank {
        match (rank, self.full_rank()) {
            (Rank::Two { output, input }, Rank::Two { output: most_out, input: most_in }) => {
                let input = input.clamp(1, most_in);
                let most_out = most_out.min(input * self.kernel.height * self.kernel.width);
                Rank::Two { output: output.clamp(1, most_out), input }
            }
            (Rank::One(r), Rank::Two { .. }) => self.clamp(Rank::Two { output: r, input: r }),
            (Rank::One(r) | Rank::Two { output: r, .. }, Rank::One(most)) => Rank::One(r.clamp(1, most)),
        }
    }

    /// Ranks worth choosing from, each with its share of lost energy, 0…1 ([`Factoring::lost`]).
    pub fn grid(&self) -> Vec<(Rank, f64)> {
        match &self.form {
            Form::Tucker(t) => {
                let outputs = grid(self.kernel.outputs, GRID);
                let pairs = t.table().iter().flat_map(|(input, energies)| {
                    let mut kept = vec![0.0];
                    energies.iter().for_each(|e| kept.push(kept[kept.len() - 1] + e));
                    let most = energies.len().min(input * self.kernel.height * self.kernel.width);
                    let within = outputs.iter().filter(move |o| **o <= most);
                    within.map(move |&output| (Rank::Two { output, input: *input }, kept[output])).collect::<Vec<_>>()
                });
                pairs.map(|(rank, kept)| (rank, self.share_lost(kept))).collect()
            }
            _ => {
                let energies = self.energies();
                grid(energies.len(), GRID).into_iter().map(|r| (Rank::One(r), self.share_lost(energies[..r].iter().sum()))).collect()
            }
        }
    }

    /// Share of the energy that is lost at `rank`, 0…1: of the weight's Σσ², or of the variance of its output. 0 for a
    /// weight without energy.
    ///
    /// # Errors
    /// [`Error::Invalid`] when an iteration fails.
    pub fn lost(&self, rank: Rank) -> Result<f64> {
        let kept = match (self.clamp(rank), &self.form) {
            (Rank::Two { output, input }, Form::Tucker(t)) => t.kept(&self.name, output, input)?,
            (Rank::One(r) | Rank::Two { output: r, .. }, _) => self.energies().iter().take(r).sum(),
        };
        Ok(self.share_lost(kept))
    }

    fn share_lost(&self, kept: f64) -> f64 {
        if self.total > 0.0 { (1.0 - kept / self.total).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The factors at `rank`, clamped to what there is. Row r of both factors of a pair gets the same norm, so
    /// that neither is out of half precision's range or starts a fine-tuning unbalanced. `rescale` multiplies a cut weight
    /// so that it keeps its energy (LRPET: σ by √(‖σ‖²/‖σ_kept‖²)); it is for cuts without data.
    ///
    /// # Errors
    /// [`Error::Invalid`] when an iteration fails.
    pub fn truncate(&self, rank: Rank, rescale: bool) -> Result<Factors> {
        let rank = self.clamp(rank);
        let (parts, kept) = match (rank, &self.form) {
            (Rank::Two { output, input }, Form::Tucker(t)) => {
                let parts = t.truncate(&self.name, output, input)?;
                let b = self.scaled(parts.b.transpose(), 1, parts.kept, rescale);
                (vec![parts.a, parts.core, b], parts.kept)
            }
            (Rank::One(r) | Rank::Two { output: r, .. }, form) => {
                let kept = self.energies().iter().take(r).sum();
                let (mut v, u, inner) = match form {
                    Form::Spatial(s) => {
                        let (v, u) = s.truncate(&self.kernel, r);
                        (v, u, self.kernel.width)
                    }
                    Form::Channel(c) => {
                        let (u, v) = c.truncate(r);
                        (v, u.transpose(), 1)
                    }
                    Form::Tucker(_) => (DMatrix::zeros(0, 0), DMatrix::zeros(0, 0), 1),
                };
                let mut u = self.scaled(u, inner, kept, rescale);
                equal_norms(&mut v, &mut u);
                (vec![v, u], kept)
            }
        };
        let tensors = named(self.scheme(), rank, &self.kernel, &parts);
        let sigma = match rank {
            Rank::One(r) => self.sigma().iter().take(r).map(|&s| s as f32).collect(),
            Rank::Two { .. } => Vec::new(),
        };
        let lost = self.share_lost(kept);
        let tail_energy = (self.total - kept).max(0.0);
        let mut factors = Factors {
            scheme: self.scheme(),
            rank,
            kernel: self.kernel,
            tensors,
            sigma,
            tail_energy,
            energy: 1.0 - lost,
            means: self.means(&parts),
            rescaled: rescale && self.data.is_none() && kept > 0.0,
            bias: None,
        };
        factors.bias = self.bias(&factors, rank);
        Ok(factors)
    }

    /// Uᵀ, [r, out·inner], with what the outputs are multiplied by.
    fn scaled(&self, mut u: DMatrix<f64>, inner: usize, kept: f64, rescale: bool) -> DMatrix<f64> {
        if rescale && self.data.is_none() && kept > 0.0 {
            u *= (self.total / kept).max(1.0).sqrt();
        }
        if let Some(scale) = &self.row_scale {
            u.column_iter_mut().enumerate().for_each(|(i, mut c)| c *= scale[i / inner]);
        }
        u
    }

    /// The mean of what the first of `parts` gives, for each position of the kernel behind it; empty without data.
    fn means(&self, parts: &[DMatrix<f64>]) -> Vec<f32> {
        let (area, width) = (self.kernel.height * self.kernel.width, self.kernel.width);
        let over = |positions: usize, mean: &nalgebra::DVector<f64>| {
            let first = &parts[0];
            let at = |(r, p): (usize, usize)| (0..first.ncols()).map(|i| first[(r, i)] * mean[i * positions + p]).sum::<f64>() as f32;
            (0..first.nrows()).flat_map(|r| (0..positions).map(move |p| (r, p))).map(at).collect()
        };
        match (&self.data, &self.form) {
            (None, _) => Vec::new(),
            (Some(Means::Patches(mean)), Form::Channel(_)) => over(1, mean),
            (Some(Means::Patches(mean)), Form::Spatial(_)) => over(width, mean),
            (Some(Means::Patches(mean)), Form::Tucker(_)) => over(area, mean),
            // Rows of U are orthogonal: each sees its own part of the mean output.
            (Some(Means::Outputs(mean)), _) => parts[1]
                .row_iter()
                .map(|u| if u.norm() > 0.0 { (u.transpose().dot(mean) / u.norm_squared()) as f32 } else { 0.0 })
                .collect(),
        }
    }

    /// (W − W')·μ over patches, or (1 − Q·Qᵀ)·μ over outputs.
    fn bias(&self, factors: &Factors, rank: Rank) -> Option<Vec<f64>> {
        let correction = match (self.data.as_ref()?, &self.form, rank) {
            (Means::Patches(mean), ..) => {
                let cut = DMatrix::from_row_slice(self.weight.nrows(), self.weight.ncols(), &factors.product_f64());
                (&self.weight - cut) * mean
            }
            (Means::Outputs(mean), Form::Channel(Channel::Output { vectors, .. }), Rank::One(r)) => {
                let q = vectors.columns(0, r);
                mean - q * (q.transpose() * mean)
            }
            _ => return None,
        };
        Some(correction.iter().copied().collect())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
