//! Operations that sort or search: TopK, Unique, NonZero.

use std::cmp::Ordering;

use super::super::array::{Array, Data};
use super::super::sizes::axis;
use super::given::{Given, Outcome, one};
use super::places::{around, strides};
use super::reduce::groups;
use super::shapes::counts;

pub(super) fn evaluate(given: &Given) -> Outcome {
    match given.op() {
        "TopK" => Some(top_k(given)),
        "Unique" => Some(unique(given)),
        "NonZero" => one(non_zero(given)),
        _ => None,
    }
}

/// How two elements of an array compare; NaN is beyond every number.
fn comparison(x: &Array) -> Box<dyn Fn(usize, usize) -> Ordering + '_> {
    fn floats<T: PartialOrd + Copy>(v: &[T]) -> impl Fn(usize, usize) -> Ordering + '_ {
        move |i, j| v[i].partial_cmp(&v[j]).unwrap_or_else(|| v[i].partial_cmp(&v[i]).is_none().cmp(&v[j].partial_cmp(&v[j]).is_none()))
    }
    match &x.data {
        Data::Floats(v) | Data::Small(_, v) => Box::new(floats(v)),
        Data::Doubles(v) => Box::new(floats(v)),
        Data::Ints(v) => Box::new(move |i, j| v[i].cmp(&v[j])),
        Data::Narrow(ty, v) => Box::new(move |i, j| ty.widen(v[i]).cmp(&ty.widen(v[j]))),
    }
}

fn top_k(given: &Given) -> Result<Vec<Array>, String> {
    let x = given.input(0)?;
    let at = axis(given.node.int("axis", -1), x.shape.len())?;
    let (_, len, inner) = around(&x.shape, at);
    let k = if given.optional(1).is_some() { given.int(1)? } else { given.node.int("k", -1) };
    let k = usize::try_from(k).ok().filter(|k| *k <= len).ok_or_else(|| format!("takes {k} of {len} elements"))?;
    let (largest, compare) = (given.node.int("largest", 1) != 0, comparison(x));
    let mut shape = x.shape.clone();
    shape[at] = k;
    given.spend(x.len().saturating_mul(16))?;
    let (starts, _) = groups(&x.shape, &[at]);
    // As the result lies: axis `at` is neither the outermost nor the innermost.
    let (own, mut places) = (strides(&shape), vec![0; shape.iter().product()]);
    let mut indices = places.clone();
    let step = own.get(at).copied().unwrap_or(1);
    for (group, &start) in starts.iter().enumerate() {
        let mut order: Vec<usize> = (0..len).collect();
        order.sort_by(|&a, &b| {
            let by = compare(start + a * inner, start + b * inner);
            (if largest { by.reverse() } else { by }).then(a.cmp(&b))
        });
        let begin = group / step.max(1) * step * k + group % step.max(1);
        for (i, &from) in order[..k].iter().enumerate() {
            places[begin + i * step] = start + from * inner;
            indices[begin + i * step] = from;
        }
    }
    Ok(vec![x.picked(shape.clone(), places.into_iter()), counts(shape, indices)])
}

/// Unique elements, or parts along an axis; where each is first, which of them every element is, and how often each is.
fn unique(given: &Given) -> Result<Vec<Array>, String> {
    let x = given.input(0)?;
    let (flat, at) = match given.node.attributes.contains_key("axis") {
        true => (x.clone(), axis(given.node.int("axis", 0), x.shape.len())?),
        false => (x.reshaped(vec![x.len()]), 0),
    };
    let (outer, len, inner) = around(&flat.shape, at);
    given.spend(x.len().saturating_mul(16))?;
    let compare = comparison(&flat);
    let place = |part: usize, i: usize| (i / inner * len + part) * inner + i % inner;
    let by = |a: usize, b: usize| {
        let parts = (0..outer * inner).map(|i| compare(place(a, i), place(b, i)));
        parts.fold(Ordering::Equal, Ordering::then)
    };
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|&a, &b| by(a, b).then(a.cmp(&b)));
    // The first of each run stands for it.
    let mut firsts: Vec<usize> = Vec::new();
    let mut of = vec![0; len];
    for &part in &order {
        if firsts.last().is_none_or(|&f| by(f, part).is_ne()) {
            firsts.push(part);
        }
        of[part] = firsts.len() - 1;
    }
    if given.node.int("sorted", 1) == 0 {
        let mut rank: Vec<usize> = (0..firsts.len()).collect();
        rank.sort_by_key(|&r| firsts[r]);
        let mut now = vec![0; rank.len()];
        rank.iter().enumerate().for_each(|(new, &old)| now[old] = new);
        of.iter_mut().for_each(|o| *o = now[*o]);
        firsts.sort_unstable();
    }
    let mut often = vec![0; firsts.len()];
    of.iter().for_each(|&o| often[o] += 1);
    let mut shape = flat.shape.clone();
    shape[at] = firsts.len();
    let starts = (0..outer).flat_map(|o| firsts.iter().map(move |&f| (o * len + f) * inner));
    let made = flat.picked(shape, starts.flat_map(|s| s..s + inner));
    let list = |v: Vec<usize>| counts(vec![v.len()], v);
    Ok(vec![made, list(firsts), list(of), list(often)])
}

