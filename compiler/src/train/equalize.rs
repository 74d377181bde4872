//! Scales of weights before a fine-tuning. What follows a weight directly as batch norm takes any scale out of it again, but
//! the scale decides what a learning rate does: a step turns such a weight by η/‖W‖² (van Laarhoven, arXiv 1706.05350), so
//! one that strong weight decay has left small is thrown over by a rate that is right for its neighbour. The same holds
//! between factors, whose product alone is given.

use crate::graph::{Graph, Op};
use crate::import::SUFFIXES;
use crate::tensor::{Params, Tensor};

/// The most that a channel grows beyond the median of its layer: one that is all but dead stays so.
const MOST_GROWTH: f32 = 10.0;

/// The same network with weights at scales of their own choice: each output channel of a weight that only a batch norm reads
/// has variance 1 there, and a layer's factors have one Frobenius norm. `params` are dense or in factors, running statistics
/// among them. In evaluation the network computes what it did, to rounding.
pub(super) fn equalized(graph: &Graph, params: &Params) -> Params {
    let mut params = params.clone();
    for (at, node) in graph.nodes.iter().enumerate() {
        if !matches!(node.op, Op::Conv2d(_) | Op::Linear(_)) {
            continue;
        }
        let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(&(at + 1)));
        if let (Some(reader), None) = (readers.next(), readers.next())
            && let Op::BatchNorm(norm) = &reader.op
        {
            scale_channels(&mut params, &node.name, &reader.name, norm.eps);
        }
        equalize_norms(&mut params, &node.name);
    }
    params
}

/// Gives each channel of layer `weight` variance 1 before the batch norm `norm`, whose statistics and scale follow.
fn scale_channels(params: &mut Params, weight: &str, norm: &str, eps: f32) {
    let of = |name: &str, suffix: &str| format!("{name}.{suffix}");
    let Some(variance) = params.get(&of(norm, "running_var")).map(|t| t.data().to_vec()) else { return };
    let wanted: Vec<f32> = variance.iter().map(|v| v.max(f32::MIN_POSITIVE).sqrt().recip()).collect();
    let mut sorted = wanted.clone();
    sorted.sort_by(f32::total_cmp);
    let Some(median) = sorted.get(sorted.len() / 2) else { return };
    let by: Vec<f32> = wanted.iter().map(|&s| s.min(median * MOST_GROWTH)).collect();
    // The factor that gives the outputs, or the weight itself; a bias is scaled along.
    for suffix in ["u", "weight", "bias"] {
        if let Some(t) = params.get_mut(&of(weight, suffix)).filter(|t| t.shape().first() == Some(&by.len())) {
            let row = t.data().len() / by.len();
            t.data_mut().chunks_mut(row.max(1)).zip(&by).for_each(|(row, s)| row.iter_mut().for_each(|x| *x *= s));
        }
    }
    let mut change = |suffix: &str, f: &dyn Fn(f32, f32, f32) -> f32| {
        let values = params.get_mut(&of(norm, suffix)).map(Tensor::data_mut).into_iter().flatten();
        values.zip(by.iter().zip(&variance)).for_each(|(x, (&s, &v))| *x = f(*x, s, v));
    };
    change("running_mean", &|x, s, _| x * s);
    change("running_var", &|x, s, _| x * s * s);
    // ε stays what it was, so its share of the variance must go over into the scale.
    change("weight", &|x, s, v| x * (s * s * v + eps).sqrt() / (s * (v + eps).sqrt()));
}

/// Gives a layer's factors one Frobenius norm, their product staying what it is.
fn equalize_norms(params: &mut Params, layer: &str) {
    let names: Vec<String> = SUFFIXES.iter().map(|s| format!("{layer}.{s}")).filter(|name| params.contains_key(name)).collect();
    let norms: Vec<f64> = names.iter().map(|name| params[name].data().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()).collect();
    if norms.iter().any(|n| !n.is_finite() || *n == 0.0) {
        return;
    }
    let even = (norms.iter().map(|n| n.ln()).sum::<f64>() / norms.len().max(1) as f64).exp();
    for (name, norm) in names.iter().zip(norms) {
        let by = (even / norm) as f32;
        params.get_mut(name).map(Tensor::data_mut).into_iter().flatten().for_each(|x| *x *= by);
    }
}

