//! The instructions of a map, written one after the other.

use thinfer::artifact::{Activation, Binary, Instruction, Limits, Unary};

use super::super::Step;
use super::super::names::{PRODUCT, QUOTIENT};
use crate::import::onnx::node::Node;

/// Instructions; each gives a number that later ones name.
#[derive(Debug, Default)]
pub(super) struct Expression {
    instructions: Vec<Instruction>,
}

impl Expression {
    fn push(&mut self, instruction: Instruction) -> Step<u8> {
        self.instructions.push(instruction);
        match u8::try_from(self.instructions.len() - 1) {
            Ok(number) if self.instructions.len() <= Limits::INSTRUCTIONS => Ok(number),
            _ => Err(format!("needs more than {} instructions", Limits::INSTRUCTIONS).into()),
        }
    }

    pub(super) fn operand(&mut self, at: usize) -> Step<u8> {
        match u8::try_from(at) {
            Ok(number) if at < Limits::OPERANDS => self.push(Instruction::Operand(number)),
            _ => Err(format!("reads more than {} values", Limits::OPERANDS).into()),
        }
    }

    pub(super) fn constant(&mut self, number: f32) -> Step<u8> {
        self.push(Instruction::Constant(number))
    }

    pub(super) fn unary(&mut self, f: Unary, a: u8) -> Step<u8> {
        self.push(Instruction::Unary(f, a))
    }

    pub(super) fn binary(&mut self, f: Binary, a: u8, b: u8) -> Step<u8> {
        self.push(Instruction::Binary(f, a, b))
    }

    /// `a` where `condition` is true, else `b`.
    pub(super) fn select(&mut self, condition: u8, a: u8, b: u8) -> Step<u8> {
        self.push(Instruction::Select(condition, a, b))
    }

    pub(super) fn activate(&mut self, f: Activation, a: u8) -> Step<u8> {
        self.push(Instruction::Activate(f, a))
    }

    /// Makes number `a` the result: that of the last instruction.
    pub(super) fn result(&mut self, a: u8) -> Step<()> {
        if usize::from(a) + 1 != self.instructions.len() {
            self.activate(Activation::None, a)?;
        }
        Ok(())
    }

    /// The result with 0 where it is −0.
    pub(super) fn without_negative_zero(&mut self) -> Step<()> {
        let Some(last) = self.instructions.len().checked_sub(1).and_then(|last| u8::try_from(last).ok()) else { return Ok(()) };
        let zero = self.constant(0.0)?;
        self.select(last, last, zero).map(drop)
    }

    pub(super) fn finish(self) -> Step<Vec<Instruction>> {
        if self.instructions.is_empty() { Err("computes nothing".into()) } else { Ok(self.instructions) }
    }

    /// The nearest integer towards 0.
    pub(super) fn truncated(&mut self, a: u8) -> Step<u8> {
        let zero = self.constant(0.0)?;
        let below = self.binary(Binary::Less, a, zero)?;
        let (ceil, floor) = (self.unary(Unary::Ceil, a)?, self.unary(Unary::Floor, a)?);
        self.select(below, ceil, floor)
    }
}

/// Appends what `node` computes of its inputs' numbers; the last instruction is its result.
pub(super) fn of_node(node: &Node, e: &mut Expression, inputs: &[Option<u8>]) -> Step<()> {
    let input = |at: usize| inputs.get(at).copied().flatten().ok_or_else(|| format!("lacks input {at}"));
    let x = input(0)?;
    if let Some(f) = unary(&node.op) {
        let y = e.unary(f, x)?;
        return e.result(y);
    }
    if let Some((f, swapped)) = binary(node) {
        let y = match (swapped, inputs.len()) {
            (true, _) => e.binary(f, input(1)?, x)?,
            (false, _) => (1..inputs.len()).try_fold(x, |so_far, at| e.binary(f, so_far, input(at)?))?,
        };
        return e.result(y);
    }
    let y = match node.op.as_str() {
        "HardSigmoid" => {
            let (alpha, beta) = (e.constant(node.float("alpha", 0.2))?, e.constant(node.float("beta", 0.5))?);
            let scaled = e.binary(Binary::Mul, x, alpha)?;
            let line = e.binary(Binary::Add, scaled, beta)?;
            e.activate(Activation::Clip { low: 0.0, high: 1.0 }, line)?
        }
        // α·(e^(x/α) − 1) below 0.
        "Celu" => {
            let alpha = node.float("alpha", 1.0);
            if alpha.is_nan() || alpha <= 0.0 {
                return Err(format!("has an alpha of {alpha}").into());
            }
            let alpha = e.constant(alpha)?;
            let scaled = e.binary(Binary::Div, x, alpha)?;
            let bent = e.activate(Activation::Elu(1.0), scaled)?;
            e.binary(Binary::Mul, bent, alpha)?
        }
        "Selu" => {
            let gamma = e.constant(node.float("gamma", 1.050_701))?;
            let bent = e.activate(Activation::Elu(node.float("alpha", 1.673_263_2)), x)?;
            e.binary(Binary::Mul, bent, gamma)?
        }
        "Mish" => {
            let soft = e.activate(Activation::Softplus, x)?;
            let gate = e.activate(Activation::Tanh, soft)?;
            e.binary(Binary::Mul, x, gate)?
        }
        "Mean" => {
            let sum = (1..inputs.len()).try_fold(x, |so_far, at| e.binary(Binary::Add, so_far, input(at)?))?;
            let count = e.constant(inputs.len() as f32)?;
            e.binary(Binary::Div, sum, count)?
        }
        "PRelu" => {
            let (zero, slope) = (e.constant(0.0)?, input(1)?);
            let (below, scaled) = (e.binary(Binary::Less, x, zero)?, e.binary(Binary::Mul, x, slope)?);
            e.select(below, scaled, x)?
        }
        "Clip" => {
            let mut bound = |at: usize, key: &str| match inputs.get(at).copied().flatten() {
                Some(number) => Ok(Some(number)),
                None => match node.attributes.contains_key(key) {
                    true => e.constant(node.float(key, 0.0)).map(Some),
                    false => Ok(None),
                },
            };
            let (low, high) = (bound(1, "min")?, bound(2, "max")?);
            let above = low.map_or(Ok(x), |low| e.binary(Binary::Max, x, low))?;
            high.map_or(Ok(above), |high| e.binary(Binary::Min, above, high))?
        }
        "Where" => e.select(x, input(1)?, input(2)?)?,
        "IsInf" => {
            let infinite = e.unary(Unary::IsInf, x)?;
            let zero = e.constant(0.0)?;
            match [node.int("detect_negative", 1), node.int("detect_positive", 1)] {
                [0, 0] => zero,
                [_, 0] => {
                    let below = e.binary(Binary::Less, x, zero)?;
                    e.binary(Binary::And, infinite, below)?
                }
                [0, _] => {
                    let above = e.binary(Binary::Less, zero, x)?;
                    e.binary(Binary::And, infinite, above)?
                }
                _ => infinite,
            }
        }
        "Cast" => match node.int("to", 1) {
            // Whether it is not false.
            9 => {
                let is_false = e.unary(Unary::Not, x)?;
                e.unary(Unary::Not, is_false)?
            }
            2..=7 | 12 | 13 => e.truncated(x)?,
            other => return Err(format!("makes numbers of ONNX's type {other} of a computed value, which is not supported").into()),
        },
        "Shrink" => {
            let (lambda, bias) = (node.float("lambd", 0.5), node.float("bias", 0.0));
            let (low, high, bias, zero) = (e.constant(-lambda)?, e.constant(lambda)?, e.constant(bias)?, e.constant(0.0)?);
            let (below, above) = (e.binary(Binary::Less, x, low)?, e.binary(Binary::Less, high, x)?);
            let (more, less) = (e.binary(Binary::Add, x, bias)?, e.binary(Binary::Sub, x, bias)?);
            let y = e.select(above, less, zero)?;
            e.select(below, more, y)?
        }
        _ => return Err("is an operation on computed values that is not supported".into()),
    };
    e.result(y)
}

