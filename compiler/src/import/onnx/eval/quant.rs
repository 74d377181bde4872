//! Quantised values: to them and back.

use super::super::array::Array;
use super::super::elem::Type;
use super::super::sizes::axis;
use super::given::{Given, Outcome, one};
use super::places::around;

pub(super) fn evaluate(given: &Given) -> Outcome {
    match given.op() {
        "QuantizeLinear" => one(quantize(given)),
        "DequantizeLinear" => one(dequantize(given)),
        "DynamicQuantizeLinear" => Some(dynamic(given)),
        _ => None,
    }
}

/// For each element of `x` the scale that it has: one for all, one along an axis, or one for a block along it.
fn scale_places(given: &Given, x: &Array, scale: &Array) -> Result<Vec<usize>, String> {
    if scale.len() == 1 && scale.shape.len() <= 1 {
        return Ok(vec![0; x.len()]);
    }
    let misfit = || format!("has scales of {:?} for {:?}", scale.shape, x.shape);
    let at = axis(given.node.int("axis", 1), x.shape.len())?;
    let (outer, len, inner) = around(&x.shape, at);
    let block = usize::try_from(given.node.int("block_size", 0)).map_err(|_| misfit())?;
    if block == 0 {
        if scale.shape[..] != [len] {
            return Err(misfit());
        }
        return Ok((0..outer).flat_map(|_| (0..len).flat_map(|i| std::iter::repeat_n(i, inner))).collect());
    }
    let blocks = len.div_ceil(block);
    let fits = |(a, (s, d)): (usize, (&usize, &usize))| if a == at { *s == blocks } else { s == d };
    if scale.shape.len() != x.shape.len() || !scale.shape.iter().zip(&x.shape).enumerate().all(fits) {
        return Err(misfit());
    }
    Ok((0..outer).flat_map(|o| (0..len).flat_map(move |i| (0..inner).map(move |k| (o * blocks + i / block) * inner + k))).collect())
}

/// The zero points as doubles, if there are any; they must be as many as the scales.
fn zero_points(given: &Given, scale: &Array, ty: Type) -> Result<Option<Vec<f64>>, String> {
    match given.optional(2) {
        None => Ok(None),
        Some(zero) if zero.len() != scale.len() => Err(format!("has {} zero points for {} scales", zero.len(), scale.len())),
        Some(zero) if zero.ty() != ty => Err(format!("has zero points of {} for {}", zero.ty().name(), ty.name())),
        Some(zero) => Ok(Some(zero.to_doubles())),
    }
}

fn quantize(given: &Given) -> Result<Array, String> {
    let (x, scale) = (given.input(0)?, given.input(1)?);
    let ty = match (given.optional(2), given.type_of("output_dtype")?) {
        (Some(zero), _) => zero.ty(),
        (None, named) => named.unwrap_or(Type::U8),
    };
    let saturate = given.node.int("saturate", 1) != 0;
    let zero = zero_points(given, scale, ty)?;
    let (places, scales, values) = (scale_places(given, x, scale)?, scale.to_doubles(), x.to_doubles());
    // The quotient is of the scale's type: that decides how a half is rounded.
    let of_scale = if scale.ty().is_float() && scale.ty() != Type::E8M0 { scale.ty() } else { Type::F32 };
    let precision = given.type_of("precision")?.unwrap_or(of_scale);
    let quotient = |v: f64, p: usize| precision.round(v / scales[p], false);
    let zero = |p: usize| zero.as_ref().map_or(0.0, |z| z[p]);
    let pairs = values.iter().zip(&places);
    if ty.is_float() {
        return Ok(Array::floats_of(ty, x.shape.clone(), pairs.map(|(&v, &p)| ty.round(quotient(v, p) + zero(p), saturate)).collect()));
    }
    let (low, high) = (ty.range().0 as f64, ty.range().1 as f64);
    let one = |(&v, &p): (&f64, &usize)| {
        let q = quotient(v, p);
        if q.is_nan() { Err("quantises NaN".to_string()) } else { Ok(ty.wrap((q.round_ties_even() + zero(p)).clamp(low, high) as i128)) }
    };
    Ok(Array::ints_of(ty, x.shape.clone(), pairs.map(one).collect::<Result<_, _>>()?))
}

fn dequantize(given: &Given) -> Result<Array, String> {
    let (x, scale) = (given.input(0)?, given.input(1)?);
    let ty = given.type_of("output_dtype")?.unwrap_or(if scale.ty() == Type::E8M0 { Type::F32 } else { scale.ty() });
    if !ty.is_float() || x.ty() == Type::Bool {
        return Err(format!("makes {} of {}", ty.name(), x.ty().name()));
    }
    let zero = zero_points(given, scale, x.ty())?;
    let (places, scales) = (scale_places(given, x, scale)?, scale.to_doubles());
    let one = |(v, &p): (f64, &usize)| (v - zero.as_ref().map_or(0.0, |z| z[p])) * scales[p];
    Ok(Array::floats_of(ty, x.shape.clone(), x.to_doubles().into_iter().zip(&places).map(one).collect()))
}

