//! From a graph with its parameters to the artifact: fold, factor, choose ranks, emit.

pub(crate) mod activation;
mod calibrate;
mod emit;
mod fold;
#[cfg(test)]
mod fold_tests;
pub mod folded;
mod forward;
#[cfg(test)]
mod keep_tests;
mod moved;
mod node;
mod patches;
mod per_channel;
mod stage;
#[cfg(test)]
mod tests;
mod thinned;
mod values;
mod weights;

pub use calibrate::Images;
pub use emit::{End, Identity};
pub use folded::{Folded, FoldedLayer, fused};
pub use thinned::Thinned;

use std::collections::BTreeMap;

use rayon::prelude::*;
use thinfer::artifact::{Artifact, Dtype, Fit, Meaning, Preprocess};
use thinfer::tools::latency::LatencyTable;

use crate::error::{Error, Result};
use crate::factor::{Factoring, Factors, LayerMoments, Regression, Scheme};
use crate::graph::{Graph, Op, ValueId};
use crate::import::{Checkpoint, Ends};
use crate::rank::{self, Cut, LayerChoices, Policy, Timing};
use folded::Weighted;
use weights::{Form, How, Written, shifted};

/// Ridge of the regression, as a share of the mean variance: in directions in which the images hardly vary, a corrected
/// weight stays near the original.
const PULL: f64 = 1e-3;

/// Which weight's singular values decide the cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spectra {
    /// Of the weight with its batch norm folded in: what the layer does to its input.
    #[default]
    Folded,
    /// Of the weight as it was trained, as the papers take them; only without images.
    Raw,
}

/// Which schemes a layer may be cut by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemeChoice {
    /// Whichever suits the policy; policies that know no cost take the channel scheme.
    #[default]
    Auto,
    /// This one, where the kernel has positions to tell apart.
    Only(Scheme),
}

/// How a network is folded and factored, and the origin that its artifacts state.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What the artifact calls the checkpoint.
    pub source: String,
    /// How images become the network's input.
    pub preprocess: Preprocess,
    /// How images of other sizes are brought to the network's.
    pub fit: Option<Fit>,
    /// The meaning of the outputs, where the network itself does not state it.
    pub scores: Option<Meaning>,
    /// Which weight's singular values decide.
    pub spectra: Spectra,
    /// Layers that are never touched.
    pub skip: Vec<String>,
    /// Decompose nothing: only dense artifacts are wanted.
    pub dense_only: bool,
    /// Schemes to cut by.
    pub scheme: SchemeChoice,
    /// Training images, preprocessed, for cuts that know the layers' data.
    pub images: Option<Images>,
    /// With images: fit each layer, cut or dense, to the dense network's output behind the layers already cut.
    pub correct: bool,
    /// Without images: keep each weight's energy (LRPET).
    pub energy_gain: bool,
    /// For [`Policy::Keep`]: layers that the checkpoint holds as factors, by name ([`crate::import::held`]).
    pub kept: BTreeMap<String, Factors>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: String::new(),
            preprocess: Preprocess::default(),
            fit: None,
            scores: None,
            spectra: Spectra::Folded,
            skip: Vec::new(),
            dense_only: false,
            scheme: SchemeChoice::Auto,
            images: None,
            correct: true,
            energy_gain: false,
            kept: BTreeMap::new(),
        }
    }
}

/// A network folded and factored once, from which any number of artifacts can be cut.
#[derive(Debug)]
pub struct Factored {
    identity: Identity,
    network: Folded,
    /// For each layer that may be cut, one factoring a scheme.
    factorings: Vec<Vec<Factoring>>,
    /// For each layer the factors that the checkpoint holds of it, in order and with batch norm folded in.
    kept: Vec<Option<Factors>>,
    images: Option<Images>,
    skip: Vec<String>,
    correct: bool,
    energy_gain: bool,
}

