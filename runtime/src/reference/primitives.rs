//! Primitives over tensors of any axes, index by index.

use super::expression::evaluate;
use super::functions::FUNCTION;
use super::{Expected, TOLERANCE, Value};
use crate::artifact::{Lookup, Map, MatMul, Pick, Primitive, Reduce, ReduceKind, Resample, SoftmaxOver, Walk};

/// What `primitive` makes of values of as many samples each.
pub fn primitive(primitive: &Primitive, inputs: &[&Value]) -> Value {
    let count = inputs[0].samples().count();
    let shapes: Vec<&[usize]> = inputs.iter().map(|v| &v.shape[..]).collect();
    let shape = primitive.output_shape(&shapes).unwrap_or_default();
    let mut elements = Vec::new();
    for n in 0..count {
        let samples: Vec<&[Expected]> = inputs.iter().map(|v| &v.elements[n * v.len()..][..v.len()]).collect();
        elements.append(&mut sample(primitive, &samples, &shapes));
    }
    Value { shape: wide(&shape), elements }
}

fn wide(axes: &[u32]) -> Vec<usize> {
    axes.iter().map(|&d| d as usize).collect()
}

fn sample(primitive: &Primitive, x: &[&[Expected]], shapes: &[&[usize]]) -> Vec<Expected> {
    match primitive {
        Primitive::Map(Map { shape, operands, instructions }) => {
            let one = |i: Vec<usize>| evaluate(instructions, &operands.iter().zip(x).map(|(w, x)| x[at(w, &i)]).collect::<Vec<_>>());
            indices(&wide(shape)).map(one).collect()
        }
        Primitive::Reduce(Reduce { kind, shape, over, operand }) => {
            let walked = |i: Vec<usize>| indices(&wide(over)).map(|j| x[0][at(operand, &[&i[..], &j].concat())]).collect::<Vec<_>>();
            indices(&wide(shape)).map(|i| reduce(*kind, &walked(i))).collect()
        }
        Primitive::Softmax(softmax) => softmax_over(softmax, x[0]),
        Primitive::MatMul(product) => matmul(product, x[0], x[1]),
        Primitive::Pick(Pick { axes, fill }) => {
            let tables: Vec<Vec<i32>> = axes.iter().map(|a| a.table()).collect();
            let one = |i: Vec<usize>| {
                let entries = || tables.iter().zip(&i).map(|(table, &i)| table[i]);
                let nothing = Expected { value: f64::from(*fill), tolerance: 0.0 };
                if entries().any(|e| e < 0) { nothing } else { x[0][entries().sum::<i32>() as usize] }
            };
            indices(&tables.iter().map(Vec::len).collect::<Vec<_>>()).map(one).collect()
        }
        Primitive::Resample(Resample { axis, taps, indices: from, weights }) => {
            let (axis, taps) = (*axis as usize, *taps as usize);
            let mut to = shapes[0].to_vec();
            to[axis] = weights.len() / taps;
            let one = |i: Vec<usize>| {
                let term = |t: usize| {
                    let (mut at, tap) = (i.clone(), i[axis] * taps + t);
                    at[axis] = from[tap] as usize;
                    (f64::from(weights[tap]), x[0][row_major(shapes[0], &at)])
                };
                sum((0..taps).map(term).map(|(w, x)| (w * x.value, w.abs() * x.tolerance)))
            };
            indices(&to).map(one).collect()
        }
        Primitive::Join { axis } => {
            let axis = *axis as usize;
            let outer: usize = shapes[0][..axis].iter().product();
            let part = |o: usize, x: &&[Expected]| x[o * (x.len() / outer)..][..x.len() / outer].to_vec();
            (0..outer).flat_map(|o| x.iter().flat_map(move |x| part(o, x))).collect()
        }
        Primitive::Lookup(lookup) => look_up(*lookup, x, shapes),
    }
}

/// Every index over axes of `sizes`, the last one fastest.
fn indices(sizes: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..sizes.iter().product()).map(move |n: usize| {
        let (mut left, mut index) = (n, vec![0; sizes.len()]);
        for (i, &size) in index.iter_mut().zip(sizes).rev() {
            (*i, left) = (left % size, left / size);
        }
        index
    })
}

/// The element that a walk reads at an index.
fn at(walk: &Walk, index: &[usize]) -> usize {
    let moved: i64 = walk.strides.iter().zip(index).map(|(&s, &i)| i64::from(s) * i as i64).sum();
    (i64::from(walk.offset) + moved) as usize
}

fn row_major(shape: &[usize], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |n, (&size, &i)| n * size + i)
}

/// The sum of terms, each with what it may be off by.
fn sum(terms: impl Iterator<Item = (f64, f64)>) -> Expected {
    terms.fold(Expected::default(), |sum, (x, off)| Expected { value: sum.value + x, tolerance: sum.tolerance + off + TOLERANCE * x.abs() })
}

