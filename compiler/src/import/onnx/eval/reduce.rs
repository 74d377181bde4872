//! Reductions over axes, and sums and products along one.

use super::super::array::Array;
use super::super::dims::axes;
use super::super::elem::Type;
use super::super::sizes::axis;
use super::given::{Given, Outcome, one};
use super::places::{around, strides, walk};

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        op if op.starts_with("Reduce") => reduce(given),
        "ArgMax" | "ArgMin" => arg(given),
        "CumSum" | "CumProd" => cumulate(given),
        _ => return None,
    })
}

/// The axes that a reduction goes over, in order.
fn reduced(given: &Given, rank: usize) -> Result<Vec<usize>, String> {
    let named = axes(given.node, given.optional(1))?.filter(|axes| !axes.is_empty());
    let mut over: Vec<usize> = match named {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?,
        None if given.node.int("noop_with_empty_axes", 0) != 0 => Vec::new(),
        None => (0..rank).collect(),
    };
    over.sort_unstable();
    over.dedup();
    Ok(over)
}

/// For each group of elements that differ only in the axes `over` where it begins, and where each of its elements lies
/// from there.
pub(super) fn groups(shape: &[usize], over: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let own = strides(shape);
    let part = |of: &dyn Fn(usize) -> bool| -> Vec<usize> {
        let taken: Vec<usize> = (0..shape.len()).filter(|&a| of(a)).collect();
        let (lens, steps): (Vec<usize>, Vec<i64>) = taken.iter().map(|&a| (shape[a], own[a] as i64)).unzip();
        walk(&lens, &steps, 0).collect()
    };
    (part(&|a| !over.contains(&a)), part(&|a| over.contains(&a)))
}

/// The shape without the axes `over`, or with one element along each.
fn kept(given: &Given, shape: &[usize], over: &[usize]) -> Vec<usize> {
    let keep = given.node.int("keepdims", 1) != 0;
    let axes = shape.iter().enumerate().filter(|(a, _)| keep || !over.contains(a));
    axes.map(|(a, &d)| if over.contains(&a) { 1 } else { d }).collect()
}

fn reduce(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let (ty, over) = (x.ty(), reduced(given, x.shape.len())?);
    let (starts, offsets) = groups(&x.shape, &over);
    let shape = kept(given, &x.shape, &over);
    given.afford(&shape)?;
    given.spend_product(&[starts.len(), offsets.len()])?;
    let op = given.op();
    if offsets.is_empty() && !starts.is_empty() && matches!(op, "ReduceMean") {
        return Err("takes the mean of no elements".into());
    }
    match x.stored() {
        Some(v) => {
            let each = |start: &usize| whole(op, ty, &mut offsets.iter().map(|o| ty.widen(v[start + o])));
            Ok(Array::ints_of(ty, shape, starts.iter().map(each).collect::<Result<_, _>>()?))
        }
        None => {
            let v = x.to_doubles();
            let each = |start: &usize| real(op, || offsets.iter().map(|o| v[start + o]));
            Ok(Array::floats_of(ty, shape, starts.iter().map(each).collect::<Result<_, _>>()?))
        }
    }
}

fn whole(op: &str, ty: Type, values: &mut dyn Iterator<Item = i128>) -> Result<i64, String> {
    let (low, high) = ty.range();
    let sum = |values: &mut dyn Iterator<Item = i128>, f: fn(i128) -> i128| values.fold(0i128, |s, v| s.wrapping_add(f(v)));
    let made = match op {
        "ReduceMax" => values.fold(low, i128::max),
        "ReduceMin" => values.fold(high, i128::min),
        _ if ty == Type::Bool => return Err("computes with bool".into()),
        "ReduceSum" => sum(values, |v| v),
        "ReduceSumSquare" => sum(values, |v| v.wrapping_mul(v)),
        "ReduceL1" => sum(values, i128::abs),
        "ReduceProd" => values.fold(1i128, i128::wrapping_mul),
        "ReduceMean" => {
            let (sum, count) = values.fold((0i128, 0i128), |(s, n), v| (s + v, n + 1));
            sum / count.max(1)
        }
        "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" => return Err(format!("computes a root or a logarithm of {}", ty.name())),
        _ => return Err("is no operation that is known".into()),
    };
    Ok(ty.wrap(made))
}

