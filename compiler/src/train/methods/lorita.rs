//! LoRITa, low-rank induced training (arXiv 2405.03089): every weight is trained as a product of N matrices with nothing
//! between them. With plain weight decay on each factor the product is drawn to low rank: (1/N)·min Σ‖A_j‖_F² over
//! A = A₁…A_N is the Schatten-2/N quasi-norm of A to the power 2/N, for N = 2 the nuclear norm.
//!
//! A linear weight is W = R·S_{N−1}…S_1 with R [outputs, inputs] and squares S_k [inputs, inputs] on the input side; so is
//! a 1×1 convolution. A k×k kernel, unfolded to [outputs, inputs·k²], has its squares [outputs, outputs] on the output
//! side, W = S_{N−1}…S_1·R, where they are 1×1 convolutions after the kernel (both as in the authors' code). From
//! scratch each factor is drawn with PyTorch's default initialisation; from a checkpoint every factor takes σ^(1/N) of
//! each singular value, the least Σ‖A_j‖_F² that gives this weight. The bias stays on the product. R is stored as
//! `NAME.weight`, so that one factor is the dense network number for number, S_k as `NAME.weight.sK`.

use burn::tensor::{Device, Tensor};

use super::TrainingMethod;
use super::dense::trained_part;
use crate::error::{Error, Result};
use crate::factor::Spectrum;
use crate::graph::{Graph, uniform};
use crate::tensor::{Params, Tensor as HostTensor};
use crate::train::leaves::{Leaves, elements};
use crate::train::site::{Factor, Layer, Site};

/// Trains every weight as a product of `factors` matrices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lorita {
    factors: usize,
    /// Overrides the choice of [`order`]; for comparing both.
    forced: Option<Order>,
}

/// Where the factors of a weight meet in a step. Both give the same function and gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The product is formed first, then one dense layer runs: (N−1) products of s·m·n each for squares of side s beside
    /// m×n, whatever the batch.
    Compose,
    /// The squares run as layers of their own: s² for each vector of the batch.
    Layers,
}

/// On which side of the rectangle a layer's squares stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

fn side(layer: Layer<'_>) -> Side {
    if layer.is_spatial() { Side::Output } else { Side::Input }
}

/// Rows and columns of a layer's squares.
fn square(layer: Layer<'_>) -> usize {
    match side(layer) {
        Side::Input => layer.columns(),
        Side::Output => layer.outputs(),
    }
}

/// How many squares a weight has among `factors`; the weight of a grouped convolution is no one matrix and has none.
fn squares(layer: Layer<'_>, factors: usize) -> usize {
    if layer.is_grouped() { 0 } else { factors.saturating_sub(1) }
}

/// The cheaper order for N `factors` at this layer, and the multiply–accumulates of one step in it, forward and backward.
/// Ties go to composing.
pub(crate) fn order(site: &Site<'_>, factors: usize) -> (Order, u64) {
    let (layer, count) = (site.layer, squares(site.layer, factors));
    let (side_length, weight) = (square(layer), layer.outputs() * layer.columns());
    let compose = 3 * (count * side_length) as u64 * weight as u64 + site.dense_macs();
    // Whichever factor comes first carries the layer's stride.
    let (rectangle, square) = ((weight, site.gives), (side_length * side_length, site.gives));
    let row = std::iter::repeat_n(square, count);
    let layers = match side(layer) {
        Side::Input => site.chain_macs(row.chain([rectangle])),
        Side::Output => site.chain_macs([rectangle].into_iter().chain(row)),
    };
    if compose <= layers { (Order::Compose, compose) } else { (Order::Layers, layers) }
}

impl Lorita {
    /// With `factors` matrices a weight, at least 1.
    pub(crate) fn new(factors: usize) -> Self {
        Self { factors: factors.max(1), forced: None }
    }

    /// The same, in one order in every layer.
    #[cfg(test)]
    pub(crate) fn with_order(self, order: Order) -> Self {
        Self { forced: Some(order), ..self }
    }

    /// The names of a weight's factors in the product's order: R, S_{N−1}, …, S_1 or S_{N−1}, …, S_1, R.
    fn names(&self, name: &str, layer: Layer<'_>) -> Vec<String> {
        let weight = format!("{name}.weight");
        let mut names: Vec<String> = (1..=squares(layer, self.factors)).rev().map(|k| format!("{weight}.s{k}")).collect();
        let at = if side(layer) == Side::Input { 0 } else { names.len() };
        names.insert(at, weight);
        names
    }

    fn factors(&self, name: &str, layer: Layer<'_>, leaves: &Leaves) -> Result<Vec<Tensor<2>>> {
        self.names(name, layer).iter().map(|name| leaves.get(name)).collect()
    }

