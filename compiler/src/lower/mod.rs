//! From a graph with its parameters to the artifact: fold, factor, choose ranks, emit.

mod emit;
mod fold;
#[cfg(test)]
mod fold_tests;
pub mod folded;
#[cfg(test)]
mod reference;

pub use emit::{Cut, Identity};
pub use folded::FoldedLayer;

use rayon::prelude::*;
use thinfer::artifact::{Artifact, Dtype, Preprocess};

use crate::error::{Error, Result};
use crate::factor::Svd;
use crate::graph::Graph;
use crate::import::Checkpoint;
use crate::rank::{self, Policy};

/// Which weight's singular values decide the cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spectra {
    /// Of the weight with its batch norm folded in: what the layer does to its input.
    #[default]
    Folded,
    /// Of the weight as it was trained, as the papers take them.
    Raw,
}

/// How a network is folded and factored, and what its artifacts say of where they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// What the artifact calls the checkpoint.
    pub source: String,
    /// How images become the network's input.
    pub preprocess: Preprocess,
    /// Whose singular values decide.
    pub spectra: Spectra,
    /// Layers that are never cut.
    pub skip: Vec<String>,
    /// Decompose nothing: only dense artifacts are wanted.
    pub dense_only: bool,
}

/// A network folded and factored once, from which any number of artifacts can be cut.
#[derive(Debug)]
pub struct Factored {
    identity: Identity,
    layers: Vec<FoldedLayer>,
    svds: Vec<Option<Svd>>,
}

impl Factored {
    /// Folds `checkpoint`'s network and decomposes every layer that may be cut.
    ///
    /// # Errors
    /// [`Error::Params`] when the tensors are not the graph's; [`Error::Invalid`] for a name to skip that no layer has.
    pub fn new(graph: &Graph, checkpoint: &Checkpoint, options: Options) -> Result<Self> {
        let Options { source, preprocess, spectra, skip, dense_only } = options;
        graph.check(&checkpoint.params)?;
        let layers = fold::fold(graph, &checkpoint.params)?;
        let with_weight = || layers.iter().filter(|l| l.weighted().is_some());
        if let Some(unknown) = skip.iter().find(|s| !with_weight().any(|l| l.name == **s)) {
            let names: Vec<&str> = with_weight().map(|l| l.name.as_str()).collect();
            return Err(Error::invalid(format!("--skip {unknown}"), format!("no layer has that name (layers: {})", names.join(", "))));
        }
        let decompose = |layer: &FoldedLayer| -> Result<Option<Svd>> {
            let Some(weighted) = layer.weighted().filter(|w| w.is_factorable() && !dense_only && !skip.contains(&layer.name)) else {
                return Ok(None);
            };
            let (rows, columns) = (weighted.kernel.outputs, weighted.kernel.columns());
            let svd = match (spectra, &weighted.scale) {
                (Spectra::Raw, Some(scale)) => Svd::new(&layer.name, &weighted.weight, rows, columns)?.with_row_scale(scale.clone()),
                _ => Svd::new(&layer.name, &weighted.folded_weight(), rows, columns)?,
            };
            Ok(Some(svd))
        };
        let svds = layers.par_iter().map(decompose).collect::<Result<_>>()?;
        let identity = Identity {
            model: graph.name.clone(),
            input: graph.input.clone(),
            preprocess,
            classes: checkpoint.meta.classes.clone(),
            source,
            method: checkpoint.meta.method.clone().unwrap_or_default(),
            policy: String::new(),
        };
        Ok(Self { identity, layers, svds })
    }

    /// The folded layers.
    pub fn layers(&self) -> &[FoldedLayer] {
        &self.layers
    }

    /// The decomposition of each layer that has one.
    pub fn svds(&self) -> &[Option<Svd>] {
        &self.svds
    }

    /// The rank that `policy` gives each layer; `None` for a layer that is not cut.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a policy whose value is out of range.
    pub fn ranks(&self, policy: Policy) -> Result<Vec<Option<usize>>> {
        let svds: Vec<&Svd> = self.svds.iter().flatten().collect();
        let mut chosen = rank::choose(policy, &svds)?.into_iter();
        Ok(self.svds.iter().map(|s| s.as_ref().and_then(|_| chosen.next().flatten())).collect())
    }

