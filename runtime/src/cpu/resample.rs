//! Weighted sums along an axis on the CPU.

use super::pieces::{Piece, Pieces};
use super::product::split_off;
use super::simd::vectorized;
use crate::plan::{ResampleStep, Slot};

/// A step, and from where it reads.
#[derive(Debug)]
pub(super) struct Resample {
    step: ResampleStep,
    /// Elements from one sample to the next; 0 where all read the first one.
    sample: usize,
    output: Slot,
}

impl Resample {
    pub(super) fn new(step: &ResampleStep, input: Slot, output: Slot) -> Self {
        Self { step: step.clone(), sample: if step.per_sample { input.stride() } else { 0 }, output }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        let ResampleStep { outer, inputs, inner, taps, indices, weights, .. } = &self.step;
        let (inner, taps, count) = (*inner, *taps, indices.len() / taps);
        let pieces = Pieces { len: outer * count * inner, stride: self.output.stride(), unit: inner, cost: taps };
        pieces.each(output, |_, Piece { sample, first, y }| {
            let x = &input[sample * self.sample..];
            vectorized(
                #[inline(always)]
                || {
                    if inner == 1 {
                        return elements(x, &self.step, first, y);
                    }
                    for (n, y) in (first / inner..).zip(y.chunks_exact_mut(inner)) {
                        let (x, at) = (&x[n / count * inputs * inner..][..inputs * inner], n % count * taps);
                        sum(x, &indices[at..][..taps], &weights[at..][..taps], y);
                    }
                },
            );
        });
    }
}

/// Outputs from `first` on where the axis is the innermost one. An element's neighbours lie elsewhere than the next one's: no vectors.
#[inline(always)]
fn elements(x: &[f32], step: &ResampleStep, first: usize, y: &mut [f32]) {
    let ResampleStep { inputs, taps, indices, weights, .. } = step;
    let count = indices.len() / taps;
    let (mut line, mut at, mut left) = (first / count, first % count, y);
    while !left.is_empty() {
        let len = (count - at).min(left.len());
        let (x, y) = (&x[line * inputs..][..*inputs], split_off(&mut left, len));
        let (indices, weights) = (&indices[at * taps..], &weights[at * taps..]);
        if *taps == 2 {
            for ((y, i), w) in y.iter_mut().zip(indices.chunks_exact(2)).zip(weights.chunks_exact(2)) {
                *y = w[0] * x[i[0] as usize] + w[1] * x[i[1] as usize];
            }
        } else {
            for ((y, i), w) in y.iter_mut().zip(indices.chunks_exact(*taps)).zip(weights.chunks_exact(*taps)) {
                *y = i.iter().zip(w).map(|(&i, w)| w * x[i as usize]).sum();
            }
        }
        (line, at) = (line + 1, 0);
    }
}

/// y = the sum of the lines of `x` at `indices`, as long as y, times `weights`.
#[inline(always)]
fn sum(x: &[f32], indices: &[u32], weights: &[f32], y: &mut [f32]) {
    let len = y.len();
    let line = |i: u32| &x[i as usize * len..][..len];
    let mut taps = indices.chunks_exact(2).zip(weights.chunks_exact(2)).enumerate();
    for (at, (i, w)) in &mut taps {
        let pair = line(i[0]).iter().zip(line(i[1]));
        if at == 0 {
            y.iter_mut().zip(pair).for_each(|(y, (a, b))| *y = w[0] * a + w[1] * b);
        } else {
            y.iter_mut().zip(pair).for_each(|(y, (a, b))| *y += w[0] * a + w[1] * b);
        }
    }
    if let (1, Some((&i, &w))) = (indices.len() % 2, indices.last().zip(weights.last())) {
        if indices.len() == 1 {
            y.fill(0.0);
        }
        y.iter_mut().zip(line(i)).for_each(|(y, x)| *y += w * x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_taps_along_any_axis() {
        for (outer, inputs, inner, taps, count) in
            [(2, 3, 1, 2, 5), (1, 4, 20, 1, 2), (3, 5, 7, 3, 4), (40, 30, 64, 2, 60), (2, 9, 4, 4, 3)]
        {
            let indices: Vec<u32> = (0..count * taps).map(|i| ((i * 5 + 1) % inputs) as u32).collect();
            let weights: Vec<f32> = (0..count * taps).map(|i| (i % 4) as f32 - 1.0).collect();
            let plain = |n: usize| Slot { buffer: 0, channels: n, height: 1, width: 1 };
            let (from, to) = (plain(outer * inputs * inner), plain(outer * count * inner));
            for per_sample in [true, false] {
                let (indices, weights) = (indices.clone(), weights.clone());
                let step = ResampleStep { outer, inputs, inner, taps, indices, weights, per_sample };
                let x: Vec<f32> = (0..2 * from.stride()).map(|i| (i % 91) as f32).collect();
                let mut y = vec![f32::NAN; 2 * to.stride()];
                Resample::new(&step, from, to).run(&x, &mut y);
                for (n, &got) in y.iter().enumerate() {
                    let (sample, at) = (n / to.stride(), n % to.stride());
                    let x = if per_sample { &x[sample * from.stride()..] } else { &x[..] };
                    let (o, i, k) = (at / inner / count, at / inner % count, at % inner);
                    let term = |t: usize| step.weights[i * taps + t] * x[(o * inputs + step.indices[i * taps + t] as usize) * inner + k];
                    assert_eq!(got, if at < to.len() { (0..taps).map(term).sum() } else { 0.0 });
                }
            }
        }
    }
}
