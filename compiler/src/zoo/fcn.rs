//! The fully connected networks of LoRITa (arXiv 2405.03089, section 4): batch norm after every linear layer, the
//! last one too, and ReLU between. The width of 96 is not stated in the paper; it is a choice of ours.

use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Builder, Graph, Linear, Op};

/// Width of the hidden layers.
const WIDTH: usize = 96;
/// MNIST's image, flattened.
const INPUT: usize = 28 * 28;
/// The ten digits.
const CLASSES: usize = 10;

/// The networks of this family.
pub(super) const NAMES: [&str; 3] = ["fcn6", "fcn8", "fcn10"];

/// Builds `fcn6`, `fcn8` or `fcn10`: the number counts the linear layers. `None` for any other name.
pub(super) fn build(name: &str) -> Option<Result<Graph>> {
    let depth = match name {
        "fcn6" => 6,
        "fcn8" => 8,
        "fcn10" => 10,
        _ => return None,
    };
    let mut builder = Builder::new(name, [INPUT]);
    for i in 0..depth {
        let inputs = if i == 0 { INPUT } else { WIDTH };
        let outputs = if i + 1 == depth { CLASSES } else { WIDTH };
        builder.push(format!("layers.{}", 3 * i), Op::Linear(Linear { inputs, outputs, bias: true }));
        builder.push(format!("layers.{}", 3 * i + 1), Op::BatchNorm(BatchNorm::new(outputs)));
        if i + 1 < depth {
            builder.push(format!("layers.{}", 3 * i + 2), Op::Activation(Activation::Relu));
        }
    }
    Some(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_linear_layers() {
        for (name, depth) in [("fcn6", 6), ("fcn8", 8), ("fcn10", 10)] {
            let graph = build(name).unwrap().unwrap();
            assert_eq!(graph.nodes.iter().filter(|n| matches!(n.op, Op::Linear(_))).count(), depth);
            assert_eq!(graph.output_shape().unwrap(), [10]);
        }
    }
}
