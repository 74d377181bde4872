//! Shapes and what is made of them: Shape, Reshape and the like, constants, ranges.

use super::super::array::{Array, Data, alike};
use super::super::dims::{axes, dims, target_shape};
use super::super::elem::Type;
use super::super::node::{Attribute, Node};
use super::super::sizes::{axis, squeezed, unsqueezed};
use super::given::{Given, Outcome, one};

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        "Constant" => constant(given.node),
        "ConstantOfShape" => constant_of_shape(given),
        "Identity" => given.input(0).cloned(),
        "Dropout" => return Some(dropout(given)),
        "Shape" => given.input(0).map(|x| shape_of(given.node, &x.shape)),
        "Size" => given.input(0).map(|x| Array { shape: vec![], data: Data::Ints(vec![x.len() as i64]) }),
        "Reshape" => reshape(given),
        "Flatten" => flatten(given),
        "Squeeze" | "Unsqueeze" => given.input(0).and_then(|x| {
            let axes = axes(given.node, given.optional(1))?;
            let shape = if given.op() == "Squeeze" { squeezed(&x.shape, axes.as_deref()) } else { unsqueezed(&x.shape, axes.as_deref()) };
            Ok(x.reshaped(shape?))
        }),
        "Range" => range(given),
        "EyeLike" => eye(given),
        "OneHot" => one_hot(given),
        _ => return None,
    })
}

/// What `Shape` gives of a value of `shape`.
pub(in crate::import::onnx) fn shape_of(node: &Node, shape: &[usize]) -> Array {
    let rank = shape.len() as i64;
    let clamp = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(node.int("start", 0)), clamp(node.int("end", rank)));
    Array::ints(shape.get(start..end).unwrap_or_default().iter().map(|&d| d as i64).collect())
}

fn constant(node: &Node) -> Result<Array, String> {
    let held = node.attributes.iter().find(|(name, _)| name.starts_with("value") || name.as_str() == "sparse_value");
    let (name, value) = held.ok_or("holds no value")?;
    match value {
        Attribute::Tensor(t) => Ok((**t).clone()),
        Attribute::Float(f) => Ok(Array { shape: vec![], data: Data::Floats(vec![*f]) }),
        Attribute::Int(i) => Ok(Array { shape: vec![], data: Data::Ints(vec![*i]) }),
        Attribute::Floats(f) => Ok(Array { shape: vec![f.len()], data: Data::Floats(f.clone()) }),
        Attribute::Ints(i) => Ok(Array::ints(i.clone())),
        Attribute::Text(_) | Attribute::Texts(_) | Attribute::Graph(_) | Attribute::Other => {
            Err(format!("holds a {name}, which is neither float nor integer"))
        }
    }
}

fn constant_of_shape(given: &Given) -> Result<Array, String> {
    let shape = dims(given.input(0)?)?;
    let len = given.afford(&shape)?;
    let data = match given.node.attributes.get("value") {
        Some(Attribute::Tensor(t)) => alike!(&t.data, v => vec![v.first().copied().ok_or("has a value without an element")?; len]),
        Some(_) => return Err("has a value that is no tensor".into()),
        None => Data::Floats(vec![0.0; len]),
    };
    Ok(Array { shape, data })
}

/// At inference the input, and a mask of all ones.
fn dropout(given: &Given) -> Result<Vec<Array>, String> {
    let x = given.input(0)?;
    let trains = given.optional(2).is_some_and(|t| t.scalar() != Some(0.0));
    let keeps_all = given.optional(1).is_some_and(|r| r.scalar() == Some(0.0));
    if trains && !keeps_all {
        return Err("draws random numbers, which a compiled network cannot".into());
    }
    Ok(vec![x.clone(), Array::bools(x.shape.clone(), std::iter::repeat_n(true, x.len()))])
}

fn reshape(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let target = match (given.optional(1), given.node.ints("shape")) {
        (Some(target), _) => target.clone(),
        (None, Some(ints)) => Array::ints(ints.to_vec()),
        (None, None) => return Err("does not say which shape".into()),
    };
    Ok(x.reshaped(target_shape(given.node, &x.shape, &target)?))
}

