//! Arithmetic of two or more constants that broadcast to each other.

use super::super::array::Array;
use super::super::elem::Type;
use super::super::sizes::broadcast;
use super::given::{Given, Outcome, one};
use super::places::{broadcast_steps, walk};

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => pair(given, given.op()),
        "BitShift" => match given.node.text("direction") {
            Some("LEFT") => pair(given, "ShiftLeft"),
            Some("RIGHT") => pair(given, "ShiftRight"),
            _ => Err("does not say in which direction".into()),
        },
        "Pow" => power(given),
        "Max" | "Min" => many(given, given.op()),
        "Sum" => many(given, "Add"),
        "Mean" => mean(given),
        _ => return None,
    })
}

/// What two numbers make of each other.
pub(super) mod combine {
    use super::super::super::elem::Type;

    pub(in super::super) fn floats(op: &str) -> fn(f64, f64) -> f64 {
        match op {
            "Add" => |x, y| x + y,
            "Sub" => |x, y| x - y,
            "Mul" => |x, y| x * y,
            "Div" => |x, y| x / y,
            "Fmod" => |x, y| x % y,
            "Mod" => floored,
            "Max" => |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) },
            "Min" => |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) },
            _ => f64::powf,
        }
    }

    /// The remainder with the divisor's sign.
    fn floored(x: f64, y: f64) -> f64 {
        let r = x % y;
        match r {
            0.0 => 0f64.copysign(y),
            _ if (r < 0.0) == (y < 0.0) => r,
            _ => r + y,
        }
    }

    /// Of numbers of type `ty`, before they wrap; nothing where there is no result.
    pub(in super::super) fn ints(op: &str) -> fn(Type, i128, i128) -> Option<i128> {
        match op {
            "Add" => |_, x, y| Some(x.wrapping_add(y)),
            "Sub" => |_, x, y| Some(x.wrapping_sub(y)),
            "Mul" => |_, x, y| Some(x.wrapping_mul(y)),
            "Div" => |ty, x, y| x.checked_div(y).filter(|r| fits(ty, *r)),
            "Max" => |_, x, y| Some(x.max(y)),
            "Min" => |_, x, y| Some(x.min(y)),
            "Fmod" => |_, x, y| x.checked_rem(y),
            "Mod" => |_, x, y| x.checked_rem(y).map(|r| if r == 0 || (r < 0) == (y < 0) { r } else { r + y }),
            "BitwiseAnd" => |_, x, y| Some(x & y),
            "BitwiseOr" => |_, x, y| Some(x | y),
            "BitwiseXor" => |_, x, y| Some(x ^ y),
            // By as many bits as there are, or by less than none, only signs are left.
            "ShiftLeft" => |ty, x, y| Some(if inside(ty, y) { x << y } else { 0 }),
            "ShiftRight" => |ty, x, y| Some(x >> if inside(ty, y) { y } else { 127 }),
            _ => |ty, x, y| u32::try_from(y).ok().and_then(|y| x.checked_pow(y)).filter(|r| fits(ty, *r)),
        }
    }

    fn fits(ty: Type, value: i128) -> bool {
        let (low, high) = ty.range();
        (low..=high).contains(&value)
    }

    fn inside(ty: Type, bits: i128) -> bool {
        (0..ty.bits() as i128).contains(&bits)
    }
}

/// What is said where integers have no result.
pub(super) const NO_RESULT: &str = "divides by zero or overflows";

/// `a` and `b` broadcast to each other, both of one type.
fn combined(given: &Given, op: &str, a: &Array, b: &Array) -> Result<Array, String> {
    let ty = given.same_type(&[a, b])?;
    let shape = broadcast(&a.shape, &b.shape)?;
    given.spend(given.afford(&shape)?)?;
    let (of_a, of_b) = (broadcast_steps(&a.shape, &shape), broadcast_steps(&b.shape, &shape));
    let places = walk(&shape, &of_a, 0).zip(walk(&shape, &of_b, 0));
    if let (Some(a), Some(b)) = (a.stored(), b.stored()) {
        let combine = combine::ints(op);
        let one = |(i, j): (usize, usize)| combine(ty, ty.widen(a[i]), ty.widen(b[j])).map(|r| ty.wrap(r));
        let made = places.map(one).collect::<Option<Vec<i64>>>().ok_or(NO_RESULT)?;
        return Ok(Array::ints_of(ty, shape, made));
    }
    let (x, y, combine) = (a.to_doubles(), b.to_doubles(), combine::floats(op));
    let made = places.map(|(i, j)| combine(x[i], y[j])).collect();
    Ok(Array::floats_of(ty, shape, made))
}