/// To uint8 by the range of the values: those, the scale and the zero point.
fn dynamic(given: &Given) -> Result<Vec<Array>, String> {
    let x = given.input(0)?;
    if given.float_type(0)? != Type::F32 || x.len() == 0 {
        return Err(format!("quantises {} elements of {}", x.len(), x.ty().name()));
    }
    // In single precision step by step, as the operation is defined.
    let values = x.to_floats();
    if values.iter().any(|v| !v.is_finite()) {
        return Err("quantises what is not finite".into());
    }
    let (low, high) = values.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
    let scale = (high - low) / 255.0;
    let zero = if scale == 0.0 { 0.0 } else { (0.0 - low / scale).clamp(0.0, 255.0).round_ties_even() };
    let one = |v: f32| if scale == 0.0 { 0 } else { ((v / scale).round_ties_even() + zero).clamp(0.0, 255.0) as i64 };
    let made = Array::ints_of(Type::U8, x.shape.clone(), values.into_iter().map(one).collect());
    let scale = Array::floats_of(Type::F32, vec![], vec![scale.into()]);
    Ok(vec![made, scale, Array::ints_of(Type::U8, vec![], vec![zero as i64])])
}

#[cfg(test)]
mod tests {
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, outputs_at, run};
    use super::*;

    fn scalar(x: f32) -> Array {
        floats(&[], &[x])
    }

    #[test]
    fn values_are_quantised_to_even_and_saturate() {
        let x = floats(&[6], &[0.0, 2.0, 3.0, 1000.0, -254.0, -1000.0]);
        let zero = Array::ints_of(Type::U8, vec![], vec![128]);
        assert_eq!(run("QuantizeLinear", &[], &[x, scalar(2.0), zero]).unwrap(), of(Type::U8, &[128, 129, 130, 255, 1, 0]));
        let rows = floats(&[2, 2], &[1.0, 20.0, 3.0, -40.0]);
        let made = run("QuantizeLinear", &[("axis", Attribute::Int(-1))], &[rows, floats(&[2], &[1.0, 10.0]), of(Type::I8, &[0, 1])]);
        assert_eq!(made.unwrap().stored().unwrap(), [1, 3, 3, -3]);
        let small = [("output_dtype", Attribute::Int(22))];
        assert_eq!(run("QuantizeLinear", &small, &[floats(&[2], &[-20.0, 2.5]), scalar(1.0)]).unwrap(), of(Type::I4, &[-8, 2]));
        let floats8 = [("output_dtype", Attribute::Int(17))];
        assert_eq!(run("QuantizeLinear", &floats8, &[floats(&[1], &[1e5]), scalar(2.0)]).unwrap().to_floats(), [448.0]);
        assert!(run("QuantizeLinear", &[], &[scalar(f32::NAN), scalar(2.0)]).unwrap_err().contains("NaN"));
    }

    #[test]
    fn weights_are_given_back_by_axis_and_by_block() {
        let x = Array::ints_of(Type::I8, vec![2, 2], vec![1, 2, 3, -4]);
        let rows = [("axis", Attribute::Int(0))];
        let made = run("DequantizeLinear", &rows, &[x.clone(), floats(&[2], &[0.5, 2.0]), of(Type::I8, &[1, -1])]).unwrap();
        assert_eq!(made, floats(&[2, 2], &[0.0, 0.5, 8.0, -6.0]));
        let blocks = [("axis", Attribute::Int(1)), ("block_size", Attribute::Int(2))];
        let wide = Array::ints_of(Type::I4, vec![1, 3], vec![1, 2, 3]);
        assert_eq!(run("DequantizeLinear", &blocks, &[wide, floats(&[1, 2], &[0.5, 10.0])]).unwrap(), floats(&[1, 3], &[0.5, 1.0, 30.0]));
        let half = Array::floats_of(Type::F16, vec![], vec![0.5]);
        assert_eq!(run("DequantizeLinear", &[], &[x.clone(), half]).unwrap().ty(), Type::F16);
        assert!(run("DequantizeLinear", &rows, &[x.clone(), floats(&[3], &[0.0; 3])]).unwrap_err().contains("scales of [3]"));
        assert!(run("DequantizeLinear", &[], &[x, scalar(1.0), of(Type::U8, &[0])]).unwrap_err().contains("zero points of uint8"));
    }

    #[test]
    fn a_range_is_quantised_as_a_whole() {
        let made = outputs_at(11, "DynamicQuantizeLinear", &[], &[floats(&[6], &[0.0, 2.0, -3.0, -2.5, 1.34, 0.5])]).unwrap();
        assert_eq!(made[0], of(Type::U8, &[153, 255, 0, 26, 221, 179]));
        assert_eq!((made[1].to_floats(), made[2].stored().unwrap()), (vec![0.019_607_844], &[153][..]));
    }
}
