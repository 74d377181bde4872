//! Elements picked and placed by indices that are values themselves.

use super::super::array::{Array, Data};
use super::super::sizes::{axis, brief};
use super::binary::{NO_RESULT, combine};
use super::given::{Given, Outcome, one};
use super::places::{around, strides};

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        "Gather" => gather(given),
        "GatherElements" => gather_elements(given),
        "GatherND" => gather_nd(given),
        "ScatterElements" | "Scatter" => scatter_elements(given),
        "ScatterND" => scatter_nd(given),
        "TensorScatter" => tensor_scatter(given),
        "Compress" => compress(given),
        _ => return None,
    })
}

fn gather(given: &Given) -> Result<Array, String> {
    let (x, indices) = (given.input(0)?, given.input(1)?);
    let at = axis(given.node.int("axis", 0), x.shape.len())?;
    let picks = given.ints(1)?.iter().map(|&i| axis(i, x.shape[at])).collect::<Result<Vec<_>, _>>()?;
    let (outer, whole, inner) = around(&x.shape, at);
    let shape = [&x.shape[..at], &indices.shape, &x.shape[at + 1..]].concat();
    given.afford(&shape)?;
    let starts = (0..outer).flat_map(|o| picks.iter().map(move |&p| (o * whole + p) * inner));
    Ok(x.picked(shape, starts.flat_map(|start| start..start + inner)))
}

/// For each element of `indices` its place in an array of `shape`, whose axis `at` the index names.
fn element_places(given: &Given, shape: &[usize], at: usize) -> Result<Vec<usize>, String> {
    let indices = given.input(1)?;
    let fits = |(i, (n, d)): (usize, (&usize, &usize))| i == at || n <= d;
    if indices.shape.len() != shape.len() || !indices.shape.iter().zip(shape).enumerate().all(fits) {
        return Err(format!("has indices of {:?} for {shape:?}", indices.shape));
    }
    let (own, theirs) = (strides(shape), strides(&indices.shape));
    let place = |(i, &index): (usize, &i64)| {
        let index = axis(index, shape[at])?;
        let along = |a: usize| if a == at { index } else { i / theirs[a] % indices.shape[a] };
        Ok((0..shape.len()).map(|a| along(a) * own[a]).sum())
    };
    given.ints(1)?.iter().enumerate().map(place).collect()
}

fn gather_elements(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let at = axis(given.node.int("axis", 0), x.shape.len())?;
    let places = element_places(given, &x.shape, at)?;
    Ok(x.picked(given.input(1)?.shape.clone(), places.into_iter()))
}

/// The starts of the blocks that index tuples name in the axes of `shape` from `batch` on, and the elements of a block.
fn blocks(given: &Given, shape: &[usize], batch: usize) -> Result<(Vec<usize>, usize), String> {
    let indices = given.input(1)?;
    let misfit = || format!("has indices of {:?} for {shape:?}", indices.shape);
    let deep = *indices.shape.last().filter(|d| batch + **d <= shape.len()).ok_or_else(misfit)?;
    if indices.shape.len() <= batch || indices.shape[..batch] != shape[..batch] {
        return Err(misfit());
    }
    let own = strides(shape);
    let tuples: usize = indices.shape[..indices.shape.len() - 1].iter().product();
    let batches: usize = shape[..batch].iter().product();
    let each = tuples.checked_div(batches).unwrap_or(0);
    let (whole, block): (usize, usize) = (shape[batch..].iter().product(), shape[batch + deep..].iter().product());
    let ints = given.ints(1)?;
    let start = |t: usize| -> Result<usize, String> {
        let tuple = &ints[t * deep..(t + 1) * deep];
        let mut at = t / each.max(1) * whole;
        for (i, &index) in tuple.iter().enumerate() {
            at += axis(index, shape[batch + i])? * own[batch + i];
        }
        Ok(at)
    };
    given.afford(&[tuples])?;
    Ok(((0..tuples).map(start).collect::<Result<_, _>>()?, block))
}

fn gather_nd(given: &Given) -> Result<Array, String> {
    let (x, indices) = (given.input(0)?, given.input(1)?);
    let batch = usize::try_from(given.node.int("batch_dims", 0)).map_err(|_| "has a negative number of batch axes")?;
    if batch > x.shape.len() {
        return Err(format!("has {batch} batch axes for {:?}", x.shape));
    }
    let (starts, block) = blocks(given, &x.shape, batch)?;
    let deep = indices.shape.last().copied().unwrap_or(0);
    let shape = [&indices.shape[..indices.shape.len() - 1], &x.shape[batch + deep..]].concat();
    given.afford(&shape)?;
    Ok(x.picked(shape, starts.into_iter().flat_map(|s| s..s + block)))
}

