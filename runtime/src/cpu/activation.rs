//! Functions of each element on the CPU.

use super::exp::{exp, exp_of_any};
use super::log::ln;
use super::simd::vectorized;
use super::tanh::tanh;
use crate::artifact::Activation;

/// Applies `activation` to `values`. NaN stays NaN, as in training.
#[inline(always)]
pub(super) fn apply(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::Relu => values.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
        _ => other(activation, values),
    }
}

#[inline(never)]
fn other(activation: Activation, values: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || match activation {
            Activation::None => {}
            Activation::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
            Activation::Relu6 => each(values, |x| x.clamp(0.0, 6.0)),
            Activation::LeakyRelu(slope) => each(values, |x| if x < 0.0 { x * slope } else { x }),
            Activation::Sigmoid => each(values, sigmoid),
            Activation::Tanh => each(values, tanh),
            Activation::HardSigmoid => each(values, hard_sigmoid),
            Activation::HardSwish => each(values, |x| x * hard_sigmoid(x)),
            Activation::Silu => each(values, |x| not_below(x) * sigmoid(x)),
            Activation::Gelu => each(values, |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
            Activation::Clip { low, high } => each(values, |x| x.clamp(low, high)),
            Activation::Elu(alpha) => each(values, |x| if x > 0.0 { x } else { alpha * (exp(x) - 1.0) }),
            Activation::ThresholdedRelu(threshold) => each(values, |x| if x <= threshold { 0.0 } else { x }),
            Activation::Softplus => each(values, |x| (if x < 0.0 { 0.0 } else { x }) + (-x.abs()).exp().ln_1p()),
            Activation::Softsign => each(values, |x| x / (1.0 + x.abs())),
            Activation::Exp => each(values, exp_of_any),
            Activation::Log => each(values, ln),
            Activation::Sqrt => each(values, f32::sqrt),
            Activation::Reciprocal => each(values, |x| 1.0 / x),
            Activation::Abs => each(values, f32::abs),
            Activation::Erf => each(values, erf),
            // (1 + tanh u)/2 = 1/(1 + e^−2u)
            Activation::GeluTanh => {
                each(values, |x| not_below(x) * sigmoid((8.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)))
            }
        },
    );
}

#[inline(always)]
fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
    values.iter_mut().for_each(|x| *x = f(*x));
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// x, but not below what [`exp`] reaches: a sigmoid is no smaller there, and its product with x must vanish.
#[inline(always)]
fn not_below(x: f32) -> f32 {
    if x < -88.0 { -88.0 } else { x }
}

#[inline(always)]
fn hard_sigmoid(x: f32) -> f32 {
    (x / 6.0 + 0.5).clamp(0.0, 1.0)
}

/// The error function to 3·10⁻⁷ as a quotient of polynomials, which costs a third of one by an exponential (the minimax
/// coefficients that XLA has).
#[expect(clippy::approx_constant, reason = "a coefficient that was fitted with the others")]
#[inline(always)]
fn erf(x: f32) -> f32 {
    // Where it is half a unit in the last place below 1.
    const END: f32 = 3.832_507;
    let x = if x > END { END } else { x };
    let x = if x < -END { -END } else { x };
    let s = x * x;
    let p = s * 2.290_506_6e-4 + 3.408_291e-3;
    let p = p * s + 5.095_569_5e-2;
    let p = p * s + 1.852_083_2e-1;
    let p = p * s + 1.128_379_1;
    let q = s * -1.179_160_3e-7 + 2.354_796_6e-5;
    let q = q * s + 1.017_962_5e-3;
    let q = q * s + 1.407_047e-2;
    let q = q * s + 1.109_850_5e-1;
    let q = q * s + 4.974_692_5e-1;
    let q = q * s + 1.0;
    // A sum of this and ±1 is multiplied by what may be large.
    (x * p / q).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Value, activate};

    #[test]
    fn functions_have_their_known_values() {
        let one = |activation, x: f32| {
            let mut values = [x];
            apply(activation, &mut values);
            values[0]
        };
        let known = [
            (Activation::None, -2.0, -2.0),
            (Activation::Relu, -2.0, 0.0),
            (Activation::Relu6, 7.0, 6.0),
            (Activation::LeakyRelu(0.1), -2.0, -0.2),
            (Activation::Sigmoid, 2.0, 0.880_797),
            (Activation::Tanh, 1.0, 0.761_594_2),
            (Activation::HardSigmoid, 1.5, 0.75),
            (Activation::HardSwish, 1.5, 1.125),
            (Activation::Silu, 2.0, 1.761_594),
            (Activation::Silu, -3e38, 0.0),
            (Activation::GeluTanh, -3e38, 0.0),
            (Activation::Gelu, -3e38, 0.0),
            (Activation::Gelu, 1.0, 0.841_344_7),
            (Activation::Gelu, -0.5, -0.154_268_77),
            (Activation::GeluTanh, 1.0, 0.841_192),
            (Activation::Gelu, 9.0, 9.0),
            (Activation::Gelu, -9.0, 0.0),
            (Activation::Gelu, 3.0, 2.995_950_4),
            (Activation::Clip { low: -65504.0, high: 65504.0 }, 0.1, 0.1),
            (Activation::Clip { low: f32::NEG_INFINITY, high: 1.0 }, -3e38, -3e38),
            (Activation::Elu(2.0), -1.0, -1.264_241_1),
            (Activation::ThresholdedRelu(1.0), 1.0, 0.0),
            (Activation::ThresholdedRelu(1.0), 1.5, 1.5),
            (Activation::Softplus, -1.0, 0.313_261_7),
            (Activation::Softplus, 90.0, 90.0),
            (Activation::Softsign, -3.0, -0.75),
            (Activation::Exp, -1.0, 0.367_879_45),
            (Activation::Log, 2.0, std::f32::consts::LN_2),
            (Activation::Sqrt, 2.0, std::f32::consts::SQRT_2),
            (Activation::Reciprocal, -4.0, -0.25),
            (Activation::Abs, -4.0, 4.0),
            (Activation::Erf, 0.5, 0.520_499_9),
        ];
        for (activation, x, want) in known {
            assert!((one(activation, x) - want).abs() < 1e-6, "{activation:?}({x}) = {}", one(activation, x));
            if activation != Activation::None {
                assert!(one(activation, f32::NAN).is_nan(), "{activation:?}");
            }
        }
    }

    #[test]
    fn gelu_is_exact_to_a_millionth() {
        let mut values: Vec<f32> = (-10_000..=10_000).map(|i| i as f32 / 1000.0).collect();
        let mut expected = Value::exact(&[values.len()], values.iter().map(|&x| x.into()));
        activate(&mut expected, Activation::Gelu);
        apply(Activation::Gelu, &mut values);
        for (got, want) in values.iter().zip(expected.numbers()) {
            assert!((f64::from(*got) - want).abs() <= 1e-6 * want.abs().max(1.0), "{got} {want}");
        }
    }
}
