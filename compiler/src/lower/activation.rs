//! Activations of the graph and those of the file, which are the same functions.

use thinfer::artifact::Activation as Fused;

use crate::graph::Activation;

/// The file's activation for the graph's.
pub(super) fn fused(activation: Activation) -> Fused {
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

/// The graph's activation for the file's; `None` for none.
pub(super) fn unfused(activation: Fused) -> Option<Activation> {
    Some(match activation {
        Fused::None => return None,
        Fused::Relu => Activation::Relu,
        Fused::Relu6 => Activation::Relu6,
        Fused::Sigmoid => Activation::Sigmoid,
        Fused::Tanh => Activation::Tanh,
        Fused::HardSigmoid => Activation::HardSigmoid,
        Fused::HardSwish => Activation::HardSwish,
        Fused::Silu => Activation::Silu,
        Fused::Gelu => Activation::Gelu,
        Fused::GeluTanh => Activation::GeluTanh,
        Fused::Softplus => Activation::Softplus,
        Fused::Softsign => Activation::Softsign,
        Fused::Exp => Activation::Exp,
        Fused::Log => Activation::Log,
        Fused::Sqrt => Activation::Sqrt,
        Fused::Reciprocal => Activation::Reciprocal,
        Fused::Abs => Activation::Abs,
        Fused::Erf => Activation::Erf,
        Fused::LeakyRelu(parameter) => Activation::LeakyRelu(parameter),
        Fused::Elu(parameter) => Activation::Elu(parameter),
        Fused::ThresholdedRelu(parameter) => Activation::ThresholdedRelu(parameter),
        Fused::Clip { low, high } => Activation::Clip { low, high },
    })
}