#[cfg(test)]
mod tests {
    use thinfer::artifact::Preprocess;

    use super::*;
    use crate::data::{Part, glyphs};
    use crate::graph::{self, Builder, Conv2d, Linear, Window};
    use crate::import::composed;
    use crate::train::logits;

    /// conv (factors) → norm → ReLU → conv → norm → pool → linear, with small weights and variances beside ε.
    fn network() -> (Graph, Params) {
        let mut b = Builder::new("net", [1, 28, 28]);
        let conv = |inputs, outputs| Op::Conv2d(Conv2d { inputs, outputs, window: Window::square(3, 2, 1), groups: 1, bias: inputs == 1 });
        let norm = |channels| Op::BatchNorm(graph::BatchNorm { channels, eps: 1e-5, momentum: 0.1 });
        b.push("a", conv(1, 6));
        b.push("an", norm(6));
        b.push("r", Op::Activation(graph::Activation::Relu));
        b.push("b", conv(6, 8));
        b.push("bn", norm(8));
        b.push("pool", Op::GlobalAvgPool);
        b.push("c", Op::Linear(Linear { inputs: 8, outputs: 10, bias: true }));
        let graph = b.finish().unwrap();
        let mut params = graph::init(&graph, 3);
        let small = |t: &mut Tensor, by: f32| t.data_mut().iter_mut().for_each(|x| *x *= by);
        small(params.get_mut("a.weight").unwrap(), 1e-2);
        small(params.get_mut("b.weight").unwrap(), 30.0);
        for (name, variance) in [("an", 2e-5), ("bn", 40.0)] {
            let values = params.get_mut(&format!("{name}.running_var")).unwrap();
            values.data_mut().iter_mut().zip(1..).for_each(|(x, i)| *x = variance * i as f32);
            params.get_mut(&format!("{name}.running_mean")).unwrap().data_mut().iter_mut().zip(1..).for_each(|(x, i)| *x = 1e-3 * i as f32);
        }
        // b in factors of rank 3, one much larger than the other.
        let weight = params.remove("b.weight").unwrap();
        let u = Tensor::new([8, 3, 1, 1], (0..24).map(|i| 100.0 * ((i * 7 % 11) as f32 - 5.0)).collect()).unwrap();
        let v = Tensor::new([3, 6, 3, 3], weight.data()[..162].iter().map(|x| x * 1e-3).collect()).unwrap();
        params.extend([("b.u".to_string(), u), ("b.v".to_string(), v)]);
        (graph, params)
    }

    #[test]
    fn another_scale_is_the_same_network() {
        let (graph, params) = network();
        let even = equalized(&graph, &params);
        let data = glyphs::generate(Part::Test, 40, 1);
        let run = |p: &Params| logits(&graph, &composed(&graph, p).unwrap(), &Preprocess::default(), &data).unwrap();
        let (before, after) = (run(&params), run(&even));
        let largest = before.iter().fold(0f32, |m, x| m.max(x.abs()));
        assert!(largest > 0.0);
        for (a, b) in before.iter().zip(&after) {
            assert!((a - b).abs() <= 1e-5 * largest, "{a} {b}");
        }
        let norm = |name: &str| even[name].data().iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm("b.u") / norm("b.v") - 1.0).abs() < 1e-5);
        assert!(even["an.running_var"].data().iter().chain(even["bn.running_var"].data()).all(|v| (v - 1.0).abs() < 1e-5));
        assert_ne!(even["a.bias"], params["a.bias"]);
    }

    #[test]
    fn a_dead_channel_stays_small() {
        let (graph, mut params) = network();
        params.get_mut("an.running_var").unwrap().data_mut()[2] = 0.0;
        let even = equalized(&graph, &params);
        assert!(even.values().all(|t| t.data().iter().all(|x| x.is_finite())));
        let rows: Vec<f32> = even["a.weight"].data().chunks(9).map(|r| r.iter().map(|x| x.abs()).sum()).collect();
        let before: Vec<f32> = params["a.weight"].data().chunks(9).map(|r| r.iter().map(|x| x.abs()).sum()).collect();
        let mut growth: Vec<f32> = rows.iter().zip(&before).map(|(a, b)| a / b).collect();
        let dead = growth.remove(2);
        growth.sort_by(f32::total_cmp);
        assert!(dead <= 10.01 * growth[3], "{dead} {growth:?}");
    }
}