fn flatten(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let rank = x.shape.len() as i64;
    // An axis of the rank itself leaves nothing for the second dimension.
    let at = match given.node.int("axis", 1) {
        all if all == rank => x.shape.len(),
        at => axis(at, x.shape.len())?,
    };
    Ok(x.reshaped(vec![x.shape[..at].iter().product(), x.shape[at..].iter().product()]))
}

fn range(given: &Given) -> Result<Array, String> {
    let ty = given.same_type(&given.all()?)?;
    if ty.is_float() {
        let (start, limit, step) = (given.number(0)?, given.number(1)?, given.number(2)?);
        let count = ((limit - start) / step).ceil();
        if !count.is_finite() || step == 0.0 {
            return Err(format!("has the range from {start} to {limit} by {step}"));
        }
        let len = given.afford(&[count.max(0.0) as usize])?;
        return Ok(Array::floats_of(ty, vec![len], (0..len).map(|i| start + i as f64 * step).collect()));
    }
    let of = |i: usize| given.int(i).map(i128::from);
    let (start, limit, step) = (of(0)?, of(1)?, of(2)?);
    if step == 0 {
        return Err("has a range with a step of 0".into());
    }
    let (over, by) = if step > 0 { (limit - start, step) } else { (start - limit, -step) };
    let count = if over <= 0 { 0 } else { (over - 1) / by + 1 };
    let len = given.afford(&[usize::try_from(count).map_err(|_| "has a range that is too long")?])?;
    Ok(Array::ints_of(ty, vec![len], (0..len as i128).map(|i| ty.wrap(start + i * step)).collect()))
}

fn eye(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let [rows, columns] = x.shape[..] else { return Err(format!("has an input of {:?}, where two axes are needed", x.shape)) };
    let ty = given.type_of("dtype")?.unwrap_or(x.ty());
    let k = given.node.int("k", 0);
    let on = |i: usize| i64::from(((i % columns) as i64).checked_sub((i / columns) as i64) == Some(k));
    Ok(match ty.is_float() {
        true => Array::floats_of(ty, vec![rows, columns], (0..x.len()).map(|i| on(i) as f64).collect()),
        false => Array::ints_of(ty, vec![rows, columns], (0..x.len()).map(on).collect()),
    })
}

fn one_hot(given: &Given) -> Result<Array, String> {
    let (indices, values) = (given.input(0)?, given.input(2)?);
    let depth = given.number(1)?;
    let depth = if depth >= 1.0 { depth as usize } else { return Err(format!("has a depth of {depth}")) };
    if values.len() != 2 {
        return Err(format!("has {} values, where two are needed", values.len()));
    }
    let rank = indices.shape.len() + 1;
    let at = axis(given.node.int("axis", -1), rank)?;
    let mut shape = indices.shape.clone();
    shape.insert(at, depth);
    given.afford(&shape)?;
    let inner: usize = indices.shape[at..].iter().product();
    // Below zero counts from the end, since operator set 11.
    let place = |x: &f64| {
        let i = if *x < 0.0 && given.opset() >= 11 { x + depth as f64 } else { *x };
        (i >= 0.0 && i < depth as f64).then_some(i as usize)
    };
    let hot: Vec<Option<usize>> = indices.to_doubles().iter().map(place).collect();
    let outer = indices.len().checked_div(inner).unwrap_or(0);
    let places = (0..outer).flat_map(|o| (0..depth).flat_map(move |d| (0..inner).map(move |i| (o * inner + i, d))));
    Ok(values.picked(shape, places.map(|(i, d)| usize::from(hot[i] == Some(d)))))
}

