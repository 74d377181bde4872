//! Activations of the graph as the file's, which are the same functions.

use thinfer::artifact::Activation as Fused;

use crate::graph::Activation;

/// The file's activation for the graph's.
pub(crate) fn fused(activation: Activation) -> Fused {
    match activation {
        Activation::Relu => Fused::Relu,
        Activation::Relu6 => Fused::Relu6,
        Activation::Sigmoid => Fused::Sigmoid,
        Activation::Tanh => Fused::Tanh,
        Activation::HardSigmoid => Fused::HardSigmoid,
        Activation::HardSwish => Fused::HardSwish,
        Activation::Silu => Fused::Silu,
        Activation::Gelu => Fused::Gelu,
        Activation::GeluTanh => Fused::GeluTanh,
        Activation::Softplus => Fused::Softplus,
        Activation::Softsign => Fused::Softsign,
        Activation::Exp => Fused::Exp,
        Activation::Log => Fused::Log,
        Activation::Sqrt => Fused::Sqrt,
        Activation::Reciprocal => Fused::Reciprocal,
        Activation::Abs => Fused::Abs,
        Activation::Erf => Fused::Erf,
        Activation::LeakyRelu(parameter) => Fused::LeakyRelu(parameter),
        Activation::Elu(parameter) => Fused::Elu(parameter),
        Activation::ThresholdedRelu(parameter) => Fused::ThresholdedRelu(parameter),
        Activation::Clip { low, high } => Fused::Clip { low, high },
    }
}
