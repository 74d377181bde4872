//! What a layer reads.

use super::windows::narrow;
use crate::artifact::Activation;

/// The `N` values that a layer of this kind reads.
pub(super) fn exactly<'a, const N: usize>(what: &str, inputs: &[&'a Vec<usize>]) -> Result<[&'a Vec<usize>; N], String> {
    inputs.try_into().map_err(|_| format!("{what} reads {N} value{}, not {}", if N == 1 { "" } else { "s" }, inputs.len()))
}

pub(super) fn image(shape: &[usize]) -> Result<[u32; 3], String> {
    <[u32; 3]>::try_from(narrow(shape)?).map_err(|_| format!("reads images, its input has shape {shape:?}"))
}

/// The shape of an image or a vector, whose first axis is channels.
pub(super) fn channelled(shape: &[usize]) -> Result<Vec<u32>, String> {
    if [1, 3].contains(&shape.len()) { narrow(shape) } else { Err(format!("reads images or vectors, its input has shape {shape:?}")) }
}

pub(super) fn check_activation(activation: Activation) -> Result<(), String> {
    match activation {
        Activation::LeakyRelu(slope) if !slope.is_finite() => Err(format!("the slope of its leaky ReLU is {slope}")),
        Activation::Elu(alpha) if !alpha.is_finite() => Err(format!("the factor of its ELU is {alpha}")),
        Activation::ThresholdedRelu(threshold) if !threshold.is_finite() => Err(format!("the threshold of its ReLU is {threshold}")),
        Activation::Clip { low, high } if low.is_nan() || high.is_nan() || low > high => Err(format!("it clips to {low}…{high}")),
        _ => Ok(()),
    }
}
