//! What a network's layers hold: their sizes and their singular values.

use super::progress::Watch;
use super::source::Network;
use crate::error::Result;
use crate::factor::{Rank, Scheme};
use crate::lower::{Options, SchemeChoice, Spectra};

/// A layer that can be cut.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpectrum {
    /// Its name.
    pub name: String,
    /// The factors that the file holds of it; `None` for a dense layer.
    pub held: Option<(Scheme, Rank)>,
    /// Columns of its weight as a matrix.
    pub inputs: usize,
    /// Rows of its weight as a matrix.
    pub outputs: usize,
    /// Multiply–accumulates for one sample, dense.
    pub macs: u64,
    /// Parameters, dense.
    pub params: u64,
    /// Its singular values by the channel scheme, the largest first.
    pub sigma: Vec<f64>,
}

impl Network {
    /// Each layer that can be cut, in the network's order; `spectra` says whose singular values are wanted.
    ///
    /// # Errors
    /// As [`Network::factor`].
    pub fn layers(&self, spectra: Spectra, watch: Watch<'_>) -> Result<Vec<LayerSpectrum>> {
        let factored = self.factor(Options { spectra, scheme: SchemeChoice::Only(Scheme::Channel), ..Options::default() }, watch)?;
        let mut layers = Vec::new();
        for (layer, factorings) in factored.layers().iter().zip(factored.factorings()) {
            let (Some(factoring), Some(weighted)) = (factorings.first(), layer.weighted()) else { continue };
            layers.push(LayerSpectrum {
                name: layer.name.clone(),
                held: self.held.get(&layer.name).map(|f| (f.scheme, f.rank)),
                inputs: weighted.kernel.columns(),
                outputs: weighted.kernel.outputs,
                macs: weighted.dense_macs(),
                params: weighted.dense_params(),
                sigma: factoring.sigma(),
            });
        }
        Ok(layers)
    }
}
