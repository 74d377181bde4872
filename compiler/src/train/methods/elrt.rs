//! ELRT, efficient low-rank training (arXiv 2401.10341): weights live in factors of a fixed rank from the first step on,
//! and a term in the loss keeps the outer factors near orthonormal. In the paper's form, Tucker-2, a kernel is a 1×1 to
//! r₂ channels, a k×k to r₁ channels that carries the stride, and a 1×1 to the outputs; channel and spatial work alike.
//! A 1×1 kernel or a linear weight is a product of two matrices where that costs less, and stays dense elsewhere; so do
//! a first convolution and a last linear layer.
//!
//! The paper's text gives no λ, initialisation or ranks that could be read, so these are ours: ranks are one share of each
//! layer's full ranks, the largest that keeps the multiply–accumulates in the budget; factors start as those of a weight
//! drawn with PyTorch's default initialisation, scaled to the drawn weight's energy; λ is a flag.

use burn::tensor::{Tensor, TensorData};

use super::dense::trained_part;
use super::factored::{Form, cuttable};
use super::{TrainingMethod, finetune};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::import::composed;
use crate::tensor::{Params, Tensor as HostTensor};
use crate::train::leaves::Leaves;
use crate::train::report::Gauge;
use crate::train::settings::{ElrtSettings, Ortho, Scheme};
use crate::train::site::{Factor, Layer, Site, sites};

/// Iterations of the power method; its start is fixed, so the estimate is the same at each call.
const POWER_STEPS: usize = 4;

/// Trains weights as factors within a budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elrt {
    settings: ElrtSettings,
}

impl Elrt {
    /// With these settings.
    pub(crate) fn new(settings: ElrtSettings) -> Self {
        Self { settings }
    }

    /// The form of every factored layer.
    fn forms<'a>(&self, graph: &'a Graph) -> Result<Vec<(&'a str, Layer<'a>, Form)>> {
        let ElrtSettings { macs, scheme, .. } = self.settings;
        let cuttable = cuttable(graph, "elrt")?;
        let sites = sites(graph, 1)?;
        let dense = |site: &Site<'_>| site.layer.columns() as u64 * site.layer.outputs() as u64 * site.gives as u64;
        // Kernels are always in factors; a matrix only where that saves.
        let factored = |site: &Site<'_>, share: f64| {
            let form = Form::full(scheme, site.layer).share(share);
            let cost = form.chain(site).iter().map(|&(size, gives)| size as u64 * gives as u64).sum::<u64>();
            let is_cut = cuttable.iter().any(|(name, _)| *name == site.name) && (site.layer.is_spatial() || cost < dense(site));
            is_cut.then_some((form, cost))
        };
        let at = |share: f64| -> u64 { sites.iter().map(|site| factored(site, share).map_or(dense(site), |(_, cost)| cost)).sum() };
        let total: u64 = sites.iter().map(dense).sum();
        let budget = macs * total as f64;
        if at(0.0) as f64 > budget {
            let least = at(0.0) as f64 / total as f64;
            return Err(Error::invalid("macs", format!("{macs} is out of reach: with every rank at 1 it is {least:.3}")));
        }
        // The cost rises with the share in steps; halving finds the last one within the budget.
        let (mut low, mut high) = (0.0, 1.0);
        if at(high) as f64 <= budget {
            low = high;
        }
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if at(middle) as f64 <= budget { low = middle } else { high = middle }
        }
        let forms: Vec<_> = sites.iter().filter_map(|site| Some((site.name, site.layer, factored(site, low)?.0))).collect();
        if forms.is_empty() {
            return Err(Error::invalid("macs", format!("{macs} leaves every layer of {} dense", graph.name)));
        }
        Ok(forms)
    }
}

impl TrainingMethod for Elrt {
    fn name(&self) -> String {
        let ElrtSettings { macs, scheme, ortho, weight } = self.settings;
        format!("elrt {scheme:?} macs={macs} ortho={ortho:?}:{weight}").to_lowercase()
    }