/// `x` with `updates` in `places`, taken together with what is there as `reduction` says.
fn placed(given: &Given, x: &Array, updates: &Array, places: impl Iterator<Item = usize>) -> Result<Array, String> {
    given.same_type(&[x, updates])?;
    let op = match given.node.text("reduction").unwrap_or("none") {
        "none" => None,
        "add" => Some("Add"),
        "mul" => Some("Mul"),
        "max" => Some("Max"),
        "min" => Some("Min"),
        other => return Err(format!("reduces by '{other}', which is unknown")),
    };
    let (mut out, ty) = (x.clone(), x.ty());
    let (floats, ints) = (op.map(combine::floats), op.map(combine::ints));
    match (&mut out.data, &updates.data) {
        (Data::Floats(out), Data::Floats(v)) | (Data::Small(_, out), Data::Small(_, v)) => {
            places.zip(v).for_each(|(p, &v)| out[p] = floats.map_or(v, |f| ty.round(f(out[p].into(), v.into()), false) as f32));
        }
        (Data::Doubles(out), Data::Doubles(v)) => places.zip(v).for_each(|(p, &v)| out[p] = floats.map_or(v, |f| f(out[p], v))),
        (Data::Ints(out), Data::Ints(v)) | (Data::Narrow(_, out), Data::Narrow(_, v)) => {
            for (p, &v) in places.zip(v) {
                out[p] = match ints {
                    None => v,
                    Some(f) => ty.wrap(f(ty, ty.widen(out[p]), ty.widen(v)).ok_or(NO_RESULT)?),
                };
            }
        }
        _ => return Err("has updates of another type".into()),
    }
    Ok(out)
}

fn scatter_elements(given: &Given) -> Result<Array, String> {
    let (x, updates) = (given.input(0)?, given.input(2)?);
    let at = axis(given.node.int("axis", 0), x.shape.len())?;
    if updates.shape != given.input(1)?.shape {
        return Err(format!("has updates of {:?} for indices of {:?}", updates.shape, given.input(1)?.shape));
    }
    placed(given, x, updates, element_places(given, &x.shape, at)?.into_iter())
}

fn scatter_nd(given: &Given) -> Result<Array, String> {
    let (x, indices, updates) = (given.input(0)?, given.input(1)?, given.input(2)?);
    let (starts, block) = blocks(given, &x.shape, 0)?;
    let deep = indices.shape.last().copied().unwrap_or(0);
    if updates.shape != [&indices.shape[..indices.shape.len() - 1], &x.shape[deep..]].concat() {
        return Err(format!("has updates of {:?} for indices of {:?} into {:?}", updates.shape, indices.shape, x.shape));
    }
    placed(given, x, updates, starts.into_iter().flat_map(|s| s..s + block))
}

fn tensor_scatter(given: &Given) -> Result<Array, String> {
    let (x, update) = (given.input(0)?, given.input(1)?);
    let at = axis(given.node.int("axis", -2), x.shape.len())?;
    let fits = x.shape.len() == update.shape.len() && (0..x.shape.len()).all(|i| i == at || x.shape[i] == update.shape[i]);
    if at == 0 || !fits || update.shape[at] > x.shape[at] {
        return Err(format!("writes {:?} into {:?}", update.shape, x.shape));
    }
    let starts = match given.optional(2) {
        Some(_) => given.ints(2)?.to_vec(),
        None => vec![0; x.shape[0]],
    };
    let (outer, len, inner) = around(&update.shape, at);
    let whole = x.shape[at];
    let circular = given.node.text("mode") == Some("circular");
    let fits = |s: &i64| *s >= 0 && (circular || (*s as u64).saturating_add(len as u64) <= whole as u64);
    if starts.len() != x.shape[0] || !starts.iter().all(fits) {
        return Err(format!("writes {len} elements at {} of {whole}", brief(&starts)));
    }
    let each = outer.checked_div(x.shape[0]).unwrap_or(1).max(1);
    let rows = (0..outer).flat_map(|o| (0..len).map(move |i| (o, i)));
    let begin = rows.map(|(o, i)| (o * whole + (starts[o / each] as usize % whole.max(1) + i) % whole) * inner);
    placed(given, x, update, begin.flat_map(|b| b..b + inner))
}

