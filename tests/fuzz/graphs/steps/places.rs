//! What moves elements or picks some.

use super::super::{Data, Draw, Drawn, Node, Value};

impl Drawn {
    pub(super) fn transpose(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let mut order: Vec<usize> = (0..shape.len()).collect();
        for i in 2..order.len() {
            let other = 1 + draw.below(i);
            order.swap(i, other);
        }
        let perm = Value::Ints(order.iter().map(|&i| i as i64).collect());
        self.node("Transpose", &[&x], &order.iter().map(|&i| shape[i]).collect::<Vec<_>>(), vec![("perm", perm)])
    }

    pub(super) fn reshape(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let mut left: usize = shape.iter().skip(1).product();
        if draw.seldom(5) {
            return self.node("Flatten", &[&x], &[shape[0], left], vec![("axis", Value::Int(1))]);
        }
        let mut out = vec![*shape.first()?];
        for _ in 0..draw.below(4) {
            let divisors: Vec<usize> = (1..=left).filter(|d| left.is_multiple_of(*d)).collect();
            let d = draw.one_of(&divisors);
            out.push(d);
            left /= d;
        }
        out.push(left);
        let mut target: Vec<i64> = out.iter().map(|&d| d as i64).collect();
        if draw.seldom(2) {
            let open = draw.below(target.len());
            target[open] = -1;
        }
        let target = self.ints(&target);
        self.node("Reshape", &[&x, &target], &out, Vec::new())
    }

    /// Squeeze and Unsqueeze.
    pub(super) fn axes(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let squeezes = draw.seldom(2);
        let (axis, named) = self.axis(draw, if squeezes { shape.len() } else { shape.len() + 1 });
        if squeezes {
            if shape.get(axis) != Some(&1) || shape.len() < 2 {
                return None;
            }
            shape.remove(axis);
        } else {
            shape.insert(axis, 1);
        }
        let op = if squeezes { "Squeeze" } else { "Unsqueeze" };
        if self.opset < 13 {
            return self.node(op, &[&x], &shape, vec![("axes", Value::Ints(vec![named]))]);
        }
        let axes = self.ints(&[named]);
        self.node(op, &[&x, &axes], &shape, Vec::new())
    }

    pub(super) fn slice(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let (axis, named) = self.axis(draw, shape.len());
        let n = shape[axis];
        let start = draw.below(n);
        let end = start + 1 + draw.below(n - start);
        let step = if self.opset >= 10 { 1 + draw.below(3) } else { 1 };
        shape[axis] = (end - start).div_ceil(step);
        let end = if end == n && draw.seldom(2) { i64::MAX } else { end as i64 };
        if self.opset < 10 {
            let one = |v: i64| Value::Ints(vec![v]);
            return self.node("Slice", &[&x], &shape, vec![("starts", one(start as i64)), ("ends", one(end)), ("axes", one(axis as i64))]);
        }
        let bounds = [start as i64, end, named, step as i64].map(|v| self.ints(&[v]));
        let [starts, ends, axes, steps] = &bounds;
        self.node("Slice", &[&x, starts, ends, axes, steps], &shape, Vec::new())
    }

    pub(super) fn gather(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (axis, named) = self.axis(draw, shape.len());
        let own: &[usize] = draw.one_of(&[&[], &[1], &[2], &[1, 1]]);
        let index = (0..own.iter().product()).map(|_| draw.below(shape[axis]) as i64).collect();
        let index = self.constant(own, Data::Ints(index));
        let out = [&shape[..axis], own, &shape[axis + 1..]].concat();
        self.node("Gather", &[&x, &index], &out, vec![("axis", Value::Int(named))])
    }

    pub(super) fn concat(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let (axis, named) = self.axis(draw, shape.len());
        let (mut y, mut other) = self.read(draw.below(self.values.len()));
        if draw.seldom(4) {
            other.clone_from(&shape);
            other[axis] = 1 + draw.below(2);
            y = self.floats(draw, &other);
        }
        if other.len() != shape.len() || (0..shape.len()).any(|i| i != axis && shape[i] != other[i]) {
            return None;
        }
        shape[axis] += other[axis];
        let read = if draw.seldom(2) { [&y, &x] } else { [&x, &y] };
        self.node("Concat", &[read[0], read[1]], &shape, vec![("axis", Value::Int(named))])
    }

    pub(super) fn pad(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let rank = shape.len();
        let mut pads = vec![0i64; 2 * rank];
        for axis in (1..rank).rev().take(1 + draw.below(3)) {
            (pads[axis], pads[axis + rank]) = (draw.below(3) as i64, draw.below(3) as i64);
            shape[axis] += (pads[axis] + pads[axis + rank]) as usize;
        }
        let value = draw.one_of(&[0.0, 0.0, 0.0, 1.0]);
        if self.opset < 11 {
            return self.node("Pad", &[&x], &shape, vec![("pads", Value::Ints(pads)), ("value", Value::Float(value))]);
        }
        let (pads, value) = (self.ints(&pads), self.filled(&[], value));
        self.node("Pad", &[&x, &pads, &value], &shape, Vec::new())
    }

    /// Two parts, put together the other way round or added.
    pub(super) fn split(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (axis, _) = self.axis(draw, shape.len());
        if shape[axis] < 2 {
            return None;
        }
        let first = 1 + draw.below(shape[axis] - 1);
        let (mut low, mut high) = (shape.clone(), shape.clone());
        (low[axis], high[axis]) = (first, shape[axis] - first);
        let sizes = vec![low[axis] as i64, high[axis] as i64];
        let mut attributes = vec![("axis", Value::Int(axis as i64))];
        let mut inputs = vec![x];
        if self.opset < 13 {
            attributes.push(("split", Value::Ints(sizes)));
        } else {
            inputs.push(self.ints(&sizes));
        }
        let outputs = vec![self.name("p"), self.name("q")];
        self.nodes.push(Node { op: "Split", inputs, outputs: outputs.clone(), attributes });
        self.values.push((outputs[0].clone(), low.clone()));
        self.values.push((outputs[1].clone(), high));
        if draw.seldom(2) {
            return self.node("Concat", &[&outputs[1], &outputs[0]], &shape, vec![("axis", Value::Int(axis as i64))]);
        }
        self.node("Relu", &[&outputs[0]], &low, Vec::new())
    }
}
