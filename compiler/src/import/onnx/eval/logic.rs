//! Comparisons, truths and choices.

use super::super::array::Array;
use super::super::elem::Type;
use super::super::sizes::broadcast;
use super::given::{Given, Outcome, one};
use super::places::{broadcast_steps, walk};

pub(super) fn evaluate(given: &Given) -> Outcome {
    use std::cmp::Ordering::{Equal, Greater, Less};
    one(match given.op() {
        "Where" => choose(given),
        "Not" => given.input(0).and_then(|x| Ok(Array::bools(x.shape.clone(), truths(x)?.iter().map(|t| *t == 0)))),
        "IsNaN" => given.float_type(0).and_then(|_| test(given, |x| x.is_nan())),
        "IsInf" => given.float_type(0).and_then(|_| {
            let (up, down) = (given.node.int("detect_positive", 1) != 0, given.node.int("detect_negative", 1) != 0);
            test(given, |x| x.is_infinite() && if x > 0.0 { up } else { down })
        }),
        "And" => connected(given, |a, b| a & b),
        "Or" => connected(given, |a, b| a | b),
        "Xor" => connected(given, |a, b| a ^ b),
        "Equal" => compared(given, &[Equal]),
        "Less" => compared(given, &[Less]),
        "LessOrEqual" => compared(given, &[Less, Equal]),
        "Greater" => compared(given, &[Greater]),
        "GreaterOrEqual" => compared(given, &[Greater, Equal]),
        _ => return None,
    })
}

/// Booleans as 0 and 1.
fn truths(x: &Array) -> Result<&[i64], String> {
    match x.stored() {
        Some(v) if x.ty() == Type::Bool => Ok(v),
        _ => Err(format!("has {}, where booleans are needed", x.ty().name())),
    }
}

fn test(given: &Given, f: impl Fn(f64) -> bool) -> Result<Array, String> {
    let x = given.input(0)?;
    Ok(Array::bools(x.shape.clone(), x.to_doubles().into_iter().map(f)))
}

/// The shape that all broadcast to.
fn together(given: &Given, arrays: &[&Array]) -> Result<Vec<usize>, String> {
    let shape = arrays.iter().try_fold(Vec::new(), |shape, x| broadcast(&shape, &x.shape))?;
    given.afford(&shape)?;
    Ok(shape)
}

/// The places of the elements of `a` and `b` that meet.
fn meet(given: &Given, a: &Array, b: &Array, f: impl Fn(usize, usize) -> bool) -> Result<Array, String> {
    let shape = together(given, &[a, b])?;
    let (of_a, of_b) = (broadcast_steps(&a.shape, &shape), broadcast_steps(&b.shape, &shape));
    let truths: Vec<bool> = walk(&shape, &of_a, 0).zip(walk(&shape, &of_b, 0)).map(|(i, j)| f(i, j)).collect();
    Ok(Array::bools(shape, truths.into_iter()))
}

fn connected(given: &Given, f: fn(i64, i64) -> i64) -> Result<Array, String> {
    let (a, b) = (given.input(0)?, given.input(1)?);
    let (x, y) = (truths(a)?, truths(b)?);
    meet(given, a, b, |i, j| f(x[i], y[j]) != 0)
}

fn compared(given: &Given, wanted: &[std::cmp::Ordering]) -> Result<Array, String> {
    let (a, b) = (given.input(0)?, given.input(1)?);
    let ty = given.same_type(&[a, b])?;
    if let (Some(x), Some(y)) = (a.stored(), b.stored()) {
        return meet(given, a, b, |i, j| wanted.contains(&ty.widen(x[i]).cmp(&ty.widen(y[j]))));
    }
    let (x, y) = (a.to_doubles(), b.to_doubles());
    meet(given, a, b, |i, j| x[i].partial_cmp(&y[j]).is_some_and(|o| wanted.contains(&o)))
}

