//! What transformers need beside products, for calibration on the host.

use rayon::prelude::*;

use super::folded::LayerNorm;
use super::host::Value;
use crate::graph::Attention;

/// Each pixel's channels less their mean, over their deviation, scaled and shifted.
pub(super) fn layer_norm(input: &Value, norm: &LayerNorm) -> Value {
    let (channels, pixels) = (input.shape[0], (input.shape[1] * input.shape[2]).max(1));
    let mut value = input.clone();
    value.data.par_chunks_mut((channels * pixels).max(1)).for_each(|image| {
        for at in 0..pixels {
            let row =
                |image: &[f32], f: &dyn Fn(f32) -> f32| (0..channels).map(|c| f(image[c * pixels + at])).sum::<f32>() / channels as f32;
            let mean = row(image, &|x| x);
            let k = (row(image, &|x| (x - mean) * (x - mean)) + norm.eps).sqrt().recip();
            for (c, (scale, shift)) in norm.scale.iter().zip(&norm.shift).enumerate() {
                let x = &mut image[c * pixels + at];
                *x = (*x - mean) * k * scale + shift;
            }
        }
    });
    value
}

/// Attention of one value of queries, keys and values, or of three; `None` for another number.
pub(super) fn attention(inputs: &[&Value], attention: &Attention) -> Option<Value> {
    let (queries, keys, values, inner) = match *inputs {
        [all] => (all, all, all, all.shape[0] / 3),
        [q, k, v] => (q, k, v, q.shape[0]),
        _ => return None,
    };
    let first = if inputs.len() == 1 { [0, inner, 2 * inner] } else { [0; 3] };
    let count = |v: &Value| v.shape[1] * v.shape[2];
    let (tokens, others) = (count(queries), count(keys));
    let size = inner / attention.heads.max(1);
    let mut data = vec![0.0; queries.images() * inner * tokens];
    data.par_chunks_mut((inner * tokens).max(1)).enumerate().for_each(|(i, out)| {
        // A channel of queries, keys or values: all its tokens.
        let line = |value: &Value, first: usize, c: usize| (first + c) * count(value)..(first + c + 1) * count(value);
        let (q, k, v) = (queries.image(i), keys.image(i), values.image(i));
        let mut scores = vec![0f32; others];
        for head in 0..attention.heads {
            for token in 0..tokens {
                scores.fill(0.0);
                for c in head * size..(head + 1) * size {
                    let by = attention.scale * q[line(queries, first[0], c)][token];
                    scores.iter_mut().zip(&k[line(keys, first[1], c)]).for_each(|(s, k)| *s += by * k);
                }
                let largest = scores.iter().fold(f32::NEG_INFINITY, |m, &s| m.max(s));
                scores.iter_mut().for_each(|s| *s = (*s - largest).exp());
                let sum: f32 = scores.iter().sum();
                for c in head * size..(head + 1) * size {
                    let dot: f32 = scores.iter().zip(&v[line(values, first[2], c)]).map(|(s, v)| s * v).sum();
                    out[c * tokens + token] = dot / sum;
                }
            }
        }
    });
    Some(Value { shape: [inner, queries.shape[1], queries.shape[2]], data })
}

/// The table, [tokens][channels], and the pixels behind its first rows.
pub(super) fn embed(input: &Value, table: &[f32]) -> Value {
    let [channels, height, width] = input.shape;
    let (pixels, tokens) = (height * width, table.len() / channels.max(1));
    let first = tokens.saturating_sub(pixels);
    let mut data = Vec::with_capacity(input.images() * table.len());
    for plane in 0..input.images() * channels {
        let own = |t: usize| table[t * channels + plane % channels];
        data.extend((0..first).map(own));
        data.extend((first..tokens).map(|t| own(t) + input.data[plane * pixels + t - first]));
    }
    Value { shape: if first == 0 { input.shape } else { [channels, tokens, 1] }, data }
}
