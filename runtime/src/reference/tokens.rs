//! What transformers need beside products.

use super::{Expected, TOLERANCE, Value};

/// Each pixel's channels less their mean over their deviation, scaled and shifted for each channel.
pub fn layer_norm(x: &Value, scale: &[f64], shift: &[f64], eps: f64) -> Value {
    let [channels, height, width] = x.image();
    let (pixels, count, all) = (height * width, channels as f64, &x.elements);
    let mut y = vec![Expected::default(); all.len()];
    for at in (0..all.len()).filter(|at| at / pixels % channels == 0) {
        let row = || (0..channels).map(|c| &all[at + c * pixels]);
        let mean = row().map(|x| x.value).sum::<f64>() / count;
        let deviation = (row().map(|x| (x.value - mean).powi(2)).sum::<f64>() / count + eps).sqrt();
        // What a sum of the row may be off by, then each difference from the mean, then their root mean square.
        let size = row().map(|x| x.value.abs()).sum::<f64>() / count;
        let off = row().fold(0f64, |m, x| m.max(x.tolerance)) + TOLERANCE * size;
        for (c, x) in row().enumerate() {
            let normal = (x.value - mean) / deviation;
            let value = normal * scale[c] + shift[c];
            let relative = (x.tolerance + off + TOLERANCE * x.value.abs()) / deviation + normal.abs() * (2.0 * off / deviation + TOLERANCE);
            let tolerance = scale[c].abs() * relative + TOLERANCE * (value.abs() + shift[c].abs());
            y[at + c * pixels] = Expected { value, tolerance };
        }
    }
    Value { shape: x.shape.clone(), elements: y }
}

/// Attention of one value of queries, keys and values, or of three.
pub fn attention(inputs: &[&Value], heads: usize, scale: f64) -> Value {
    let [all, height, width] = inputs[0].image();
    let (inner, queries) = (if inputs.len() == 1 { all / 3 } else { all }, height * width);
    let size = inner / heads;
    // Sample, channel and pixel of queries, keys or values.
    let at = |which: usize, sample: usize, channel: usize, pixel: usize| {
        let value = inputs[which.min(inputs.len() - 1)];
        let [channels, height, width] = value.image();
        let channel = if inputs.len() == 1 { which * inner + channel } else { channel };
        value.elements[(sample * channels + channel) * height * width + pixel]
    };
    let keys = inputs[inputs.len() / 2].image()[1..].iter().product::<usize>();
    let samples = inputs[0].samples().count();
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
    Value { shape: vec![inner, height, width], elements: y }
}

/// `table(channel, token)` of so many tokens, and the pixels behind its first ones.
pub fn embed(x: &Value, tokens: usize, table: &dyn Fn(usize, usize) -> f64) -> Value {
    let [channels, height, width] = x.image();
    let pixels = height * width;
    let one = |n: usize| {
        let (line, token) = (n / tokens, n % tokens);
        let own = table(line % channels, token);
        let x = (token + pixels).checked_sub(tokens).map_or(Expected::default(), |p| x.elements[line * pixels + p]);
        Expected { value: own + x.value, tolerance: x.tolerance + TOLERANCE * (own.abs() + x.value.abs()) }
    };
    let shape = if tokens == pixels { x.shape.clone() } else { vec![channels, tokens, 1] };
    Value { shape, elements: (0..x.elements.len() / pixels * tokens).map(one).collect() }
}
