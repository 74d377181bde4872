//! TRP, trained rank pruning (arXiv 2004.14566): weights are trained as they are, and every m steps each one is cut to the
//! smallest rank that keeps a share e of Σσ² and written back, U_rS_rV_rᵀ in place of W; in between it is free to regain
//! rank. On those steps the nuclear norm's sub-gradient λ·U_rV_rᵀ is added to the gradient. The optimiser's momentum is
//! left alone, as are a first convolution and a last linear layer; 1×1 kernels and the other linear layers, which the
//! paper's networks hardly have, are cut as the matrices that they are. What is judged and written is the cut network.
//!
//! Two options of its successor LRPET: `fold` takes the spectrum of the kernel with its batch norm folded in, rows scaled
//! by γ/√(var+ε), and scales them back; `transfer` multiplies what is kept by √(Σσ²/Σσ_kept²).

use super::TrainingMethod;
use super::dense::trained_part;
use super::factored::{cuttable, spatial_order};
use crate::error::{Error, Result};
use crate::factor::Spectrum;
use crate::graph::{Graph, Op};
use crate::tensor::Params;
use crate::train::leaves::Leaves;
use crate::train::optimizer::Gradients;
use crate::train::settings::{Scheme, TrpSettings};
use crate::train::site::{Factor, Layer, Site};

/// Cuts weights while they are trained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trp {
    settings: TrpSettings,
}

/// A weight after a cut, elements in its own order.
struct Cut {
    weight: Vec<f32>,
    /// The nuclear norm's sub-gradient.
    direction: Vec<f32>,
}

impl Trp {
    /// With these settings.
    pub(crate) fn new(settings: TrpSettings) -> Self {
        Self { settings }
    }

    /// Cuts the weight of the layer `name`.
    fn cut(&self, graph: &Graph, name: &str, layer: Layer<'_>, trained: &Params, running: &Params) -> Result<Cut> {
        let TrpSettings { energy, scheme, fold, transfer, .. } = self.settings;
        let key = format!("{name}.weight");
        let weight = trained.get(&key).ok_or_else(|| Error::invalid(&key, "is missing"))?.data();
        let (outputs, columns) = (layer.outputs(), layer.columns());
        let scale = if fold { folded_scale(graph, name, trained, running) } else { None }.unwrap_or_else(|| vec![1.0; outputs]);
        let [height, _] = layer.window().kernel;
        let (rows, order) = match scheme.of(&layer.place(name).kernel) {
            Scheme::Spatial => (layer.inputs() * height, spatial_order(&layer.shape())),
            _ => (outputs, (0..weight.len()).collect()),
        };
        let matrix: Vec<f32> = order.iter().map(|&at| weight[at] * scale[at / columns]).collect();
        let spectrum = Spectrum::new(&key, &matrix, rows, matrix.len() / rows)?;
        let rank = spectrum.rank_of(energy);
        let rescale = if transfer { spectrum.energy(rank).max(f64::MIN_POSITIVE).sqrt().recip() } else { 1.0 };
        let (kept, direction) = (spectrum.rebuilt(rank, |sigma| rescale * sigma), spectrum.rebuilt(rank, |_| 1.0));
        let mut cut = Cut { weight: vec![0.0; weight.len()], direction: vec![0.0; weight.len()] };
        for ((&at, kept), direction) in order.iter().zip(kept).zip(direction) {
            let scale = scale[at / columns];
            cut.weight[at] = kept / scale;
            // d‖D·W‖/dW = D·UVᵀ.
            cut.direction[at] = direction * scale;
        }
        Ok(cut)
    }
}

impl TrainingMethod for Trp {
    fn name(&self) -> String {
        let TrpSettings { every, energy, nuclear, scheme, fold, transfer } = self.settings;
        let options = [(fold, " fold"), (transfer, " transfer")].map(|(on, name)| if on { name } else { "" }).concat();
        format!("trp {scheme:?} every={every} energy={energy} nuclear={nuclear}{options}").to_lowercase()
    }

