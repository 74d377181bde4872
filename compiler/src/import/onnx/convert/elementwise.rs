//! Functions of each element, by the operations that ONNX has for them.

use crate::graph::Activation;
use crate::import::onnx::node::Node;

/// Whether `op` is a function of each element that is converted.
pub(super) fn is_one(op: &str) -> bool {
    plain(&Node::new(op, "", &[], "")).is_some() || matches!(op, "HardSigmoid" | "Celu" | "Selu" | "Mish" | "Swish")
}

/// The one activation that `node` is, whatever it reads.
pub(super) fn plain(node: &Node) -> Option<Activation> {
    Some(match node.op.as_str() {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu(node.float("alpha", 0.01)),
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "HardSwish" => Activation::HardSwish,
        "Silu" => Activation::Silu,
        "Gelu" if node.text("approximate") == Some("tanh") => Activation::GeluTanh,
        "Gelu" => Activation::Gelu,
        "Elu" => Activation::Elu(node.float("alpha", 1.0)),
        "ThresholdedRelu" => Activation::ThresholdedRelu(node.float("alpha", 1.0)),
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "Exp" => Activation::Exp,
        "Log" => Activation::Log,
        "Sqrt" => Activation::Sqrt,
        "Reciprocal" => Activation::Reciprocal,
        "Abs" => Activation::Abs,
        "Erf" => Activation::Erf,
        _ => return None,
    })
}
