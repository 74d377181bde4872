//! Functions of each element on the CPU.

use super::exp::exp;
use super::simd::vectorized;
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
    vectorized(|| match activation {
        Activation::None => {}
        Activation::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::Relu6 => each(values, |x| x.clamp(0.0, 6.0)),
        Activation::LeakyRelu(slope) => each(values, |x| if x < 0.0 { x * slope } else { x }),
        Activation::Sigmoid => each(values, sigmoid),
        Activation::Tanh => each(values, f32::tanh),
        Activation::HardSigmoid => each(values, hard_sigmoid),
        Activation::HardSwish => each(values, |x| x * hard_sigmoid(x)),
        Activation::Silu => each(values, |x| x * sigmoid(x)),
        Activation::Gelu => each(values, |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
        // (1 + tanh u)/2 = 1/(1 + e^−2u)
        Activation::GeluTanh => each(values, |x| x * sigmoid((8.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x))),
    });
}

#[inline(always)]
fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
    values.iter_mut().for_each(|x| *x = f(*x));
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn hard_sigmoid(x: f32) -> f32 {
    (x / 6.0 + 0.5).clamp(0.0, 1.0)
}

/// The error function to 1.5·10⁻⁷ (Abramowitz and Stegun 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let poly = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    (1.0 - poly * exp(-x * x)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (Activation::Gelu, 1.0, 0.841_344_7),
            (Activation::Gelu, -0.5, -0.154_268_77),
            (Activation::GeluTanh, 1.0, 0.841_192),
        ];
        for (activation, x, want) in known {
            assert!((one(activation, x) - want).abs() < 1e-6, "{activation:?}({x}) = {}", one(activation, x));
            if activation != Activation::None {
                assert!(one(activation, f32::NAN).is_nan(), "{activation:?}");
            }
        }
    }
}