    fn start(&self, graph: &Graph, seed: u64, start: Option<&Params>) -> Result<Params> {
        cuttable(graph, "trp")?;
        Ok(trained_part(graph, seed, start))
    }

    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Factor>> {
        Ok(vec![site.whole(leaves.get(&format!("{}.weight", site.name))?)])
    }

    fn before_step(&self, step: u64, graph: &Graph, trained: &mut Params, running: &Params) -> Result<Gradients> {
        let mut gradients = Gradients::new();
        if !step.is_multiple_of(self.settings.every) {
            return Ok(gradients);
        }
        let nuclear = self.settings.nuclear as f32;
        for (name, layer) in cuttable(graph, "trp")? {
            let Cut { weight, mut direction } = self.cut(graph, name, layer, trained, running)?;
            let key = format!("{name}.weight");
            if let Some(tensor) = trained.get_mut(&key) {
                tensor.data_mut().copy_from_slice(&weight);
            }
            direction.iter_mut().for_each(|x| *x *= nuclear);
            gradients.insert(key, direction);
        }
        Ok(gradients)
    }

    fn dense(&self, graph: &Graph, trained: &Params, running: &Params) -> Result<Params> {
        let mut dense = trained.clone();
        for (name, layer) in cuttable(graph, "trp")? {
            let cut = self.cut(graph, name, layer, trained, running)?;
            if let Some(tensor) = dense.get_mut(&format!("{name}.weight")) {
                tensor.data_mut().copy_from_slice(&cut.weight);
            }
        }
        Ok(dense)
    }

    fn step_macs(&self, site: &Site<'_>, _trained: &Params) -> u64 {
        site.dense_macs()
    }
}