fn unary(op: &str) -> Option<Unary> {
    Some(match op {
        "Neg" => Unary::Neg,
        "Sign" => Unary::Sign,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Tan" => Unary::Tan,
        "Asin" => Unary::Asin,
        "Acos" => Unary::Acos,
        "Atan" => Unary::Atan,
        "Sinh" => Unary::Sinh,
        "Cosh" => Unary::Cosh,
        "Asinh" => Unary::Asinh,
        "Acosh" => Unary::Acosh,
        "Atanh" => Unary::Atanh,
        "Not" => Unary::Not,
        "IsNaN" => Unary::IsNan,
        _ => return None,
    })
}

/// A function of two numbers, of more in turn, and whether its inputs change places.
fn binary(node: &Node) -> Option<(Binary, bool)> {
    Some(match node.op.as_str() {
        "Add" | "Sum" => (Binary::Add, false),
        "Sub" => (Binary::Sub, false),
        "Mul" | PRODUCT => (Binary::Mul, false),
        "Div" | QUOTIENT => (Binary::Div, false),
        "Pow" => (Binary::Pow, false),
        "Mod" if node.int("fmod", 0) != 0 => (Binary::Fmod, false),
        "Mod" => (Binary::Mod, false),
        "Max" => (Binary::Max, false),
        "Min" => (Binary::Min, false),
        "Equal" => (Binary::Equal, false),
        "Less" => (Binary::Less, false),
        "LessOrEqual" => (Binary::LessOrEqual, false),
        "Greater" => (Binary::Less, true),
        "GreaterOrEqual" => (Binary::LessOrEqual, true),
        "And" => (Binary::And, false),
        "Or" => (Binary::Or, false),
        "Xor" => (Binary::Xor, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(node: &Node, inputs: usize) -> Vec<Instruction> {
        let mut e = Expression::default();
        let numbers: Vec<Option<u8>> = (0..inputs).map(|at| e.operand(at).ok()).collect();
        assert!(of_node(node, &mut e, &numbers).is_ok());
        e.finish().ok().unwrap()
    }

    #[test]
    fn the_result_comes_last() {
        let greater = written(&Node::new("Greater", "n", &["a", "b"], "y"), 2);
        assert_eq!(greater[2..], [Instruction::Binary(Binary::Less, 1, 0)]);
        let sum = written(&Node::new("Sum", "n", &["a", "b", "c"], "y"), 3);
        assert_eq!(sum[3..], [Instruction::Binary(Binary::Add, 0, 1), Instruction::Binary(Binary::Add, 3, 2)]);
        // Without bounds a Clip gives its input.
        assert_eq!(written(&Node::new("Clip", "n", &["a"], "y"), 1), [Instruction::Operand(0)]);
        assert_eq!(written(&Node::new("Sum", "n", &["a"], "y"), 1), [Instruction::Operand(0)]);
    }

    #[test]
    fn too_long_an_expression_is_refused() {
        let mut e = Expression::default();
        let last = (0..100).map(|_| e.constant(0.0)).find(Result::is_err);
        assert!(last.is_some() && e.operand(99).is_err());
    }
}
