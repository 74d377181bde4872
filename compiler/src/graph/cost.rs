//! Multiply–accumulates and parameters of a graph's layers in their dense form.

use super::{Graph, Op};
use crate::error::Result;

/// What one layer with a weight costs in its dense form.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCost {
    /// The layer's name.
    pub name: String,
    /// Multiply–accumulates for one sample.
    pub macs: u64,
    /// Elements of weight and bias.
    pub params: u64,
}

/// Costs of every conv and linear layer, in node order. Normalisation and activations count nothing, as in papers.
///
/// # Errors
/// As [`Graph::shapes`].
pub fn layer_costs(graph: &Graph) -> Result<Vec<LayerCost>> {
    let shapes = graph.shapes()?;
    let layers = graph.nodes.iter().zip(&shapes[1..]).filter(|(n, _)| matches!(n.op, Op::Linear(_) | Op::Conv2d(_)));
    Ok(layers
        .map(|(node, output)| LayerCost {
            name: node.name.clone(),
            macs: node.op.macs(output),
            params: node.op.params(&node.name).iter().map(|p| p.shape.iter().product::<usize>() as u64).sum(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use crate::zoo;

    #[test]
    fn an_mlp_costs_what_its_widths_say() {
        let costs = super::layer_costs(&zoo::build("mlp:784-256-10").unwrap()).unwrap();
        let figures: Vec<_> = costs.iter().map(|c| (c.name.as_str(), c.macs, c.params)).collect();
        assert_eq!(figures, [("layers.0", 784 * 256, 784 * 256 + 256), ("layers.2", 2560, 2570)]);
    }
}
