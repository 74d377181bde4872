//! Operations that are made of others, from their files to the arrays that they give, against values computed here by definition.

use std::path::Path;

use prost::Message;
use thinfer::artifact::Dtype;
use thinfer::{ArrayView, Device, Options, Session};

use super::hostile::{node, tensor, value};
use super::proto::*;
use super::read;
use crate::error::Result;
use crate::import::Checkpoint;
use crate::lower::{self, Factored};
use crate::rank::Policy;

/// A network of one input x.
struct Net {
    opset: i64,
    input: ValueInfoProto,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    outputs: Vec<&'static str>,
}

impl Net {
    fn new(opset: i64, shape: &[i64], outputs: &[&'static str]) -> Self {
        Self { opset, input: value("x", shape), nodes: Vec::new(), constants: Vec::new(), outputs: outputs.to_vec() }
    }

    fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> Self {
        let mut made = node(op.rsplit('.').next().unwrap(), outputs[0], inputs, outputs);
        made.domain = op.rsplit_once('.').map(|(domain, _)| domain.to_string());
        made.attribute = attributes;
        self.nodes.push(made);
        self
    }

    fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.constants.push(tensor(name, dims, values));
        self
    }

    fn ints(mut self, name: &str, dims: &[i64], values: &[i64]) -> Self {
        self.constants.push(ints(name, dims, values));
        self
    }

    fn read(&self) -> Result<Checkpoint> {
        let output = self.outputs.iter().map(|name| value(name, &[])).collect();
        let graph = GraphProto {
            node: self.nodes.clone(),
            initializer: self.constants.clone(),
            input: vec![self.input.clone()],
            output,
            sparse_initializer: vec![],
        };
        let opset_import = vec![
            OperatorSetIdProto { domain: None, version: Some(self.opset) },
            OperatorSetIdProto { domain: Some("com.microsoft".into()), version: Some(1) },
        ];
        let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() };
        read(Path::new("net.onnx"), model.encode_to_vec(), &[]).map(|(checkpoint, _)| checkpoint)
    }

    /// The outputs for x.
    fn run(&self, x: &[f32]) -> Vec<Vec<f32>> {
        let checkpoint = self.read().unwrap_or_else(|e| panic!("{e}"));
        let graph = checkpoint.meta.graph.clone().unwrap();
        let options = lower::Options { dense_only: true, ..Default::default() };
        let factored = Factored::new(&graph, &checkpoint, options, &|_, _, _| ()).unwrap();
        let artifact = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense).unwrap(), Dtype::F32, false).unwrap();
        let mut session = Session::new(&Device::cpu(), &artifact, &Options { cache: None, ..Options::default() }).unwrap();
        session.poison();
        let outputs = session.run(&[("x", ArrayView::from(x))]).unwrap();
        self.outputs.iter().map(|name| outputs.f32(name).unwrap().to_vec()).collect()
    }

    /// What is said of a network that is refused.
    fn refused(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto { name: Some(name.into()), dims: dims.to_vec(), data_type: Some(7), raw_data: Some(raw.into()), ..TensorProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(i), r#type: Some(2), ..Default::default() }
}

fn list(name: &str, v: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints: v.to_vec(), r#type: Some(7), ..Default::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), f: Some(f), r#type: Some(1), ..Default::default() }
}

fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: Some(name.into()), s: Some(s.as_bytes().to_vec().into()), r#type: Some(3), ..Default::default() }
}

fn graph(name: &str, inputs: &[&str], nodes: Vec<NodeProto>, constants: Vec<TensorProto>, outputs: &[&str]) -> AttributeProto {
    let ends = |names: &[&str]| names.iter().map(|n| value(n, &[])).collect();
    let graph = GraphProto { node: nodes, initializer: constants, input: ends(inputs), output: ends(outputs), sparse_initializer: vec![] };
    AttributeProto { name: Some(name.into()), g: Some(graph.encode_to_vec().into()), r#type: Some(5), ..Default::default() }
}

/// Numbers between −1 and 1 without an order.
fn some(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0).collect()
}