    fn start(&self, graph: &Graph, seed: u64, start: Option<&Params>) -> Result<Params> {
        let mut trained = trained_part(graph, seed, start);
        for (name, layer, form) in self.forms(graph)? {
            let weight = format!("{name}.weight");
            let dense = trained.remove(&weight).ok_or_else(|| Error::invalid(&weight, "is missing"))?;
            let mut factors = form.factor(name, layer, &dense)?;
            if start.is_none() {
                let carrier = match form.scheme {
                    Scheme::Channel => "v",
                    Scheme::Spatial => "u",
                    Scheme::Tucker2 => "core",
                };
                let energy = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                if let Some(carrier) = factors.get_mut(&format!("{name}.{carrier}")) {
                    let rescale = (energy(dense.data()) / energy(carrier.data()).max(f64::MIN_POSITIVE)).sqrt() as f32;
                    carrier.data_mut().iter_mut().for_each(|x| *x *= rescale);
                }
            }
            trained.extend(factors);
        }
        Ok(trained)
    }

    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Factor>> {
        finetune::weight(site, leaves)
    }

    fn penalty(&self, leaves: &Leaves) -> Result<Option<Tensor<1>>> {
        let ElrtSettings { ortho, weight, .. } = self.settings;
        if weight == 0.0 {
            return Ok(None);
        }
        // Each as a matrix with the directions as rows.
        let mut outer = Vec::new();
        for layer in leaves.names().filter_map(|name| name.strip_suffix(".u")) {
            let (u, v) = (leaves.get(&format!("{layer}.u"))?, leaves.get(&format!("{layer}.v"))?);
            let (of_u, of_v) = sides(leaves.has(&format!("{layer}.core")), u.dims()[1], v.dims()[0]);
            outer.extend(of_u.then(|| u.transpose()));
            outer.extend(of_v.then_some(v));
        }
        Ok(outer.into_iter().map(|side| deviation(side, ortho)).reduce(|a, b| a + b).map(|sum| sum.mul_scalar(weight)))
    }

    /// How far the outer factors are from orthonormal: the mean of ‖UᵀU − I‖_F/√r over them.
    fn gauge(&self, trained: &Params) -> Option<Gauge> {
        let mut all = Vec::new();
        for (layer, u) in trained.iter().filter_map(|(name, u)| Some((name.strip_suffix(".u")?, u))) {
            let Some(v) = trained.get(&format!("{layer}.v")) else { continue };
            let width = u.data().len() / u.shape()[0].max(1);
            let (of_u, of_v) = sides(trained.contains_key(&format!("{layer}.core")), width, v.shape()[0]);
            all.extend(of_u.then(|| off_orthonormal(u, false)));
            all.extend(of_v.then(|| off_orthonormal(v, true)));
        }
        let value = all.iter().sum::<f64>() / all.len().max(1) as f64;
        Some(Gauge { name: "‖UᵀU − I‖/√r of the outer factors".into(), value })
    }

    fn dense(&self, graph: &Graph, trained: &Params, _running: &Params) -> Result<Params> {
        composed(graph, trained)
    }

    fn factors<'a>(&self, trained: &'a Params) -> Option<&'a Params> {
        Some(trained)
    }

    fn step_macs(&self, site: &Site<'_>, trained: &Params) -> u64 {
        finetune::step_macs(site, trained)
    }
}

/// Whether a layer's `u`, and whether its `v`, is an outer factor that is kept near orthonormal: both around a core; of a
/// pair `u`, which has a column a direction (`rank`), unless it is a spatial one, whose `u` is several columns `width`.
fn sides(has_core: bool, width: usize, rank: usize) -> (bool, bool) {
    let is_point = width == rank;
    (has_core || is_point, has_core || !is_point)
}

/// ‖UᵀU − I‖_F/√r of a factor whose r directions are its rows, or its second axis.
fn off_orthonormal(factor: &HostTensor, directions_first: bool) -> f64 {
    let (first, inner) = (factor.shape()[0], factor.data().len() / factor.shape()[0].max(1));
    let (count, length) = if directions_first { (first, inner) } else { (inner, first) };
    let at = |d: usize, i: usize| f64::from(factor.data()[if directions_first { d * inner + i } else { i * inner + d }]);
    let mut sum = 0.0;
    for a in 0..count {
        for b in 0..count {
            let dot: f64 = (0..length).map(|i| at(a, i) * at(b, i)).sum();
            sum += (dot - f64::from(u8::from(a == b))).powi(2);
        }
    }
    (sum / count.max(1) as f64).sqrt()
}