/// γ/√(var+ε) of the batch norm that alone reads the layer `name`; `None` where there is none. Rows of next to nothing
/// count as a millionth of the largest, so that they can be scaled back.
fn folded_scale(graph: &Graph, name: &str, trained: &Params, running: &Params) -> Option<Vec<f32>> {
    let value = graph.nodes.iter().position(|node| node.name == name)? + 1;
    let mut readers = graph.nodes.iter().filter(|node| node.inputs.contains(&value));
    let (Some(node), None) = (readers.next(), readers.next()) else { return None };
    let Op::BatchNorm(norm) = &node.op else { return None };
    let gamma = trained.get(&format!("{}.weight", node.name))?.data();
    let variance = running.get(&format!("{}.running_var", node.name))?.data();
    let scale: Vec<f32> = gamma.iter().zip(variance).map(|(g, v)| g.abs() / (v + norm.eps).sqrt()).collect();
    let floor = 1e-6 * scale.iter().fold(0.0f32, |a, &b| a.max(b));
    (floor > 0.0).then(|| scale.into_iter().map(|s| s.max(floor)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Conv2d, Window};
    use crate::{graph, zoo};

    fn trp(energy: f64, change: impl Fn(&mut TrpSettings)) -> Trp {
        let mut settings = TrpSettings { every: 3, energy, ..TrpSettings::default() };
        change(&mut settings);
        Trp::new(settings)
    }

    fn start(method: &Trp) -> (Graph, Params, Params) {
        let graph = zoo::build("resnet20").unwrap();
        let mut running = graph::init(&graph, 4);
        let trained = method.start(&graph, 4, Some(&running)).unwrap();
        running.retain(|name, _| name.contains("running"));
        for (i, x) in running.values_mut().flat_map(|t| t.data_mut()).enumerate() {
            *x += (i % 7) as f32 * 0.3;
        }
        (graph, trained, running)
    }

    #[test]
    fn kernels_are_cut_every_few_steps_and_the_rest_is_left_alone() {
        for scheme in [Scheme::Channel, Scheme::Spatial] {
            let method = trp(0.8, |s| s.scheme = scheme);
            let (graph, before, running) = start(&method);
            let mut trained = before.clone();
            assert!(method.before_step(2, &graph, &mut trained, &running).unwrap().is_empty());
            assert_eq!(trained, before);
            let gradients = method.before_step(3, &graph, &mut trained, &running).unwrap();
            assert_eq!(gradients.len(), 18);
            for (name, tensor) in &trained {
                assert_eq!(*tensor == before[name], !gradients.contains_key(name), "{name}");
            }
            let energy = |t: &Params, name: &str| t[name].data().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
            for (name, gradient) in &gradients {
                let kept = energy(&trained, name) / energy(&before, name);
                assert!((0.8..0.9).contains(&kept), "{name} {kept}");
                // ⟨W, UVᵀ⟩ is the nuclear norm, ‖UVᵀ‖² the rank.
                let nuclear: f64 = trained[name].data().iter().zip(gradient).map(|(w, g)| f64::from(w * g) / 3e-4).sum();
                let rank: f64 = gradient.iter().map(|&g| (f64::from(g) / 3e-4).powi(2)).sum();
                assert!((rank - rank.round()).abs() < 1e-3, "{rank}");
                let norm = energy(&trained, name).sqrt();
                assert!(nuclear >= norm && nuclear <= norm * rank.sqrt() * 1.0001, "{nuclear} {norm} {rank}");
            }
            // What was cut has no more to lose.
            let again = method.dense(&graph, &trained, &running).unwrap();
            let name = "layer2.0.conv1.weight";
            assert!(energy(&again, name) / energy(&trained, name) > 0.8);
        }
    }

    #[test]
    fn all_energy_kept_is_the_weight_itself_with_either_option() {
        for (fold, transfer) in [(false, false), (true, true)] {
            let method = trp(1.0, |s| (s.fold, s.transfer) = (fold, transfer));
            let (graph, trained, running) = start(&method);
            let dense = method.dense(&graph, &trained, &running).unwrap();
            for (name, tensor) in &trained {
                assert!(tensor.data().iter().zip(dense[name].data()).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
            }
        }
    }

    #[test]
    fn energy_is_transferred_and_folding_cuts_by_the_folded_spectrum() {
        let name = "layer1.0.conv1.weight";
        let plain = trp(0.6, |_| ());
        let (graph, trained, running) = start(&plain);
        let energy = |method: &Trp| {
            let dense = method.dense(&graph, &trained, &running).unwrap();
            dense[name].data().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()
        };
        let full: f64 = trained[name].data().iter().map(|&x| f64::from(x).powi(2)).sum();
        assert!(energy(&plain) < 0.75 * full);
        assert!((energy(&trp(0.6, |s| s.transfer = true)) / full - 1.0).abs() < 1e-5);
        let folded = trp(0.6, |s| s.fold = true);
        let (a, b) = (plain.dense(&graph, &trained, &running).unwrap(), folded.dense(&graph, &trained, &running).unwrap());
        assert_ne!(a[name], b[name]);
        let scale = folded_scale(&graph, "layer1.0.conv1", &trained, &running).unwrap();
        let scaled = |w: &[f32]| w.iter().enumerate().map(|(i, x)| x * scale[i / 144]).collect::<Vec<_>>();
        let error = |dense: &Params| -> f64 {
            let (w, d) = (scaled(trained[name].data()), scaled(dense[name].data()));
            w.iter().zip(d).map(|(a, b)| f64::from(a - b).powi(2)).sum()
        };
        let total: f64 = scaled(trained[name].data()).iter().map(|&x| f64::from(x).powi(2)).sum();
        assert!(error(&b) / total <= 0.4 + 1e-6);
    }

    /// The orthogonal factor of a matrix's polar decomposition by Newton and Schulz, U_rV_rᵀ for one of rank r.
    fn polar(matrix: Vec<f64>, columns: usize) -> Vec<f64> {
        let norm = matrix.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut x: Vec<f64> = matrix.into_iter().map(|v| v / norm).collect();
        let rows = x.len() / columns;
        for _ in 0..60 {
            let gram: Vec<f64> =
                (0..rows * rows).map(|at| (0..columns).map(|k| x[at / rows * columns + k] * x[at % rows * columns + k]).sum()).collect();
            x = (0..x.len())
                .map(|at| {
                    let (i, k) = (at / columns, at % columns);
                    1.5 * x[at] - 0.5 * (0..rows).map(|j| gram[i * rows + j] * x[j * columns + k]).sum::<f64>()
                })
                .collect();
        }
        x
    }

    #[test]
    fn the_nuclear_norms_gradient_is_the_polar_factor_of_what_is_kept() {
        for (scheme, fold) in [(Scheme::Channel, false), (Scheme::Spatial, false), (Scheme::Channel, true)] {
            let method = trp(0.9, |s| (s.scheme, s.fold, s.nuclear) = (scheme, fold, 0.5));
            let (graph, mut trained, running) = start(&method);
            let (name, weight) = ("layer1.1.conv1", "layer1.1.conv1.weight");
            let scale = if fold { folded_scale(&graph, name, &trained, &running).unwrap() } else { vec![1.0; 16] };
            let gradients = method.before_step(3, &graph, &mut trained, &running).unwrap();
            let (kept, found) = (trained[weight].data(), &gradients[weight]);
            let order = if scheme == Scheme::Spatial { spatial_order(&[16, 16, 3, 3]) } else { (0..kept.len()).collect() };
            let rows = if scheme == Scheme::Spatial { 48 } else { 16 };
            // Newton and Schulz would blow up the rounding that a cut leaves: they get UᵀW, which has full rank.
            let cut: Vec<f32> = order.iter().map(|&at| kept[at] * scale[at / 144]).collect();
            let spectrum = Spectrum::new("w", &cut, rows, cut.len() / rows).unwrap();
            let rank = spectrum.sigma().iter().filter(|s| **s > 1e-5 * spectrum.sigma()[0]).count();
            assert!(rank < 16 || scheme == Scheme::Spatial);
            let (left, right) = (spectrum.left(rank, |_| 1.0), spectrum.right(rank, |s| s));
            let inner = polar(right.iter().map(|&x| f64::from(x)).collect(), right.len() / rank);
            for (i, &at) in order.iter().enumerate() {
                let (row, column) = (i / (cut.len() / rows), i % (cut.len() / rows));
                let expected: f64 = (0..rank).map(|r| f64::from(left[row * rank + r]) * inner[r * (cut.len() / rows) + column]).sum();
                let expected = 0.5 * expected * f64::from(scale[at / 144]);
                assert!((f64::from(found[at]) - expected).abs() < 1e-4, "{scheme} {fold} {at}: {} {expected}", found[at]);
            }
        }
    }

    #[test]
    fn linear_layers_and_points_are_cut_and_the_last_is_left() {
        let method = trp(0.7, |_| ());
        let graph = zoo::build("fcn6").unwrap();
        let mut trained = method.start(&graph, 1, None).unwrap();
        let gradients = method.before_step(3, &graph, &mut trained, &graph::init(&graph, 1)).unwrap();
        assert_eq!(gradients.len(), 5);
        assert!(gradients.contains_key("layers.0.weight") && !gradients.contains_key("layers.15.weight"));
        let mut b = Builder::new("points", [3, 4, 4]);
        let conv = |inputs, window| Op::Conv2d(Conv2d { inputs, outputs: 6, window, groups: 1, bias: false });
        b.push("first", conv(3, Window::square(3, 1, 1)));
        b.push("point", conv(6, Window::square(1, 2, 0)));
        b.push("pool", Op::GlobalAvgPool);
        let graph = b.finish().unwrap();
        for scheme in [Scheme::Channel, Scheme::Spatial] {
            let method = trp(0.7, |s| s.scheme = scheme);
            let mut trained = method.start(&graph, 1, None).unwrap();
            let before = trained.clone();
            assert!(method.before_step(3, &graph, &mut trained, &Params::new()).unwrap().keys().eq(["point.weight"]));
            let spectrum = Spectrum::new("w", trained["point.weight"].data(), 6, 6).unwrap();
            assert!(spectrum.sigma()[5] < 1e-6 && trained["first.weight"] == before["first.weight"]);
        }
        let last = zoo::build("mlp:784-10").unwrap();
        assert!(method.start(&last, 0, None).unwrap_err().to_string().starts_with("trp"));
    }
}
