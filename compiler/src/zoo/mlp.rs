//! Plain multi-layer perceptrons: linear layers with ReLU between them, as `nn.Sequential` under `layers`.

use super::Shapes;
use crate::error::Result;
use crate::graph::{Activation, Builder, Graph, Linear, Op};

/// The widest layer that a name may ask for; beyond it a slip is likelier than a network.
const MAX_WIDTH: usize = 1 << 20;

/// Builds `mlp:IN-HIDDEN-…-OUT` from its `widths`; `None` when they are no list of at least two positive widths.
pub(super) fn build(name: &str, widths: &str) -> Option<Result<Graph>> {
    let widths: Vec<usize> = widths.split('-').map(|w| w.parse().ok().filter(|w| (1..=MAX_WIDTH).contains(w))).collect::<Option<_>>()?;
    let (&first, rest) = widths.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let mut builder = Builder::new(name, [first]);
    for (i, pair) in widths.windows(2).enumerate() {
        if i > 0 {
            builder.push(format!("layers.{}", 2 * i - 1), Op::Activation(Activation::Relu));
        }
        builder.push(format!("layers.{}", 2 * i), Op::Linear(Linear { inputs: pair[0], outputs: pair[1], bias: true }));
    }
    Some(builder.finish())
}

/// The name that the widths of `layers.0`, `layers.2`, … would have.
pub(super) fn guess(shapes: &Shapes<'_>) -> Option<String> {
    let weights: Vec<&[usize]> = (0..).map_while(|i| shapes.get(format!("layers.{}.weight", 2 * i).as_str()).copied()).collect();
    let first = *weights.first()?.get(1)?;
    let widths = std::iter::once(first).chain(weights.iter().filter_map(|s| s.first().copied()));
    Some(format!("mlp:{}", widths.map(|w| w.to_string()).collect::<Vec<_>>().join("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_layers_stand_at_even_places() {
        let graph = build("mlp:8-4-2", "8-4-2").unwrap().unwrap();
        let names: Vec<_> = graph.params().into_iter().map(|p| (p.name, p.shape)).collect();
        let expected =
            [("layers.0.weight", vec![4, 8]), ("layers.0.bias", vec![4]), ("layers.2.weight", vec![2, 4]), ("layers.2.bias", vec![2])];
        assert_eq!(names, expected.map(|(n, s)| (n.to_string(), s)));
    }
}
