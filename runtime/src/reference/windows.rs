//! What moves over an image.

use super::{Expected, Kernel, TOLERANCE, Value};
use crate::artifact::{PoolKind, Window};

/// The input's index under tap (ky, kx) of output (y, x), or nothing outside.
fn tap(window: &Window, [_, height, width]: [usize; 3], at: [usize; 2], k: [usize; 2]) -> Option<usize> {
    let place = |axis: usize, len: usize| {
        let from_start = at[axis] * window.stride[axis] as usize + k[axis] * window.dilation[axis] as usize;
        from_start.checked_sub(window.padding[axis] as usize).filter(|&i| i < len)
    };
    Some(place(0, height)? * width + place(1, width)?)
}

/// Height and width of what a window gives of an image.
fn output_size(window: &Window, [_, height, width]: [usize; 3]) -> [usize; 2] {
    let size = |axis: usize, len: usize| {
        let [kernel, dilation, stride, before, behind] =
            [window.kernel[axis], window.dilation[axis], window.stride[axis], window.padding[axis], window.padding[axis + 2]]
                .map(|n| n as usize);
        (len + before + behind - (kernel - 1) * dilation - 1) / stride + 1
    };
    [size(0, height), size(1, width)]
}

/// A cross-correlation, as PyTorch's `Conv2d`, in so many groups.
pub fn conv(x: &Value, kernel: &Kernel, window: &Window, groups: usize) -> Value {
    let (from, [height, width]) = (x.image(), output_size(window, x.image()));
    let (inputs, outputs) = (from[0] / groups, kernel.outputs / groups);
    let [kh, kw] = window.kernel.map(|k| k as usize);
    let plane = from[1] * from[2];
    let mut elements = Vec::new();
    for sample in x.samples() {
        for (o, at) in (0..kernel.outputs).flat_map(|o| (0..height * width).map(move |at| (o, at))) {
            let mut sum = Expected::default();
            for t in 0..kh * kw {
                let Some(place) = tap(window, from, [at / width, at % width], [t / kw, t % kw]) else { continue };
                for i in 0..inputs {
                    let x = sample[(o / outputs * inputs + i) * plane + place];
                    let n = (o * inputs + i) * kh * kw + t;
                    sum.value += x.value * kernel.weights[n];
                    sum.tolerance += (x.tolerance + kernel.rounding * x.value.abs()) * kernel.magnitudes[n];
                }
            }
            elements.push(sum);
        }
    }
    Value { shape: vec![kernel.outputs, height, width], elements }
}

/// x·Wᵀ over all elements of a sample.
pub fn linear(x: &Value, kernel: &Kernel) -> Value {
    let flat = Value { shape: vec![x.len(), 1, 1], elements: x.elements.clone() };
    Value { shape: vec![kernel.outputs], ..conv(&flat, kernel, &Window::POINT, 1) }
}

/// The largest or the mean value under a window; padding never is the largest.
pub fn pool(x: &Value, kind: PoolKind, window: &Window) -> Value {
    let (from, [height, width]) = (x.image(), output_size(window, x.image()));
    let [kh, kw] = window.kernel.map(|k| k as usize);
    let mut elements = Vec::new();
    for plane in x.elements.chunks_exact(from[1] * from[2]) {
        for at in 0..height * width {
            let taps = (0..kh * kw).filter_map(|t| tap(window, from, [at / width, at % width], [t / kw, t % kw]));
            let found: Vec<Expected> = taps.map(|i| plane[i]).collect();
            elements.push(match kind {
                PoolKind::Max => Expected {
                    value: found.iter().fold(f64::NEG_INFINITY, |m, e| m.max(e.value)),
                    tolerance: found.iter().fold(0.0, |m, e| m.max(e.tolerance)),
                },
                PoolKind::Average => mean(&found, found.len()),
                PoolKind::AverageWithPadding => mean(&found, kh * kw),
            });
        }
    }
    Value { shape: vec![from[0], height, width], elements }
}

/// The mean of each channel.
pub fn global_average(x: &Value) -> Value {
    let [channels, height, width] = x.image();
    Value { shape: vec![channels], elements: x.elements.chunks_exact(height * width).map(|c| mean(c, c.len())).collect() }
}

fn mean(values: &[Expected], count: usize) -> Expected {
    let sum = |of: &dyn Fn(&Expected) -> f64| values.iter().map(of).sum::<f64>() / count as f64;
    Expected { value: sum(&|e| e.value), tolerance: sum(&|e| e.tolerance + TOLERANCE * e.value.abs()) }
}