#[track_caller]
fn assert_close(got: &[f32], expected: impl IntoIterator<Item = f64>) {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(got.len(), expected.len());
    for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
        let same = g.is_nan() && e.is_nan() || f64::from(*g) == *e;
        assert!(same || (f64::from(*g) - e).abs() <= 2e-6 * (1.0 + e.abs()), "element {i}: {g}, expected {e}");
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

#[test]
fn inputs_and_constants_are_outputs() {
    let net = Net::new(17, &[2, 3], &["x", "same", "k", "masks"])
        .node("Identity", &["x"], &["same"], vec![])
        .floats("k", &[2], &[1.5, -2.0])
        .floats("masks", &[3], &[0.0, f32::NEG_INFINITY, f32::INFINITY]);
    let got = net.run(&some(6));
    assert_eq!(got[0], some(6));
    assert_eq!(got[1], some(6));
    assert_eq!(got[2], [1.5, -2.0]);
    assert_eq!(got[3], [0.0, f32::NEG_INFINITY, f32::INFINITY]);
    let large = Net::new(17, &[2, 3], &["x", "k"]).ints("k", &[1], &[(1 << 24) + 1]);
    assert!(large.refused().contains("not held exactly"), "{}", large.refused());
}

#[test]
fn a_computed_condition_chooses_between_both_branches() {
    let yes = graph("then_branch", &[], vec![node("Mul", "twice", &["x", "k"], &["o"])], vec![tensor("k", &[1], &[2.0])], &["o"]);
    let no = graph("else_branch", &[], vec![node("Neg", "", &["x"], &["o"])], vec![], &["o"]);
    let net = Net::new(17, &[1, 3], &["y"])
        .node("ReduceSum", &["x"], &["s"], vec![int("keepdims", 0)])
        .floats("zero", &[], &[0.0])
        .node("Greater", &["s", "zero"], &["c"], vec![])
        .node("If", &["c"], &["y"], vec![yes, no]);
    assert_eq!(net.run(&[1.0, 2.0, -0.5])[0], [2.0, 4.0, -1.0]);
    assert_eq!(net.run(&[1.0, -2.0, -0.5])[0], [-1.0, 2.0, 0.5]);
    let wider = graph("else_branch", &[], vec![node("Concat", "", &["x", "x"], &["o"])], vec![], &["o"]);
    let mut odd = net;
    odd.nodes[2].attribute[1] = wider;
    assert!(odd.refused().contains("If 'y'"), "{}", odd.refused());
}

#[test]
fn later_outputs_are_given_within_branches_too() {
    // The last hidden state alone is read.
    let w = [0.5, -1.0, 2.0, 0.25];
    let nodes = vec![
        node("Reshape", "", &["x", "steps"], &["s"]),
        NodeProto { attribute: vec![int("hidden_size", 2)], ..node("RNN", "", &["s", "w", "r"], &["all", "h"]) },
        node("Squeeze", "", &["h", "first"], &["o"]),
    ];
    let constants =
        vec![ints("steps", &[3], &[1, 1, 2]), tensor("w", &[1, 2, 2], &w), tensor("r", &[1, 2, 2], &[1.0; 4]), ints("first", &[1], &[0])];
    let yes = graph("then_branch", &[], nodes, constants, &["o"]);
    let no = graph("else_branch", &[], vec![node("Neg", "", &["x"], &["o"])], vec![], &["o"]);
    let net = Net::new(17, &[1, 2], &["y"])
        .node("ReduceSum", &["x"], &["t"], vec![int("keepdims", 0)])
        .floats("zero", &[], &[0.0])
        .node("Greater", &["t", "zero"], &["c"], vec![])
        .node("If", &["c"], &["y"], vec![yes, no]);
    let x = [0.75f32, 0.5];
    assert_close(&net.run(&x)[0], w.chunks(2).map(|w| f64::from(w[0] * x[0] + w[1] * x[1]).tanh()));
    assert_eq!(net.run(&[-0.75, 0.5])[0], [0.75, -0.5]);
}

#[test]
fn loops_of_known_turns_and_scans_are_written_out() {
    // v ← v·x + turn, four times; each v is given, too.
    let nodes = vec![
        node("Mul", "", &["v", "x"], &["p"]),
        NodeProto { attribute: vec![int("to", 1)], ..node("Cast", "", &["i"], &["f"]) },
        node("Add", "", &["p", "f"], &["w"]),
        node("Identity", "", &["go"], &["on"]),
        node("Identity", "", &["w"], &["row"]),
    ];
    let body = graph("body", &["i", "go", "v"], nodes, vec![], &["on", "w", "row"]);
    let mut truth = tensor("true", &[], &[]);
    (truth.data_type, truth.raw_data) = (Some(9), Some(vec![1u8].into()));
    let mut net =
        Net::new(17, &[1, 2], &["last", "all"]).ints("four", &[], &[4]).node("Loop", &["four", "true", "x"], &["last", "all"], vec![body]);
    net.constants.push(truth);
    let x = [0.5f32, -1.25];
    let mut v = wide(&x);
    let mut rows = Vec::new();
    for turn in 0..4 {
        v = v.iter().zip(&x).map(|(v, x)| v * f64::from(*x) + f64::from(turn)).collect();
        rows.extend(v.clone());
    }
    let got = net.run(&x);
    assert_close(&got[0], v);
    assert_close(&got[1], rows);
    // Sums along the axis, from its end.
    let nodes = vec![node("Add", "", &["s", "e"], &["t"]), node("Identity", "", &["t"], &["u"])];
    let body = graph("body", &["s", "e"], nodes, vec![], &["t", "u"]);
    let net = Net::new(17, &[1, 3, 2], &["sum", "sums"]).floats("zero", &[1, 2], &[0.0, 0.0]).node(
        "Scan",
        &["zero", "x"],
        &["sum", "sums"],
        vec![body, int("num_scan_inputs", 1), list("scan_input_axes", &[1]), list("scan_input_directions", &[1])],
    );
    let got = net.run(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(got, [vec![9.0, 12.0], vec![5.0, 6.0, 8.0, 10.0, 9.0, 12.0]]);
}

/// Softmax of rows of scores.
fn softmax(scores: &[f64]) -> Vec<f64> {
    let most = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(*s));
    let powers: Vec<f64> = scores.iter().map(|s| if *s == f64::NEG_INFINITY { 0.0 } else { (s - most).exp() }).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| if sum > 0.0 { p / sum } else { 0.0 }).collect()
}