    /// The artifact at these ranks, weights stored as `dtype`. A layer whose factors would cost more than its matrix stays dense, or is written as
    /// the product of its factors if `always_cut`.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the network breaks a rule of the format.
    pub fn emit(&self, policy: Policy, ranks: &[Option<usize>], dtype: Dtype, always_cut: bool) -> Result<Artifact> {
        let cut = |(layer, &rank): (&FoldedLayer, &Option<usize>)| match layer.weighted() {
            Some(w) => Cut::of(rank, w.kernel.outputs, w.kernel.columns(), always_cut),
            None => Cut::Dense,
        };
        let cuts: Vec<Cut> = self.layers.iter().zip(ranks).map(cut).collect();
        let identity = Identity { policy: policy.to_string(), ..self.identity.clone() };
        emit::emit(identity, &self.layers, &self.svds, &cuts, dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::init;
    use crate::zoo;
    use thinfer::{Device, Session};

    fn factored(spectra: Spectra) -> Factored {
        let graph = zoo::build("fcn6").unwrap();
        let mut params = init(&graph, 1);
        // Running statistics and scales that are not the identity, so that folding shows.
        for (name, tensor) in params.iter_mut() {
            let shift = name.len() as f32;
            if name.ends_with("running_var") || name.ends_with("1.weight") {
                tensor.data_mut().iter_mut().enumerate().for_each(|(i, x)| *x = 0.5 + ((i as f32 + shift) * 0.37).sin().abs());
            }
        }
        Factored::new(&graph, &Checkpoint { params, ..Checkpoint::default() }, Options { spectra, ..Options::default() }).unwrap()
    }

    fn logits(artifact: &Artifact) -> Vec<f32> {
        let input: Vec<f32> = (0..784 * 3).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
        let options = thinfer::Options { batch: 3, forms: thinfer::Forms::Ruled, keep_factors: true, ..thinfer::Options::default() };
        Session::new(&Device::cpu(), artifact, &options).unwrap().run(&input).unwrap()
    }

    #[test]
    fn full_rank_gives_the_dense_logits_on_raw_and_folded_spectra() {
        for spectra in [Spectra::Raw, Spectra::Folded] {
            let f = factored(spectra);
            let dense = logits(&f.emit(Policy::Dense, &[None; 6], Dtype::F32, false).unwrap());
            let full = f.ranks(Policy::Local(1.0)).unwrap();
            let cut = logits(&f.emit(Policy::Local(1.0), &full, Dtype::F32, true).unwrap());
            let largest = dense.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (a, b) in dense.iter().zip(&cut) {
                assert!((a - b).abs() <= 1e-4 * largest, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_artifact_counts_what_it_stores() {
        let f = factored(Spectra::Folded);
        let ranks = f.ranks(Policy::Local(0.25)).unwrap();
        assert_eq!(ranks, [Some(24), Some(24), Some(24), Some(24), Some(24), Some(3)]);
        let artifact = f.emit(Policy::Local(0.25), &ranks, Dtype::F32, false).unwrap();
        let p = &artifact.model().provenance;
        let dense = 784 * 96 + 4 * 96 * 96 + 960;
        assert_eq!(p.dense_macs, dense);
        assert_eq!(p.macs, 24 * 880 + 4 * 24 * 192 + 3 * 106);
        assert_eq!(p.dense_params, dense + 5 * 96 + 10);
        assert_eq!(p.params - p.macs, 5 * 96 + 10);
        let recomposed = f.emit(Policy::Local(0.9), &f.ranks(Policy::Local(0.9)).unwrap(), Dtype::F32, true).unwrap();
        // 10 × 96 at rank 9 costs 954, just less than 960: factors there, matrices elsewhere.
        assert_eq!(recomposed.model().provenance.macs, dense - 960 + 954);
        assert_eq!(recomposed.model().provenance.layers.len(), 6);
    }
}
