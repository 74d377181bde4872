//! Separable resampling with antialiasing, in the fixed point of Pillow's `Image.resize` (libImaging/Resample.c), whose results it has
//! bit for bit.

use super::pixels::Pixels;
use crate::artifact::Filter;

/// Bits behind the point of a weight.
const BITS: u32 = 22;

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The part `window` of the image scaled to `size` ([width, height]); nothing but that part is computed.
pub(super) fn resample(pixels: &Pixels, size: [usize; 2], window: Window, filter: Filter) -> Pixels {
    let channels = pixels.channels;
    let columns = Weights::new(pixels.width, size[0], window.left..window.left + window.width, filter);
    let rows = Weights::new(pixels.height, size[1], window.top..window.top + window.height, filter);
    // The rows of the image that the window's are made of.
    let (first, end) = rows.reach();
    let mut wide = vec![0; (end - first) * window.width * channels];
    for (from, to) in pixels.data[first * pixels.width * channels..]
        .chunks_exact(pixels.width * channels)
        .zip(wide.chunks_exact_mut(window.width * channels))
    {
        for (at, pixel) in to.chunks_exact_mut(channels).enumerate() {
            let (start, weights) = columns.of(at);
            for (c, out) in pixel.iter_mut().enumerate() {
                let values = from[start * channels + c..].iter().step_by(channels);
                *out = sum(weights, values);
            }
        }
    }
    let line = window.width * channels;
    let mut data = vec![0; window.height * line];
    for (at, to) in data.chunks_exact_mut(line.max(1)).enumerate() {
        let (start, weights) = rows.of(at);
        for (i, out) in to.iter_mut().enumerate() {
            *out = sum(weights, wide[(start - first) * line + i..].iter().step_by(line));
        }
    }
    Pixels { width: window.width, height: window.height, channels, data }
}

/// Σ weight · value, rounded and held to 8 bits.
fn sum<'a>(weights: &[i32], values: impl Iterator<Item = &'a u8>) -> u8 {
    let total = weights.iter().zip(values).fold(1 << (BITS - 1), |sum: i64, (&weight, &value)| sum + i64::from(weight) * i64::from(value));
    (total >> BITS).clamp(0, 255) as u8
}

/// The weights of a side's pixels.
struct Weights {
    /// Of each output, the first input that it is made of, and where its weights stand.
    of: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<i32>,
}

impl Weights {
    /// Of the outputs `wanted` of `outputs` that `inputs` are scaled to.
    fn new(inputs: usize, outputs: usize, wanted: std::ops::Range<usize>, filter: Filter) -> Self {
        let (mut of, mut weights) = (Vec::with_capacity(wanted.len()), Vec::new());
        if inputs == outputs {
            for at in wanted {
                of.push((at, weights.len()..weights.len() + 1));
                weights.push(1 << BITS);
            }
            return Self { of, weights };
        }
        let scale = inputs as f64 / outputs as f64;
        let stretch = scale.max(1.0);
        let support = radius(filter) * stretch;
        for at in wanted {
            let center = (at as f64 + 0.5) * scale;
            let first = ((center - support + 0.5).max(0.0)) as usize;
            let end = ((center + support + 0.5) as usize).min(inputs);
            let exact: Vec<f64> = (first..end).map(|i| kernel(filter, (i as f64 - center + 0.5) / stretch)).collect();
            let whole: f64 = exact.iter().sum();
            let start = weights.len();
            weights.extend(exact.iter().map(|w| {
                let scaled = if whole == 0.0 { *w } else { w / whole } * f64::from(1 << BITS);
                // Truncated behind half a step away from zero, as C converts it.
                (scaled + 0.5f64.copysign(scaled)) as i32
            }));
            of.push((first, start..weights.len()));
        }
        Self { of, weights }
    }

    /// What output `at` of those that were wanted is made of.
    fn of(&self, at: usize) -> (usize, &[i32]) {
        let (first, range) = &self.of[at];
        (*first, &self.weights[range.clone()])
    }

    /// The first input that any output is made of, and the end of the last.
    fn reach(&self) -> (usize, usize) {
        let ends = self.of.iter().map(|(first, range)| (*first, first + range.len()));
        ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0, 0))
    }
}

/// Where a kernel ends.
fn radius(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

fn kernel(filter: Filter, x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    match filter {
        Filter::Bilinear if x < 1.0 => 1.0 - x,
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: usize, height: usize, channels: usize) -> Pixels {
        let data = (0..width * height * channels).map(|i| (i * i * 31 % 257 % 256) as u8).collect();
        Pixels { width, height, channels, data }
    }

    fn whole(width: usize, height: usize) -> Window {
        Window { left: 0, top: 0, width, height }
    }

    #[test]
    fn a_part_is_that_part_of_the_whole() {
        let image = image(23, 17, 3);
        for size in [[40, 31], [9, 5], [23, 8]] {
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let all = resample(&image, size, whole(size[0], size[1]), filter);
                let window = Window { left: 2, top: 1, width: size[0] - 5, height: size[1] - 3 };
                let part = resample(&image, size, window, filter);
                for (y, row) in part.data.chunks(window.width * 3).enumerate() {
                    let at = ((y + window.top) * size[0] + window.left) * 3;
                    assert_eq!(row, &all.data[at..at + row.len()], "{size:?} {filter:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_flat_stays_flat_and_what_is_cubic_stays_within_8_bits() {
        let flat = Pixels { width: 7, height: 5, channels: 1, data: vec![200; 35] };
        let edge = Pixels { width: 8, height: 1, channels: 1, data: vec![0, 0, 0, 0, 255, 255, 255, 255] };
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            assert!(resample(&flat, [13, 2], whole(13, 2), filter).data.iter().all(|&p| p == 200));
            let sharp = resample(&edge, [20, 1], whole(20, 1), filter).data;
            assert!(sharp[..3].iter().all(|&p| p == 0) && sharp[17..].iter().all(|&p| p == 255), "{sharp:?}");
        }
    }
}