impl Factored {
    /// Folds `checkpoint`'s network and decomposes every layer that may be cut by every scheme that may be chosen. `progress`
    /// is called with the stage, the layers done and the layers in all.
    ///
    /// # Errors
    /// [`Error::Params`] when the tensors are not the graph's; [`Error::Invalid`] for a name to skip that no layer has,
    /// images that do not fit, or raw spectra with images.
    pub fn new(graph: &Graph, checkpoint: &Checkpoint, options: Options, progress: &(dyn Fn(&str, usize, usize) + Sync)) -> Result<Self> {
        let Options { source, preprocess, fit, scores, spectra, skip, dense_only, scheme, images, correct, energy_gain, kept } = options;
        graph.check(&checkpoint.params)?;
        let network = fold::fold(graph, &checkpoint.params)?;
        let layers = &network.layers;
        if images.is_some() {
            graph.check_single("--calibrate")?;
        }
        let with_weight = || layers.iter().filter(|l| l.weighted().is_some());
        if let Some(unknown) = skip.iter().find(|s| !with_weight().any(|l| l.name == **s)) {
            let names: Vec<&str> = with_weight().map(|l| l.name.as_str()).collect();
            return Err(Error::invalid(format!("--skip {unknown}"), format!("no layer has that name (layers: {})", names.join(", "))));
        }
        if spectra == Spectra::Raw && images.is_some() {
            return Err(Error::invalid("--spectra raw", "cuts by the weights alone, so it takes no images to calibrate with"));
        }
        let total = layers.len();
        let moments = match &images {
            Some(images) if !dense_only => calibrate::moments(&network, images, &|done| progress("calibrating", done, total))?,
            _ => vec![None; total],
        };
        let done = std::sync::atomic::AtomicUsize::new(0);
        let decompose = |(layer, moments): (&FoldedLayer, &Option<LayerMoments>)| -> Result<Vec<Factoring>> {
            let factorable = layer.weighted().filter(|w| w.is_factorable() && !dense_only && !skip.contains(&layer.name));
            let found = factorable.map_or(Ok(Vec::new()), |w| factorings(&layer.name, w, scheme, spectra, moments.as_ref()));
            progress("factoring", done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
            found
        };
        let factorings = layers.par_iter().zip(&moments).map(decompose).collect::<Result<_>>()?;
        let keep = |layer: &FoldedLayer| match (layer.weighted(), kept.get(&layer.name)) {
            (Some(w), Some(f)) if !skip.contains(&layer.name) => {
                let f = w.absorbed.as_ref().map_or_else(|| f.clone(), |scale| f.with_inputs_scaled(scale));
                f.ordered(&layer.name, w.scale.as_deref()).map(Some)
            }
            _ => Ok(None),
        };
        let kept = layers.par_iter().map(keep).collect::<Result<_>>()?;
        let meta = &checkpoint.meta;
        let ends = meta.ends.clone().map_or_else(|| Ends::of(graph), Ok)?;
        if let Some(first) = ends.outputs.first().filter(|o| scores.is_some_and(|s| s != Meaning::Values) && !o.is_line()) {
            return Err(Error::invalid("--scores", format!("the network gives {first}, and classes stand along one axis")));
        }
        let inputs = ends.inputs(graph, &preprocess);
        let shapes = graph.shapes()?;
        let outputs = ends.outputs.into_iter().zip(&graph.outputs).enumerate().map(|(at, (spec, &value))| End {
            shape: shapes[unflattened(graph, value)].clone(),
            // Scores and class names describe the first output.
            scores: scores.filter(|_| at == 0),
            // Networks of the zoo always classify. Others count as classifiers if they name classes or call their output
            // logits.
            classifies: (at == 0 && (meta.graph.is_none() || !meta.classes.is_empty())) || spec.name.to_lowercase().ends_with("logits"),
            spec,
        });
        let identity = Identity {
            model: graph.name.clone(),
            outputs: outputs.collect(),
            inputs,
            fits: fit.into_iter().collect(),
            classes: meta.classes.clone(),
            source,
            method: meta.method.clone().unwrap_or_default(),
            policy: String::new(),
        };
        Ok(Self { identity, network, factorings, kept, images, skip, correct, energy_gain })
    }

    /// The folded layers.
    pub fn layers(&self) -> &[FoldedLayer] {
        &self.network.layers
    }

    /// The decompositions of each layer, one a scheme; none for a layer that is never cut.
    pub fn factorings(&self) -> &[Vec<Factoring>] {
        &self.factorings
    }

    /// The layers that have a weight, as policies see them, in layer order.
    pub fn choices(&self) -> Vec<LayerChoices<'_>> {
        let mut all = Vec::with_capacity(self.network.layers.len());
        for (layer, factorings) in self.network.layers.iter().zip(&self.factorings) {
            let Some(w) = layer.weighted() else { continue };
            let bias = w.bias.as_ref().map_or(0, Vec::len);
            all.push(LayerChoices {
                kernel: w.kernel,
                pool: w.pool,
                geometry: w.geometry(),
                bias,
                added: if self.images.is_some() && bias == 0 { w.kernel.outputs } else { 0 },
                factorings,
            });
        }
        all
    }