#[test]
fn attention_sees_what_its_mask_and_order_allow() {
    // Four heads of queries for two of keys, 3 tokens, causal, capped, and a mask by which the second query sees nothing.
    let (heads, key_heads, tokens, size) = (4, 2, 3, 2);
    let mask = [0.0, f32::NEG_INFINITY, 0.5, f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0, 0.25, 0.0, -1.0];
    let net = Net::new(23, &[1, 3, 8], &["y"])
        .floats("wk", &[8, 4], &some(32))
        .node("MatMul", &["x", "wk"], &["k"], vec![])
        .floats("m", &[3, 3], &mask)
        .node(
            "Attention",
            &["x", "k", "k", "m"],
            &["y"],
            vec![int("is_causal", 1), int("q_num_heads", 4), int("kv_num_heads", 2), float("softcap", 1.5)],
        );
    let x = some(24);
    let w = wide(&some(32));
    let k: Vec<f64> = (0..12).map(|n| (0..8).map(|i| f64::from(x[n / 4 * 8 + i]) * w[i * 4 + n % 4]).sum()).collect();
    let mut expected = vec![0.0; 24];
    for h in 0..heads {
        let kh = h / (heads / key_heads);
        for t in 0..tokens {
            let scores: Vec<f64> = (0..tokens)
                .map(|u| {
                    let dot: f64 = (0..size).map(|c| f64::from(x[t * 8 + h * size + c]) * k[u * 4 + kh * size + c]).sum();
                    let capped = 1.5 * (dot / 2f64.sqrt() / 1.5).tanh();
                    if u > t { f64::NEG_INFINITY } else { capped + f64::from(mask[t * 3 + u]) }
                })
                .collect();
            let shares = softmax(&scores);
            for c in 0..size {
                expected[t * 8 + h * size + c] = (0..tokens).map(|u| shares[u] * k[u * 4 + kh * size + c]).sum();
            }
        }
    }
    assert_close(&net.run(&x)[0], expected);
}