fn choose(given: &Given) -> Result<Array, String> {
    let (condition, yes, no) = (given.input(0)?, given.input(1)?, given.input(2)?);
    given.same_type(&[yes, no])?;
    let taken = truths(condition)?;
    let shape = together(given, &[condition, yes, no])?;
    let [at, of_yes, of_no] = [condition, yes, no].map(|x| broadcast_steps(&x.shape, &shape));
    let both = Array::chained(&[yes, no])?;
    let places = walk(&shape, &at, 0).zip(walk(&shape, &of_yes, 0).zip(walk(&shape, &of_no, yes.len() as i64)));
    Ok(both.picked(shape.clone(), places.map(|(c, (y, n))| if taken[c] != 0 { y } else { n })))
}

#[cfg(test)]
mod tests {
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, run};
    use super::*;

    #[test]
    fn a_shape_with_an_unknown_dimension_is_chosen() {
        let (wanted, ones) = (Array::ints(vec![-1, 5, 192]), Array::ints(vec![1, 1, 1]));
        let unknown = run("Less", &[], &[wanted.clone(), Array::ints(vec![0])]).unwrap();
        assert_eq!(unknown, of(Type::Bool, &[1, 0, 0]));
        assert_eq!(run("Where", &[], &[unknown.clone(), ones, wanted]).unwrap(), Array::ints(vec![1, 5, 192]));
        assert_eq!(run("Not", &[], &[unknown]).unwrap(), of(Type::Bool, &[0, 1, 1]));
    }

    #[test]
    fn numbers_are_compared_exactly() {
        let large = [of(Type::I64, &[i64::MAX]), of(Type::I64, &[i64::MAX - 1])];
        assert_eq!(run("Greater", &[], &large).unwrap(), of(Type::Bool, &[1]));
        assert_eq!(run("Equal", &[], &large).unwrap(), of(Type::Bool, &[0]));
        assert_eq!(run("Less", &[], &[of(Type::U64, &[-1]), of(Type::U64, &[1])]).unwrap(), of(Type::Bool, &[0]));
        let nan = floats(&[2], &[f32::NAN, f32::NEG_INFINITY]);
        for op in ["Equal", "LessOrEqual", "GreaterOrEqual"] {
            assert_eq!(run(op, &[], &[nan.clone(), nan.clone()]).unwrap(), of(Type::Bool, &[0, 1]), "{op}");
        }
        assert_eq!(run("IsNaN", &[], std::slice::from_ref(&nan)).unwrap(), of(Type::Bool, &[1, 0]));
        assert_eq!(run("IsInf", &[("detect_negative", Attribute::Int(0))], &[nan]).unwrap(), of(Type::Bool, &[0, 0]));
    }

    #[test]
    fn truths_are_connected() {
        let pairs = [of(Type::Bool, &[0, 0, 1, 1]), of(Type::Bool, &[0, 1, 0, 1])];
        let made = |op: &str| run(op, &[], &pairs).unwrap().stored().unwrap().to_vec();
        assert_eq!((made("And"), made("Or"), made("Xor")), (vec![0, 0, 0, 1], vec![0, 1, 1, 1], vec![0, 1, 1, 0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let truth = of(Type::Bool, &[1, 0]);
        assert!(run("Where", &[], std::slice::from_ref(&truth)).unwrap_err().contains("lacks"));
        assert!(run("Where", &[], &[truth.clone(), floats(&[1], &[0.0]), Array::ints(vec![1])]).unwrap_err().contains("float and int64"));
        assert!(run("And", &[], &[truth, Array::ints(vec![1])]).unwrap_err().contains("booleans"));
        assert!(run("Greater", &[], &[Array::ints(vec![1, 2]), Array::ints(vec![1, 2, 3])]).unwrap_err().contains("together"));
        let wide = of(Type::Bool, &[0; 5000]);
        let tall = wide.reshaped(vec![5000, 1]);
        assert!(run("Or", &[], &[wide, tall]).unwrap_err().contains("elements"));
    }
}
