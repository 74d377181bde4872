//! Operations on constants: weights that are prepared in the file, and the sums that shapes are made of.

use std::sync::Arc;

use super::array::{Array, Data};
use super::dims::{Ranges, affordable, axes, axis, broadcast, dims, permutation, squeezed, target_shape, unsqueezed};
use super::logic;
use super::model::{Attribute, Node};
use crate::tensor::count;

/// The output of `node` over constants; `None` for an operation that is not done here.
///
/// # Errors
/// A phrase that says why the inputs do not fit.
pub(super) fn evaluate(node: &Node, inputs: &[Option<Arc<Array>>]) -> Option<Result<Array, String>> {
    let first = || inputs.first().cloned().flatten().ok_or("lacks its first input".to_string());
    let second = || inputs.get(1).cloned().flatten().ok_or("lacks its second input".to_string());
    Some(match node.op.as_str() {
        "Constant" => constant(node),
        "ConstantOfShape" => first().and_then(|shape| constant_of_shape(node, &shape)),
        "Identity" | "Dropout" => first().map(|x| (*x).clone()),
        "Cast" => first().map(|x| cast(node, &x)),
        "Shape" => first().map(|x| shape_of(node, &x.shape)),
        "Size" => first().map(|x| Array { shape: vec![], data: Data::Ints(vec![x.len() as i64]) }),
        "Reshape" => first().and_then(|x| reshape(node, &x, &*second()?)),
        "Flatten" => first().and_then(|x| {
            let at = axis(node.int("axis", 1), x.shape.len() + 1)?;
            Ok(x.reshaped(vec![x.shape[..at].iter().product(), x.shape[at..].iter().product()]))
        }),
        "Squeeze" | "Unsqueeze" => first().and_then(|x| {
            let axes = axes(node, inputs.get(1).and_then(Option::as_deref))?;
            let shape = if node.op == "Squeeze" { squeezed(&x.shape, axes.as_deref()) } else { unsqueezed(&x.shape, axes.as_deref()) };
            Ok(x.reshaped(shape?))
        }),
        "Transpose" => first().and_then(|x| transpose(node, &x)),
        "Concat" => concat(node, inputs),
        "Gather" => first().and_then(|x| gather(node, &x, &*second()?)),
        "Slice" => first().and_then(|x| slice(&x, &Ranges::of(node, inputs, &x.shape)?)),
        "Expand" => first().and_then(|x| expand(&x, &dims(&*second()?)?)),
        "Range" => range(inputs),
        "Neg" | "Sqrt" | "Reciprocal" | "Abs" | "Floor" | "Ceil" | "Exp" | "Log" => first().map(|x| unary(&node.op, &x)),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Equal" if inputs.len() == 2 => {
            first().and_then(|a| binary(&node.op, &a, &*second()?))
        }
        _ => return logic::evaluate(node, inputs),
    })
}

/// What `Shape` gives of a value of `shape`.
pub(super) fn shape_of(node: &Node, shape: &[usize]) -> Array {
    let rank = shape.len() as i64;
    let clamp = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(node.int("start", 0)), clamp(node.int("end", rank)));
    Array::ints(shape.get(start..end).unwrap_or_default().iter().map(|&d| d as i64).collect())
}

fn constant(node: &Node) -> Result<Array, String> {
    let (name, value) = node.attributes.iter().next().ok_or("holds no value")?;
    match value {
        Attribute::Tensor(t) => Ok((**t).clone()),
        Attribute::Float(f) => Ok(Array { shape: vec![], data: Data::Floats(vec![*f]) }),
        Attribute::Int(i) => Ok(Array { shape: vec![], data: Data::Ints(vec![*i]) }),
        Attribute::Floats(f) => Ok(Array { shape: vec![f.len()], data: Data::Floats(f.clone()) }),
        Attribute::Ints(i) => Ok(Array::ints(i.clone())),
        Attribute::Text(_) | Attribute::Other => Err(format!("holds a {name}, which is neither float nor integer")),
    }
}

fn constant_of_shape(node: &Node, shape: &Array) -> Result<Array, String> {
    let shape = dims(shape)?;
    let len = affordable(&shape)?;
    let data = match node.attributes.get("value") {
        Some(Attribute::Tensor(t)) => match &t.data {
            Data::Floats(v) => Data::Floats(vec![v.first().copied().unwrap_or(0.0); len]),
            Data::Ints(v) => Data::Ints(vec![v.first().copied().unwrap_or(0); len]),
        },
        _ => Data::Floats(vec![0.0; len]),
    };
    Ok(Array { shape, data })
}

