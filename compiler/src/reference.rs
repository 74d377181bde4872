//! For tests: a graph in f64, every operation by the runtime's reference.

use std::collections::BTreeMap;

use thinfer::artifact::{PoolKind, Residual, Window as FusedWindow};
use thinfer::reference::{
    Kernel, Value, activate, add_bias, add_residual, affine, attention, batch_norm, batch_statistics, concat, conv, embed, global_average,
    layer_norm, linear, multiply, pool, primitive, rearrange, softmax,
};

use crate::graph::{Embed, Graph, Node, Op, Positions, Window};
use crate::lower::activation::fused;
use crate::tensor::Params;

/// Parameters by name; weights unfolded, row-major.
pub(crate) type Values = BTreeMap<String, Vec<f64>>;

/// What a batch norm takes mean and variance from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statistics {
    Running,
    Batch,
}

pub(crate) fn exact(params: &Params) -> Values {
    params.iter().map(|(name, t)| (name.clone(), t.data().iter().map(|&x| f64::from(x)).collect())).collect()
}

/// The last value of `graph`, a network of one input, for the samples `input`.
pub(crate) fn run(graph: &Graph, params: &Values, input: &[f64], statistics: Statistics) -> Value {
    let shapes = graph.shapes().unwrap();
    let mut values = vec![Value::exact(graph.input(), input.iter().copied())];
    for (at, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<&Value> = node.inputs.iter().map(|&v| &values[v]).collect();
        let value = value(node, params, &inputs, &shapes[graph.value_of(at)], statistics);
        assert_eq!(value.shape, shapes[graph.value_of(at)], "{}", node.name);
        values.push(value);
    }
    values.pop().unwrap()
}

/// What a node gives, `to` being its shape.
fn value(node: &Node, params: &Values, inputs: &[&Value], to: &[usize], statistics: Statistics) -> Value {
    let p = |suffix: &str| params[&format!("{}.{suffix}", node.name)].as_slice();
    let with_bias = |mut y: Value, bias: bool| {
        if bias {
            add_bias(&mut y, p("bias"));
        }
        y
    };
    let (x, second) = (inputs[0], inputs.get(1).copied());
    match &node.op {
        Op::Linear(l) => {
            let kernel = Kernel::dense(l.outputs, p("weight").to_vec());
            with_bias(if to.len() == 3 { conv(x, &kernel, &FusedWindow::POINT, 1) } else { linear(x, &kernel) }, l.bias)
        }
        Op::Conv2d(c) => with_bias(conv(x, &Kernel::dense(c.outputs, p("weight").to_vec()), &window(&c.window), c.groups), c.bias),
        Op::BatchNorm(n) => {
            let found = match statistics {
                Statistics::Running => [p("running_mean").to_vec(), p("running_var").to_vec()],
                Statistics::Batch => batch_statistics(x),
            };
            batch_norm(x, &found, f64::from(n.eps), p("weight"), p("bias"))
        }
        Op::Activation(a) => {
            let mut y = x.clone();
            activate(&mut y, fused(*a));
            y
        }
        Op::MaxPool(w) => pool(x, PoolKind::Max, &window(w)),
        Op::AvgPool { window: w, count_include_pad: true } => pool(x, PoolKind::AverageWithPadding, &window(w)),
        Op::AvgPool { window: w, count_include_pad: false } => pool(x, PoolKind::Average, &window(w)),
        Op::GlobalAvgPool => global_average(x),
        Op::Add => sum(x.clone(), second.unwrap(), 1, 0),
        Op::ShortcutA(s) => {
            let zeros = x.samples().flat_map(|_| vec![0.0; to.iter().product()]);
            sum(Value::exact(to, zeros), x, s.stride, s.offset())
        }
        Op::Flatten => Value { shape: to.to_vec(), ..x.clone() },
        Op::Affine { .. } => affine(x, p("weight"), p("bias")),
        Op::Concat => inputs[1..].iter().fold(x.clone(), |joined, next| concat(&joined, next)),
        Op::Softmax { log } => softmax(x, *log),
        Op::Rearrange(r) => rearrange(x, &r.shape, r.offset, &r.steps),
        Op::Multiply => multiply(x, second.unwrap()),
        Op::LayerNorm { eps, .. } => layer_norm(x, p("weight"), p("bias"), f64::from(*eps)),
        Op::Attention(a) => attention(inputs, a.heads, f64::from(a.scale)),
        Op::Primitive(p) => primitive(p, inputs),
        Op::Constant { .. } | Op::Recurrent(_) => unreachable!("imported networks are held against ONNX Runtime"),
        Op::Embed(e) => {
            let table = table(e, params);
            embed(x, e.tokens(), &|channel, token| table[token * e.channels + channel])
        }
    }
}

/// y plus every `stride`th pixel of `r`, `offset` channels further.
fn sum(mut y: Value, r: &Value, stride: usize, offset: usize) -> Value {
    add_residual(&mut y, r, Residual { stride: stride as u32, offset: offset as u32 });
    y
}

/// Class token and positions, [tokens][channels], which are summed where a graph has both.
fn table(e: &Embed, params: &Values) -> Vec<f64> {
    let mut table: Vec<f64> = e.fixed().into_iter().map(f64::from).collect();
    let learned = if let Positions::Learned(name) = &e.positions { Some(name) } else { None };
    for name in learned.into_iter().chain(&e.class) {
        table.iter_mut().zip(&params[name]).for_each(|(t, v)| *t += v);
    }
    table
}

fn window(w: &Window) -> FusedWindow {
    let pair = |v: [usize; 2]| v.map(|n| n as u32);
    FusedWindow { kernel: pair(w.kernel), stride: pair(w.stride), padding: w.padding.map(|n| n as u32), dilation: pair(w.dilation) }
}