    /// The form that `policy` gives each layer; `None` for a layer that is not cut.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a policy whose value is out of range or cannot be met, and for one that needs a judge.
    pub fn cuts(&self, policy: Policy) -> Result<Vec<Cut>> {
        if policy == Policy::Keep {
            if self.kept.iter().all(Option::is_none) {
                let why = format!(
                    "{} holds no layer as factors, so there is nothing to keep (a run writes them into factors.safetensors)",
                    self.identity.source
                );
                return Err(Error::invalid("--ranks keep", why));
            }
            return Ok(self.kept.iter().map(|f| f.as_ref().map(|f| (f.scheme, f.rank))).collect());
        }
        Ok(self.per_layer(&rank::choose(policy, &self.choices())?))
    }

    /// What every layer with a weight may become and how long it takes by `table`, which must be checked and fit.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a decomposition fails.
    pub fn timing(&self, table: &LatencyTable) -> Result<Timing> {
        let at: Vec<usize> = (0..self.network.layers.len()).filter(|&i| self.network.layers[i].weighted().is_some()).collect();
        Timing::new(table, &at, &self.choices())
    }

    /// The form of each layer that together lose least within `share` of the dense network's time.
    ///
    /// # Errors
    /// As [`Timing::choose`].
    pub fn within(&self, share: f64, timing: &Timing) -> Result<Vec<Cut>> {
        Ok(self.per_layer(&timing.choose(share)?))
    }

    /// The cheapest forms whose drop, which `judge` measures on an artifact, is at most `points` percentage points: those of
    /// fewest multiply–accumulates, or, with `timing`, the fastest.
    ///
    /// # Errors
    /// Whatever `judge` returns; as [`Factored::emit`].
    pub fn cheapest(
        &self,
        points: f64,
        dtype: Dtype,
        timing: Option<&Timing>,
        mut judge: impl FnMut(&Artifact) -> Result<f64>,
    ) -> Result<Vec<Cut>> {
        let (policy, choices) = (Policy::Accuracy(points), self.choices());
        let solve = |share: f64| match timing {
            None => rank::choose(Policy::Macs(share), &choices),
            Some(timing) => timing.choose(share),
        };
        let judge = |cuts: &[Cut]| judge(&self.emit(policy, &self.per_layer(cuts), dtype, false)?);
        Ok(self.per_layer(&rank::cheapest(points, choices.len(), solve, judge)?))
    }

    /// Expands one cut for each layer with a weight to one for each layer; `None` for layers without.
    fn per_layer(&self, cuts: &[Cut]) -> Vec<Cut> {
        let mut cuts = cuts.iter();
        self.network.layers.iter().map(|l| l.weighted().and_then(|_| cuts.next().copied().flatten())).collect()
    }

    /// The artifact of these forms; as [`Factored::thin`] and [`Thinned::artifact`].
    ///
    /// # Errors
    /// As those.
    pub fn emit(&self, policy: Policy, cuts: &[Cut], dtype: Dtype, always_cut: bool) -> Result<Artifact> {
        self.thin(policy, cuts, always_cut)?.artifact(dtype)
    }

