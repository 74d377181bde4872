//! Functions of an element, and of two that lie side by side.

use super::super::{Draw, Drawn, Value};
use super::common::broadcast;

/// The plain functions of an element.
const PLAIN: [&str; 8] = ["Relu", "Sigmoid", "Tanh", "Abs", "Identity", "Neg", "HardSigmoid", "LeakyRelu"];

impl Drawn {
    pub(super) fn beside_constant(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let own = Self::own_shape(draw, &shape);
        let both = broadcast(&shape, &own)?;
        let constant = if draw.seldom(3) { self.filled(&own, draw.number()) } else { self.floats(draw, &own) };
        let op = draw.one_of(&["Add", "Sub", "Mul", "Max", "Min"]);
        let read = if draw.seldom(2) { [&constant, &x] } else { [&x, &constant] };
        self.node(op, &[read[0], read[1]], &both, Vec::new())
    }

    pub(super) fn beside_value(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (y, other) = self.read(draw.below(self.values.len()));
        let both = broadcast(&shape, &other)?;
        self.node(draw.one_of(&["Add", "Mul", "Sub"]), &[&x, &y], &both, Vec::new())
    }

    pub(super) fn plain(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let x = self.name_at(at);
        self.then(draw.one_of(&PLAIN), &[&x], at)
    }

    pub(super) fn clip(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (a, b) = (draw.number(), draw.number());
        let (low, high) = (a.min(b), a.max(b));
        if self.opset < 11 {
            return self.node("Clip", &[&x], &shape, vec![("min", Value::Float(low)), ("max", Value::Float(high))]);
        }
        let (low, high) = (self.filled(&[], low), self.filled(&[], high));
        match draw.below(3) {
            0 => self.node("Clip", &[&x, &low], &shape, Vec::new()),
            1 => self.node("Clip", &[&x, "", &high], &shape, Vec::new()),
            _ => self.node("Clip", &[&x, &low, &high], &shape, Vec::new()),
        }
    }

    pub(super) fn softmax(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let axis = self.axis(draw, shape.len()).1;
        self.node(draw.one_of(&["Softmax", "LogSoftmax"]), &[&x], &shape, vec![("axis", Value::Int(axis))])
    }
}