fn reduce(kind: ReduceKind, x: &[Expected]) -> Expected {
    let all = || x.iter().map(|x| (x.value, x.tolerance));
    let squares = || sum(all().map(|(x, off)| (x * x, 2.0 * x.abs() * off + off * off)));
    // A function of a sum, by what it gives at the ends of the sum's tolerance.
    let of = |s: Expected, f: fn(f64) -> f64| {
        let (low, high) = (f((s.value - s.tolerance).max(0.0)), f(s.value + s.tolerance));
        let value = f(s.value);
        Expected { value, tolerance: (high - value).abs().max((value - low).abs()) + FUNCTION * (1.0 + value.abs()) }
    };
    let off = x.iter().fold(0f64, |m, x| m.max(x.tolerance));
    match kind {
        ReduceKind::Sum => sum(all()),
        ReduceKind::Mean => {
            let s = sum(all());
            let count = x.len() as f64;
            Expected { value: s.value / count, tolerance: s.tolerance / count + TOLERANCE * (s.value / count).abs() }
        }
        ReduceKind::Max => Expected { value: x.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.value)), tolerance: off },
        ReduceKind::Min => Expected { value: x.iter().fold(f64::INFINITY, |m, x| m.min(x.value)), tolerance: off },
        ReduceKind::Product => all().fold(Expected { value: 1.0, tolerance: 0.0 }, |p, (x, off)| {
            let own = p.value.abs() * off + x.abs() * p.tolerance + off * p.tolerance;
            Expected { value: p.value * x, tolerance: own + TOLERANCE * (p.value * x).abs() }
        }),
        ReduceKind::L1 => sum(all().map(|(x, off)| (x.abs(), off))),
        ReduceKind::L2 => of(squares(), f64::sqrt),
        ReduceKind::SumSquare => squares(),
        ReduceKind::LogSum => of(sum(all()), f64::ln),
        ReduceKind::LogSumExp => {
            let largest = x.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.value));
            let value = largest + x.iter().map(|x| (x.value - largest).exp()).sum::<f64>().ln();
            Expected { value, tolerance: off + FUNCTION * (1.0 + value.abs()) }
        }
        ReduceKind::ArgMax { last } => extreme(x.iter().map(|x| x.value), last, off),
        ReduceKind::ArgMin { last } => extreme(x.iter().map(|x| -x.value), last, off),
    }
}

/// The index of the largest. It is judged only where the next one is further away than tolerances reach.
fn extreme(x: impl Iterator<Item = f64> + Clone, last: bool, off: f64) -> Expected {
    let (mut best, mut value) = (0, f64::NEG_INFINITY);
    for (i, x) in x.clone().enumerate() {
        if x > value || last && x == value {
            (best, value) = (i, x);
        }
    }
    let unsure = off > 0.0 && x.clone().enumerate().any(|(i, x)| i != best && x + 2.0 * off >= value);
    Expected { value: best as f64, tolerance: if unsure { x.count() as f64 } else { 0.0 } }
}

fn softmax_over(softmax: &SoftmaxOver, x: &[Expected]) -> Vec<Expected> {
    let SoftmaxOver { shape, axis, log, operand } = softmax;
    let (shape, axis) = (wide(shape), *axis as usize);
    let one = |i: Vec<usize>| {
        let along = |n: usize| {
            let mut i = i.clone();
            i[axis] = n;
            x[at(operand, &i)]
        };
        let row: Vec<Expected> = (0..shape[axis]).map(along).collect();
        let largest = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.value));
        let sum: f64 = row.iter().map(|x| (x.value - largest).exp()).sum();
        let off = row.iter().fold(0f64, |m, x| m.max(x.tolerance));
        let below = row[i[axis]].value - largest;
        let (p, tolerance) = (below.exp() / sum, 2.0 * off + 4.0 * TOLERANCE * (1.0 - below));
        if *log { Expected { value: below - sum.ln(), tolerance } } else { Expected { value: p, tolerance: p * tolerance + 1e-7 } }
    };
    indices(&shape).map(one).collect()
}

fn matmul(product: &MatMul, a: &[Expected], b: &[Expected]) -> Vec<Expected> {
    let MatMul { batch, rows, columns, inner, a: of_a, b: of_b } = product;
    let shape = [wide(batch), wide(&[*rows, *columns])].concat();
    let one = |i: Vec<usize>| {
        let (before, [m, n]) = (&i[..batch.len()], [i[batch.len()], i[batch.len() + 1]]);
        sum((0..*inner as usize).map(|k| {
            let (a, b) = (a[at(of_a, &[before, &[m, k]].concat())], b[at(of_b, &[before, &[k, n]].concat())]);
            (a.value * b.value, a.value.abs() * b.tolerance + b.value.abs() * a.tolerance + a.tolerance * b.tolerance)
        }))
    };
    indices(&shape).map(one).collect()
}

fn look_up(lookup: Lookup, x: &[&[Expected]], shapes: &[&[usize]]) -> Vec<Expected> {
    let (axis, values, of_indices) = (lookup.axis as usize, shapes[0], shapes[1]);
    let count = values[axis] as f64;
    let taken = |mut at: Vec<usize>, index: Expected| {
        assert!(index.tolerance < 1e-3, "an index is known");
        let index = index.value.trunc();
        let index = if index < 0.0 { index + count } else { index };
        if !(0.0..count).contains(&index) {
            return Expected { value: f64::NAN, tolerance: 0.0 };
        }
        at[axis] = index as usize;
        x[0][row_major(values, &at)]
    };
    if lookup.elements {
        return indices(of_indices).map(|i| taken(i.clone(), x[1][row_major(of_indices, &i)])).collect();
    }
    let shape = [&values[..axis], of_indices, &values[axis + 1..]].concat();
    let split = axis + of_indices.len();
    let one = |i: Vec<usize>| {
        let at = [&i[..axis], &[0], &i[split..]].concat();
        taken(at, x[1][row_major(of_indices, &i[axis..split])])
    };
    indices(&shape).map(one).collect()
}
