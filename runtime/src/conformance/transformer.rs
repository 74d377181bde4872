//! What transformers need beside products, in f64; and attention at the sizes that they have.

use super::reference::{Expected, TOLERANCE};
use crate::artifact::{Artifact, Layer, Model, Op, TensorData};

/// Each pixel's channels less their mean over their deviation, by `tables` of scales and shifts.
pub(super) fn layer_norm(x: &[Expected], [channels, height, width]: [usize; 3], tables: &[Vec<f64>; 2], eps: f64) -> Vec<Expected> {
    let (pixels, count) = (height * width, channels as f64);
    let mut y = vec![Expected::default(); x.len()];
    for at in (0..x.len()).filter(|at| at / pixels % channels == 0) {
        let row = || (0..channels).map(|c| &x[at + c * pixels]);
        let mean = row().map(|x| x.value).sum::<f64>() / count;
        let deviation = (row().map(|x| (x.value - mean).powi(2)).sum::<f64>() / count + eps).sqrt();
        // What a sum of the row may be off by, then each difference from the mean, then their root mean square.
        let size = row().map(|x| x.value.abs()).sum::<f64>() / count;
        let off = row().fold(0f64, |m, x| m.max(x.tolerance)) + TOLERANCE * size;
        for (c, x) in row().enumerate() {
            let normal = (x.value - mean) / deviation;
            let value = normal * tables[0][c] + tables[1][c];
            let relative = (x.tolerance + off + TOLERANCE * x.value.abs()) / deviation + normal.abs() * (2.0 * off / deviation + TOLERANCE);
            let tolerance = tables[0][c].abs() * relative + TOLERANCE * (value.abs() + tables[1][c].abs());
            y[at + c * pixels] = Expected { value, tolerance };
        }
    }
    y
}

/// Attention of one value of queries, keys and values, or of three.
pub(super) fn attention(inputs: &[(&[Expected], [usize; 3])], to: [usize; 3], heads: usize, scale: f64) -> Vec<Expected> {
    let (inner, queries) = (to[0], to[1] * to[2]);
    let size = inner / heads;
    // Sample, channel and pixel of queries, keys or values.
    let at = |which: usize, sample: usize, channel: usize, pixel: usize| {
        let (values, [channels, height, width]) = inputs[which.min(inputs.len() - 1)];
        let channel = if inputs.len() == 1 { which * inner + channel } else { channel };
        values[(sample * channels + channel) * height * width + pixel]
    };
    let keys = inputs[inputs.len() / 2].1[1..].iter().product::<usize>();
    let samples = inputs[0].0.len() / inputs[0].1.iter().product::<usize>();
    let mut y = vec![Expected::default(); samples * inner * queries];
    for (sample, head, query) in (0..samples * heads * queries).map(|n| (n / queries / heads, n / queries % heads, n % queries)) {
        let scores: Vec<Expected> = (0..keys)
            .map(|key| {
                let mut sum = Expected::default();
                for c in head * size..(head + 1) * size {
                    let (q, k) = (at(0, sample, c, query), at(1, sample, c, key));
                    sum.value += scale * q.value * k.value;
                    let off = q.value.abs() * k.tolerance + q.tolerance * (k.value.abs() + k.tolerance);
                    sum.tolerance += scale.abs() * (off + TOLERANCE * (q.value * k.value).abs());
                }
                sum
            })
            .collect();
        let largest = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(s.value));
        let total: f64 = scores.iter().map(|s| (s.value - largest).exp()).sum();
        let off = scores.iter().fold(0f64, |m, s| m.max(s.tolerance));
        for c in head * size..(head + 1) * size {
            let mut sum = Expected::default();
            for (key, s) in scores.iter().enumerate() {
                let (v, below) = (at(2, sample, c, key), s.value - largest);
                let p = below.exp() / total;
                // Every share of a softmax moves by as much as the scores do, twice, and an exponential by its rounded argument.
                let relative = 2.0 * off + TOLERANCE * (2.0 - below);
                sum.value += p * v.value;
                sum.tolerance += p * (v.tolerance + (relative.exp_m1() + TOLERANCE) * v.value.abs());
            }
            y[(sample * inner + c) * queries + query] = sum;
        }
    }
    y
}

/// The table, and the pixels behind its first rows.
pub(super) fn embed(x: &[Expected], from: [usize; 3], to: [usize; 3], table: &[f32]) -> Vec<Expected> {
    let (pixels, tokens) = (from[1] * from[2], to[1] * to[2]);
    let one = |n: usize| {
        let (line, token) = (n / tokens, n % tokens);
        let own = f64::from(table[line % to[0] * tokens + token]);
        let x = (token + pixels).checked_sub(tokens).map_or(Expected::default(), |p| x[line * pixels + p]);
        Expected { value: own + x.value, tolerance: x.tolerance + TOLERANCE * (own.abs() + x.value.abs()) }
    };
    (0..x.len() / pixels * tokens).map(one).collect()
}

