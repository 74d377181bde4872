//! Activations in f64, and what they make of a tolerance.

use super::reference::Expected;
use crate::artifact::Activation;

/// What an f32 library's exp, tanh or error function may be off by, in shares of 1 + |value|.
const FUNCTION: f64 = 3e-6;

/// Applies `activation` to `values`.
pub(super) fn apply(activation: Activation, values: &mut [Expected]) {
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
    for y in values {
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
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
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
        Activation::Erf => erf(x),
    }
}

/// The error function by its series, which is exact enough where the function is not yet ±1.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.5 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[test]
fn the_series_is_the_error_function() {
    for (x, want) in [(0.5, 0.520_499_877_813), (1.0, 0.842_700_792_949), (-3.0, -0.999_977_909_503)] {
        assert!((erf(x) - want).abs() < 1e-11);
    }
}