fn non_zero(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    given.spend(x.len())?;
    let zero = |i: &usize| match x.stored() {
        Some(v) => v[*i] == 0,
        None => false,
    };
    let floats = if x.stored().is_none() { x.to_doubles() } else { Vec::new() };
    let found: Vec<usize> = (0..x.len()).filter(|i| !zero(i) && floats.get(*i).is_none_or(|v| *v != 0.0)).collect();
    let (own, rank) = (strides(&x.shape), x.shape.len());
    given.afford(&[rank, found.len()])?;
    let along = (0..rank).flat_map(|a| found.iter().map(move |&i| (a, i)));
    let made = along.map(|(a, i)| i / own[a] % x.shape[a]).collect();
    Ok(counts(vec![rank, found.len()], made))
}

#[cfg(test)]
mod tests {
    use super::super::super::elem::Type;
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, outputs_at, run};
    use super::*;

    #[test]
    fn the_largest_come_first_and_ties_in_order() {
        let x = floats(&[2, 4], &[1.0, 7.0, 7.0, 3.0, 4.0, 2.0, 8.0, 8.0]);
        let both = outputs_at(11, "TopK", &[], &[x.clone(), Array::ints(vec![2])]).unwrap();
        assert_eq!(both[0], floats(&[2, 2], &[7.0, 7.0, 8.0, 8.0]));
        assert_eq!((both[1].shape.clone(), both[1].as_ints().unwrap()), (vec![2, 2], &[1, 2, 2, 3][..]));
        let least = [("axis", Attribute::Int(0)), ("largest", Attribute::Int(0))];
        let down = outputs_at(11, "TopK", &least, &[x.clone(), Array::ints(vec![1])]).unwrap();
        assert_eq!((down[0].to_floats(), down[1].as_ints().unwrap()), (vec![1.0, 2.0, 7.0, 3.0], &[0, 1, 0, 0][..]));
        let old = outputs_at(1, "TopK", &[("k", Attribute::Int(1))], std::slice::from_ref(&x)).unwrap();
        assert_eq!(old[0].to_floats(), [7.0, 8.0]);
        assert!(run("TopK", &[], &[x, Array::ints(vec![5])]).unwrap_err().contains("takes 5 of 4"));
        assert_eq!(run("TopK", &[], &[of(Type::U64, &[1, -1]), Array::ints(vec![1])]).unwrap(), of(Type::U64, &[-1]));
    }

    #[test]
    fn what_occurs_is_found_once() {
        let ints = |a: &Array| a.as_ints().unwrap().to_vec();
        let all = outputs_at(11, "Unique", &[], &[floats(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0])]).unwrap();
        assert_eq!(all[0].to_floats(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((ints(&all[1]), ints(&all[2]), ints(&all[3])), (vec![1, 0, 3, 4], vec![1, 0, 0, 2, 3, 2], vec![2, 1, 2, 1]));
        let order = outputs_at(11, "Unique", &[("sorted", Attribute::Int(0))], &[floats(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0])]).unwrap();
        assert_eq!((order[0].to_floats(), ints(&order[2])), (vec![2.0, 1.0, 3.0, 4.0], vec![0, 1, 1, 2, 3, 2]));
        let rows = floats(&[3, 2], &[1.0, 0.0, 1.0, 0.0, 0.0, 9.0]);
        let parts = outputs_at(11, "Unique", &[("axis", Attribute::Int(0))], &[rows]).unwrap();
        assert_eq!((parts[0].to_floats(), ints(&parts[2])), (vec![0.0, 9.0, 1.0, 0.0], vec![1, 1, 0]));
    }

    #[test]
    fn places_of_what_is_not_zero() {
        let made = run("NonZero", &[], &[floats(&[2, 2], &[1.0, 0.0, f32::NAN, -1.0])]).unwrap();
        assert_eq!((made.shape.clone(), made.as_ints().unwrap()), (vec![2, 3], &[0, 1, 1, 0, 0, 1][..]));
        assert_eq!(run("NonZero", &[], &[of(Type::Bool, &[0, 1])]).unwrap().as_ints().unwrap(), [1]);
    }
}