fn pair(given: &Given, op: &str) -> Result<Array, String> {
    let (a, b) = (given.input(0)?, given.input(1)?);
    let (float, bits) = (a.ty().is_float(), op.starts_with("Bitwise") || op.starts_with("Shift"));
    let op = match (op, given.node.int("fmod", 0) != 0) {
        _ if a.ty() == Type::Bool || (bits && float) => return Err(format!("computes with {}", a.ty().name())),
        ("Mod", false) if float && given.opset() < 28 => return Err("takes the remainder of floats without fmod".into()),
        ("Mod", true) => "Fmod",
        (op, _) => op,
    };
    combined(given, op, a, b)
}

/// The same numbers as doubles.
fn wide(x: &Array) -> Array {
    Array::floats_of(Type::F64, x.shape.clone(), x.to_doubles())
}

/// Of the base's type, whatever the exponent's is.
fn power(given: &Given) -> Result<Array, String> {
    let (a, b) = (given.input(0)?, given.input(1)?);
    let ty = a.ty();
    let exponents = b.as_ints().filter(|v| !ty.is_float() && v.iter().all(|e| *e >= 0));
    if let Some(exponents) = exponents {
        return combined(given, "Pow", a, &Array::ints_of(ty, b.shape.clone(), exponents.to_vec()));
    }
    let made = combined(given, "Pow", &wide(a), &wide(b))?;
    if ty.is_float() { Ok(Array::floats_of(ty, made.shape.clone(), made.to_doubles())) } else { super::cast::truncated(&made, ty) }
}

fn many(given: &Given, op: &str) -> Result<Array, String> {
    let all = given.all()?;
    let mut made = all[0].clone();
    for next in &all[1..] {
        made = combined(given, op, &made, next)?;
    }
    Ok(made)
}

