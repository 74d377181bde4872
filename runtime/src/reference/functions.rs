//! Activations in f64, and what they make of a tolerance.

use super::Value;
use crate::artifact::Activation;

/// What an f32 library's exp, tanh or error function may be off by, in shares of 1 + |value|.
pub(super) const FUNCTION: f64 = 3e-6;

/// Applies `activation` to every element.
pub fn activate(y: &mut Value, activation: Activation) {
    // The steepest slope, and whether a library's function is in it.
    let (slope, library) = match activation {
        Activation::None => return,
        Activation::Relu | Activation::Relu6 | Activation::Clip { .. } | Activation::Abs => (1.0, false),
        Activation::LeakyRelu(slope) => (f64::from(slope.abs()).max(1.0), true),
        Activation::Elu(alpha) => (f64::from(alpha.abs()).max(1.0), true),
        Activation::HardSigmoid | Activation::HardSwish => (1.5, true),
        Activation::Softplus | Activation::Softsign | Activation::Erf => (1.2, true),
        // Their slope has no bound, or they jump: the cases take x from where neither shows.
        Activation::Exp | Activation::Log | Activation::Sqrt | Activation::Reciprocal | Activation::ThresholdedRelu(_) => (8.0, true),
        Activation::Sigmoid | Activation::Tanh | Activation::Silu | Activation::Gelu | Activation::GeluTanh => (1.2, true),
    };
    for y in &mut y.elements {
        let x = y.value;
        y.value = function(activation, x);
        y.tolerance = slope * y.tolerance + if library { FUNCTION * (1.0 + y.value.abs()) } else { 0.0 };
    }
}

fn function(activation: Activation, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    let hard = (x / 6.0 + 0.5).clamp(0.0, 1.0);
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu(slope) => x.max(0.0) + f64::from(slope) * x.min(0.0),
        Activation::Sigmoid => sigmoid,
        Activation::Tanh => x.tanh(),
        Activation::HardSigmoid => hard,
        Activation::HardSwish => x * hard,
        Activation::Silu => x * sigmoid,
        // x·Φ(x), by the complement: far below 0 nothing cancels.
        Activation::Gelu => 0.5 * x * libm::erfc(-x / std::f64::consts::SQRT_2),
        Activation::GeluTanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh()),
        Activation::Clip { low, high } => x.max(low.into()).min(high.into()),
        Activation::Elu(alpha) => x.max(0.0) + f64::from(alpha) * x.min(0.0).exp_m1(),
        Activation::ThresholdedRelu(threshold) if x > f64::from(threshold) => x,
        Activation::ThresholdedRelu(_) => 0.0,
        Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Exp => x.exp(),
        Activation::Log => x.ln(),
        Activation::Sqrt => x.sqrt(),
        Activation::Reciprocal => 1.0 / x,
        Activation::Abs => x.abs(),
        Activation::Erf => libm::erf(x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_known_values() {
        let known = [
            (Activation::Gelu, 1.0, 0.841_344_746_069),
            (Activation::Gelu, -6.0, -5.919_525_870_226e-9),
            (Activation::Clip { low: -1.0, high: f32::INFINITY }, -3.0, -1.0),
            (Activation::Elu(2.0), -1.0, -1.264_241_117_657),
            (Activation::ThresholdedRelu(1.0), 1.0, 0.0),
            (Activation::Softplus, -40.0, 4.248_354_255_292e-18),
            (Activation::Softsign, -3.0, -0.75),
            (Activation::Erf, 0.5, 0.520_499_877_813),
            (Activation::Erf, -3.0, -0.999_977_909_503),
        ];
        for (f, x, want) in known {
            assert!((function(f, x) - want).abs() <= 1e-10 * f64::abs(want), "{f:?}({x}) = {}", function(f, x));
        }
    }
}
