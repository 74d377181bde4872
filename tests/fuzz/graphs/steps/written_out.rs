//! Functions that exporters write as several operations, whole or with something else in one place.

use super::super::{Data, Draw, Drawn, Value};
use super::common::broadcast;

impl Drawn {
    pub(super) fn gelu(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let x = self.name_at(at);
        let inner = if draw.seldom(2) {
            let cube = self.then("Mul", &[&x, &x], at).and_then(|v| self.then("Mul", &[&self.name_at(v), &x], at))?;
            let k = self.about(draw, 0.044715);
            let k = self.then("Mul", &[&self.name_at(cube), &k], at)?;
            let sum = self.then("Add", &[&x, &self.name_at(k)], at)?;
            let by = self.about(draw, 0.797_884_6);
            let z = self.then("Mul", &[&self.name_at(sum), &by], at)?;
            self.then("Tanh", &[&self.name_at(z)], at)?
        } else {
            let by = self.about(draw, std::f32::consts::FRAC_1_SQRT_2);
            let z = self.then("Mul", &[&x, &by], at)?;
            self.then("Erf", &[&self.name_at(z)], at)?
        };
        let one = self.about(draw, 1.0);
        let one = self.then("Add", &[&self.name_at(inner), &one], at)?;
        let half = self.about(draw, 0.5);
        let product = self.then("Mul", &[&x, &self.name_at(one)], at)?;
        self.then("Mul", &[&self.name_at(product), &half], at)
    }

    /// SiLU and hard swish.
    pub(super) fn gate(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let gate = match draw.below(3) {
            0 => self.then("Sigmoid", &[&x], at)?,
            1 => {
                let numbers = [draw.one_of(&[1.0 / 6.0, 1.0 / 6.0, 0.2]), draw.one_of(&[0.5, 0.5, 0.4])];
                self.node("HardSigmoid", &[&x], &shape, vec![("alpha", Value::Float(numbers[0])), ("beta", Value::Float(numbers[1]))])?
            }
            _ => {
                let three = self.about(draw, 3.0);
                let sum = self.then("Add", &[&x, &three], at)?;
                let clip = self.clip(draw, sum)?;
                let by = self.about(draw, 1.0 / 6.0);
                self.then("Mul", &[&self.name_at(clip), &by], at)?
            }
        };
        let other = if draw.seldom(6) { draw.below(self.values.len()) } else { at };
        let both = broadcast(&shape, &self.values[other].1)?;
        self.node("Mul", &[&self.name_at(other), &self.name_at(gate)], &both, Vec::new())
    }

    pub(super) fn layer_norm(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let last = shape.len() - 1;
        let (axis, named) = if draw.seldom(4) { self.axis(draw, shape.len()) } else { (last, last as i64) };
        let mean = |this: &mut Self, of: &str| {
            let mut out = shape.clone();
            out[axis] = 1;
            if this.opset < 18 {
                return this.node("ReduceMean", &[of], &out, vec![("axes", Value::Ints(vec![named]))]);
            }
            let axes = this.ints(&[named]);
            this.node("ReduceMean", &[of, &axes], &out, Vec::new())
        };
        let middle = mean(self, &x)?;
        let centred = self.then("Sub", &[&x, &self.name_at(middle)], at)?;
        let square = self.then("Mul", &[&self.name_at(centred), &self.name_at(centred)], at)?;
        let variance = mean(self, &self.name_at(square))?;
        let eps = self.filled(&[], draw.one_of(&[1e-2, 1e-3, 0.5]));
        let sum = self.then("Add", &[&self.name_at(variance), &eps], variance)?;
        let root = self.then("Sqrt", &[&self.name_at(sum)], variance)?;
        let mut y = self.then("Div", &[&self.name_at(centred), &self.name_at(root)], at)?;
        for op in ["Mul", "Add"] {
            let own = if draw.seldom(3) { Self::own_shape(draw, &shape) } else { vec![shape[last]] };
            let constant = self.floats(draw, &own);
            let both = broadcast(&self.values[y].1, &own)?;
            y = self.node(op, &[&self.name_at(y), &constant], &both, Vec::new())?;
        }
        Some(y)
    }

    pub(super) fn attention(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let [before @ .., tokens, features] = &shape[..] else { return None };
        let size = 1 + draw.below(4);
        let mut parts = Vec::new();
        for _ in 0..3 {
            let weight = self.floats(draw, &[*features, size]);
            parts.push(self.node("MatMul", &[&x, &weight], &[before, &[*tokens, size]].concat(), Vec::new())?);
        }
        let rank = shape.len() as i64;
        let perm = Value::Ints((0..rank - 2).chain([rank - 1, rank - 2]).collect());
        let keys = self.node("Transpose", &[&self.name_at(parts[1])], &[before, &[size, *tokens]].concat(), vec![("perm", perm)])?;
        let scores = [before, &[*tokens, *tokens]].concat();
        let mut s = self.node("MatMul", &[&self.name_at(parts[0]), &self.name_at(keys)], &scores, Vec::new())?;
        if draw.seldom(2) {
            let by = self.about(draw, 0.5);
            s = self.then("Mul", &[&self.name_at(s), &by], s)?;
        }
        if draw.seldom(3) {
            let mask = if draw.seldom(2) { self.floats(draw, &[*tokens, *tokens]) } else { self.filled(&[1, *tokens], 0.0) };
            s = self.then("Add", &[&self.name_at(s), &mask], s)?;
        }
        let axis = if draw.seldom(6) { rank - 2 } else { rank - 1 };
        let mut p = self.node("Softmax", &[&self.name_at(s)], &scores, vec![("axis", Value::Int(axis))])?;
        if self.opset >= 9 && draw.seldom(5) {
            let truths = (0..tokens * tokens).map(|i| u8::from(i % 3 != 0)).collect();
            let condition = self.constant(&[*tokens, *tokens], Data::Truths(truths));
            let zero = self.filled(&[], 0.0);
            p = self.then("Where", &[&condition, &self.name_at(p), &zero], p)?;
        }
        self.node("MatMul", &[&self.name_at(p), &self.name_at(parts[2])], &[before, &[*tokens, size]].concat(), Vec::new())
    }
}
