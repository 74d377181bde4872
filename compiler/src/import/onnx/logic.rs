//! Comparisons and choices over constants: how exporters write shapes that might have been unknown. Truth is 0 or 1.

use std::sync::Arc;

use super::array::{Array, Data};
use super::dims::{affordable, broadcast};
use super::eval::spread;
use super::model::Node;

/// The output of `node` over constants; `None` for an operation that is not done here.
///
/// # Errors
/// A phrase that says why the inputs do not fit.
pub(super) fn evaluate(node: &Node, inputs: &[Option<Arc<Array>>]) -> Option<Result<Array, String>> {
    let compare: fn(f64, f64) -> bool = match node.op.as_str() {
        "Where" => return Some(choose(inputs)),
        "Not" => return Some(given(inputs, 0).map(|x| Array { shape: x.shape.clone(), data: truths(numbers(x).map(|v| v == 0.0)) })),
        "Mod" => return Some(given(inputs, 0).and_then(|a| remainder(node, a, given(inputs, 1)?))),
        "Less" => |a, b| a < b,
        "LessOrEqual" => |a, b| a <= b,
        "Greater" => |a, b| a > b,
        "GreaterOrEqual" => |a, b| a >= b,
        "And" => |a, b| a != 0.0 && b != 0.0,
        "Or" => |a, b| a != 0.0 || b != 0.0,
        _ => return None,
    };
    Some(given(inputs, 0).and_then(|a| {
        let b = given(inputs, 1)?;
        let shape = together(&[a, b])?;
        let (x, y): (Vec<f64>, Vec<f64>) = (numbers(a).collect(), numbers(b).collect());
        let pairs = spread(&a.shape, &shape).into_iter().zip(spread(&b.shape, &shape));
        Ok(Array { data: truths(pairs.map(|(i, j)| compare(x[i], y[j]))), shape })
    }))
}

fn given(inputs: &[Option<Arc<Array>>], at: usize) -> Result<&Array, String> {
    inputs.get(at).and_then(Option::as_deref).ok_or_else(|| format!("lacks input {at}"))
}

/// Exact for every f32, and for integers as far as shapes go.
fn numbers(x: &Array) -> impl Iterator<Item = f64> {
    let (floats, ints) = match &x.data {
        Data::Floats(v) => (&v[..], &[][..]),
        Data::Ints(v) => (&[][..], &v[..]),
    };
    floats.iter().map(|&v| f64::from(v)).chain(ints.iter().map(|&v| v as f64))
}

fn truths(values: impl Iterator<Item = bool>) -> Data {
    Data::Ints(values.map(i64::from).collect())
}

/// The shape that all broadcast to.
fn together(arrays: &[&Array]) -> Result<Vec<usize>, String> {
    let shape = arrays.iter().try_fold(Vec::new(), |shape, x| broadcast(&shape, &x.shape))?;
    affordable(&shape)?;
    Ok(shape)
}

fn choose(inputs: &[Option<Arc<Array>>]) -> Result<Array, String> {
    let (condition, yes, no) = (given(inputs, 0)?, given(inputs, 1)?, given(inputs, 2)?);
    let shape = together(&[condition, yes, no])?;
    let taken: Vec<bool> = numbers(condition).map(|v| v != 0.0).collect();
    let [at, of_yes, of_no] = [condition, yes, no].map(|x| spread(&x.shape, &shape));
    let places = || at.iter().zip(of_yes.iter().zip(&of_no)).map(|(&c, (&y, &n))| (taken[c], y, n));
    let data = match (&yes.data, &no.data) {
        (Data::Ints(yes), Data::Ints(no)) => Data::Ints(places().map(|(c, y, n)| if c { yes[y] } else { no[n] }).collect()),
        _ => {
            let (yes, no) = (yes.to_floats(), no.to_floats());
            Data::Floats(places().map(|(c, y, n)| if c { yes[y] } else { no[n] }).collect())
        }
    };
    Ok(Array { shape, data })
}

/// With `fmod` the sign is the dividend's, else the divisor's.
fn remainder(node: &Node, a: &Array, b: &Array) -> Result<Array, String> {
    let shape = together(&[a, b])?;
    let pairs = spread(&a.shape, &shape).into_iter().zip(spread(&b.shape, &shape));
    let truncated = node.int("fmod", 0) != 0;
    let data = match (&a.data, &b.data) {
        (Data::Ints(a), Data::Ints(b)) => {
            let one = |x: i64, y: i64| {
                let r = x.checked_rem(y)?;
                Some(if truncated || r == 0 || (r < 0) == (y < 0) { r } else { r + y })
            };
            Data::Ints(pairs.map(|(i, j)| one(a[i], b[j])).collect::<Option<_>>().ok_or("divides by zero or overflows")?)
        }
        _ if !truncated => return Err("takes the remainder of floats without fmod".into()),
        _ => {
            let (a, b) = (a.to_floats(), b.to_floats());
            Data::Floats(pairs.map(|(i, j)| a[i] % b[j]).collect())
        }
    };
    Ok(Array { shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(op: &str, inputs: &[Array]) -> Result<Array, String> {
        let inputs: Vec<_> = inputs.iter().map(|a| Some(Arc::new(a.clone()))).collect();
        evaluate(&Node::new(op, "n", &[], "out"), &inputs).unwrap()
    }

    #[test]
    fn a_shape_with_an_unknown_dimension_is_chosen() {
        let (wanted, ones) = (Array::ints(vec![-1, 5, 192]), Array::ints(vec![1, 1, 1]));
        let unknown = run("Less", &[wanted.clone(), Array::ints(vec![0])]).unwrap();
        assert_eq!(unknown, Array::ints(vec![1, 0, 0]));
        assert_eq!(run("Where", &[unknown.clone(), ones, wanted]).unwrap(), Array::ints(vec![1, 5, 192]));
        assert_eq!(run("Not", &[unknown]).unwrap(), Array::ints(vec![0, 1, 1]));
    }

    #[test]
    fn remainders_take_the_divisors_sign() {
        let mods = run("Mod", &[Array::ints(vec![7, -7, 7, -7]), Array::ints(vec![3, 3, -3, -3])]).unwrap();
        assert_eq!(mods, Array::ints(vec![1, 2, -2, -1]));
        assert!(run("Mod", &[Array::ints(vec![1]), Array::ints(vec![0])]).unwrap_err().contains("zero"));
        assert!(run("Mod", &[Array::ints(vec![i64::MIN]), Array::ints(vec![-1])]).unwrap_err().contains("overflows"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(run("Where", &[Array::ints(vec![1, 0])]).unwrap_err().contains("lacks"));
        assert!(run("Greater", &[Array::ints(vec![1, 2]), Array::ints(vec![1, 2, 3])]).unwrap_err().contains("together"));
        let wide = Array::ints(vec![0; 5000]);
        let tall = Array { shape: vec![5000, 1], data: wide.data.clone() };
        assert!(run("Or", &[wide, tall]).unwrap_err().contains("elements"));
    }
}