/// How far the rows of `a` [r, n] are from orthonormal.
fn deviation(a: Tensor<2>, ortho: Ortho) -> Tensor<1> {
    let less_identity = |gram: Tensor<2>| {
        let n = gram.dims()[0];
        let identity = (0..n * n).map(|at| if at % (n + 1) == 0 { 1.0f32 } else { 0.0 }).collect();
        let identity = Tensor::<2>::from_data(TensorData::new(identity, [n, n]), &gram.device());
        gram - identity
    };
    let rows = less_identity(a.clone().matmul(a.clone().transpose()));
    match ortho {
        Ortho::So => rows.square().sum(),
        Ortho::Dso => rows.square().sum() + less_identity(a.clone().transpose().matmul(a)).square().sum(),
        Ortho::Srip => {
            // The direction is taken as given; |xᵀGx| at the dominant eigenvector has the eigenvalue's gradient.
            let fixed = rows.clone().detach();
            let start = Tensor::<2>::ones([fixed.dims()[0], 1], &fixed.device());
            let unit = |x: Tensor<2>| {
                let norm = x.clone().square().sum_dim(0).sqrt().add_scalar(f32::MIN_POSITIVE);
                x / norm
            };
            let x = (0..POWER_STEPS).fold(unit(start), |x, _| unit(fixed.clone().matmul(x)));
            x.clone().transpose().matmul(rows).matmul(x).abs().sum()
        }
        Ortho::Mc => rows.abs().max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{self, layer_costs};
    use crate::zoo;
    use burn::tensor::Device;

    fn elrt(macs: f64, scheme: Scheme) -> Elrt {
        Elrt::new(ElrtSettings { macs, scheme, ..ElrtSettings::default() })
    }

    #[test]
    fn ranks_fill_the_budget_and_energy_is_kept() {
        let graph = zoo::build("resnet20").unwrap();
        let dense: u64 = layer_costs(&graph).unwrap().iter().map(|c| c.macs).sum();
        for scheme in [Scheme::Channel, Scheme::Spatial, Scheme::Tucker2] {
            let elrt = elrt(0.5, scheme);
            let trained = elrt.start(&graph, 1, None).unwrap();
            let sites = sites(&graph, 1).unwrap();
            let macs: u64 = sites.iter().map(|s| elrt.step_macs(s, &trained)).sum::<u64>();
            // Thrice for a step, but for the first layer's input.
            let share = macs as f64 / (3 * dense) as f64;
            assert!((0.45..0.505).contains(&share), "{scheme:?} {share}");
            assert!(trained.contains_key("conv1.weight") && !trained.contains_key("layer1.0.conv1.weight"));

            let (composed, drawn) = (elrt.dense(&graph, &trained, &Params::new()).unwrap(), graph::init(&graph, 1));
            let energy = |t: &HostTensor| t.data().iter().map(|x| x * x).sum::<f32>();
            let name = "layer2.0.conv1.weight";
            assert!((energy(&composed[name]) / energy(&drawn[name]) - 1.0).abs() < 1e-4);
        }
        let error = elrt(0.01, Scheme::Tucker2).start(&graph, 0, None).unwrap_err().to_string();
        assert!(error.starts_with("macs") && error.contains("out of reach"), "{error}");
        let small = zoo::build("mlp:784-10").unwrap();
        assert!(elrt(0.5, Scheme::Tucker2).start(&small, 0, None).unwrap_err().to_string().starts_with("elrt"));
        let all = elrt(1.0, Scheme::Tucker2).start(&zoo::build("fcn6").unwrap(), 0, None).unwrap_err().to_string();
        assert!(all.starts_with("macs") && all.contains("dense"), "{all}");
    }

    #[test]
    fn matrices_are_two_factors_where_that_saves_and_the_last_layer_is_left() {
        for name in ["fcn6", "mlp:784-256-4-256-10"] {
            let graph = zoo::build(name).unwrap();
            let costs = layer_costs(&graph).unwrap();
            for scheme in [Scheme::Channel, Scheme::Spatial, Scheme::Tucker2] {
                let elrt = elrt(0.4, scheme);
                let trained = elrt.start(&graph, 1, None).unwrap();
                let last = &costs[costs.len() - 1].name;
                assert!(trained.contains_key(&format!("{last}.weight")) && trained.contains_key("layers.0.u"));
                let elements: usize = trained.iter().filter(|(_, t)| t.shape().len() == 2).map(|(_, t)| t.data().len()).sum();
                let dense: u64 = costs.iter().map(|c| c.macs).sum();
                let share = elements as f64 / dense as f64;
                assert!((0.36..=0.4).contains(&share), "{name} {scheme} {share}");
                assert_eq!(
                    elrt.dense(&graph, &trained, &Params::new()).unwrap().keys().collect::<Vec<_>>(),
                    trained_part(&graph, 1, None).keys().collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn the_gauge_is_nothing_at_the_start_and_what_it_says_later() {
        let graph = zoo::build("resnet8").unwrap();
        for scheme in [Scheme::Spatial, Scheme::Tucker2] {
            let elrt = elrt(0.3, scheme);
            let mut trained = elrt.start(&graph, 1, None).unwrap();
            let v = "layer1.0.conv1.v";
            if scheme == Scheme::Tucker2 {
                assert!(elrt.gauge(&trained).unwrap().value < 1e-5);
                let before = off_orthonormal(&trained[v], true);
                trained.get_mut(v).unwrap().data_mut().iter_mut().for_each(|x| *x *= 2.0);
                assert!(before < 1e-5 && (off_orthonormal(&trained[v], true) - 3.0).abs() < 1e-4, "4I − I, each of r on the diagonal");
            }
            assert!(elrt.gauge(&trained).unwrap().value.is_finite());
        }
    }

    #[test]
    fn the_gauge_takes_of_each_layer_the_factors_that_are_kept_orthonormal() {
        for (model, scheme) in
            [("fcn6", Scheme::Channel), ("fcn6", Scheme::Spatial), ("fcn6", Scheme::Tucker2), ("resnet8", Scheme::Spatial)]
        {
            let elrt = elrt(0.3, scheme);
            let trained = elrt.start(&zoo::build(model).unwrap(), 1, None).unwrap();
            let value = elrt.gauge(&trained).unwrap().value;
            assert!(value < 1e-4, "{model} {scheme}: {value}");
        }
    }

    #[test]
    fn deviations_are_their_formulas_and_vanish_for_orthonormal_rows() {
        let device = Device::flex();
        let matrix = |data: &[f32]| Tensor::<2>::from_data(TensorData::new(data.to_vec(), [2, 3]), &device);
        let value = |a: &[f32], ortho| deviation(matrix(a), ortho).into_scalar::<f32>();
        let orthonormal = [1.0, 0.0, 0.0, 0.0, 0.6, 0.8];
        for ortho in [Ortho::So, Ortho::Srip, Ortho::Mc] {
            assert!(value(&orthonormal, ortho).abs() < 1e-6, "{ortho:?}");
        }
        // UUᵀ has rank 2 of 3: one direction is missing whatever U is.
        assert!((value(&orthonormal, Ortho::Dso) - 1.0).abs() < 1e-6);
        // UᵀU − I = diag(3, 0) and UUᵀ − I = diag(3, 0, −1).
        let stretched = [2.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        for (ortho, expected) in [(Ortho::So, 9.0), (Ortho::Dso, 19.0), (Ortho::Srip, 3.0), (Ortho::Mc, 3.0)] {
            let got = value(&stretched, ortho);
            assert!((got - expected).abs() < 1e-5, "{ortho:?} {got}");
        }
    }

    #[test]
    fn the_penaltys_gradient_is_the_finite_difference() {
        // A spatial pair whose rows of v are near orthonormal, u being two columns wide.
        let start: Vec<f32> = vec![0.9, 0.3, -0.2, 0.1, 0.7, 0.5];
        let device = Device::flex().autodiff();
        for ortho in [Ortho::So, Ortho::Dso, Ortho::Srip, Ortho::Mc] {
            let settings = ElrtSettings { ortho, weight: 0.5, scheme: Scheme::Spatial, macs: 1.0 };
            let at = |data: &[f32]| {
                let u = HostTensor::full([5, 2, 1, 2], 0.3);
                let params = Params::from([("c.u".into(), u), ("c.v".to_string(), HostTensor::new([2, 3], data.to_vec()).unwrap())]);
                let leaves = Leaves::tracked(&params, &device);
                let penalty = Elrt::new(settings).penalty(&leaves).unwrap().unwrap();
                let value = penalty.clone().inner().into_scalar::<f32>();
                (value, leaves.gradients(&penalty).unwrap()["c.v"].clone())
            };
            let (_, gradient) = at(&start);
            for (i, gradient) in gradient.into_iter().enumerate() {
                let moved = |h: f32| at(&start.iter().enumerate().map(|(j, x)| if i == j { x + h } else { *x }).collect::<Vec<_>>()).0;
                let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                // Few power iterations: the direction is not quite the eigenvector.
                let tolerance = if ortho == Ortho::Srip { 3e-2 } else { 2e-3 };
                assert!((gradient - numeric).abs() < tolerance, "{ortho:?} [{i}]: {gradient} {numeric}");
            }
        }
    }
}
