//! Functions of one number.

use super::super::array::Array;
use super::super::elem::Type;
use super::given::{Given, Outcome, one};

pub(super) fn evaluate(given: &Given) -> Outcome {
    let f: fn(f64) -> f64 = match given.op() {
        "Neg" | "Abs" | "Sign" => return Some(signed(given).map(|a| vec![a])),
        "BitwiseNot" => return one(ints(given, |x| !x)),
        "Sqrt" => f64::sqrt,
        "Reciprocal" => |x| 1.0 / x,
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Round" => f64::round_ties_even,
        "Exp" => f64::exp,
        "Log" => f64::ln,
        "Erf" => libm::erf,
        "Sin" => f64::sin,
        "Cos" => f64::cos,
        "Tan" => f64::tan,
        "Asin" => f64::asin,
        "Acos" => f64::acos,
        "Atan" => f64::atan,
        "Sinh" => f64::sinh,
        "Cosh" => f64::cosh,
        "Tanh" => f64::tanh,
        "Asinh" => f64::asinh,
        "Acosh" => f64::acosh,
        "Atanh" => f64::atanh,
        _ => return None,
    };
    one(floats(given, f))
}

/// `f` of every element of the first input, which must be floats.
pub(super) fn floats(given: &Given, f: impl Fn(f64) -> f64) -> Result<Array, String> {
    let ty = given.float_type(0)?;
    let x = given.input(0)?;
    given.spend(x.len())?;
    Ok(Array::floats_of(ty, x.shape.clone(), x.to_doubles().into_iter().map(f).collect()))
}

/// `f` of every element of the first input, which must be integers.
pub(super) fn ints(given: &Given, f: impl Fn(i128) -> i128) -> Result<Array, String> {
    let x = given.input(0)?;
    match x.stored() {
        Some(v) if x.ty() != Type::Bool => {
            Ok(Array::ints_of(x.ty(), x.shape.clone(), v.iter().map(|&v| x.ty().wrap(f(x.ty().widen(v)))).collect()))
        }
        _ => Err(format!("has {}, where integers are needed", x.ty().name())),
    }
}

fn signed(given: &Given) -> Result<Array, String> {
    let float = given.input(0)?.ty().is_float();
    match given.op() {
        "Neg" if float => floats(given, |x| -x),
        "Neg" => ints(given, i128::wrapping_neg),
        "Abs" if float => floats(given, f64::abs),
        "Abs" => ints(given, i128::abs),
        _ if float => floats(given, |x| if x.is_nan() || x == 0.0 { x } else { x.signum() }),
        _ => ints(given, i128::signum),
    }
}

#[cfg(test)]
mod tests {
    use libm::erf;

    use super::super::tests::{floats, of, run};
    use super::*;

    #[test]
    fn signs_keep_the_type() {
        let ints = of(Type::I8, &[-128, 0, 5]);
        let made = |op: &str| run(op, &[], std::slice::from_ref(&ints)).unwrap();
        assert_eq!((made("Neg"), made("Abs")), (of(Type::I8, &[-128, 0, -5]), of(Type::I8, &[-128, 0, 5])));
        assert_eq!((made("Sign"), made("BitwiseNot")), (of(Type::I8, &[-1, 0, 1]), of(Type::I8, &[127, -1, -6])));
        assert_eq!(run("BitwiseNot", &[], &[of(Type::U16, &[0])]).unwrap(), of(Type::U16, &[65535]));
        assert_eq!(run("Sign", &[], &[floats(&[3], &[-2.0, 0.0, 3.0])]).unwrap().to_floats(), [-1.0, 0.0, 1.0]);
        assert!(run("Exp", &[], &[ints]).unwrap_err().contains("floats are needed"));
    }

    #[test]
    fn functions_are_those_of_their_names() {
        let at = |op: &str, x: f32| run(op, &[], &[floats(&[1], &[x])]).unwrap().to_floats()[0];
        let values = [
            ("Sqrt", 2.25, 1.5),
            ("Reciprocal", 4.0, 0.25),
            ("Floor", -1.5, -2.0),
            ("Ceil", -1.5, -1.0),
            ("Round", 2.5, 2.0),
            ("Round", -1.5, -2.0),
            ("Exp", 1.0, std::f32::consts::E),
            ("Log", 2.0, std::f32::consts::LN_2),
            ("Sin", 0.5, 0.479_425_55),
            ("Cos", 0.5, 0.877_582_55),
            ("Tan", 0.5, 0.546_302_5),
            ("Asin", 0.5, std::f32::consts::FRAC_PI_6),
            ("Acos", 0.5, std::f32::consts::FRAC_PI_3),
            ("Atan", 1.0, std::f32::consts::FRAC_PI_4),
            ("Sinh", 1.0, 1.175_201_2),
            ("Cosh", 1.0, 1.543_080_7),
            ("Tanh", 1.0, 0.761_594_2),
            ("Asinh", 1.0, 0.881_373_6),
            ("Acosh", 2.0, 1.316_958),
            ("Atanh", 0.5, 0.549_306_15),
            ("Erf", 0.5, 0.520_499_9),
        ];
        values.iter().for_each(|&(op, x, y)| assert_eq!(at(op, x), y, "{op}"));
    }

    #[test]
    fn the_error_function_is_exact_to_doubles() {
        // By mpmath.
        let known = [
            (0.1, 0.112_462_916_018_284_89),
            (1.0, 0.842_700_792_949_714_9),
            (2.9, 0.999_958_902_121_900_5),
            (3.1, 0.999_988_351_342_632_8),
        ];
        known.iter().for_each(|&(x, y)| assert!((erf(x) - y).abs() < 1e-15 && erf(-x) == -erf(x), "{x}: {}", erf(x)));
        assert!(erf(f64::NAN).is_nan() && erf(f64::INFINITY) == 1.0 && erf(5.9) <= 1.0);
    }
}