fn real<I: Iterator<Item = f64>>(op: &str, values: impl Fn() -> I) -> Result<f64, String> {
    let greatest = |v: I| v.fold(f64::NEG_INFINITY, |m, x| if m.is_nan() || x.is_nan() { f64::NAN } else { m.max(x) });
    Ok(match op {
        "ReduceSum" => values().sum(),
        "ReduceMean" => {
            let (sum, count) = values().fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
            sum / count
        }
        "ReduceMax" => greatest(values()),
        "ReduceMin" => values().fold(f64::INFINITY, |m, x| if m.is_nan() || x.is_nan() { f64::NAN } else { m.min(x) }),
        "ReduceProd" => values().product(),
        "ReduceL1" => values().map(f64::abs).sum(),
        "ReduceL2" => values().map(|x| x * x).sum::<f64>().sqrt(),
        "ReduceSumSquare" => values().map(|x| x * x).sum(),
        "ReduceLogSum" => values().sum::<f64>().ln(),
        "ReduceLogSumExp" => {
            let most = greatest(values());
            if most.is_infinite() { most } else { most + values().map(|x| (x - most).exp()).sum::<f64>().ln() }
        }
        _ => return Err("is no operation that is known".into()),
    })
}

fn arg(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let at = axis(given.node.int("axis", 0), x.shape.len())?;
    let (_, len, inner) = around(&x.shape, at);
    let (starts, _) = groups(&x.shape, &[at]);
    if len == 0 {
        return Err(format!("looks for the largest of no elements in {:?}", x.shape));
    }
    given.spend(x.len())?;
    let (largest, last) = (given.op() == "ArgMax", given.node.int("select_last_index", 0) != 0);
    let best = |compare: &dyn Fn(usize, usize) -> std::cmp::Ordering, start: usize| {
        let better = |a: usize, b: usize| {
            let order = compare(start + b * inner, start + a * inner);
            (if largest { order } else { order.reverse() }) == std::cmp::Ordering::Greater || (last && order.is_eq())
        };
        (1..len).fold(0, |a, b| if better(a, b) { b } else { a })
    };
    let made: Vec<usize> = match x.stored() {
        Some(v) => starts.iter().map(|&s| best(&|i, j| x.ty().widen(v[i]).cmp(&x.ty().widen(v[j])), s)).collect(),
        None => {
            let v = x.to_doubles();
            if v.iter().any(|x| x.is_nan()) {
                return Err("looks for the largest among NaN".into());
            }
            starts.iter().map(|&s| best(&|i, j| v[i].partial_cmp(&v[j]).unwrap_or(std::cmp::Ordering::Equal), s)).collect()
        }
    };
    Ok(super::shapes::counts(kept(given, &x.shape, &[at]), made))
}

fn cumulate(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let at = axis(given.int(1)?, x.shape.len())?;
    let (_, len, inner) = around(&x.shape, at);
    let (exclusive, reverse) = (given.node.int("exclusive", 0) != 0, given.node.int("reverse", 0) != 0);
    let (starts, _) = groups(&x.shape, &[at]);
    let product = given.op() == "CumProd";
    let place = |i: usize| (if reverse { len - 1 - i } else { i }) * inner;
    if let Some(v) = x.stored() {
        let ty = x.ty();
        let mut made = vec![0; v.len()];
        for start in starts {
            let mut sum = i128::from(product);
            for i in 0..len {
                let p = start + place(i);
                let next = if product { sum.wrapping_mul(ty.widen(v[p])) } else { sum.wrapping_add(ty.widen(v[p])) };
                made[p] = ty.wrap(if exclusive { sum } else { next });
                sum = next;
            }
        }
        return Ok(Array::ints_of(ty, x.shape.clone(), made));
    }
    let v = x.to_doubles();
    let mut made = vec![0.0; v.len()];
    for start in starts {
        let mut sum = if product { 1.0 } else { 0.0 };
        for i in 0..len {
            let p = start + place(i);
            let next = if product { sum * v[p] } else { sum + v[p] };
            made[p] = if exclusive { sum } else { next };
            sum = next;
        }
    }
    Ok(Array::floats_of(x.ty(), x.shape.clone(), made))
}

