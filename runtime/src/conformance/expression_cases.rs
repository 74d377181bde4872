//! Expressions of maps drawn by key. Each number's largest magnitude is followed, so that no function is left its domain.

use super::cases::Draw;
use crate::artifact::{Activation, Binary, Instruction, Unary};

/// No number of an expression is larger.
const BOUND: f32 = 4.0;

/// Activations that are smooth or have one corner.
const ACTIVATIONS: &[Activation] = &[
    Activation::Relu,
    Activation::LeakyRelu(0.1),
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HardSwish,
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Clip { low: -0.4, high: 0.7 },
    Activation::Elu(0.7),
    Activation::Softplus,
    Activation::Softsign,
    Activation::Abs,
    Activation::Erf,
];

const UNARY: &[Unary] = &[
    Unary::Neg,
    Unary::Sign,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Asin,
    Unary::Acos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Asinh,
    Unary::Acosh,
    Unary::Atanh,
    Unary::Not,
    Unary::IsNan,
    Unary::IsInf,
];

const BINARY: &[Binary] = &[
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Pow,
    Binary::Max,
    Binary::Min,
    Binary::Mod,
    Binary::Fmod,
    Binary::Less,
    Binary::LessOrEqual,
    Binary::Equal,
    Binary::And,
    Binary::Or,
    Binary::Xor,
];

struct Expression<'a> {
    draw: &'a mut Draw,
    instructions: Vec<Instruction>,
}

/// An expression of operands whose elements are at most as large as `bounds`; what it gives is at most 4.
pub(crate) fn expression(draw: &mut Draw, bounds: &[f32]) -> Vec<Instruction> {
    let mut e = Expression { draw, instructions: Vec::new() };
    let mut numbers = Vec::new();
    for (at, &bound) in bounds.iter().enumerate() {
        let operand = e.push(Instruction::Operand(at as u8));
        // A power of two keeps quarters exact where they are.
        let by = (BOUND / 2.0 / bound.max(1e-3)).log2().floor().exp2().min(1.0);
        numbers.push(if by < 1.0 { e.times(operand, by) } else { operand });
    }
    for _ in 0..1 + e.draw.below(5) {
        let number = match e.draw.below(5) {
            0 | 1 => e.unary(&numbers),
            2 => {
                let (a, f) = (e.draw.pick(&numbers), e.draw.pick(ACTIVATIONS));
                e.push(Instruction::Activate(f, a))
            }
            _ => e.binary(&numbers),
        };
        numbers.push(number);
    }
    // All of what was computed comes into the result.
    let mut result = numbers[bounds.len()];
    for &n in &numbers[bounds.len() + 1..] {
        let sum = e.push(Instruction::Binary(Binary::Add, result, n));
        result = e.times(sum, 0.5);
    }
    e.clip(result);
    e.instructions
}

impl Expression<'_> {
    fn push(&mut self, instruction: Instruction) -> u8 {
        self.instructions.push(instruction);
        self.instructions.len() as u8 - 1
    }

    fn times(&mut self, a: u8, by: f32) -> u8 {
        let by = self.push(Instruction::Constant(by));
        self.push(Instruction::Binary(Binary::Mul, a, by))
    }

    fn plus(&mut self, a: u8, constant: f32) -> u8 {
        let constant = self.push(Instruction::Constant(constant));
        self.push(Instruction::Binary(Binary::Add, a, constant))
    }

    fn clip(&mut self, a: u8) -> u8 {
        self.push(Instruction::Activate(Activation::Clip { low: -BOUND, high: BOUND }, a))
    }

    fn abs(&mut self, a: u8) -> u8 {
        self.push(Instruction::Activate(Activation::Abs, a))
    }

    fn unary(&mut self, numbers: &[u8]) -> u8 {
        let (mut a, f) = (self.draw.pick(numbers), self.draw.pick(UNARY));
        match f {
            // Into their domains, and away from where their slope has no bound.
            Unary::Tan | Unary::Asin | Unary::Acos | Unary::Atanh => a = self.times(a, 0.23),
            Unary::Acosh => {
                a = self.abs(a);
                a = self.plus(a, 1.25);
            }
            Unary::IsInf => {
                // Infinite where the number is 0.
                let one = self.push(Instruction::Constant(1.0));
                let zero = self.push(Instruction::Constant(0.0));
                let infinity = self.push(Instruction::Constant(f32::INFINITY));
                let is_zero = self.push(Instruction::Binary(Binary::Equal, a, zero));
                a = self.push(Instruction::Select(is_zero, infinity, one));
            }
            _ => {}
        }
        let y = self.push(Instruction::Unary(f, a));
        if matches!(f, Unary::Sinh | Unary::Cosh) { self.clip(y) } else { y }
    }

    fn binary(&mut self, numbers: &[u8]) -> u8 {
        let (mut a, mut b, f) = (self.draw.pick(numbers), self.draw.pick(numbers), self.draw.pick(BINARY));
        match f {
            Binary::Div => {
                b = self.abs(b);
                b = self.plus(b, 0.5);
            }
            Binary::Pow if self.draw.below(2) == 0 => {
                let exponent = self.draw.pick(&[2.0, 3.0, 0.0, 1.0]);
                b = self.push(Instruction::Constant(exponent));
            }
            Binary::Pow => {
                a = self.abs(a);
                a = self.plus(a, 0.25);
            }
            Binary::Mod | Binary::Fmod => {
                let divisor = self.draw.pick(&[0.75, -1.5, 2.0, 0.25]);
                b = self.push(Instruction::Constant(divisor));
            }
            _ => {}
        }
        let y = self.push(Instruction::Binary(f, a, b));
        let y = if self.draw.below(4) == 0 { self.push(Instruction::Select(y, a, b)) } else { y };
        self.clip(y)
    }
}
