//! Operations on batches of images [batch, channels, height, width], by Burn's primitives.

use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, activation};

use super::site::Factor;
use crate::graph::{Activation, ShortcutA, Window};

/// Top and bottom, left and right.
fn sides(window: &Window) -> [(usize, usize); 2] {
    let [top, left, bottom, right] = window.padding;
    [(top, bottom), (left, right)]
}

/// One factor of a convolution's weight, without bias.
pub(super) fn convolve(x: Tensor<4>, factor: Factor) -> Tensor<4> {
    let Factor { matrix, window, groups } = factor;
    let ([outputs, columns], [height, width]) = (matrix.dims(), window.kernel);
    let kernel = matrix.reshape([outputs, columns / (height * width), height, width]);
    conv2d(x, kernel, None, ConvOptions::new_with_padding(window.stride, sides(&window), window.dilation, groups))
}

/// The largest value under a window; padding never wins.
pub(super) fn max_pool(x: Tensor<4>, window: &Window) -> Tensor<4> {
    let options = MaxPoolOptions::new(window.kernel).with_stride(window.stride).with_padding_pairs(sides(window));
    max_pool2d(x, MaxPoolOptions { dilation: window.dilation, ..options })
}

/// The mean under a window without dilation.
pub(super) fn avg_pool(x: Tensor<4>, window: &Window, count_include_pad: bool) -> Tensor<4> {
    let options = AvgPoolOptions::new(window.kernel).with_stride(window.stride).with_padding_pairs(sides(window));
    avg_pool2d(x, AvgPoolOptions { count_include_pad, ..options })
}

/// Every `stride`th pixel, between channels of zeros.
pub(super) fn shortcut(x: Tensor<4>, shortcut: &ShortcutA) -> Tensor<4> {
    let stride = shortcut.stride;
    // A mean over one pixel picks it; its gradient is plain.
    let x = if stride == 1 { x } else { avg_pool(x, &Window::square(1, stride, 0), true) };
    let ([batch, channels, height, width], before) = (x.dims(), shortcut.offset());
    let zeros = |count: usize| Tensor::<4>::zeros([batch, count, height, width], &x.device());
    let after = shortcut.outputs.saturating_sub(channels + before);
    let parts = [(before > 0).then(|| zeros(before)), Some(x.clone()), (after > 0).then(|| zeros(after))];
    Tensor::cat(parts.into_iter().flatten().collect(), 1)
}

/// A function of each element alone.
pub(super) fn activate<const D: usize>(x: Tensor<D>, function: Activation) -> Tensor<D> {
    match function {
        Activation::Relu => activation::relu(x),
        Activation::Relu6 => activation::relu6(x),
        Activation::LeakyRelu(slope) => activation::leaky_relu(x, f64::from(slope)),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Tanh => activation::tanh(x),
        Activation::HardSigmoid => activation::hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Activation::HardSwish => activation::hard_swish(x),
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Clip { low, high } => x.clamp(low, high),
        Activation::Elu(alpha) => x.clone().clamp_min(0.0) + (x.clamp_max(0.0).exp() - 1.0) * alpha,
        Activation::ThresholdedRelu(threshold) => {
            let below = x.clone().lower_equal_elem(threshold);
            x.mask_fill(below, 0.0)
        }
        Activation::Softplus => activation::softplus(x, 1.0),
        Activation::Softsign => x.clone() / (x.abs() + 1.0),
        Activation::Exp => x.exp(),
        Activation::Log => x.log(),
        Activation::Sqrt => x.sqrt(),
        Activation::Reciprocal => x.recip(),
        Activation::Abs => x.abs(),
        Activation::Erf => x.erf(),
    }
}