#[cfg(test)]
mod tests {
    use super::super::super::array::Data;
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, run};
    use super::*;

    #[test]
    fn reductions_are_those_of_their_names() {
        let x = floats(&[2, 3], &[1.0, -2.0, 3.0, 4.0, 0.5, -6.0]);
        let over = |op: &str, axes: &[i64]| run(op, &[("axes", Attribute::Ints(axes.to_vec()))], std::slice::from_ref(&x)).unwrap();
        let values: [(&str, [f32; 2]); 8] = [
            ("ReduceSum", [2.0, -1.5]),
            ("ReduceMean", [2.0 / 3.0, -0.5]),
            ("ReduceMax", [3.0, 4.0]),
            ("ReduceMin", [-2.0, -6.0]),
            ("ReduceProd", [-6.0, -12.0]),
            ("ReduceL1", [6.0, 10.5]),
            ("ReduceL2", [3.741_657_5, 7.228_416]),
            ("ReduceSumSquare", [14.0, 52.25]),
        ];
        values.iter().for_each(|(op, wanted)| assert_eq!(over(op, &[-1]), floats(&[2, 1], wanted), "{op}"));
        assert_eq!(over("ReduceSum", &[0]), floats(&[1, 3], &[5.0, -1.5, -3.0]));
        let log = run("ReduceLogSumExp", &[("keepdims", Attribute::Int(0))], &[floats(&[2], &[1000.0, 1000.0])]).unwrap();
        assert_eq!(log, floats(&[], &[1000.0 + std::f32::consts::LN_2]));
        assert_eq!(run("ReduceLogSum", &[], &[floats(&[2], &[0.5, 0.5])]).unwrap().to_floats(), [0.0]);
    }

    #[test]
    fn axes_are_inputs_or_nothing() {
        let x = floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(run("ReduceSum", &[], &[x.clone(), Array::ints(vec![-2])]).unwrap(), floats(&[1, 2], &[4.0, 6.0]));
        assert_eq!(run("ReduceSum", &[], std::slice::from_ref(&x)).unwrap(), floats(&[1, 1], &[10.0]));
        let none = [("noop_with_empty_axes", Attribute::Int(1))];
        assert_eq!(run("ReduceSumSquare", &none, &[x.clone(), Array::ints(vec![])]).unwrap().to_floats(), [1.0, 4.0, 9.0, 16.0]);
        assert!(run("ReduceSum", &[], &[x, Array::ints(vec![2])]).unwrap_err().contains("axis 2 of 2"));
        let empty = |op: &str| run(op, &[("axes", Attribute::Ints(vec![0]))], &[floats(&[0, 1], &[])]);
        assert_eq!((empty("ReduceSum").unwrap().to_floats(), empty("ReduceProd").unwrap().to_floats()), (vec![0.0], vec![1.0]));
        assert_eq!(empty("ReduceMax").unwrap().to_floats(), [f32::NEG_INFINITY]);
        assert!(empty("ReduceMean").is_err());
    }

    #[test]
    fn integers_stay_exact() {
        let x = of(Type::I64, &[i64::MAX - 1, 1]);
        let made = |op: &str, x: &Array| run(op, &[], std::slice::from_ref(x)).unwrap();
        assert_eq!((made("ReduceSum", &x), made("ReduceMax", &x)), (of(Type::I64, &[i64::MAX]), of(Type::I64, &[i64::MAX - 1])));
        assert_eq!(made("ReduceSum", &of(Type::U8, &[200, 100])), of(Type::U8, &[44]));
        assert_eq!(made("ReduceMin", &of(Type::Bool, &[1, 0])), of(Type::Bool, &[0]));
        assert_eq!(made("ReduceMean", &of(Type::I32, &[1, 4])), of(Type::I32, &[2]));
        assert!(run("ReduceL2", &[], &[x]).unwrap_err().contains("int64"));
    }

    #[test]
    fn the_best_is_the_first_or_the_last() {
        let x = floats(&[2, 3], &[2.0, 5.0, 5.0, 1.0, 1.0, 0.0]);
        let by = |op: &str, last: i64| {
            let attributes = [("axis", Attribute::Int(1)), ("select_last_index", Attribute::Int(last)), ("keepdims", Attribute::Int(0))];
            run(op, &attributes, std::slice::from_ref(&x)).unwrap().as_ints().unwrap().to_vec()
        };
        assert_eq!((by("ArgMax", 0), by("ArgMax", 1), by("ArgMin", 0)), (vec![1, 0], vec![2, 1], vec![0, 2]));
    }

    #[test]
    fn sums_run_from_either_end() {
        let by = |op: &str, exclusive: i64, reverse: i64| {
            let attributes = [("exclusive", Attribute::Int(exclusive)), ("reverse", Attribute::Int(reverse))];
            let along = Array { shape: vec![], data: Data::Ints(vec![-1]) };
            run(op, &attributes, &[floats(&[1, 3], &[2.0, 3.0, 4.0]), along]).unwrap().to_floats()
        };
        assert_eq!((by("CumSum", 0, 0), by("CumSum", 1, 0)), (vec![2.0, 5.0, 9.0], vec![0.0, 2.0, 5.0]));
        assert_eq!((by("CumSum", 0, 1), by("CumSum", 1, 1)), (vec![9.0, 7.0, 4.0], vec![7.0, 4.0, 0.0]));
        assert_eq!((by("CumProd", 0, 0), by("CumProd", 1, 1)), (vec![2.0, 6.0, 24.0], vec![12.0, 4.0, 1.0]));
    }
}