    /// The network in these forms, one a layer. A layer whose factors would cost more than its matrix stays dense, or is
    /// the product of its factors if `always_cut`; under [`Policy::Keep`] factors stay factors.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a form that was never factored.
    pub fn thin(&self, policy: Policy, cuts: &[Cut], always_cut: bool) -> Result<Thinned<'_>> {
        let identity = Identity { policy: policy.to_string(), ..self.identity.clone() };
        let written = match policy {
            Policy::Keep => {
                self.network.layers.iter().zip(&self.kept).map(|(l, kept)| Some(l.weighted()?.kept(&l.name, kept.as_ref()))).collect()
            }
            _ => self.written(cuts, always_cut)?,
        };
        Ok(Thinned { identity, network: &self.network, written })
    }

    fn written(&self, cuts: &[Cut], always_cut: bool) -> Result<Vec<Option<Written>>> {
        let effective = |i: usize| {
            let cut = cuts.get(i).copied().flatten();
            let pays = self.network.layers[i].weighted().is_some_and(|w| w.pays(cut));
            (cut.filter(|_| pays || always_cut), How { rescale: self.energy_gain, recompose: !pays, shift: None })
        };
        match &self.images {
            Some(images) if self.correct && (0..self.network.layers.len()).any(|i| effective(i).0.is_some()) => {
                self.corrected(images, &effective)
            }
            _ => (0..self.network.layers.len()).map(|i| self.alone(i, effective(i))).collect(),
        }
    }

    /// A layer cut on its own; `None` for one without a weight.
    fn alone(&self, i: usize, effective: (Cut, How<'_>)) -> Result<Option<Written>> {
        self.network.layers[i].weighted().map(|w| self.cut_alone(i, w, effective)).transpose()
    }

    fn cut_alone(&self, i: usize, w: &Weighted, (cut, how): (Cut, How<'_>)) -> Result<Written> {
        let name = &self.network.layers[i].name;
        let Some((scheme, rank)) = cut else { return Ok(w.dense()) };
        let factoring = self.factorings[i].iter().find(|f| f.scheme() == scheme);
        let factoring = factoring.ok_or_else(|| Error::invalid(format!("layer '{name}'"), format!("was never factored as {scheme}")))?;
        w.cut(name, factoring, rank, how)
    }

    /// All layers, each fitted to the dense network's output behind the layers before it.
    fn corrected<'a>(&self, images: &Images, effective: &dyn Fn(usize) -> (Cut, How<'a>)) -> Result<Vec<Option<Written>>> {
        let untouched = |i: usize| self.skip.contains(&self.network.layers[i].name);
        calibrate::in_sequence(&self.network, images, |i, w, regression| match regression {
            Some(r) if !untouched(i) => self.fitted(i, w, r, effective(i)),
            _ => self.cut_alone(i, w, effective(i)),
        })
    }

    fn fitted(&self, i: usize, w: &Weighted, regression: &Regression, (cut, how): (Cut, How<'_>)) -> Result<Written> {
        let name = &self.network.layers[i].name;
        let (weight, shift) = regression.solve(name, &w.folded_weight(), PULL)?;
        let Some((scheme, rank)) = cut else {
            let bias = shifted(w.bias.as_deref(), [Some(&shift), None]);
            return Ok(Written { form: Form::Dense(weight), bias, note: None });
        };
        let moments = LayerMoments::Patches(regression.inputs().clone());
        let factoring = Factoring::new(name, &weight, w.kernel, scheme, Some(&moments))?;
        w.cut(name, &factoring, rank, How { shift: Some(&shift), ..how })
    }
}

/// The value before all `Flatten`s, which are no layers of the folded network.
fn unflattened(graph: &Graph, mut value: ValueId) -> ValueId {
    while let Some(node) = graph.producer(value).filter(|n| n.op == Op::Flatten) {
        value = node.inputs[0];
    }
    value
}

fn factorings(name: &str, w: &Weighted, scheme: SchemeChoice, spectra: Spectra, moments: Option<&LayerMoments>) -> Result<Vec<Factoring>> {
    let schemes = match scheme {
        SchemeChoice::Only(scheme) => vec![scheme.of(&w.kernel)],
        SchemeChoice::Auto if w.kernel.height * w.kernel.width == 1 => vec![Scheme::Channel],
        SchemeChoice::Auto => Scheme::ALL.to_vec(),
    };
    let one = |scheme: Scheme| match (spectra, &w.scale) {
        (Spectra::Raw, Some(scale)) => Ok(Factoring::new(name, &w.weight, w.kernel, scheme, None)?.with_row_scale(scale.clone())),
        _ => Factoring::new(name, &w.folded_weight(), w.kernel, scheme, moments),
    };
    schemes.into_par_iter().map(one).collect()
}
