//! From one element type to another.

use super::super::array::{Array, Data};
use super::super::elem::{Type, Way, power};
use super::given::{Given, Outcome, one};

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        "Cast" => given.type_of("to").and_then(|to| cast(given, to.ok_or("does not say to which type")?)),
        "CastLike" => given.input(1).and_then(|like| cast(given, like.ty())),
        "BitCast" => given.type_of("to").and_then(|to| bit_cast(given.input(0)?, to.ok_or("does not say to which type")?)),
        _ => return None,
    })
}

fn cast(given: &Given, to: Type) -> Result<Array, String> {
    let x = given.input(0)?;
    let saturate = given.node.int("saturate", 1) != 0;
    if to == Type::E8M0 {
        let way = match given.node.text("round_mode").unwrap_or("up") {
            "up" => Way::Up,
            "down" => Way::Down,
            "nearest" => Way::Nearest,
            other => return Err(format!("rounds '{other}', which is unknown")),
        };
        let values = x.to_doubles();
        if let Some(below) = values.iter().find(|v| **v < 0.0) {
            return Err(format!("casts {below} to {}, which has no such value", to.name()));
        }
        return Ok(Array::floats_of(to, x.shape.clone(), values.into_iter().map(|v| power(v, saturate, way)).collect()));
    }
    converted(x, to, saturate)
}

/// `x` as elements of type `to`; small floats that are too large become the largest one where they are to `saturate`.
///
/// # Errors
/// A phrase for a float that the type has no value near to: what it would become is not defined.
pub(super) fn converted(x: &Array, to: Type, saturate: bool) -> Result<Array, String> {
    if to == x.ty() {
        return Ok(x.clone());
    }
    match x.stored() {
        Some(v) if to.is_float() => {
            let from = x.ty();
            // Rounded once, from the integer itself.
            if to == Type::F32 {
                return Ok(Array { shape: x.shape.clone(), data: Data::Floats(v.iter().map(|&v| from.widen(v) as f32).collect()) });
            }
            let made = v.iter().map(|&v| to.round(from.widen(v) as f64, saturate && to.bits() <= 8));
            Ok(Array::floats_of(to, x.shape.clone(), made.collect()))
        }
        Some(v) => Ok(Array::ints_of(to, x.shape.clone(), v.iter().map(|&v| to.wrap(x.ty().widen(v))).collect())),
        None if to == Type::Bool => Ok(Array::bools(x.shape.clone(), x.to_doubles().into_iter().map(|v| v != 0.0))),
        None if to.is_float() => {
            let values = x.to_doubles();
            if !to.has_nan() && values.iter().any(|v| v.is_nan()) {
                return Err(format!("casts NaN to {}, which has no such value", to.name()));
            }
            let made = values.into_iter().map(|v| to.round(v, saturate && to.bits() <= 8));
            Ok(Array::floats_of(to, x.shape.clone(), made.collect()))
        }
        None => truncated(x, to),
    }
}

/// Floats without their fractions as integers of type `to`.
///
/// # Errors
/// A phrase for one that the type does not hold.
pub(super) fn truncated(x: &Array, to: Type) -> Result<Array, String> {
    let (low, high) = to.range();
    let whole = |v: f64| {
        let fits = v.is_finite() && v.abs() < 1e30 && (low..=high).contains(&(v as i128));
        if fits { Ok(to.wrap(v as i128)) } else { Err(format!("casts {v} to {}, which has no such value", to.name())) }
    };
    Ok(Array::ints_of(to, x.shape.clone(), x.to_doubles().into_iter().map(whole).collect::<Result<_, _>>()?))
}

