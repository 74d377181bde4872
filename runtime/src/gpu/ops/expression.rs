//! The expression of a map as WGSL, which wgsl/map.wgsl is completed with.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::artifact::{Activation, Binary, Instruction, Unary};

/// The lines that compute a map, and the numbers that they name by their index. Expressions that differ in their numbers alone are one text.
pub(super) struct Expression {
    pub(super) text: Arc<str>,
    pub(super) numbers: Vec<f32>,
}

impl Expression {
    /// The expression of `instructions`.
    pub(super) fn new(instructions: &[Instruction]) -> Self {
        let (mut text, mut numbers) = (String::new(), Vec::new());
        for (at, instruction) in instructions.iter().enumerate() {
            let value = match *instruction {
                Instruction::Operand(n) => format!("o{n}"),
                Instruction::Constant(value) => number(&mut numbers, value),
                Instruction::Unary(f, a) => unary(f, a),
                Instruction::Binary(Binary::Pow, a, b) => power(a, b, instructions.get(usize::from(b))),
                Instruction::Binary(f, a, b) => binary(f, a, b),
                Instruction::Select(a, b, c) => format!("select(v{c}, v{b}, truth(v{a}))"),
                Instruction::Activate(activation, a) => activate(activation, a, &mut numbers),
            };
            // Writing to a string never fails.
            let _ = writeln!(text, "    let v{at} = {value};");
        }
        let _ = write!(text, "    return v{};", instructions.len().saturating_sub(1));
        Self { text: text.into(), numbers }
    }
}

/// A number that the kernel reads from its table.
fn number(numbers: &mut Vec<f32>, value: f32) -> String {
    numbers.push(value);
    format!("number({}u)", numbers.len() - 1)
}

fn unary(f: Unary, a: u8) -> String {
    let function = match f {
        Unary::Neg => "-",
        Unary::Sign => "sign_of",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::Round => "round",
        Unary::Sin => "sine",
        Unary::Cos => "cosine",
        Unary::Tan => "tangent",
        Unary::Asin => "arc_sine",
        Unary::Acos => "arc_cosine",
        Unary::Atan => "arc_tangent",
        Unary::Sinh => "hyperbolic_sine",
        Unary::Cosh => "hyperbolic_cosine",
        Unary::Asinh => "area_sine",
        Unary::Acosh => "area_cosine",
        Unary::Atanh => "area_tangent",
        Unary::Not => return format!("number_of(!truth(v{a}))"),
        Unary::IsNan => return format!("number_of(is_nan(v{a}))"),
        Unary::IsInf => return format!("number_of(is_inf(v{a}))"),
    };
    format!("{function}(v{a})")
}

/// Small powers are products, which are exact where they can be.
fn power(a: u8, b: u8, exponent: Option<&Instruction>) -> String {
    match exponent {
        Some(Instruction::Constant(1.0)) => format!("v{a}"),
        Some(Instruction::Constant(2.0)) => format!("v{a} * v{a}"),
        Some(Instruction::Constant(3.0)) => format!("v{a} * v{a} * v{a}"),
        _ => format!("power(v{a}, v{b})"),
    }
}

fn binary(f: Binary, a: u8, b: u8) -> String {
    let (a, b) = (format!("v{a}"), format!("v{b}"));
    match f {
        Binary::Add => format!("{a} + {b}"),
        Binary::Sub => format!("{a} - {b}"),
        Binary::Mul => format!("{a} * {b}"),
        Binary::Div => format!("{a} / {b}"),
        Binary::Pow => format!("power({a}, {b})"),
        Binary::Max => format!("larger({a}, {b})"),
        Binary::Min => format!("smaller({a}, {b})"),
        Binary::Mod => format!("modulo({a}, {b})"),
        Binary::Fmod => format!("remainder({a}, {b})"),
        Binary::Less => format!("number_of({a} < {b})"),
        Binary::LessOrEqual => format!("number_of({a} <= {b})"),
        Binary::Equal => format!("number_of({a} == {b})"),
        Binary::And => format!("number_of(truth({a}) & truth({b}))"),
        Binary::Or => format!("number_of(truth({a}) | truth({b}))"),
        Binary::Xor => format!("number_of(truth({a}) != truth({b}))"),
    }
}

fn activate(activation: Activation, a: u8, numbers: &mut Vec<f32>) -> String {
    let x = format!("v{a}");
    let mut bounded = |low: f32, high: f32| {
        let (low, high) = (number(numbers, low), number(numbers, high));
        format!("bounded_by({x}, {low}, {high})")
    };
    let value = match activation {
        Activation::None => x.clone(),
        Activation::Relu => bounded(0.0, f32::INFINITY),
        Activation::Relu6 => bounded(0.0, 6.0),
        Activation::Clip { low, high } => bounded(low, high),
        Activation::LeakyRelu(slope) => format!("leaky({x}, {})", number(numbers, slope)),
        Activation::Elu(alpha) => format!("exponential_linear({x}, {})", number(numbers, alpha)),
        Activation::ThresholdedRelu(threshold) => format!("above_threshold({x}, {})", number(numbers, threshold)),
        Activation::Sigmoid => format!("logistic({x}, vec4f(1.0))"),
        Activation::Tanh => format!("hyperbolic({x})"),
        Activation::HardSigmoid => format!("hard({x})"),
        Activation::HardSwish => format!("{x} * hard({x})"),
        Activation::Silu => format!("logistic({x}, max({x}, -MOST))"),
        Activation::Gelu => format!("gelu({x})"),
        Activation::GeluTanh => {
            format!("logistic(1.5957691216 * {x} * (1.0 + 0.044715 * {x} * {x}), max({x}, -MOST))")
        }
        Activation::Softplus => format!("soft_plus({x})"),
        Activation::Softsign => format!("soft_sign({x})"),
        Activation::Exp => format!("exp({x})"),
        Activation::Log => format!("logarithm({x})"),
        Activation::Sqrt => format!("square_root({x})"),
        Activation::Reciprocal => format!("1.0 / {x}"),
        Activation::Abs => format!("abs({x})"),
        Activation::Erf => format!("error_function({x})"),
    };
    // Bounds on the way may have dropped a NaN.
    match activation {
        Activation::None | Activation::Abs | Activation::Reciprocal => value,
        _ => format!("passing_nan({x}, {value})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_no_part_of_the_text() {
        let scaled = |k: f32| {
            [
                Instruction::Operand(0),
                Instruction::Constant(k),
                Instruction::Binary(Binary::Mul, 0, 1),
                Instruction::Activate(Activation::LeakyRelu(k), 2),
            ]
        };
        let (a, b) = (Expression::new(&scaled(0.5)), Expression::new(&scaled(f32::INFINITY)));
        assert_eq!(a.text, b.text);
        assert_eq!((a.numbers, b.numbers), (vec![0.5; 2], vec![f32::INFINITY; 2]));
        assert!(b.text.ends_with("let v3 = passing_nan(v2, leaky(v2, number(1u)));\n    return v3;"), "{}", b.text);
    }
}