#[test]
fn rotary_positions_turn_pairs_of_channels() {
    let angles = [0.3f32, -0.7, 1.1, 0.2];
    let table = |f: fn(f32) -> f32| angles.iter().map(|a| f(*a)).collect::<Vec<f32>>();
    let x = some(8);
    for interleaved in [false, true] {
        let net = Net::new(23, &[1, 2, 4], &["y"])
            .floats("cos", &[1, 2, 2], &table(f32::cos))
            .floats("sin", &[1, 2, 2], &table(f32::sin))
            .node("RotaryEmbedding", &["x", "cos", "sin"], &["y"], vec![int("num_heads", 1), int("interleaved", interleaved.into())]);
        let mut expected = vec![0.0; 8];
        for t in 0..2 {
            for pair in 0..2 {
                let (a, b) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + 2) };
                let (c, s) = (f64::from(angles[t * 2 + pair].cos()), f64::from(angles[t * 2 + pair].sin()));
                let (p, q) = (f64::from(x[t * 4 + a]), f64::from(x[t * 4 + b]));
                (expected[t * 4 + a], expected[t * 4 + b]) = (c * p - s * q, s * p + c * q);
            }
        }
        assert_close(&net.run(&x)[0], expected);
    }
}

#[test]
fn losses_leave_out_what_is_ignored() {
    // Two images of three classes over two pixels, one of which is ignored, by a class that does not exist.
    let net = |op: &str, reduction: &str| {
        Net::new(17, &[2, 3, 2], &["y"]).ints("t", &[2, 2], &[2, 0, -1, 1]).floats("w", &[3], &[0.5, 2.0, 1.0]).node(
            op,
            &["x", "t", "w"],
            &["y"],
            vec![int("ignore_index", -1), text("reduction", reduction)],
        )
    };
    let x = wide(&some(12));
    let picked = |log: &[f64]| [-log[4], -log[1] * 0.5, 0.0, -log[6 + 2 + 1] * 2.0];
    let logs: Vec<f64> = (0..12)
        .map(|n| {
            let (image, pixel) = (n / 6, n % 2);
            let sum: f64 = (0..3).map(|c| x[image * 6 + c * 2 + pixel].exp()).sum();
            x[n] - sum.ln()
        })
        .collect();
    for (op, log) in [("NegativeLogLikelihoodLoss", &x), ("SoftmaxCrossEntropyLoss", &logs)] {
        let each = picked(log);
        let sum: f64 = each.iter().sum();
        assert_close(&net(op, "none").run(&some(12))[0], each);
        assert_close(&net(op, "sum").run(&some(12))[0], [sum]);
        assert_close(&net(op, "mean").run(&some(12))[0], [sum / 3.5]);
    }
    let mut beyond = net("NegativeLogLikelihoodLoss", "sum");
    beyond.constants[0] = ints("t", &[2, 2], &[3, 0, -1, 1]);
    assert!(beyond.refused().contains("beyond its 3 classes"), "{}", beyond.refused());
}