fn bit_cast(x: &Array, to: Type) -> Result<Array, String> {
    let from = x.ty();
    if from.bits() != to.bits() || from.bits() < 8 {
        return Err(format!("takes the bits of {} as {}", from.name(), to.name()));
    }
    let bytes: Vec<u8> = match &x.data {
        Data::Floats(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Data::Doubles(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Data::Ints(v) | Data::Narrow(_, v) => v.iter().flat_map(|v| v.to_le_bytes().into_iter().take(from.bits() / 8)).collect(),
        Data::Small(ty, v) => {
            let bits = |v: &f32| match ty {
                Type::F16 => Ok(half::f16::from_f32(*v).to_le_bytes()),
                Type::BF16 => Ok(half::bf16::from_f32(*v).to_le_bytes()),
                _ => Err(format!("takes the bits of {} as {}", from.name(), to.name())),
            };
            v.iter().map(bits).collect::<Result<Vec<_>, _>>()?.concat()
        }
    };
    Ok(Array { shape: x.shape.clone(), data: Data::decode(to, &bytes, x.len()) })
}

#[cfg(test)]
mod tests {
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, run};
    use super::*;

    fn to(code: i64, x: Array) -> Result<Array, String> {
        run("Cast", &[("to", Attribute::Int(code))], &[x])
    }

    #[test]
    fn integers_wrap_and_floats_are_cut_off() {
        assert_eq!(to(3, of(Type::I16, &[200, -200])).unwrap(), of(Type::I8, &[-56, 56]));
        assert_eq!(to(2, of(Type::I64, &[-1, 256])).unwrap(), of(Type::U8, &[255, 0]));
        assert_eq!(to(6, floats(&[2], &[2.9, -2.9])).unwrap(), of(Type::I32, &[2, -2]));
        assert_eq!(to(9, floats(&[3], &[0.0, -0.0, f32::NAN])).unwrap(), of(Type::Bool, &[0, 0, 1]));
        assert_eq!(to(1, of(Type::Bool, &[0, 1])).unwrap(), floats(&[2], &[0.0, 1.0]));
        assert!(to(2, floats(&[1], &[-1.0])).unwrap_err().contains("casts -1 to uint8"));
        assert!(to(7, floats(&[1], &[f32::INFINITY])).is_err() && to(8, floats(&[1], &[0.0])).unwrap_err().contains("type 8"));
        // 2⁶³ − 1 and 2²⁴ + 1 are no floats.
        assert_eq!(to(1, of(Type::U64, &[i64::MAX, -1])).unwrap().to_floats(), [2f32.powi(63), 2f32.powi(64)]);
        assert_eq!(to(1, of(Type::I32, &[(1 << 24) + 1])).unwrap().to_floats(), [16_777_216.0]);
    }

    #[test]
    fn narrow_floats_overflow_as_they_do() {
        let x = floats(&[3], &[1e6, -f32::INFINITY, 0.3]);
        assert_eq!(to(10, x.clone()).unwrap().to_floats(), [f32::INFINITY, -f32::INFINITY, half::f16::from_f32(0.3).to_f32()]);
        assert_eq!(to(17, x.clone()).unwrap().to_floats(), [448.0, -448.0, 0.3125]);
        let open = run("Cast", &[("to", Attribute::Int(19)), ("saturate", Attribute::Int(0))], std::slice::from_ref(&x)).unwrap();
        assert_eq!(open.to_floats(), [f32::INFINITY, -f32::INFINITY, 0.3125]);
        assert_eq!(to(23, floats(&[2], &[100.0, 0.3])).unwrap().to_floats(), [6.0, 0.5]);
        assert!(to(23, floats(&[1], &[f32::NAN])).is_err() && to(24, x).unwrap_err().contains("float8e8m0"));
        assert_eq!(run("CastLike", &[], &[floats(&[1], &[3.7]), of(Type::U8, &[0])]).unwrap(), of(Type::U8, &[3]));
    }

    #[test]
    fn bits_are_taken_as_they_are() {
        let bits = |code, x| run("BitCast", &[("to", Attribute::Int(code))], &[x]);
        assert_eq!(bits(6, floats(&[1], &[1.0])).unwrap(), of(Type::I32, &[0x3f80_0000]));
        assert_eq!(bits(1, of(Type::U32, &[0x4040_0000])).unwrap(), floats(&[1], &[3.0]));
        assert_eq!(bits(2, of(Type::I8, &[-1])).unwrap(), of(Type::U8, &[255]));
        assert!(bits(7, floats(&[1], &[1.0])).unwrap_err().contains("the bits of float as int64"));
    }
}
