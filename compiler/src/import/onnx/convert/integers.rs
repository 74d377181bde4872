//! Which integers a node gives. The runtime computes them as f32, which hold those up to 2^24; so sums and products are taken only where
//! their range shows that they are exact.

use super::operations::moves;
use super::ranges::Integers;
use super::{Converter, OnnxValue};
use crate::import::onnx::elem::Type;
use crate::import::onnx::node::Node;

impl Converter<'_> {
    /// The integers that the value called `name` may hold; `None` of one that holds floats.
    pub(super) fn integers_of(&self, name: &str) -> Option<Integers> {
        match self.values.get(name) {
            Some(OnnxValue::Constant(array)) => Integers::of_constant(array),
            _ => self.integers.get(name).copied(),
        }
    }

    /// What a sum or product of integers gives, if f32 compute it exactly: a type's own wrapping around is not computed.
    pub(super) fn exact_arithmetic(&self, node: &Node) -> Option<Integers> {
        let [a, b] = &node.inputs[..] else { return None };
        let (a, b) = (self.integers_of(a)?, self.integers_of(b)?);
        let result = a.arithmetic(&node.op, b)?;
        // Times 0, it does not matter which integer it was.
        let times_nothing = node.op == "Mul" && [a, b].iter().any(|i| (i.low, i.high) == (0, 0));
        (times_nothing || a.are_exact() && b.are_exact() && result.are_exact() && result.fit(a.ty)).then_some(result)
    }

    /// Whether `node` changes the sign of an integer that its type has with one sign alone, as −128 of 8 bits.
    pub(super) fn overflows(&self, node: &Node) -> bool {
        let narrow = |x: &Integers| x.ty.bits() <= 16 && self.gives_integers(node).is_some_and(|y| !y.fit(x.ty));
        matches!(&node.op[..], "Abs" | "Neg") && node.input(0).and_then(|name| self.integers_of(name)).is_some_and(|x| narrow(&x))
    }

    /// Whether a computed value of integers, `name`, has only such as type `code` of ONNX holds.
    pub(super) fn fits_type(&self, name: &str, code: i64) -> bool {
        self.integers_of(name).zip(Type::of(code)).is_some_and(|(integers, ty)| integers.fit(ty))
    }

    /// The integers that the outputs of `node` may hold; `None` where they are floats in the file, or the node is not converted as it is.
    pub(super) fn gives_integers(&self, node: &Node) -> Option<Integers> {
        let input = |i: usize| node.input(i).and_then(|name| self.integers_of(name));
        let given = || (0..node.inputs.len()).filter_map(input);
        match node.op.as_str() {
            "Cast" if node.casts_to_float() => None,
            "Cast" => {
                let ty = Type::of(node.int("to", 1))?;
                Some(input(0).filter(|integers| integers.fit(ty)).map_or(Integers::of(ty), |integers| Integers { ty, ..integers }))
            }
            "CastLike" => None,
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not" | "IsNaN" | "IsInf" => {
                Some(Integers::of(Type::Bool))
            }
            "ArgMax" | "ArgMin" => {
                let axes = match node.input(0).and_then(|name| self.values.get(name))? {
                    OnnxValue::Constant(array) => array.shape.clone(),
                    OnnxValue::Computed(view) | OnnxValue::Part(view, _) | OnnxValue::Padded(view, _) => self.full_shape(view),
                };
                Some(Integers::between(Type::I64, 0, axes.into_iter().max().map_or(0, |n| n as i128)))
            }
            "Where" => input(1).map(|yes| input(2).map_or(yes, |no| yes.or(no))),
            "OneHot" => input(2),
            "Add" | "Sub" | "Mul" => self.exact_arithmetic(node),
            "Abs" => input(0).map(|x| Integers { low: 0, high: x.low.abs().max(x.high.abs()), ..x }),
            "Neg" => input(0).map(|x| Integers { low: -x.high, high: -x.low, ..x }),
            "Sign" => input(0).map(|x| Integers { low: -1, high: 1, ..x }),
            "Max" | "Min" | "Clip" | "Concat" => given().reduce(Integers::or).filter(|_| input(0).is_some()),
            "Trilu" => input(0).map(|x| x.or(Integers::between(x.ty, 0, 0))),
            "ReduceMax" | "ReduceMin" | "GatherElements" => input(0),
            op => input(0).filter(|_| moves(op)),
        }
    }
}