#[test]
fn windows_go_over_three_axes_and_several_images() {
    // Two images of two channels, 3×3×2, fixed: no axis of samples where the output sums over them.
    let x = some(2 * 2 * 18);
    let at = |n: usize, c: usize, p: [i64; 3]| -> Option<f64> {
        let inside = (0..3).all(|i| (0..[3, 3, 2][i]).contains(&p[i]));
        inside.then(|| f64::from(x[((n * 2 + c) * 9 + (p[0] * 3 + p[1]) as usize) * 2 + p[2] as usize]))
    };
    let w = some(3 * 2 * 8);
    let base = |op: &str, inputs: &[&str], attributes: Vec<AttributeProto>| {
        Net::new(17, &[2, 2, 3, 3, 2], &["y"]).floats("w", &[3, 2, 2, 2, 2], &w).floats("b", &[3], &[0.5, -1.0, 2.0]).node(
            op,
            inputs,
            &["y"],
            attributes,
        )
    };
    let pads = || list("pads", &[1, 0, 1, 0, 1, 0]);
    let mut expected = Vec::new();
    for n in 0..2 {
        for m in 0..3 {
            for place in 0..3 * 3 * 2 {
                let p = [place / 6, place / 2 % 3, place % 2].map(|v| v as i64);
                let mut sum = [0.5, -1.0, 2.0][m];
                for c in 0..2 {
                    for k in 0..8 {
                        let q = [p[0] - 1 + k / 4, p[1] + k / 2 % 2, p[2] - 1 + k % 2];
                        sum += at(n, c, q).unwrap_or(0.0) * f64::from(w[(m * 2 + c) * 8 + k as usize]);
                    }
                }
                expected.push(sum);
            }
        }
    }
    assert_close(&base("Conv", &["x", "w", "b"], vec![pads()]).run(&x)[0], expected);
    let windows = |f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
        let mut all = Vec::new();
        for n in 0..2 {
            for c in 0..2 {
                for place in 0..3 * 3 * 2 {
                    let p = [place / 6, place / 2 % 3, place % 2].map(|v| v as i64);
                    let seen: Vec<f64> = (0..8).filter_map(|k| at(n, c, [p[0] - 1 + k / 4, p[1] + k / 2 % 2, p[2] - 1 + k % 2])).collect();
                    all.push(f(&seen));
                }
            }
        }
        all
    };
    let pool = |op: &str, more: Vec<AttributeProto>| base(op, &["x"], [vec![pads(), list("kernel_shape", &[2, 2, 2])], more].concat());
    assert_close(&pool("MaxPool", vec![]).run(&x)[0], windows(&|s| s.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v))));
    assert_close(&pool("AveragePool", vec![]).run(&x)[0], windows(&|s| s.iter().sum::<f64>() / s.len() as f64));
    assert_close(&pool("AveragePool", vec![int("count_include_pad", 1)]).run(&x)[0], windows(&|s| s.iter().sum::<f64>() / 8.0));
    assert_close(&pool("LpPool", vec![int("p", 3)]).run(&x)[0], windows(&|s| s.iter().map(|v| v.abs().powi(3)).sum::<f64>().cbrt()));
}

#[test]
fn transposed_convolutions_spread_what_convolutions_gather() {
    // Along one axis, by strides of 2 and dilated: y[2i + 2k − 1] += x[i]·w[k], two groups.
    let (x, w) = (some(8), some(2 * 2 * 3));
    let net = Net::new(17, &[1, 2, 4], &["y"]).floats("w", &[2, 2, 1, 3], &w).node("Unsqueeze", &["x", "axis"], &["u"], vec![]).ints(
        "axis",
        &[1],
        &[2],
    );
    let net = net.node("Unsqueeze", &["u", "axis"], &["v"], vec![]).floats("w5", &[2, 2, 1, 1, 3], &w).node(
        "ConvTranspose",
        &["v", "w5"],
        &["y"],
        vec![int("group", 2), list("strides", &[1, 1, 2]), list("dilations", &[1, 1, 2]), list("pads", &[0, 0, 1, 0, 0, 1])],
    );
    let mut expected = vec![0.0; 4 * 9];
    for g in 0..2 {
        for o in 0..2 {
            for (i, k) in (0..4).flat_map(|i| (0..3).map(move |k| (i, k))) {
                if let Some(at) = (2usize * i + 2 * k).checked_sub(1).filter(|at| *at < 9) {
                    expected[(g * 2 + o) * 9 + at] += f64::from(x[g * 4 + i]) * f64::from(w[(g * 2 + o) * 3 + k]);
                }
            }
        }
    }
    assert_close(&net.run(&x)[0], expected);
}