fn compress(given: &Given) -> Result<Array, String> {
    let (x, condition) = (given.input(0)?, given.ints(1)?);
    let (flat, at) = match given.node.attributes.contains_key("axis") {
        true => (x.clone(), axis(given.node.int("axis", 0), x.shape.len())?),
        false => (x.reshaped(vec![x.len()]), 0),
    };
    let (outer, whole, inner) = around(&flat.shape, at);
    let kept: Vec<usize> = (0..whole.min(condition.len())).filter(|&i| condition[i] != 0).collect();
    let mut shape = flat.shape.clone();
    shape[at] = kept.len();
    let starts = (0..outer).flat_map(|o| kept.iter().map(move |&k| (o * whole + k) * inner));
    Ok(flat.picked(shape, starts.flat_map(|s| s..s + inner)))
}

#[cfg(test)]
mod tests {
    use super::super::super::elem::Type;
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, run};
    use super::*;

    fn ints(shape: &[usize], v: &[i64]) -> Array {
        Array { shape: shape.to_vec(), data: Data::Ints(v.to_vec()) }
    }

    #[test]
    fn elements_are_picked_by_indices() {
        let x = floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let at = |i| [("axis", Attribute::Int(i))];
        let rows = run("Gather", &at(-1), &[x.clone(), ints(&[1, 2], &[-1, 0])]).unwrap();
        assert_eq!(rows, floats(&[2, 1, 2], &[2.0, 1.0, 4.0, 3.0]));
        assert!(run("Gather", &[], &[x.clone(), ints(&[1], &[2])]).unwrap_err().contains("axis 2 of 2"));
        let elements = run("GatherElements", &at(1), &[x.clone(), ints(&[2, 2], &[0, 0, -1, 0])]).unwrap();
        assert_eq!(elements.to_floats(), [1.0, 1.0, 4.0, 3.0]);
        let pairs = run("GatherND", &[], &[x.clone(), ints(&[2, 2], &[0, 0, 1, -1])]).unwrap();
        assert_eq!(pairs, floats(&[2], &[1.0, 4.0]));
        let batched = run("GatherND", &[("batch_dims", Attribute::Int(1))], &[x.clone(), ints(&[2, 1], &[1, 0])]).unwrap();
        assert_eq!(batched, floats(&[2], &[2.0, 3.0]));
        assert!(run("GatherND", &[], &[x.clone(), ints(&[1, 3], &[0, 0, 0])]).is_err());
        assert_eq!(run("Compress", &at(1), &[x.clone(), of(Type::Bool, &[0, 1])]).unwrap(), floats(&[2, 1], &[2.0, 4.0]));
        assert_eq!(run("Compress", &[], &[x, of(Type::Bool, &[1, 0, 1])]).unwrap(), floats(&[2], &[1.0, 3.0]));
    }

    #[test]
    fn elements_are_placed_by_indices() {
        let x = ints(&[4], &[1, 2, 3, 4]);
        let by = |op: &str| [("reduction", Attribute::Text(op.into()))];
        let add = run("ScatterElements", &by("add"), &[x.clone(), ints(&[3], &[1, 1, -1]), ints(&[3], &[10, 10, 5])]).unwrap();
        assert_eq!(add, ints(&[4], &[1, 22, 3, 9]));
        let set = run("ScatterND", &[], &[x.clone(), ints(&[2, 1], &[3, 0]), ints(&[2], &[7, 8])]).unwrap();
        assert_eq!(set, ints(&[4], &[8, 2, 3, 7]));
        let most = run("ScatterND", &by("max"), &[of(Type::U8, &[200, 1]), ints(&[1, 1], &[0]), of(Type::U8, &[100])]).unwrap();
        assert_eq!(most, of(Type::U8, &[200, 1]));
        assert!(run("ScatterElements", &[], &[x.clone(), ints(&[1], &[4]), ints(&[1], &[0])]).unwrap_err().contains("axis 4 of 4"));
        assert!(run("ScatterND", &[], &[x, ints(&[1, 1], &[0]), ints(&[2], &[0, 0])]).unwrap_err().contains("updates of [2]"));
        let cache = floats(&[1, 3, 1], &[1.0, 2.0, 3.0]);
        let turned = [("mode", Attribute::Text("circular".into()))];
        let written = run("TensorScatter", &turned, &[cache.clone(), floats(&[1, 2, 1], &[8.0, 9.0]), ints(&[1], &[2])]).unwrap();
        assert_eq!(written.to_floats(), [9.0, 2.0, 8.0]);
        assert!(run("TensorScatter", &[], &[cache, floats(&[1, 2, 1], &[8.0, 9.0]), ints(&[1], &[2])]).is_err());
    }
}