fn mean(given: &Given) -> Result<Array, String> {
    let ty = given.float_type(0)?;
    let all = given.all()?;
    given.same_type(&all)?;
    let mut sum = wide(all[0]);
    for next in &all[1..] {
        sum = combined(given, "Add", &sum, &wide(next))?;
    }
    let count = all.len() as f64;
    Ok(Array::floats_of(ty, sum.shape.clone(), sum.to_doubles().into_iter().map(|x| x / count).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::super::elem::Type::*;
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, outputs_at, run};
    use super::*;

    #[test]
    fn integers_are_those_of_their_type() {
        let made = |op: &str, ty, a: &[i64], b: &[i64]| run(op, &[], &[of(ty, a), of(ty, b)]).map(|r| r.stored().unwrap().to_vec());
        assert_eq!(made("Add", U8, &[200, 1], &[100, 1]).unwrap(), [44, 2]);
        assert_eq!(made("Sub", U8, &[0], &[1]).unwrap(), [255]);
        assert_eq!(made("Mul", I32, &[1 << 30], &[4]).unwrap(), [0]);
        assert_eq!(made("Div", I64, &[7, -7, i64::MAX], &[2, 2, 1]).unwrap(), [3, -3, i64::MAX]);
        assert_eq!(made("Div", U64, &[-1], &[2]).unwrap(), [i64::MAX]);
        assert_eq!(made("Max", U64, &[-1], &[2]).unwrap(), [-1]);
        assert!(made("Div", I64, &[1], &[0]).unwrap_err().contains("zero"));
        assert!(made("Div", I64, &[i64::MIN], &[-1]).unwrap_err().contains("overflows"));
        assert_eq!(made("Pow", I64, &[3, -2], &[4, 3]).unwrap(), [81, -8]);
        assert!(made("Pow", I64, &[10], &[40]).unwrap_err().contains("overflows"));
        assert_eq!(made("BitwiseXor", I8, &[-1, 5], &[3, 3]).unwrap(), [-4, 6]);
        assert!(made("Add", Bool, &[1], &[1]).unwrap_err().contains("bool"));
    }

    #[test]
    fn remainders_take_the_divisors_sign() {
        let ints = [of(I64, &[7, -7, 7, -7]), of(I64, &[3, 3, -3, -3])];
        assert_eq!(run("Mod", &[], &ints).unwrap(), of(I64, &[1, 2, -2, -1]));
        assert_eq!(run("Mod", &[("fmod", Attribute::Int(1))], &ints).unwrap(), of(I64, &[1, -1, 1, -1]));
        let one = |a, b| run("Mod", &[], &[of(I64, &[a]), of(I64, &[b])]);
        assert!(one(1, 0).unwrap_err().contains("zero"));
        assert_eq!(one(i64::MIN, -1).unwrap(), of(I64, &[0]));
        let floats = [floats(&[2], &[-4.5, 5.5]), floats(&[2], &[2.0, -3.0])];
        assert!(run("Mod", &[], &floats).unwrap_err().contains("without fmod"));
        assert_eq!(run("Mod", &[("fmod", Attribute::Int(1))], &floats).unwrap().to_floats(), [-0.5, 2.5]);
        assert_eq!(outputs_at(28, "Mod", &[], &floats).unwrap()[0].to_floats(), [1.5, -0.5]);
    }

    #[test]
    fn floats_are_rounded_once() {
        let x = floats(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let sum = run("Add", &[], &[x.clone(), floats(&[2, 1], &[10.0, 20.0])]).unwrap();
        assert_eq!(sum, floats(&[2, 3], &[10.0, 11.0, 12.0, 23.0, 24.0, 25.0]));
        assert!(run("Add", &[], &[floats(&[2], &[0.0; 2]), floats(&[3], &[0.0; 3])]).unwrap_err().contains("together"));
        assert_eq!(run("Div", &[], &[floats(&[1], &[1.0]), floats(&[1], &[3.0])]).unwrap().to_floats(), [1.0 / 3.0]);
        let half = |x: f64| Array::floats_of(F16, vec![1], vec![x]);
        assert_eq!(run("Mul", &[], &[half(300.0), half(300.0)]).unwrap(), half(f64::INFINITY));
        assert_eq!(run("Add", &[], &[half(2048.0), half(1.0)]).unwrap(), half(2048.0));
        assert!(run("Max", &[], &[floats(&[1], &[f32::NAN]), floats(&[1], &[1.0])]).unwrap().to_floats()[0].is_nan());
        let many: Vec<Array> = [1.0, 5.0, 3.0].iter().map(|&v| floats(&[1], &[v])).collect();
        assert_eq!(["Sum", "Mean", "Max", "Min"].map(|op| run(op, &[], &many).unwrap().to_floats()[0]), [9.0, 3.0, 5.0, 1.0]);
        assert_eq!(run("Pow", &[], &[floats(&[1], &[2.0]), of(I64, &[-1])]).unwrap(), floats(&[1], &[0.5]));
    }

    #[test]
    fn bits_are_shifted_within_the_type() {
        let by = |way: &str| [("direction", Attribute::Text(way.into()))];
        assert_eq!(run("BitShift", &by("LEFT"), &[of(U8, &[255, 1, 1]), of(U8, &[1, 7, 8])]).unwrap(), of(U8, &[254, 128, 0]));
        assert_eq!(run("BitShift", &by("RIGHT"), &[of(U64, &[-1]), of(U64, &[63])]).unwrap(), of(U64, &[1]));
        assert_eq!(run("BitShift", &by("RIGHT"), &[of(I8, &[-8, -8, 8]), of(I8, &[1, 8, -1])]).unwrap(), of(I8, &[-4, -1, 0]));
    }
}