#[test]
fn a_grid_reads_an_image_between_its_pixels() {
    // A 2×3 image at places within, between and beyond its pixels; the corners are at −1 and 1.
    let x = some(6);
    let grid = [-1.0f32, -1.0, 0.5, 0.25, 1.5, -0.5, -0.2, 1.0];
    let net = |mode: &str, padding: &str| {
        Net::new(20, &[1, 1, 2, 3], &["y"]).floats("g", &[1, 1, 4, 2], &grid).node(
            "GridSample",
            &["x", "g"],
            &["y"],
            vec![text("mode", mode), text("padding_mode", padding), int("align_corners", 1)],
        )
    };
    let places: Vec<[f64; 2]> = grid.chunks(2).map(|p| [(f64::from(p[1]) + 1.0) / 2.0, f64::from(p[0]) + 1.0]).collect();
    let pixel = |r: i64, c: i64| if (0..2).contains(&r) && (0..3).contains(&c) { f64::from(x[(r * 3 + c) as usize]) } else { 0.0 };
    let linear = |[r, c]: [f64; 2]| -> f64 {
        let (r0, c0) = (r.floor(), c.floor());
        (0..4)
            .map(|k| {
                let (i, j) = (r0 + f64::from(k / 2), c0 + f64::from(k % 2));
                (1.0 - (r - i).abs()) * (1.0 - (c - j).abs()) * pixel(i as i64, j as i64)
            })
            .sum()
    };
    assert_close(&net("linear", "zeros").run(&x)[0], places.iter().map(|p| linear(*p)));
    let border = |[r, c]: [f64; 2]| [r.clamp(0.0, 1.0), c.clamp(0.0, 2.0)];
    assert_close(&net("linear", "border").run(&x)[0], places.iter().map(|p| linear(border(*p))));
    // 1.5 is column 2.5, which is 1.5 again.
    let reflected = |[r, c]: [f64; 2]| [r, if c > 2.0 { 4.0 - c } else { c }];
    assert_close(&net("linear", "reflection").run(&x)[0], places.iter().map(|p| linear(reflected(*p))));
    let nearest = |[r, c]: [f64; 2]| pixel(r.round_ties_even() as i64, c.round_ties_even() as i64);
    assert_close(&net("nearest", "zeros").run(&x)[0], places.iter().map(|p| nearest(*p)));
}

#[test]
fn elements_are_put_where_constant_indices_say() {
    let elements = |reduction: &str, indices: &[i64]| {
        Net::new(18, &[1, 3, 2], &["y"]).ints("i", &[1, 2, 2], indices).floats("u", &[1, 2, 2], &[10.0, 20.0, 30.0, 40.0]).node(
            "ScatterElements",
            &["x", "i", "u"],
            &["y"],
            vec![int("axis", 1), text("reduction", reduction)],
        )
    };
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(elements("none", &[2, 0, 0, -1]).run(&x)[0], [30.0, 20.0, 3.0, 4.0, 10.0, 40.0]);
    assert_eq!(elements("add", &[1, 1, 1, 2]).run(&x)[0], [1.0, 2.0, 43.0, 24.0, 5.0, 46.0]);
    assert!(elements("none", &[1, 1, 1, 2]).refused().contains("does not say which stays"));
    let rows = Net::new(18, &[1, 3, 2], &["y", "z"])
        .ints("i", &[2, 2], &[0, 2, 0, 0])
        .floats("u", &[2, 2], &[7.0, 8.0, 9.0, 10.0])
        .node("ScatterND", &["x", "i", "u"], &["y"], vec![])
        .node("GatherND", &["x", "i"], &["z"], vec![]);
    assert_eq!(rows.run(&x), [vec![9.0, 10.0, 3.0, 4.0, 7.0, 8.0], vec![5.0, 6.0, 1.0, 2.0]]);
}

#[test]
fn integers_stand_for_floats_as_far_as_those_hold_them() {
    let byte = |name: &str, dims: &[i64], values: &[u8]| TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(2),
        raw_data: Some(values.to_vec().into()),
        ..TensorProto::default()
    };
    // x/0.1 is rounded to even and held within a byte; there and back again.
    let mut net = Net::new(21, &[1, 5], &["q", "y"])
        .floats("s", &[], &[0.5])
        .node("QuantizeLinear", &["x", "s", "z"], &["q"], vec![])
        .node("DequantizeLinear", &["q", "s", "z"], &["y"], vec![]);
    net.constants.push(byte("z", &[], &[3]));
    let got = net.run(&[0.25, 0.75, -0.25, 1000.0, -1000.0]);
    assert_eq!(got[0], [3.0, 5.0, 3.0, 255.0, 0.0]);
    assert_eq!(got[1], [0.0, 1.0, 0.0, 126.0, -1.5]);
    let product = |inner: i64| {
        let mut net = Net::new(21, &[1, inner], &["y"])
            .floats("s", &[], &[0.5])
            .node("QuantizeLinear", &["x", "s", "z"], &["q"], vec![])
            .node("MatMulInteger", &["q", "w", "z"], &["y"], vec![]);
        net.constants.extend([byte("z", &[], &[3]), byte("w", &[inner, 1], &vec![200; inner as usize])]);
        net
    };
    assert_eq!(product(2).run(&[1.0, -1.5])[0], [(2.0 - 3.0) * 200.0]);
    assert!(product(400).refused().contains("beyond 2^24"), "{}", product(400).refused());
}