    /// Replaces the weight called `weight` by factors of it with equal singular values.
    fn factorize(&self, weight: &str, layer: Layer<'_>, trained: &mut Params) -> Result<()> {
        let dense = trained.get_mut(weight).ok_or_else(|| Error::invalid(weight, "is missing"))?;
        let (rows, columns) = dense.unfolded();
        let spectrum = Spectrum::new(weight, dense.data(), rows, columns)?;
        // With W = UΣVᵀ: UΣ^(1/N)Vᵀ beside N−1 squares UΣ^(1/N)Uᵀ on the output side, VΣ^(1/N)Vᵀ on the input side.
        let share = |sigma: f64| sigma.powf(1.0 / self.factors as f64);
        dense.data_mut().copy_from_slice(&spectrum.rebuilt(usize::MAX, share));
        let square = match side(layer) {
            Side::Output => spectrum.left_square(share),
            Side::Input => spectrum.right_square(share),
        };
        for k in 1..self.factors {
            let shape = [self::square(layer); 2];
            let name = format!("{weight}.s{k}");
            let square = HostTensor::new(shape, square.clone()).ok_or_else(|| Error::invalid(&name, "has another size"))?;
            trained.insert(name, square);
        }
        Ok(())
    }
}

impl TrainingMethod for Lorita {
    fn name(&self) -> String {
        format!("lorita factors={}", self.factors)
    }

    fn start(&self, graph: &Graph, seed: u64, start: Option<&Params>) -> Result<Params> {
        let mut trained = trained_part(graph, seed, start);
        for (name, layer) in Layer::all(graph).filter(|(_, layer)| squares(*layer, self.factors) > 0) {
            let weight = format!("{name}.weight");
            if start.is_some() {
                self.factorize(&weight, layer, &mut trained)?;
            } else {
                let n = square(layer);
                let names = self.names(name, layer).into_iter().filter(|name| *name != weight);
                trained.extend(names.map(|name| {
                    let square = uniform(&[n, n], n, seed, &name);
                    (name, square)
                }));
            }
        }
        Ok(trained)
    }

    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Factor>> {
        let mut factors = self.factors(site.name, site.layer, leaves)?;
        if self.forced.unwrap_or(order(site, self.factors).0) == Order::Compose {
            factors = compose(factors, side(site.layer)).into_iter().collect();
        }
        let mut factors: Vec<Factor> = factors.into_iter().map(Factor::point).collect();
        // The one that the input meets first moves as the layer does: without biases between factors, where steps are
        // left out and zeros are added makes no difference.
        if let Some(first) = factors.pop() {
            factors.push(site.whole(first.matrix));
        }
        Ok(factors)
    }

    fn dense(&self, graph: &Graph, trained: &Params, _running: &Params) -> Result<Params> {
        let mut dense = trained.clone();
        for (name, layer) in Layer::all(graph).filter(|(_, layer)| squares(*layer, self.factors) > 0) {
            let names = self.names(name, layer);
            let factors: Params = names.iter().filter_map(|n| dense.remove_entry(n)).collect();
            let leaves = Leaves::constants(&factors, &Device::flex());
            if let Some(product) = compose(self.factors(name, layer, &leaves)?, side(layer)) {
                let weight = format!("{name}.weight");
                let tensor =
                    HostTensor::new(layer.shape(), elements(product)?).ok_or_else(|| Error::invalid(&weight, "has another size"))?;
                dense.insert(weight, tensor);
            }
        }
        Ok(dense)
    }

    fn step_macs(&self, site: &Site<'_>, _trained: &Params) -> u64 {
        order(site, self.factors).1
    }
}

