//! What goes element by element, channel by channel or pixel by pixel, and what only moves elements.

use super::{Expected, TOLERANCE, Value};
use crate::artifact::Residual;

/// Adds a number to each channel.
pub fn add_bias(y: &mut Value, bias: &[f64]) {
    let [channels, height, width] = y.image();
    assert_eq!(bias.len(), channels);
    for (plane, b) in y.elements.chunks_exact_mut(height * width).zip(bias.iter().cycle()) {
        for y in plane {
            y.value += b;
            y.tolerance += TOLERANCE * b.abs();
        }
    }
}

/// y[c + offset, i, j] += r[c, i·stride, j·stride].
pub fn add_residual(y: &mut Value, r: &Value, how: Residual) {
    let (stride, offset) = (how.stride as usize, how.offset as usize);
    let (to, from) = (y.image(), r.image());
    for (sample, r) in y.elements.chunks_exact_mut(to.iter().product()).zip(r.samples()) {
        for (c, i, j) in (0..from[0] * to[1] * to[2]).map(|n| (n / to[2] / to[1], n / to[2] % to[1], n % to[2])) {
            let r = r[(c * from[1] + i * stride) * from[2] + j * stride];
            let y = &mut sample[((c + offset) * to[1] + i) * to[2] + j];
            y.value += r.value;
            y.tolerance += r.tolerance + TOLERANCE * r.value.abs();
        }
    }
}

/// scale[c]·x + shift[c].
pub fn affine(x: &Value, scale: &[f64], shift: &[f64]) -> Value {
    let [channels, height, width] = x.image();
    let one = |(i, x): (usize, &Expected)| {
        let (k, t) = (scale[i / (height * width) % channels], shift[i / (height * width) % channels]);
        let value = k * x.value + t;
        Expected { value, tolerance: k.abs() * x.tolerance + TOLERANCE * ((k * x.value).abs() + t.abs()) }
    };
    Value { shape: x.shape.clone(), elements: x.elements.iter().enumerate().map(one).collect() }
}

/// Batch normalisation by `statistics`, means and variances, which are taken as exact: scale·(x − mean)/√(variance + eps) + shift.
pub fn batch_norm(x: &Value, statistics: &[Vec<f64>; 2], eps: f64, scale: &[f64], shift: &[f64]) -> Value {
    let [mean, variance] = statistics;
    let k: Vec<f64> = scale.iter().zip(variance).map(|(s, v)| s / (v + eps).sqrt()).collect();
    let t: Vec<f64> = shift.iter().zip(mean).zip(&k).map(|((t, m), k)| t - m * k).collect();
    affine(x, &k, &t)
}

/// Means and variances (divided by their count) of each channel over all samples and pixels.
pub fn batch_statistics(x: &Value) -> [Vec<f64>; 2] {
    let [channels, height, width] = x.image();
    let count = (x.elements.len() / channels) as f64;
    let over = |c: usize, f: &dyn Fn(f64) -> f64| {
        let planes = x.elements.chunks_exact(height * width).skip(c).step_by(channels);
        planes.flatten().map(|e| f(e.value)).sum::<f64>() / count
    };
    let mean: Vec<f64> = (0..channels).map(|c| over(c, &|x| x)).collect();
    let variance = (0..channels).map(|c| over(c, &|x| (x - mean[c]).powi(2))).collect();
    [mean, variance]
}

/// The channels of the first value, then those of the second.
pub fn concat(a: &Value, b: &Value) -> Value {
    let shape = [&[a.shape[0] + b.shape[0]], &a.shape[1..]].concat();
    Value { shape, elements: a.samples().zip(b.samples()).flat_map(|(a, b)| a.iter().chain(b).copied()).collect() }
}

/// The product of two values of one shape, or of an image and a factor for each of its channels.
pub fn multiply(a: &Value, b: &Value) -> Value {
    let each = a.len() / b.len();
    let one = |(i, a): (usize, &Expected)| {
        let b = b.elements[i / each];
        let value = a.value * b.value;
        let off = a.value.abs() * b.tolerance + b.value.abs() * a.tolerance + a.tolerance * b.tolerance;
        Expected { value, tolerance: off + TOLERANCE * value.abs() }
    };
    Value { shape: a.shape.clone(), elements: a.elements.iter().enumerate().map(one).collect() }
}

/// Elements in another order, or some of them: those at offset + Σ iₖ·strideₖ for the indices iₖ of `steps` (size, stride), the last
/// fastest.
pub fn rearrange(x: &Value, shape: &[usize], offset: usize, steps: &[(usize, usize)]) -> Value {
    let mut places = vec![offset];
    for &(size, stride) in steps {
        places = places.iter().flat_map(|&p| (0..size).map(move |i| p + i * stride)).collect();
    }
    Value { shape: shape.to_vec(), elements: x.samples().flat_map(|x| places.iter().map(|&p| x[p])).collect() }
}

/// Softmax over the channels of each pixel, or its logarithm; an exponential may be off by as much as its argument is rounded.
pub fn softmax(x: &Value, log: bool) -> Value {
    let (size, pixels) = (x.len(), x.image()[1] * x.image()[2]);
    let mut y = x.clone();
    for (image, at) in (0..x.elements.len() / size).flat_map(|n| (0..pixels).map(move |at| (n * size, at))) {
        let row: Vec<Expected> = x.elements[image..image + size].iter().skip(at).step_by(pixels).copied().collect();
        let largest = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.value));
        let sum: f64 = row.iter().map(|x| (x.value - largest).exp()).sum();
        let off = row.iter().fold(0f64, |m, x| m.max(x.tolerance));
        for (y, x) in y.elements[image..image + size].iter_mut().skip(at).step_by(pixels).zip(&row) {
            let (below, p) = (x.value - largest, (x.value - largest).exp() / sum);
            let tolerance = 2.0 * off + 4.0 * TOLERANCE * (1.0 - below);
            *y = if log { Expected { value: below - sum.ln(), tolerance } } else { Expected { value: p, tolerance: p * tolerance + 1e-7 } };
        }
    }
    y
}