#[test]
fn integers_whose_range_is_known_are_added_and_multiplied() {
    // The largest element and its neighbours, −∞ beyond the ends.
    let neighbours = |steps: &[i64]| {
        Net::new(18, &[1, 5], &["y"])
            .ints("steps", &[1, steps.len() as i64], steps)
            .ints("one", &[], &[1])
            .ints("around", &[4], &[0, 1, 0, 1])
            .floats("low", &[], &[f32::NEG_INFINITY])
            .node("ArgMax", &["x"], &["at"], vec![int("axis", -1)])
            .node("Add", &["at", "steps"], &["near"], vec![])
            .node("Add", &["near", "one"], &["places"], vec![])
            .node("Cast", &["around"], &["pads"], vec![int("to", 7)])
            .node("Pad", &["x", "pads", "low"], &["padded"], vec![])
            .node("GatherElements", &["padded", "places"], &["y"], vec![int("axis", -1)])
    };
    assert_eq!(neighbours(&[-1, 0, 1]).run(&[1.0, 4.0, 2.0, 3.0, 0.0])[0], [1.0, 4.0, 2.0]);
    assert_eq!(neighbours(&[-1, 0, 1]).run(&[9.0, 4.0, 2.0, 3.0, 0.0])[0], [f32::NEG_INFINITY, 9.0, 4.0]);
    let refused = neighbours(&[0, 1 << 24]).refused();
    assert!(refused.contains("computes in integers that floats may not hold"), "{refused}");
    // A constant that floats do not hold is a known number, too, but not the one that is computed with.
    let large = Net::new(18, &[1, 2], &["y"])
        .ints("k", &[1], &[(1 << 24) + 1])
        .ints("less", &[], &[1 << 24])
        .node("ArgMax", &["x"], &["at"], vec![int("axis", -1)])
        .node("Sub", &["at", "at"], &["nought"], vec![])
        .node("Gather", &["k", "nought"], &["g"], vec![])
        .node("Sub", &["g", "less"], &["d"], vec![])
        .node("Cast", &["d"], &["y"], vec![int("to", 1)]);
    assert!(!large.refused().is_empty());
    // No integer is −0.
    let negated = Net::new(18, &[1, 2], &["y"])
        .ints("minus", &[], &[-1])
        .node("ArgMax", &["x"], &["at"], vec![int("axis", -1)])
        .node("Mul", &["at", "minus"], &["n"], vec![])
        .node("Cast", &["n"], &["f"], vec![int("to", 1)])
        .node("Reciprocal", &["f"], &["y"], vec![]);
    assert_eq!(negated.run(&[2.0, 1.0])[0], [f32::INFINITY]);
}

#[test]
fn transforms_are_sums_of_sines_and_cosines() {
    let x = some(6);
    let net = Net::new(20, &[1, 6, 1], &["y", "back"]).node("DFT", &["x"], &["y"], vec![int("onesided", 1)]).node(
        "DFT",
        &["y"],
        &["back"],
        vec![int("onesided", 1), int("inverse", 1)],
    );
    let mut expected = Vec::new();
    for k in 0..4 {
        let angle = |n: usize| -std::f64::consts::TAU * (n * k) as f64 / 6.0;
        expected.push((0..6).map(|n| f64::from(x[n]) * angle(n).cos()).sum::<f64>());
        expected.push((0..6).map(|n| f64::from(x[n]) * angle(n).sin()).sum::<f64>());
    }
    let got = net.run(&x);
    assert_close(&got[0], expected);
    assert_close(&got[1], wide(&x));
}

