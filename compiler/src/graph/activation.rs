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
    /// f(x) in double precision: what every executor is held to.
    pub fn of(self, x: f64) -> f64 {
        let hard = |x: f64| (x / 6.0 + 0.5).clamp(0.0, 1.0);
        match self {
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::HardSigmoid => hard(x),
            Self::HardSwish => x * hard(x),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
            Self::GeluTanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh()),
            Self::Clip { low, high } => x.max(low.into()).min(high.into()),
            Self::Elu(alpha) => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(alpha) * x.exp_m1()
                }
            }
            Self::ThresholdedRelu(threshold) => {
                if x > f64::from(threshold) {
                    x
                } else {
                    0.0
                }
            }
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Abs => x.abs(),
            Self::Erf => libm::erf(x),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_known_values() {
        let known = [
            (Activation::Gelu, 1.0, 0.841_344_746_069),
            (Activation::Clip { low: -1.0, high: f32::INFINITY }, -3.0, -1.0),
            (Activation::Elu(2.0), -1.0, -1.264_241_117_657),
            (Activation::ThresholdedRelu(1.0), 1.0, 0.0),
            (Activation::Softplus, -40.0, 4.248_354_255_292e-18),
            (Activation::Softsign, -3.0, -0.75),
            (Activation::Erf, 0.5, 0.520_499_877_813),
        ];
        for (f, x, want) in known {
            assert!((f.of(x) - want).abs() <= 1e-11 * want.abs(), "{f:?}({x}) = {}", f.of(x));
        }
    }
}
