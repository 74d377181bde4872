//! Random initial parameters with PyTorch's defaults.

use rand::RngExt;

use super::{Graph, Role};
use crate::rng::{Purpose, keyed, name_key};
use crate::tensor::{Params, Tensor};

/// Draws every parameter of `graph` as PyTorch does by default: weights and biases from U(−1/√fan_in, 1/√fan_in)
/// (kaiming_uniform with a = √5), normalisation as the identity. Each tensor's numbers depend on (seed, its name) alone.
pub fn init(graph: &Graph, seed: u64) -> Params {
    let draw = |spec: super::ParamSpec| {
        let tensor = match spec.role {
            Role::Weight { fan_in } | Role::Bias { fan_in } => uniform(&spec.shape, fan_in, seed, &spec.name),
            Role::Scale | Role::RunningVar => Tensor::full(spec.shape, 1.0),
            // timm's deviation.
            Role::Embedding => embedding(&spec.shape, seed, &spec.name),
            Role::Shift | Role::Constant | Role::RunningMean => Tensor::full(spec.shape, 0.0),
        };
        (spec.name, tensor)
    };
    graph.params().into_iter().map(draw).collect()
}

/// A tensor of deviation 0.02, its numbers keyed by (seed, name).
fn embedding(shape: &[usize], seed: u64, name: &str) -> Tensor {
    let mut tensor = uniform(shape, 1, seed, name);
    tensor.data_mut().iter_mut().for_each(|x| *x *= 0.02 * 3f32.sqrt());
    tensor
}

/// A tensor from U(−1/√fan_in, 1/√fan_in), its numbers keyed by (seed, name).
pub fn uniform(shape: &[usize], fan_in: usize, seed: u64, name: &str) -> Tensor {
    let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
    let mut rng = keyed(seed, Purpose::Init, &[name_key(name)]);
    let mut tensor = Tensor::full(shape, 0.0);
    tensor.data_mut().fill_with(|| rng.random_range(-bound..bound));
    tensor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn weights_have_pytorchs_spread_and_depend_on_the_seed() {
        let graph = zoo::build("fcn6").unwrap();
        let (a, b) = (init(&graph, 1), init(&graph, 2));
        let w = a["layers.0.weight"].data();
        let bound = 1.0 / 28.0;
        let variance = w.iter().map(|x| x * x).sum::<f32>() / w.len() as f32;
        assert!(w.iter().all(|x| x.abs() <= bound));
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.02, "{variance}");
        assert_ne!(a["layers.0.weight"], b["layers.0.weight"]);
        assert_eq!(a, init(&graph, 1));
        assert!(graph.check(&a).is_ok());
    }
}
