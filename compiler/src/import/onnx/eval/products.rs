//! Products of matrices and what is written with them: MatMul, Gemm, Einsum, Det, and those of quantised values.

use super::super::array::Array;
use super::super::elem::Type;
use super::super::sizes::broadcast;
use super::given::{Given, Outcome, one};
use super::places::{broadcast_offsets, broadcast_steps, strides, walk};

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        "MatMul" => matmul(given),
        "Gemm" => gemm(given),
        "Einsum" => einsum(given),
        "Det" => det(given),
        "MatMulInteger" => matmul_integer(given),
        "QLinearMatMul" => qlinear_matmul(given),
        _ => return None,
    })
}

/// What sums of products are made of: doubles, or integers that wrap at the end.
trait Number: Copy + Default {
    fn plus(self, a: Self, b: Self) -> Self;
}

impl Number for f64 {
    fn plus(self, a: Self, b: Self) -> Self {
        self + a * b
    }
}

impl Number for i64 {
    fn plus(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// The shapes of a product as NumPy has it, a vector as a matrix of one row or column: rows, sum and columns of each
/// matrix, the shape of the result, and the matrices that meet.
struct Matrices {
    sizes: (usize, usize, usize),
    shape: Vec<usize>,
    pairs: Vec<(usize, usize)>,
}

fn matrices(given: &Given, a: &[usize], b: &[usize]) -> Result<Matrices, String> {
    let misfit = || format!("multiplies {a:?} by {b:?}");
    if a.is_empty() || b.is_empty() {
        return Err(misfit());
    }
    let wide_a = if a.len() == 1 { vec![1, a[0]] } else { a.to_vec() };
    let wide_b = if b.len() == 1 { vec![b[0], 1] } else { b.to_vec() };
    let (batch_a, batch_b) = (&wide_a[..wide_a.len() - 2], &wide_b[..wide_b.len() - 2]);
    let (m, k) = (wide_a[wide_a.len() - 2], wide_a[wide_a.len() - 1]);
    let (k_of_b, n) = (wide_b[wide_b.len() - 2], wide_b[wide_b.len() - 1]);
    if k != k_of_b {
        return Err(misfit());
    }
    let batch = broadcast(batch_a, batch_b)?;
    let mut shape = batch.clone();
    shape.extend((a.len() > 1).then_some(m));
    shape.extend((b.len() > 1).then_some(n));
    given.afford(&shape)?;
    given.afford(&batch)?;
    given.spend_product(&[batch.iter().product(), m, k.max(1), n])?;
    let pairs = broadcast_offsets(batch_a, &batch).into_iter().zip(broadcast_offsets(batch_b, &batch)).collect();
    Ok(Matrices { sizes: (m, k, n), shape, pairs })
}

fn multiplied<T: Number>(of: &Matrices, a: &[T], b: &[T]) -> Vec<T> {
    let (m, k, n) = of.sizes;
    let mut out = Vec::with_capacity(of.pairs.len() * m * n);
    let mut row = vec![T::default(); n];
    for &(i, j) in &of.pairs {
        let (a, b) = (&a[i * m * k..(i + 1) * m * k], &b[j * k * n..(j + 1) * k * n]);
        for r in 0..m {
            row.fill(T::default());
            for (s, &x) in a[r * k..(r + 1) * k].iter().enumerate() {
                row.iter_mut().zip(&b[s * n..(s + 1) * n]).for_each(|(sum, &y)| *sum = sum.plus(x, y));
            }
            out.extend_from_slice(&row);
        }
    }
    out
}

fn matmul(given: &Given) -> Result<Array, String> {
    let (a, b) = (given.input(0)?, given.input(1)?);
    let ty = given.same_type(&[a, b])?;
    let of = matrices(given, &a.shape, &b.shape)?;
    if let (Some(x), Some(y)) = (a.stored(), b.stored()) {
        let made = multiplied(&of, x, y).into_iter().map(|v| ty.wrap(v.into())).collect();
        return Ok(Array::ints_of(ty, of.shape, made));
    }
    let made = multiplied(&of, &a.to_doubles(), &b.to_doubles());
    Ok(Array::floats_of(ty, of.shape, made))
}

/// A matrix, turned where the attribute says so.
fn matrix(given: &Given, i: usize, turned: &str) -> Result<(Vec<usize>, Vec<f64>), String> {
    let x = given.input(i)?;
    let [rows, columns] = x.shape[..] else { return Err(format!("has {:?} as input {i}, where a matrix is needed", x.shape)) };
    let values = x.to_doubles();
    if given.node.int(turned, 0) == 0 {
        return Ok((x.shape.clone(), values));
    }
    let made = walk(&[columns, rows], &[1, columns as i64], 0).map(|p| values[p]).collect();
    Ok((vec![columns, rows], made))
}

fn gemm(given: &Given) -> Result<Array, String> {
    let ty = given.same_type(&given.inputs.iter().flatten().map(|a| &**a).collect::<Vec<_>>())?;
    if !ty.is_float() && ty.bits() > 32 {
        return Err(format!("computes with {}", ty.name()));
    }
    let ((of_a, a), (of_b, b)) = (matrix(given, 0, "transA")?, matrix(given, 1, "transB")?);
    let of = matrices(given, &of_a, &of_b)?;
    let (alpha, beta) = (f64::from(given.node.float("alpha", 1.0)), f64::from(given.node.float("beta", 1.0)));
    let mut made: Vec<f64> = multiplied(&of, &a, &b).into_iter().map(|v| alpha * v).collect();
    if let Some(c) = given.optional(2).filter(|_| beta != 0.0) {
        if broadcast(&of.shape, &c.shape)? != of.shape {
            return Err(format!("adds {:?} to {:?}", c.shape, of.shape));
        }
        let values = c.to_doubles();
        made.iter_mut().zip(broadcast_offsets(&c.shape, &of.shape)).for_each(|(m, p)| *m += beta * values[p]);
    }
    let doubles = Array::floats_of(Type::F64, of.shape, made);
    if ty.is_float() { Ok(Array::floats_of(ty, doubles.shape.clone(), doubles.to_doubles())) } else { super::cast::truncated(&doubles, ty) }
}

/// The letters of one operand, an ellipsis as the capital letters beyond Z that its axes need.
fn labels(term: &str, rank: usize, hidden: usize) -> Result<Vec<u32>, String> {
    let text: String = term.chars().filter(|c| !c.is_whitespace()).collect();
    let spelt =
        |part: &str| part.chars().map(|c| if c.is_ascii_alphabetic() { Ok(u32::from(c)) } else { Err(()) }).collect::<Result<Vec<_>, _>>();
    let bad = || format!("has the term '{term}' for {rank} axes");
    let Some((before, behind)) = text.split_once("...") else {
        let letters = spelt(&text).map_err(|()| bad())?;
        return if letters.len() == rank { Ok(letters) } else { Err(bad()) };
    };
    let (before, behind) = (spelt(before).map_err(|()| bad())?, spelt(behind).map_err(|()| bad())?);
    let own = rank.checked_sub(before.len() + behind.len()).filter(|own| *own <= hidden).ok_or_else(bad)?;
    // Aligned at the end, as broadcasting is.
    let axes = (hidden - own..hidden).map(|i| 1000 + i as u32).collect();
    Ok([before, axes, behind].concat())
}

fn einsum(given: &Given) -> Result<Array, String> {
    let operands = given.all()?;
    let ty = given.same_type(&operands)?;
    let equation = given.node.text("equation").ok_or("has no equation")?;
    let (left, right) = equation.split_once("->").map_or((equation, None), |(l, r)| (l, Some(r)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != operands.len() {
        return Err(format!("has the equation '{equation}' for {} inputs", operands.len()));
    }
    let letters = |term: &str| term.chars().filter(char::is_ascii_alphabetic).count();
    let hidden =
        terms.iter().zip(&operands).filter(|(t, _)| t.contains("...")).map(|(t, o)| o.shape.len().saturating_sub(letters(t))).max();
    let hidden = hidden.unwrap_or(0);
    let of: Vec<Vec<u32>> = terms.iter().zip(&operands).map(|(t, o)| labels(t, o.shape.len(), hidden)).collect::<Result<_, _>>()?;
    let mut all: Vec<u32> = of.concat();
    all.sort_unstable();
    all.dedup();
    let output: Vec<u32> = match right {
        Some(right) => labels(right, letters(right) + if right.contains("...") { hidden } else { 0 }, hidden)?,
        // Those that occur once, in the order of the alphabet, behind the axes of the ellipsis.
        None => {
            let once = |l: &&u32| **l >= 1000 || of.iter().flatten().filter(|o| o == l).count() == 1;
            let mut kept: Vec<u32> = all.iter().filter(once).copied().collect();
            kept.sort_by_key(|l| (*l < 1000, *l));
            kept
        }
    };
    let mut seen = output.clone();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != output.len() || !output.iter().all(|l| all.contains(l)) {
        return Err(format!("has the equation '{equation}', whose output does not fit"));
    }
    // The axes of the result, then those that are summed over.
    let order: Vec<u32> = output.iter().copied().chain(all.iter().copied().filter(|l| !output.contains(l))).collect();
    let mut lens = vec![1usize; order.len()];
    for (labels, operand) in of.iter().zip(&operands) {
        for (label, &d) in labels.iter().zip(&operand.shape) {
            let Some(at) = order.iter().position(|o| o == label) else { continue };
            match (lens[at], d) {
                (a, b) if a == b || b == 1 => {}
                (1, b) => lens[at] = b,
                (a, b) => return Err(format!("has {a} and {b} elements along one letter of '{equation}'")),
            }
        }
    }
    let steps: Vec<Vec<i64>> = of
        .iter()
        .zip(&operands)
        .map(|(labels, operand)| {
            let own = strides(&operand.shape);
            let along = |o: &u32| (0..labels.len()).filter(|&a| labels[a] == *o && operand.shape[a] != 1).map(|a| own[a] as i64).sum();
            order.iter().map(along).collect()
        })
        .collect();
    let (shape, summed) = lens.split_at(output.len());
    given.afford(shape)?;
    given.spend_product(&[&[operands.len()], &lens[..]].concat())?;
    let terms = summed.iter().product::<usize>();
    let len: usize = shape.iter().product();
    if let Some(values) = operands.iter().map(|o| o.stored()).collect::<Option<Vec<_>>>() {
        let made = sums(&lens, &steps, len, terms, &values, 1i64, |p, v| p.wrapping_mul(*v), i64::wrapping_add);
        return Ok(Array::ints_of(ty, shape.to_vec(), made.into_iter().map(|v| ty.wrap(v.into())).collect()));
    }
    let values: Vec<Vec<f64>> = operands.iter().map(|o| o.to_doubles()).collect();
    let values: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let made = sums(&lens, &steps, len, terms, &values, 1f64, |p, v| p * v, |a, b| a + b);
    Ok(Array::floats_of(ty, shape.to_vec(), made))
}

/// For each of `len` results the sum of `terms` products, one factor of each operand.
#[expect(clippy::too_many_arguments, reason = "the loops of Einsum for both kinds of numbers")]
fn sums<T: Copy + Default>(
    lens: &[usize],
    steps: &[Vec<i64>],
    len: usize,
    terms: usize,
    values: &[&[T]],
    unit: T,
    times: impl Fn(T, &T) -> T,
    plus: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut walks: Vec<_> = steps.iter().map(|s| walk(lens, s, 0)).collect();
    let mut product = || walks.iter_mut().zip(values).fold(unit, |p, (w, v)| w.next().map_or(p, |at| times(p, &v[at])));
    (0..len).map(|_| (0..terms).fold(T::default(), |sum, _| plus(sum, product()))).collect()
}

fn det(given: &Given) -> Result<Array, String> {
    let (x, ty) = (given.input(0)?, given.float_type(0)?);
    let [.., n, columns] = x.shape[..] else { return Err(format!("has an input of {:?}, where matrices are needed", x.shape)) };
    if n != columns {
        return Err(format!("takes the determinant of {n} by {columns} elements"));
    }
    given.spend(x.len().saturating_mul(n))?;
    let values = x.to_doubles();
    let batch = x.shape[..x.shape.len() - 2].to_vec();
    let count: usize = batch.iter().product();
    given.afford(&batch)?;
    let made = (0..count).map(|i| determinant(values[i * n * n..(i + 1) * n * n].to_vec(), n)).collect();
    Ok(Array::floats_of(ty, batch, made))
}

/// By elimination with the largest pivot.
fn determinant(mut a: Vec<f64>, n: usize) -> f64 {
    let mut det = 1.0;
    for c in 0..n {
        let pivot = (c..n).max_by(|&i, &j| a[i * n + c].abs().total_cmp(&a[j * n + c].abs())).unwrap_or(c);
        if a[pivot * n + c] == 0.0 {
            return 0.0;
        }
        if pivot != c {
            (0..n).for_each(|k| a.swap(pivot * n + k, c * n + k));
            det = -det;
        }
        det *= a[c * n + c];
        for r in c + 1..n {
            let factor = a[r * n + c] / a[c * n + c];
            (c..n).for_each(|k| a[r * n + k] -= factor * a[c * n + k]);
        }
    }
    det
}

/// A quantised matrix less its zero point, which is one or one for each row (of A) or column (of B).
fn centred(x: &Array, zero: Option<&Array>, rows: bool) -> Result<Vec<i64>, String> {
    let v =
        x.stored().filter(|_| x.ty() != Type::Bool).ok_or_else(|| format!("multiplies {}, where integers are needed", x.ty().name()))?;
    let Some(zero) = zero else { return Ok(v.to_vec()) };
    let z = zero.stored().filter(|_| zero.ty() == x.ty()).ok_or_else(|| format!("has a zero point of {}", zero.ty().name()))?;
    let rank = x.shape.len();
    let zero_shape = match zero.shape[..] {
        _ if z.len() == 1 => vec![],
        [n] if rows && rank > 1 && n == x.shape[rank - 2] => vec![n, 1],
        [n] if !rows && n == x.shape[rank - 1] => vec![n],
        _ if broadcast(&x.shape, &zero.shape).is_ok_and(|s| s == x.shape) => zero.shape.clone(),
        _ => return Err(format!("has zero points of {:?} for {:?}", zero.shape, x.shape)),
    };
    let steps = broadcast_steps(&zero_shape, &x.shape);
    Ok(v.iter().zip(walk(&x.shape, &steps, 0)).map(|(v, p)| v - z[p]).collect())
}

fn matmul_integer(given: &Given) -> Result<Array, String> {
    let (a, b) = (given.input(0)?, given.input(1)?);
    let of = matrices(given, &a.shape, &b.shape)?;
    let made = multiplied(&of, &centred(a, given.optional(2), true)?, &centred(b, given.optional(3), false)?);
    Ok(Array::ints_of(Type::I32, of.shape, made.into_iter().map(|v| Type::I32.wrap(v.into())).collect()))
}

fn qlinear_matmul(given: &Given) -> Result<Array, String> {
    let (a, b) = (given.input(0)?, given.input(3)?);
    let of = matrices(given, &a.shape, &b.shape)?;
    let made = multiplied(&of, &centred(a, Some(given.input(2)?), true)?, &centred(b, Some(given.input(5)?), false)?);
    let (a_scale, b_scale, y_scale) = (given.number(1)?, given.number(4)?, given.number(6)?);
    let zero = given.input(7)?;
    let (ty, by) = (zero.ty(), a_scale * b_scale / y_scale);
    let shift = zero.stored().filter(|z| z.len() == 1).ok_or("has more than one zero point for its result")?[0] as f64;
    let (low, high) = (ty.range().0 as f64, ty.range().1 as f64);
    let one = |v: i64| ty.wrap(((v as f64 * by).round_ties_even() + shift).clamp(low, high) as i128);
    Ok(Array::ints_of(ty, of.shape, made.into_iter().map(one).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, run};
    use super::*;

    fn equation(text: &str) -> [(&'static str, Attribute); 1] {
        [("equation", Attribute::Text(text.into()))]
    }

    #[test]
    fn matrices_and_vectors_are_multiplied() {
        let (a, b) = (floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), floats(&[2, 2], &[5.0, 6.0, 7.0, 8.0]));
        assert_eq!(run("MatMul", &[], &[a.clone(), b.clone()]).unwrap(), floats(&[2, 2], &[19.0, 22.0, 43.0, 50.0]));
        let v = floats(&[2], &[1.0, -1.0]);
        assert_eq!(run("MatMul", &[], &[a.clone(), v.clone()]).unwrap(), floats(&[2], &[-1.0, -1.0]));
        assert_eq!(run("MatMul", &[], &[v.clone(), v.clone()]).unwrap(), floats(&[], &[2.0]));
        let batch = floats(&[2, 1, 2], &[1.0, 0.0, 0.0, 1.0]);
        assert_eq!(run("MatMul", &[], &[batch, b.clone()]).unwrap(), floats(&[2, 1, 2], &[5.0, 6.0, 7.0, 8.0]));
        assert!(run("MatMul", &[], &[a.clone(), floats(&[3], &[0.0; 3])]).unwrap_err().contains("[2, 2] by [3]"));
        let scaled = [("alpha", Attribute::Float(0.5)), ("beta", Attribute::Float(2.0)), ("transB", Attribute::Int(1))];
        let made = run("Gemm", &scaled, &[a, b, floats(&[2, 1], &[1.0, 10.0])]).unwrap();
        assert_eq!(made, floats(&[2, 2], &[10.5, 13.5, 39.5, 46.5]));
        let ints = [Array::ints_of(Type::I32, vec![1, 1], vec![i32::MAX.into()]), Array::ints_of(Type::I32, vec![1, 1], vec![2])];
        assert_eq!(run("MatMul", &[], &ints).unwrap().stored().unwrap(), [-2]);
    }

    #[test]
    fn equations_name_axes() {
        let a = floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let made = |text: &str, inputs: &[Array]| run("Einsum", &equation(text), inputs);
        assert_eq!(made("ij->ji", std::slice::from_ref(&a)).unwrap(), floats(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        assert_eq!(made("ij->i", std::slice::from_ref(&a)).unwrap(), floats(&[2], &[6.0, 15.0]));
        assert_eq!(made("ij,kj", &[a.clone(), a.clone()]).unwrap(), floats(&[2, 2], &[14.0, 32.0, 32.0, 77.0]));
        assert_eq!(made("...j,j->...", &[a.clone(), floats(&[3], &[1.0, 0.0, -1.0])]).unwrap(), floats(&[2], &[-2.0, -2.0]));
        assert_eq!(made("ii->i", &[floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0])]).unwrap(), floats(&[2], &[1.0, 4.0]));
        assert!(
            made("ij->k", std::slice::from_ref(&a)).is_err()
                && made("i->i", std::slice::from_ref(&a)).is_err()
                && made("ij,jk->ik", &[a.clone(), a]).is_err()
        );
    }

    #[test]
    fn determinants_and_quantised_products() {
        let made = run("Det", &[], &[floats(&[2, 2, 2], &[0.0, 1.0, 2.0, 3.0, 1.0, 2.0, 2.0, 4.0])]).unwrap();
        assert_eq!(made, floats(&[2], &[-2.0, 0.0]));
        let a = Array::ints_of(Type::U8, vec![1, 2], vec![11, 7]);
        let b = Array::ints_of(Type::U8, vec![2, 1], vec![1, 4]);
        let zero = Array::ints_of(Type::U8, vec![], vec![12]);
        let made = run("MatMulInteger", &[], &[a.clone(), b.clone(), zero.clone()]).unwrap();
        assert_eq!(made, Array::ints_of(Type::I32, vec![1, 1], vec![-21]));
        let one = floats(&[], &[1.0]);
        let inputs = [a, one.clone(), zero.clone(), b, one.clone(), of(Type::U8, &[0]).reshaped(vec![1]), floats(&[], &[2.0]), zero];
        assert_eq!(run("QLinearMatMul", &[], &inputs).unwrap().stored().unwrap(), [2]);
    }
}