/// The product, from the rectangle outwards, so that each step multiplies it by a square.
fn compose(factors: Vec<Tensor<2>>, side: Side) -> Option<Tensor<2>> {
    match side {
        Side::Input => factors.into_iter().reduce(Tensor::matmul),
        Side::Output => factors.into_iter().rev().reduce(|product, square| square.matmul(product)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{self, Builder, Conv2d, Linear, Op, Window};
    use crate::train::methods::Dense;
    use crate::zoo;

    #[test]
    fn one_factor_is_the_dense_network() {
        for name in ["fcn6", "resnet20"] {
            let graph = zoo::build(name).unwrap();
            let dense = Dense.start(&graph, 5, None).unwrap();
            let lorita = Lorita::new(1);
            assert_eq!(lorita.start(&graph, 5, None).unwrap(), dense);
            assert_eq!(lorita.dense(&graph, &dense, &Params::new()).unwrap(), dense);
        }
    }

    #[test]
    fn the_product_is_the_factors_in_their_order() {
        let graph = zoo::build("mlp:3-2-2").unwrap();
        let lorita = Lorita::new(3);
        let trained = lorita.start(&graph, 1, None).unwrap();
        let names: Vec<_> = trained.keys().filter(|k| k.starts_with("layers.0.weight")).collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.weight.s1", "layers.0.weight.s2"]);
        let dense = lorita.dense(&graph, &trained, &Params::new()).unwrap();
        let at = |name: &str, i: usize, j: usize| f64::from(trained[name].data()[3 * i + j]);
        for i in 0..2 {
            for j in 0..3 {
                let expected: f64 = (0..9)
                    .map(|ab| {
                        let (a, b) = (ab / 3, ab % 3);
                        at("layers.0.weight", i, a) * at("layers.0.weight.s2", a, b) * at("layers.0.weight.s1", b, j)
                    })
                    .sum();
                assert!((f64::from(dense["layers.0.weight"].data()[3 * i + j]) - expected).abs() < 1e-6);
            }
        }
        assert_eq!(dense.keys().collect::<Vec<_>>(), Dense.start(&graph, 1, None).unwrap().keys().collect::<Vec<_>>());
    }

    #[test]
    fn kernels_have_their_squares_behind_them_and_points_before() {
        let graph = zoo::build("resnet18-cifar").unwrap();
        let trained = Lorita::new(2).start(&graph, 1, None).unwrap();
        assert_eq!(trained["layer2.0.conv1.weight.s1"].shape(), [128, 128]);
        assert_eq!(trained["layer2.0.shortcut.0.weight.s1"].shape(), [64, 64]);
        assert_eq!(trained["linear.weight.s1"].shape(), [512, 512]);
    }

    #[test]
    fn a_checkpoints_factors_are_balanced_and_multiply_back_to_it() {
        let mut b = Builder::new("net", [3, 4, 4]);
        b.push("wide", Op::Conv2d(Conv2d { inputs: 3, outputs: 5, window: Window::square(3, 1, 1), groups: 1, bias: true }));
        b.push("narrow", Op::Conv2d(Conv2d { inputs: 5, outputs: 50, window: Window::square(3, 1, 1), groups: 1, bias: false }));
        b.push("point", Op::Conv2d(Conv2d { inputs: 50, outputs: 4, window: Window::square(1, 2, 0), groups: 1, bias: false }));
        b.push("pool", Op::GlobalAvgPool);
        b.push("linear", Op::Linear(Linear { inputs: 4, outputs: 6, bias: true }));
        let graph = b.finish().unwrap();
        let mut dense = graph::init(&graph, 3);
        // A weight without full rank, and one of nothing.
        dense.get_mut("wide.weight").unwrap().data_mut()[27..54].fill(0.0);
        dense.get_mut("point.weight").unwrap().data_mut().fill(0.0);
        for factors in 2..=4 {
            let lorita = Lorita::new(factors);
            let trained = lorita.start(&graph, 0, Some(&dense)).unwrap();
            let back = lorita.dense(&graph, &trained, &Params::new()).unwrap();
            for (name, tensor) in &dense {
                let (a, b) = (tensor.data(), back[name].data());
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
            }
            let energy = |name: &str| trained[name].data().iter().map(|x| x * x).sum::<f32>();
            for layer in ["wide", "narrow", "linear"] {
                let (r, s) = (energy(&format!("{layer}.weight")), energy(&format!("{layer}.weight.s1")));
                assert!((r - s).abs() < 1e-4 * r, "{layer}: {r} {s}");
            }
        }
    }

    #[test]
    fn the_cheaper_order_is_taken() {
        let choose = |outputs, inputs, rows, input_gradient, factors| {
            let linear = Linear { inputs, outputs, bias: true };
            order(&Site { name: "l", layer: Layer::Linear(&linear), reads: rows, halfway: rows, gives: rows, input_gradient }, factors)
        };
        // Composing costs m·n², running B·n²: the low side wins.
        assert_eq!(choose(96, 96, 128, true, 2), (Order::Compose, 3 * 96 * 96 * 96 + 3 * 128 * 96 * 96));
        assert_eq!(choose(96, 96, 32, true, 2), (Order::Layers, 3 * 2 * 32 * 96 * 96));
        assert_eq!(choose(10, 96, 128, true, 3).0, Order::Compose);
        // The first layer needs no gradient for its input, which running saves on the larger matrix.
        assert_eq!(choose(96, 784, 128, false, 2), (Order::Layers, 128 * (2 * 784 * 784 + 3 * 96 * 784)));
        assert_eq!(choose(96, 784, 128, false, 3).0, Order::Compose);
        // One factor is the dense layer either way.
        assert_eq!(choose(96, 784, 128, false, 1), (Order::Compose, 2 * 128 * 96 * 784));

        // A kernel composes by C_out²·C_in·k² and runs by C_out² a pixel: many pixels compose, few run.
        let choose = |pixels| {
            let conv = Conv2d { inputs: 64, outputs: 64, window: Window::square(3, 1, 1), groups: 1, bias: false };
            order(&Site { name: "c", layer: Layer::Conv(&conv), reads: pixels, halfway: pixels, gives: pixels, input_gradient: true }, 2)
        };
        assert_eq!(choose(8192), (Order::Compose, 3 * (64 * 64 * 576 + 8192 * 64 * 576)));
        assert_eq!(choose(512), (Order::Layers, 3 * 512 * (64 * 576 + 64 * 64)));
    }
}
