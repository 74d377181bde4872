//! The number that kernels know an activation by.

use crate::artifact::Activation;

/// The number of an activation in wgsl/shared/activation.wgsl.
pub(super) fn activation_number(activation: Activation) -> u32 {
    match activation {
        Activation::None | Activation::Relu | Activation::Relu6 | Activation::Clip { .. } => 0,
        Activation::LeakyRelu(_) => 3,
        Activation::Sigmoid => 4,
        Activation::Tanh => 5,
        Activation::HardSigmoid => 6,
        Activation::HardSwish => 7,
        Activation::Silu => 8,
        Activation::Gelu => 9,
        Activation::GeluTanh => 10,
        Activation::Elu(_) => 11,
        Activation::ThresholdedRelu(_) => 12,
        Activation::Softplus => 13,
        Activation::Softsign => 14,
        Activation::Exp => 15,
        Activation::Log => 16,
        Activation::Sqrt => 17,
        Activation::Reciprocal => 18,
        Activation::Abs => 19,
        Activation::Erf => 20,
    }
}
