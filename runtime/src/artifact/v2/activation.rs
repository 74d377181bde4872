//! Functions of each element that layers end with.

use serde::{Deserialize, Serialize};

use crate::artifact::v1;

/// Applied to each element of a layer's output. NaN stays NaN or becomes what the device's min and max make of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x where positive, else the slope times x.
    LeakyRelu(f32),
    /// 1 / (1 + e^−x).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// min(max(x/6 + 1/2, 0), 1).
    HardSigmoid,
    /// x · min(max(x/6 + 1/2, 0), 1).
    HardSwish,
    /// x / (1 + e^−x).
    Silu,
    /// x · Φ(x) by the error function.
    Gelu,
    /// x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))).
    GeluTanh,
    /// min(max(x, low), high); a bound may be infinite.
    Clip {
        /// The least value.
        low: f32,
        /// The largest value.
        high: f32,
    },
    /// x where positive, else α·(e^x − 1).
    Elu(f32),
    /// x where it is above the threshold, else 0.
    ThresholdedRelu(f32),
    /// ln(1 + e^x).
    Softplus,
    /// x / (1 + |x|).
    Softsign,
    /// e^x.
    Exp,
    /// The natural logarithm.
    Log,
    /// √x.
    Sqrt,
    /// 1/x.
    Reciprocal,
    /// |x|.
    Abs,
    /// The error function.
    Erf,
}

impl From<v1::Activation> for Activation {
    fn from(old: v1::Activation) -> Self {
        use v1::Activation as Old;
        match old {
            Old::None => Self::None,
            Old::Relu => Self::Relu,
            Old::Relu6 => Self::Relu6,
            Old::LeakyRelu(slope) => Self::LeakyRelu(slope),
            Old::Sigmoid => Self::Sigmoid,
            Old::Tanh => Self::Tanh,
            Old::HardSigmoid => Self::HardSigmoid,
            Old::HardSwish => Self::HardSwish,
            Old::Silu => Self::Silu,
            Old::Gelu => Self::Gelu,
            Old::GeluTanh => Self::GeluTanh,
        }
    }
}