/// A network of one operation.
pub(crate) fn network(input: [usize; 3], op: Op, tensors: Vec<TensorData>) -> Artifact {
    let model = Model::new("case", &input.map(|n| n as u32), vec![Layer { name: "op".into(), inputs: vec![0], op }]);
    Artifact::build(model, tensors).unwrap()
}

#[cfg(test)]
mod tests {
    use super::super::cases::Draw;
    use super::super::{devices, reference};
    use super::network;
    use crate::artifact::{Artifact, Op, TensorData};
    use crate::{Device, Options, Session};

    /// Runs on poisoned buffers, twice, against f64.
    fn check(device: &Device, artifact: &Artifact, batch: usize, input: &[f32]) {
        let expected = reference::run(artifact, input);
        let mut session = Session::new(device, artifact, &Options { batch, ..Options::default() }).unwrap();
        for _ in 0..2 {
            session.poison();
            let got = session.run(input).unwrap();
            let what = &artifact.model().layers[0].op;
            let shape = &artifact.input().value_shape;
            reference::compare(&expected, &got, artifact.output_len())
                .unwrap_or_else(|e| panic!("{what:?} of {shape:?}, batch {batch} on {}: {e}", device.info()));
        }
    }

    #[test]
    fn attention_agrees_with_f64_at_all_sizes() {
        let cases = [
            // Tokens, heads, channels of a head, samples.
            (1, 1, 16, 1),
            (1, 3, 64, 8),
            (2, 2, 32, 3),
            (5, 3, 16, 2),
            (16, 2, 128, 1),
            (17, 1, 128, 2),
            (49, 4, 24, 4),
            (64, 2, 64, 1),
            (65, 2, 48, 5),
            (65, 1, 18, 2),
            (127, 1, 1, 1),
            (129, 2, 33, 1),
            (196, 1, 80, 2),
            (197, 2, 64, 2),
            (257, 1, 260, 1),
            (577, 1, 64, 1),
            (577, 1, 16, 1),
        ];
        for device in devices() {
            for (key, &(tokens, heads, size, batch)) in (0u64..).zip(&cases) {
                let op = Op::Attention { heads, scale: (size as f32).sqrt().recip() };
                let artifact = network([3 * heads as usize * size, tokens, 1], op, vec![]);
                let input: Vec<f32> = Draw::new(key).values(batch * artifact.input_len()).iter().map(|x| 2.0 * x).collect();
                check(&device, &artifact, batch, &input);
            }
        }
    }

    /// Products of whole numbers are exact in f32, so that only the softmax is judged: scores to ±10⁷ in shares of 4, their
    /// largest anywhere in the row, in both directions.
    #[test]
    fn large_scores_do_not_overflow() {
        for device in devices() {
            for (tokens, offset) in [(7, 0.0), (200, 1024.0), (200, -1024.0)] {
                let (size, pixels) = (16, tokens);
                let artifact = network([3 * size, tokens, 1], Op::Attention { heads: 1, scale: 0.25 }, vec![]);
                let mut draw = Draw::new(tokens as u64);
                let mut whole = |by: f32| (draw.values(1)[0] * by).round();
                let mut input = vec![0.0; artifact.input_len()];
                for pixel in 0..pixels {
                    // One channel makes the scores large, another tells them apart.
                    input[pixel] = 1024.0;
                    input[pixels + pixel] = whole(3.0);
                    input[size * pixels + pixel] = 16.0 * offset;
                    input[(size + 1) * pixels + pixel] = whole(3.0);
                    (0..size).for_each(|c| input[(2 * size + c) * pixels + pixel] = whole(8.0));
                }
                check(&device, &artifact, 1, &input);
                let got = Session::new(&device, &artifact, &Options::default()).unwrap().run(&input).unwrap();
                assert!(got.iter().all(|x| x.is_finite()));
            }
        }
    }

    #[test]
    fn layer_norm_agrees_with_f64_at_all_sizes() {
        for device in devices() {
            for (key, &(channels, tokens, batch)) in
                (0u64..).zip(&[(1, 1, 1), (3, 5, 2), (48, 5, 8), (130, 17, 3), (384, 197, 1), (1023, 2, 1)])
            {
                let mut draw = Draw::new(key);
                let tensors = ["scale", "shift"].map(|name| TensorData::f32(name, &[channels], draw.values(channels)));
                for (eps, mean) in [(1e-6, 0.0), (1e-5, 30.0)] {
                    let artifact = network([channels, tokens, 1], Op::LayerNorm { scale: 0, shift: 1, eps }, tensors.to_vec());
                    let input: Vec<f32> = draw.values(batch * artifact.input_len()).iter().map(|x| 3.0 * x + mean).collect();
                    check(&device, &artifact, batch, &input);
                }
            }
        }
    }
}
