//! A layer as policies see it, and what it may become.

use super::cost::{Cut, Geometry, macs, params};
use crate::factor::Factoring;
use crate::tensor::Kernel;

/// Layers that compete for the same share of singular values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Convolutions.
    Conv,
    /// Linear layers.
    Linear,
    /// Linear layers that attention reads or that read it.
    Attention,
}

/// A layer as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct LayerChoices<'a> {
    /// Sizes of its weight.
    pub kernel: Kernel,
    /// Among which layers the largest singular values are kept.
    pub pool: Pool,
    /// Sizes of its images.
    pub geometry: Geometry,
    /// Elements of its bias.
    pub bias: usize,
    /// Elements of a bias that it has not and that a correction by images may give it.
    pub added: usize,
    /// Its weight taken apart, once a scheme; none if it stays dense. Policies that take one scheme take the first.
    pub factorings: &'a [Factoring],
}

/// What one layer may become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The form.
    pub cut: Cut,
    /// Multiply–accumulates for one sample.
    pub macs: u64,
    /// Parameters, bias included, also one that a correction may add.
    pub params: u64,
    /// Share of the energy that is lost, 0…1.
    pub error: f64,
}

impl LayerChoices<'_> {
    /// The candidate that `cut` makes, losing `error`.
    pub fn candidate(&self, cut: Cut, error: f64) -> Candidate {
        let params = params(&self.kernel, cut).saturating_add((self.bias + self.added) as u64);
        Candidate { cut, macs: macs(&self.kernel, &self.geometry, cut), params, error }
    }

    /// The factorings whose errors are of one measure: schemes that know the data are not compared with such that do not;
    /// where one does, only those are.
    pub(super) fn comparable(&self) -> impl Iterator<Item = &Factoring> {
        let aware = self.factorings.iter().any(Factoring::is_data_aware);
        self.factorings.iter().filter(move |f| f.is_data_aware() == aware)
    }

    /// The dense form, then every rank of every comparable scheme's grid that costs less in one of the two measures.
    pub fn candidates(&self) -> Vec<Candidate> {
        let dense = self.candidate(None, 0.0);
        let cuts = self.comparable().flat_map(|f| f.grid().into_iter().map(|(rank, lost)| self.candidate(Some((f.scheme(), rank)), lost)));
        std::iter::once(dense).chain(cuts.filter(|c| c.macs < dense.macs || c.params < dense.params)).collect()
    }
}