fn cast(node: &Node, x: &Array) -> Array {
    let to_float = matches!(node.int("to", 1), 1 | 10 | 11 | 16);
    let data = match &x.data {
        Data::Floats(v) if !to_float => Data::Ints(v.iter().map(|&f| f as i64).collect()),
        Data::Ints(v) if to_float => Data::Floats(v.iter().map(|&i| i as f32).collect()),
        same => same.clone(),
    };
    Array { shape: x.shape.clone(), data }
}

fn reshape(node: &Node, x: &Array, target: &Array) -> Result<Array, String> {
    Ok(x.reshaped(target_shape(node, &x.shape, target)?))
}

/// The elements at `places`, in that order.
fn picked(x: &Array, shape: Vec<usize>, places: impl Iterator<Item = usize>) -> Array {
    let data = match &x.data {
        Data::Floats(v) => Data::Floats(places.map(|p| v[p]).collect()),
        Data::Ints(v) => Data::Ints(places.map(|p| v[p]).collect()),
    };
    Array { shape, data }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// For each index into `shape`, row-major, the sum of index · step over the axes.
fn walk<'a>(shape: &'a [usize], steps: &'a [i64], start: i64) -> impl Iterator<Item = usize> + 'a {
    let places = strides(shape);
    (0..shape.iter().product()).map(move |at: usize| {
        let along = shape.iter().zip(&places).zip(steps).map(|((d, p), s)| (at / p % d) as i64 * s);
        (start + along.sum::<i64>()) as usize
    })
}

fn transpose(node: &Node, x: &Array) -> Result<Array, String> {
    let order = permutation(node, x.shape.len())?;
    let from = strides(&x.shape);
    let shape: Vec<usize> = order.iter().map(|&i| x.shape[i]).collect();
    let steps: Vec<i64> = order.iter().map(|&i| from[i] as i64).collect();
    Ok(picked(x, shape.clone(), walk(&shape, &steps, 0)))
}

fn concat(node: &Node, inputs: &[Option<Arc<Array>>]) -> Result<Array, String> {
    let parts: Vec<&Array> = inputs.iter().flatten().map(|a| &**a).collect();
    let first = parts.first().ok_or("has no inputs")?;
    let at = axis(node.int("axis", 0), first.shape.len())?;
    let alike = |p: &&Array| {
        p.shape.len() == first.shape.len() && p.shape.iter().zip(&first.shape).enumerate().all(|(i, (a, b))| i == at || a == b)
    };
    if !parts.iter().all(alike) {
        return Err("puts together constants that do not fit".into());
    }
    let mut shape = first.shape.clone();
    shape[at] = parts.iter().map(|p| p.shape[at]).sum();
    let outer: usize = shape[..at].iter().product();
    let block = |p: &Array| p.shape[at..].iter().product::<usize>();
    let data = if parts.iter().all(|p| matches!(p.data, Data::Ints(_))) {
        let all =
            (0..outer).flat_map(|o| parts.iter().flat_map(move |p| &p.as_ints().unwrap_or_default()[o * block(p)..(o + 1) * block(p)]));
        Data::Ints(all.copied().collect())
    } else {
        let floats: Vec<(Vec<f32>, usize)> = parts.iter().map(|p| (p.to_floats(), block(p))).collect();
        Data::Floats((0..outer).flat_map(|o| floats.iter().flat_map(move |(v, n)| v[o * n..(o + 1) * n].iter().copied())).collect())
    };
    Ok(Array { shape, data })
}

fn gather(node: &Node, x: &Array, indices: &Array) -> Result<Array, String> {
    let at = axis(node.int("axis", 0), x.shape.len())?;
    let picks = indices.as_ints().ok_or("picks by no integers")?;
    let picks = picks.iter().map(|&i| axis(i, x.shape[at])).collect::<Result<Vec<_>, _>>()?;
    let (outer, inner): (usize, usize) = (x.shape[..at].iter().product(), x.shape[at + 1..].iter().product());
    let shape = [&x.shape[..at], &indices.shape, &x.shape[at + 1..]].concat();
    affordable(&shape)?;
    let places = (0..outer).flat_map(|o| picks.iter().flat_map(move |&p| (0..inner).map(move |i| (o, p, i))));
    Ok(picked(x, shape, places.map(|(o, p, i)| (o * x.shape[at] + p) * inner + i)))
}

fn slice(x: &Array, ranges: &Ranges) -> Result<Array, String> {
    let from = strides(&x.shape);
    let shape: Vec<usize> = ranges.axes.iter().map(|r| r.1).collect();
    let start: usize = ranges.axes.iter().zip(&from).map(|(r, s)| r.0 * s).sum();
    let steps: Vec<i64> = ranges.axes.iter().zip(&from).map(|(r, s)| r.2.saturating_mul(*s as i64)).collect();
    Ok(picked(x, shape.clone(), walk(&shape, &steps, start as i64)))
}

/// For each element of `shape` the element of a constant of `of`, which broadcasts to it.
pub(super) fn spread(of: &[usize], shape: &[usize]) -> Vec<usize> {
    let own = strides(of);
    let step = |i: usize| match (i + of.len()).checked_sub(shape.len()) {
        Some(i) if of[i] != 1 => own[i] as i64,
        _ => 0,
    };
    let steps: Vec<i64> = (0..shape.len()).map(step).collect();
    walk(shape, &steps, 0).collect()
}

fn expand(x: &Array, to: &[usize]) -> Result<Array, String> {
    let shape = broadcast(&x.shape, to)?;
    affordable(&shape)?;
    Ok(picked(x, shape.clone(), spread(&x.shape, &shape).into_iter()))
}

fn range(inputs: &[Option<Arc<Array>>]) -> Result<Array, String> {
    let at = |i: usize| inputs.get(i).cloned().flatten().and_then(|a| a.as_ints()?.first().copied()).ok_or("is no range of integers");
    let (start, limit, step) = (at(0)?, at(1)?, at(2)?);
    let count = if step == 0 { 0 } else { (limit.saturating_sub(start) as f64 / step as f64).ceil().max(0.0) as usize };
    affordable(&[count])?;
    Ok(Array::ints((0..count as i64).map(|i| start.saturating_add(i.saturating_mul(step))).collect()))
}

fn unary(op: &str, x: &Array) -> Array {
    let f: fn(f32) -> f32 = match op {
        "Neg" => |x| -x,
        "Sqrt" => f32::sqrt,
        "Reciprocal" => |x| 1.0 / x,
        "Abs" => f32::abs,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Exp" => f32::exp,
        _ => f32::ln,
    };
    let data = match &x.data {
        Data::Ints(v) if op == "Neg" => Data::Ints(v.iter().map(|&i| i.wrapping_neg()).collect()),
        Data::Ints(v) if op == "Abs" => Data::Ints(v.iter().map(|&i| i.wrapping_abs()).collect()),
        _ => Data::Floats(x.to_floats().into_iter().map(f).collect()),
    };
    Array { shape: x.shape.clone(), data }
}

fn binary(op: &str, a: &Array, b: &Array) -> Result<Array, String> {
    let shape = broadcast(&a.shape, &b.shape)?;
    affordable(&shape).or_else(|why| if a.len().max(b.len()) >= count(&shape).unwrap_or(usize::MAX) { Ok(0) } else { Err(why) })?;
    let places = || spread(&a.shape, &shape).into_iter().zip(spread(&b.shape, &shape));
    let data = match (&a.data, &b.data) {
        (Data::Ints(a), Data::Ints(b)) => {
            let one = |x: i64, y: i64| match op {
                "Add" => Some(x.wrapping_add(y)),
                "Sub" => Some(x.wrapping_sub(y)),
                "Mul" => Some(x.wrapping_mul(y)),
                "Div" => x.checked_div(y),
                "Max" => Some(x.max(y)),
                "Min" => Some(x.min(y)),
                "Equal" => Some(i64::from(x == y)),
                _ => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
            };
            let all = places().map(|(i, j)| one(a[i], b[j])).collect::<Option<Vec<i64>>>();
            Data::Ints(all.ok_or("divides by zero or overflows")?)
        }
        _ => {
            let (a, b) = (a.to_floats(), b.to_floats());
            let one = |x: f32, y: f32| match op {
                "Add" => x + y,
                "Sub" => x - y,
                "Mul" => x * y,
                "Div" => x / y,
                "Max" => x.max(y),
                "Min" => x.min(y),
                "Equal" => f32::from(u8::from(x == y)),
                _ => x.powf(y),
            };
            Data::Floats(places().map(|(i, j)| one(a[i], b[j])).collect())
        }
    };
    Ok(Array { shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(op: &str, attributes: &[(&str, Attribute)], inputs: &[Array]) -> Result<Array, String> {
        let mut node = Node::new(op, "n", &[], "out");
        node.attributes = attributes.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        let inputs: Vec<_> = inputs.iter().map(|a| Some(Arc::new(a.clone()))).collect();
        evaluate(&node, &inputs).unwrap()
    }

    fn floats(shape: &[usize], v: &[f32]) -> Array {
        Array { shape: shape.to_vec(), data: Data::Floats(v.to_vec()) }
    }

    #[test]
    fn a_shape_is_taken_apart_and_put_together() {
        let shape = Array::ints(vec![1, 48, 2, 2]);
        let ints = |op: &str, attributes: &[(&str, Attribute)], inputs: &[Array]| run(op, attributes, inputs).unwrap();
        let two = ints("Slice", &[("starts", Attribute::Ints(vec![0])), ("ends", Attribute::Ints(vec![2]))], std::slice::from_ref(&shape));
        assert_eq!(two, Array::ints(vec![1, 48]));
        let last = ints("Gather", &[], &[shape.clone(), Array { shape: vec![], data: Data::Ints(vec![-1]) }]);
        assert_eq!((last.shape.len(), last.as_ints()), (0, Some(&[2][..])));
        let one = ints("Unsqueeze", &[("axes", Attribute::Ints(vec![0]))], &[last]);
        let both = ints("Concat", &[("axis", Attribute::Int(0))], &[two, one]);
        assert_eq!(both, Array::ints(vec![1, 48, 2]));
        let backwards = ["starts", "ends", "steps"].iter().zip([-1, i64::MIN, -2]).map(|(n, v)| (*n, Attribute::Ints(vec![v])));
        assert_eq!(ints("Slice", &backwards.collect::<Vec<_>>(), &[shape]), Array::ints(vec![2, 48]));
    }

    #[test]
    fn elements_move_as_they_should() {
        let x = floats(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(run("Transpose", &[], std::slice::from_ref(&x)).unwrap(), floats(&[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        let sum = run("Add", &[], &[x.clone(), floats(&[2, 1], &[10.0, 20.0])]).unwrap();
        assert_eq!(sum, floats(&[2, 3], &[10.0, 11.0, 12.0, 23.0, 24.0, 25.0]));
        let wide = run("Expand", &[], &[floats(&[1, 2], &[1.0, 2.0]), Array::ints(vec![2, 1])]).unwrap();
        assert_eq!(wide, floats(&[2, 2], &[1.0, 2.0, 1.0, 2.0]));
        let rows = run("Concat", &[("axis", Attribute::Int(1))], &[x.clone(), floats(&[2, 1], &[7.0, 8.0])]).unwrap();
        assert_eq!(rows, floats(&[2, 4], &[0.0, 1.0, 2.0, 7.0, 3.0, 4.0, 5.0, 8.0]));
        assert_eq!(run("Reshape", &[], &[x, Array::ints(vec![0, -1, 1])]).unwrap().shape, [2, 3, 1]);
        assert_eq!(run("Div", &[], &[Array::ints(vec![7]), Array::ints(vec![2])]).unwrap(), Array::ints(vec![3]));
    }

    #[test]
    fn what_would_not_end_well_is_refused() {
        let huge = Array::ints(vec![1 << 40]);
        let refused = |op: &str, inputs: &[Array]| run(op, &[], inputs).unwrap_err();
        assert!(refused("ConstantOfShape", std::slice::from_ref(&huge)).contains("elements"));
        assert!(refused("Expand", &[floats(&[1], &[0.0]), huge.clone()]).contains("elements"));
        assert!(refused("Range", &[Array::ints(vec![0]), huge, Array::ints(vec![1])]).contains("elements"));
        assert!(refused("Div", &[Array::ints(vec![1]), Array::ints(vec![0])]).contains("zero"));
        assert!(refused("Gather", &[Array::ints(vec![1]), Array::ints(vec![1])]).contains("axis 1 of 1"));
        assert!(refused("Add", &[floats(&[2], &[0.0; 2]), floats(&[3], &[0.0; 3])]).contains("together"));
        assert!(refused("Reshape", &[floats(&[2], &[0.0; 2]), Array::ints(vec![-1, -1])]).contains("cannot make"));
    }
}
