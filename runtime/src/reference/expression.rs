//! The instructions of a map in f64. A tolerance goes through a function as an interval does, so that a jump within it counts.

use super::functions::{FUNCTION, activate};
use super::{Expected, TOLERANCE, Value};
use crate::artifact::{Binary, Instruction, Unary};

/// What the last instruction gives for the elements `operands`.
pub(super) fn evaluate(instructions: &[Instruction], operands: &[Expected]) -> Expected {
    let mut numbers: Vec<Expected> = Vec::with_capacity(instructions.len());
    for instruction in instructions {
        let n = |i: u8| numbers[usize::from(i)];
        let number = match *instruction {
            Instruction::Operand(at) => operands[usize::from(at)],
            Instruction::Constant(value) => Expected { value: value.into(), tolerance: 0.0 },
            Instruction::Unary(f, a) => unary(f, n(a)),
            Instruction::Binary(f, a, b) => binary(f, n(a), n(b)),
            Instruction::Select(c, a, b) => select(n(c), n(a), n(b)),
            Instruction::Activate(f, a) => {
                let mut one = Value { shape: vec![1], elements: vec![n(a)] };
                activate(&mut one, f);
                one.elements[0]
            }
        };
        numbers.push(number);
    }
    numbers.last().copied().unwrap_or_default()
}

/// Both ends of what a number may be.
fn ends(x: Expected) -> [f64; 2] {
    [x.value - x.tolerance, x.value + x.tolerance]
}

/// `value`, off by as much as any of `others`, which it would be at the ends of its arguments, and by `own`.
fn within(value: f64, others: impl IntoIterator<Item = f64>, own: f64) -> Expected {
    let off = others.into_iter().map(|y| (y - value).abs()).filter(|d| d.is_finite()).fold(0.0, f64::max);
    Expected { value, tolerance: off + own }
}

fn unary(f: Unary, x: Expected) -> Expected {
    let truth = |holds: bool| f64::from(u8::from(holds));
    // The function, and whether an f32 library computes it with an error of its own.
    let (function, library): (&dyn Fn(f64) -> f64, bool) = match f {
        Unary::Neg => (&|x| -x, false),
        Unary::Sign => (&|x: f64| if x == 0.0 { 0.0 } else { x.signum() }, false),
        Unary::Floor => (&f64::floor, false),
        Unary::Ceil => (&f64::ceil, false),
        Unary::Round => (&f64::round_ties_even, false),
        Unary::Sin => (&f64::sin, true),
        Unary::Cos => (&f64::cos, true),
        Unary::Tan => (&f64::tan, true),
        Unary::Asin => (&|x: f64| x.clamp(-1.0, 1.0).asin(), true),
        Unary::Acos => (&|x: f64| x.clamp(-1.0, 1.0).acos(), true),
        Unary::Atan => (&f64::atan, true),
        Unary::Sinh => (&f64::sinh, true),
        Unary::Cosh => (&f64::cosh, true),
        Unary::Asinh => (&f64::asinh, true),
        Unary::Acosh => (&|x: f64| x.max(1.0).acosh(), true),
        Unary::Atanh => (&f64::atanh, true),
        Unary::Not => (&|x| truth(x == 0.0), false),
        Unary::IsNan => (&|x: f64| truth(x.is_nan()), false),
        Unary::IsInf => (&|x: f64| truth(x.is_infinite()), false),
    };
    let value = match f {
        // Outside of their domain they are NaN; within it only a tolerance may reach out.
        Unary::Asin | Unary::Acos if x.value.abs() > 1.0 => f64::NAN,
        Unary::Acosh if x.value < 1.0 => f64::NAN,
        _ => function(x.value),
    };
    // A turning point may lie between the ends.
    let between = match f {
        Unary::Sin | Unary::Cos => vec![value + x.tolerance.min(2.0)],
        Unary::Sign | Unary::Not => vec![function(0.0); usize::from(x.tolerance >= x.value.abs() && x.tolerance > 0.0)],
        _ => Vec::new(),
    };
    let own = if library { FUNCTION * (1.0 + value.abs()) } else { 0.0 };
    within(value, ends(x).map(function).into_iter().chain(between), own)
}