#[test]
fn norms_take_computed_scales_and_whole_batches() {
    let x = some(2 * 4 * 3);
    let moments = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        (mean, v.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / v.len() as f64)
    };
    // By the batch at hand; the statistics go a tenth of the way.
    let net = Net::new(15, &[2, 4, 3], &["y", "mean", "var"])
        .floats("s", &[4], &[1.0, 2.0, -1.0, 0.5])
        .floats("b", &[4], &[0.0, 1.0, 2.0, 3.0])
        .floats("m", &[4], &[0.5; 4])
        .floats("v", &[4], &[2.0; 4])
        .node("BatchNormalization", &["x", "s", "b", "m", "v"], &["y", "mean", "var"], vec![int("training_mode", 1)]);
    let got = net.run(&x);
    let of_channel = |c: usize| (0..6).map(|i| f64::from(x[i / 3 * 12 + c * 3 + i % 3])).collect::<Vec<_>>();
    let stats: Vec<(f64, f64)> = (0..4).map(|c| moments(&of_channel(c))).collect();
    let y = (0..24).map(|n| {
        let c = n / 3 % 4;
        (f64::from(x[n]) - stats[c].0) / (stats[c].1 + 1e-5).sqrt() * [1.0, 2.0, -1.0, 0.5][c] + c as f64
    });
    assert_close(&got[0], y);
    assert_close(&got[1], stats.iter().map(|s| 0.9 * 0.5 + 0.1 * s.0));
    assert_close(&got[2], stats.iter().map(|s| 0.9 * 2.0 + 0.1 * s.1));
    // The scale is a value of the network.
    let net = Net::new(23, &[1, 4], &["y"]).node("Sigmoid", &["x"], &["s"], vec![]).node("RMSNormalization", &["x", "s"], &["y"], vec![]);
    let x = wide(&some(4));
    let root = (x.iter().map(|v| v * v).sum::<f64>() / 4.0 + 1e-5).sqrt();
    assert_close(&net.run(&some(4))[0], x.iter().map(|v| v / root / (1.0 + (-v).exp())));
}

#[test]
fn what_runtimes_fuse_is_taken_apart() {
    let x = some(4);
    let gelu = |v: f64| v * 0.5 * (1.0 + libm::erf(v / 2f64.sqrt()));
    let net =
        Net::new(17, &[1, 4], &["y"]).floats("b", &[4], &[0.5, 0.0, -0.5, 1.0]).node("com.microsoft.BiasGelu", &["x", "b"], &["y"], vec![]);
    assert_close(&net.run(&x)[0], wide(&x).iter().zip([0.5, 0.0, -0.5, 1.0]).map(|(v, b)| gelu(v + b)));
    let net = Net::new(17, &[1, 4], &["y", "sum"]).floats("s", &[4], &[1.0, 2.0, 3.0, 4.0]).node(
        "com.microsoft.SkipLayerNormalization",
        &["x", "x", "s"],
        &["y", "", "", "sum"],
        vec![float("epsilon", 1e-5)],
    );
    let twice: Vec<f64> = wide(&x).iter().map(|v| 2.0 * v).collect();
    let mean = twice.iter().sum::<f64>() / 4.0;
    let variance = twice.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4.0;
    let got = net.run(&x);
    assert_close(&got[0], twice.iter().zip(1..).map(|(v, s)| (v - mean) / (variance + 1e-5).sqrt() * f64::from(s)));
    assert_close(&got[1], twice);
}

#[test]
fn small_operations_are_made_of_others() {
    let net = Net::new(27, &[1, 3], &["products", "wider", "kept", "mask"])
        .ints("axis", &[], &[1])
        .node("CumProd", &["x", "axis"], &["products"], vec![])
        .ints("five", &[1], &[5])
        .node("CenterCropPad", &["x", "five"], &["wider"], vec![list("axes", &[1])])
        .node("Dropout", &["x"], &["kept", "mask"], vec![]);
    let got = net.run(&[2.0, -3.0, 0.5]);
    assert_eq!(got[0], [2.0, -6.0, -3.0]);
    assert_eq!(got[1], [0.0, 2.0, -3.0, 0.5, 0.0]);
    assert_eq!(got[2..], [vec![2.0, -3.0, 0.5], vec![1.0; 3]]);
}