/// The type of whole numbers by which ONNX counts.
pub(super) fn counts(shape: Vec<usize>, values: Vec<usize>) -> Array {
    Array::ints_of(Type::I64, shape, values.into_iter().map(|v| v as i64).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{floats, of, outputs_at, run};
    use super::*;

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
    fn shapes_are_changed_along_axes_from_either_end() {
        let x = floats(&[2, 3, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let shape = |op: &str, attributes: &[(&str, Attribute)], more: &[Array]| {
            run(op, attributes, &[std::slice::from_ref(&x), more].concat()).map(|a| a.shape)
        };
        let at = |i| [("axis", Attribute::Int(i))];
        assert_eq!([1, -1, 3, -3, 0].map(|i| shape("Flatten", &at(i), &[]).unwrap()), [[2, 3], [6, 1], [6, 1], [1, 6], [1, 6]]);
        assert!(shape("Flatten", &at(4), &[]).is_err() && shape("Flatten", &at(-4), &[]).is_err());
        assert_eq!(shape("Reshape", &[], &[Array::ints(vec![0, -1])]).unwrap(), [2, 3]);
        assert_eq!(shape("Squeeze", &[], &[Array::ints(vec![-1])]).unwrap(), [2, 3]);
        assert!(shape("Squeeze", &[], &[Array::ints(vec![0])]).unwrap_err().contains("more than one"));
        assert_eq!(shape("Unsqueeze", &[], &[Array::ints(vec![-1, 0])]).unwrap(), [1, 2, 3, 1, 1]);
        assert!(shape("Reshape", &[], &[Array::ints(vec![-1, -1])]).unwrap_err().contains("cannot make"));
        assert_eq!(
            run("Shape", &[("start", Attribute::Int(-2)), ("end", Attribute::Int(9))], std::slice::from_ref(&x)).unwrap(),
            Array::ints(vec![3, 1])
        );
    }

    #[test]
    fn ranges_are_of_their_type() {
        let ints = |a, b, c| run("Range", &[], &[of(Type::I32, &[a]), of(Type::I32, &[b]), of(Type::I32, &[c])]);
        assert_eq!((ints(3, 9, 3).unwrap(), ints(10, 3, -3).unwrap()), (of(Type::I32, &[3, 6]), of(Type::I32, &[10, 7, 4])));
        assert!(ints(0, 1, 0).unwrap_err().contains("step of 0"));
        let scalar = |x| floats(&[], &[x]);
        assert_eq!(run("Range", &[], &[scalar(1.0), scalar(2.0), scalar(0.25)]).unwrap(), floats(&[4], &[1.0, 1.25, 1.5, 1.75]));
        assert!(run("Range", &[], &[scalar(1.0), scalar(f32::NAN), scalar(0.25)]).is_err());
    }

    #[test]
    fn ones_stand_where_indices_say() {
        let (depth, values) = (Array::ints(vec![3]), of(Type::I32, &[2, 5]));
        let at = |opset| outputs_at(opset, "OneHot", &[], &[Array::ints(vec![1, -1, 7]), depth.clone(), values.clone()]).unwrap().remove(0);
        assert_eq!(at(11).stored().unwrap(), [2, 5, 2, 2, 2, 5, 2, 2, 2]);
        assert_eq!(at(9).stored().unwrap(), [2, 5, 2, 2, 2, 2, 2, 2, 2]);
        let first = run("OneHot", &[("axis", Attribute::Int(0))], &[Array::ints(vec![1, 2]), depth, values]).unwrap();
        assert_eq!((first.shape, first.data), (vec![3, 2], Data::Narrow(Type::I32, vec![2, 2, 5, 2, 2, 5])));
        let eye = run("EyeLike", &[("k", Attribute::Int(1)), ("dtype", Attribute::Int(9))], &[floats(&[2, 3], &[0.0; 6])]).unwrap();
        assert_eq!((eye.ty(), eye.stored().unwrap()), (Type::Bool, &[0, 1, 0, 0, 0, 1][..]));
    }

    #[test]
    fn a_dropout_that_draws_is_refused() {
        let (x, half, on, off) = (floats(&[1], &[2.0]), floats(&[], &[0.5]), of(Type::Bool, &[1]), of(Type::Bool, &[0]));
        assert!(run("Dropout", &[], &[x.clone(), half.clone(), on]).unwrap_err().contains("random"));
        let both = outputs_at(13, "Dropout", &[], &[x.clone(), half, off]).unwrap();
        assert_eq!(both, [x, of(Type::Bool, &[1])]);
    }
}
