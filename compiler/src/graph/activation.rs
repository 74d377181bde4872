//! Functions of each element alone.

use serde::{Deserialize, Serialize};

/// A function of each element alone; the runtime's file defines the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
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

impl Activation {
    /// Whether its values can never be below 0.
    pub fn is_never_negative(self) -> bool {
        match self {
            Self::Relu | Self::Relu6 | Self::Sigmoid | Self::HardSigmoid | Self::Softplus | Self::Exp | Self::Sqrt | Self::Abs => true,
            Self::Clip { low, .. } => low >= 0.0,
            Self::ThresholdedRelu(threshold) => threshold >= 0.0,
            _ => false,
        }
    }
}
