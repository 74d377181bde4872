//! What several steps draw with.

use super::super::{Draw, Drawn};

impl Drawn {
    /// Name and shape of value `at`.
    pub(super) fn read(&self, at: usize) -> (String, Vec<usize>) {
        self.values[at].clone()
    }

    pub(super) fn name_at(&self, at: usize) -> String {
        self.values[at].0.clone()
    }

    /// Appends an operation that gives what has the shape of value `like`.
    pub(super) fn then(&mut self, op: &'static str, inputs: &[&str], like: usize) -> Option<usize> {
        let shape = self.values[like].1.clone();
        self.node(op, inputs, &shape, Vec::new())
    }

    /// An axis, seldom that of the batch, seldom counted from the end.
    pub(super) fn axis(&self, draw: &mut Draw, rank: usize) -> (usize, i64) {
        let at = if rank < 2 || draw.seldom(40) { 0 } else { 1 + draw.below(rank - 1) };
        (at, if self.opset >= 11 && draw.seldom(3) { at as i64 - rank as i64 } else { at as i64 })
    }

    /// The shape of a constant beside a value of `shape`, in one of the forms that files hold.
    pub(super) fn own_shape(draw: &mut Draw, shape: &[usize]) -> Vec<usize> {
        let kind = draw.below(7);
        let mut own: Vec<usize> = match kind {
            0 => return Vec::new(),
            1 => return vec![1],
            2 => vec![*shape.last().unwrap_or(&1)],
            3 if shape.len() > 1 => std::iter::once(shape[1]).chain(std::iter::repeat_n(1, shape.len() - 2)).collect(),
            4 => shape.to_vec(),
            _ => shape.iter().enumerate().map(|(i, &d)| if i > 0 && draw.seldom(2) { d } else { 1 }).collect(),
        };
        let front = if draw.seldom(8) { 1 } else { 0 };
        (0..front).for_each(|_| own.insert(0, 1));
        own
    }

    /// A number, seldom another one.
    pub(super) fn about(&mut self, draw: &mut Draw, number: f32) -> String {
        let number = if draw.seldom(6) { draw.number() } else { number };
        let shape: &[usize] = if draw.seldom(4) { &[1] } else { &[] };
        self.filled(shape, number)
    }
}

/// The shape that two broadcast to; `None` where they do not.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    let one = |i: usize| match (dim(a, i), dim(b, i)) {
        (x, y) if x == y || y == 1 => Some(x),
        (1, y) => Some(y),
        _ => None,
    };
    (0..rank).map(one).collect()
}
