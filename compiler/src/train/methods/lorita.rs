//! LoRITa, low-rank induced training (arXiv 2405.03089): every weight is trained as a product of N matrices with nothing
//! between them. With plain weight decay on each factor the product is drawn to low rank: (1/N)·min Σ‖A_j‖_F² over
//! A = A₁…A_N is the Schatten-2/N quasi-norm of A to the power 2/N, for N = 2 the nuclear norm.
//!
//! A linear weight is W = R·S_{N−1}…S_1 with R [outputs, inputs] and squares S_k [inputs, inputs] on the input side, each
//! drawn with PyTorch's default initialisation; the bias stays on the product. R is stored as `NAME.weight`, so that one
//! factor is the dense network number for number, S_k as `NAME.weight.sK`.

use burn::tensor::{Device, Tensor};

use super::dense::trained_part;
use super::{Site, TrainingMethod};
use crate::error::{Error, Result};
use crate::graph::{Graph, Linear, Op, uniform};
use crate::tensor::Params;
use crate::train::network::{Leaves, read};

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
    /// The product is formed first, then one dense layer runs: (N−1) products of m·n² each, whatever the batch.
    Compose,
    /// The squares run as layers before the rectangle: B·n² each.
    Layers,
}

/// The cheaper order for N `factors` at this layer, and the multiply–accumulates of one step in it, forward and backward.
/// A matrix product costs its size once forward and twice backward, except that the layer's first product needs no
/// gradient for the input of the network. Ties go to composing.
pub(crate) fn order(site: &Site<'_>, factors: usize) -> (Order, u64) {
    let (m, n, rows) = (site.linear.outputs as u64, site.linear.inputs as u64, site.rows as u64);
    let squares = factors.saturating_sub(1) as u64;
    let compose = 3 * squares * m * n * n + site.dense_macs();
    let unneeded = match (site.input_gradient, squares) {
        (true, _) => 0,
        (false, 0) => rows * m * n,
        (false, _) => rows * n * n,
    };
    let layers = 3 * rows * (squares * n * n + m * n) - unneeded;
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

    /// The names of a weight's factors in the product's order: R, S_{N−1}, …, S_1.
    fn names(&self, layer: &str) -> Vec<String> {
        let weight = format!("{layer}.weight");
        let squares = (1..self.factors).rev().map(|k| format!("{weight}.s{k}"));
        std::iter::once(weight.clone()).chain(squares).collect()
    }

    fn factors(&self, layer: &str, leaves: &Leaves) -> Result<Vec<Tensor<2>>> {
        self.names(layer).iter().map(|name| leaves.get(name)).collect()
    }
}

impl TrainingMethod for Lorita {
    fn name(&self) -> String {
        format!("lorita factors={}", self.factors)
    }

    fn start(&self, graph: &Graph, seed: u64, dense: Option<&Params>) -> Result<Params> {
        if dense.is_some() && self.factors > 1 {
            return Err(Error::invalid("lorita", "trains from scratch only, not from a checkpoint"));
        }
        let mut trained = trained_part(graph, seed, dense);
        for (layer, linear) in linears(graph) {
            let n = linear.inputs;
            trained.extend(self.names(layer).into_iter().skip(1).map(|name| {
                let square = uniform(&[n, n], n, seed, &name);
                (name, square)
            }));
        }
        Ok(trained)
    }

    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Tensor<2>>> {
        let factors = self.factors(site.name, leaves)?;
        Ok(match self.forced.unwrap_or(order(site, self.factors).0) {
            Order::Compose => compose(factors).into_iter().collect(),
            Order::Layers => factors,
        })
    }

    fn dense(&self, graph: &Graph, trained: &Params) -> Result<Params> {
        let mut dense = trained.clone();
        for (layer, _) in linears(graph).filter(|_| self.factors > 1) {
            let names = self.names(layer);
            let factors: Params = names.iter().filter_map(|n| dense.remove_entry(n)).collect();
            if let Some(product) = compose(self.factors(layer, &Leaves::constants(&factors, &Device::flex()))?) {
                dense.insert(format!("{layer}.weight"), read(product)?);
            }
        }
        Ok(dense)
    }

    fn step_macs(&self, site: &Site<'_>) -> u64 {
        order(site, self.factors).1
    }
}

/// The product from the left, so that each step multiplies the (usually low) rectangle by a square.
fn compose(factors: Vec<Tensor<2>>) -> Option<Tensor<2>> {
    factors.into_iter().reduce(Tensor::matmul)
}

fn linears(graph: &Graph) -> impl Iterator<Item = (&str, &Linear)> {
    graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Linear(linear) => Some((node.name.as_str(), linear)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::methods::Dense;
    use crate::zoo;

    #[test]
    fn one_factor_is_the_dense_network() {
        let graph = zoo::build("fcn6").unwrap();
        let dense = Dense.start(&graph, 5, None).unwrap();
        let lorita = Lorita::new(1);
        assert_eq!(lorita.start(&graph, 5, None).unwrap(), dense);
        assert_eq!(lorita.dense(&graph, &dense).unwrap(), dense);
    }

    #[test]
    fn the_product_is_the_factors_in_their_order() {
        let graph = zoo::build("mlp:3-2-2").unwrap();
        let lorita = Lorita::new(3);
        let trained = lorita.start(&graph, 1, None).unwrap();
        let names: Vec<_> = trained.keys().filter(|k| k.starts_with("layers.0.weight")).collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.weight.s1", "layers.0.weight.s2"]);
        let dense = lorita.dense(&graph, &trained).unwrap();
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
    fn the_cheaper_order_is_taken() {
        let choose = |outputs, inputs, rows, input_gradient, factors| {
            let linear = Linear { inputs, outputs, bias: true };
            order(&Site { name: "l", linear: &linear, rows, input_gradient }, factors)
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
    }
}