fn binary(f: Binary, a: Expected, b: Expected) -> Expected {
    let (x, y) = (a.value, b.value);
    let exact = a.tolerance == 0.0 && b.tolerance == 0.0;
    let corners = |f: &dyn Fn(f64, f64) -> f64| ends(a).into_iter().flat_map(|a| ends(b).map(|b| f(a, b))).collect::<Vec<_>>();
    let computed = |value: f64, f: &dyn Fn(f64, f64) -> f64, own: f64| within(value, corners(f), own);
    // True or false where nothing that the numbers may be would change it.
    let judged = |holds: bool, sure: bool| Expected { value: f64::from(u8::from(holds)), tolerance: if sure { 0.0 } else { 1.0 } };
    let apart = (x - y).abs() > a.tolerance + b.tolerance || exact;
    let sure = is_sure(a) && is_sure(b);
    let rounding = |terms: f64| if terms.is_finite() { TOLERANCE * terms } else { 0.0 };
    match f {
        Binary::Add => computed(x + y, &|a, b| a + b, rounding(x.abs() + y.abs())),
        Binary::Sub => computed(x - y, &|a, b| a - b, rounding(x.abs() + y.abs())),
        Binary::Mul => computed(x * y, &|a, b| a * b, rounding((x * y).abs())),
        Binary::Div => computed(x / y, &|a, b| a / b, rounding((x / y).abs())),
        // An f32 library's power is off by its logarithm's rounding times the exponent.
        Binary::Pow => computed(x.powf(y), &f64::powf, FUNCTION * (1.0 + x.powf(y).abs()) * (1.0 + y.abs())),
        Binary::Max => computed(if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }, &f64::max, 0.0),
        Binary::Min => computed(if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) }, &f64::min, 0.0),
        Binary::Mod => remainder(a, b, f64::floor),
        Binary::Fmod => remainder(a, b, f64::trunc),
        Binary::Less => judged(x < y, apart),
        Binary::LessOrEqual => judged(x <= y, apart),
        Binary::Equal => judged(x == y, apart),
        Binary::And => judged(x != 0.0 && y != 0.0, sure),
        Binary::Or => judged(x != 0.0 || y != 0.0, sure),
        Binary::Xor => judged((x != 0.0) != (y != 0.0), sure),
    }
}

/// Whether it is known if a number is 0.
fn is_sure(x: Expected) -> bool {
    x.tolerance == 0.0 || x.tolerance < x.value.abs()
}

/// a − b·whole(a/b). Where the quotient may lie on both sides of an integer, the remainder may be off by b.
fn remainder(a: Expected, b: Expected, whole: fn(f64) -> f64) -> Expected {
    let (quotient, exact) = (a.value / b.value, a.tolerance == 0.0 && b.tolerance == 0.0);
    let value = a.value - b.value * whole(quotient);
    let off = a.tolerance + b.tolerance * (1.0 + quotient.abs());
    // Multiples of a quarter divide without a rounding that matters; others may be rounded to the integer.
    let quarters = (a.value * 4.0).fract() == 0.0 && (b.value * 4.0).fract() == 0.0;
    let reach = off / b.value.abs() + if exact && quarters { 0.0 } else { TOLERANCE * (1.0 + quotient.abs()) };
    let jumps = whole(quotient - reach) != whole(quotient + reach);
    Expected { value, tolerance: off + TOLERANCE * a.value.abs() + if jumps { b.value.abs() } else { 0.0 } }
}

fn select(condition: Expected, a: Expected, b: Expected) -> Expected {
    let chosen = if condition.value == 0.0 { b } else { a };
    if is_sure(condition) {
        return chosen;
    }
    Expected { tolerance: (a.value - b.value).abs() + a.tolerance.max(b.tolerance), ..chosen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64, tolerance: f64) -> Expected {
        Expected { value, tolerance }
    }

    #[test]
    fn a_jump_within_a_tolerance_counts() {
        assert_eq!(unary(Unary::Floor, number(2.5, 0.25)), number(2.0, 0.0));
        assert_eq!(unary(Unary::Floor, number(2.0, 0.25)), number(2.0, 1.0));
        assert_eq!(unary(Unary::Round, number(2.5, 0.0)), number(2.0, 0.0));
        assert_eq!(unary(Unary::Not, number(0.5, 1.0)), number(0.0, 1.0));
        assert_eq!(binary(Binary::Less, number(1.0, 0.0), number(1.0, 0.0)), number(0.0, 0.0));
        assert_eq!(binary(Binary::Less, number(1.0, 0.5), number(1.25, 0.0)), number(1.0, 1.0));
        assert_eq!(select(number(0.0, 0.5), number(3.0, 0.1), number(1.0, 0.0)), number(1.0, 2.1));
    }

    #[test]
    fn remainders_have_the_sign_that_their_name_says() {
        let exact = |f, a, b| binary(f, number(a, 0.0), number(b, 0.0)).value;
        assert_eq!((exact(Binary::Mod, -5.0, 3.0), exact(Binary::Fmod, -5.0, 3.0)), (1.0, -2.0));
        assert_eq!((exact(Binary::Mod, 5.0, -3.0), exact(Binary::Fmod, 5.0, -3.0)), (-1.0, 2.0));
        assert_eq!(exact(Binary::Pow, -2.0, 3.0), -8.0);
    }
}
