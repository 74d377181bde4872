//! Functions of each element, of values that are broadcast: one map for a node.

use thinfer::artifact::{Map, Primitive};

use super::super::{Converter, OnnxValue, Step};
use super::expression::{Expression, of_node};
use super::lengths::axes;
use super::operands::{Dim, Piece, Together, coalesced, walk};
use crate::graph::ValueId;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

impl<'a> Converter<'a> {
    pub(super) fn mapped(&mut self, node: &'a Node) -> Step<View> {
        let (to, from) = (node.int("to", 1), node.input(0).unwrap_or_default());
        if node.op == "Cast" && matches!(to, 2..=5 | 12 | 13) && self.integers.contains_key(from) && !self.fits_type(from, to) {
            return Err("makes integers of a type that may not hold them, which is not supported".into());
        }
        if node.op == "Where" && self.constant(node, 0).is_ok_and(|c| c.as_ints().is_none()) {
            return Err("has a condition that is no truth".into());
        }
        let mut values = Vec::new();
        for i in 0..node.inputs.len() {
            values.push(if node.input(i).is_some() { Some(self.value(node, i)?.clone()) } else { None });
        }
        // No integer is −0.
        let may_be_negative_zero = matches!(node.op.as_str(), "Mul" | "Neg" | "Cast") && self.gives_integers(node).is_some();
        let given: Vec<OnnxValue> = values.iter().flatten().cloned().collect();
        let places: Vec<Option<usize>> = values
            .iter()
            .scan(0, |next, v| {
                let at = v.as_ref().map(|_| *next);
                *next += usize::from(v.is_some());
                Some(at)
            })
            .collect();
        let together = self.brought_together(node, &given)?;
        // Slopes may be fewer than elements, not more.
        if node.op == "PRelu" && given.first().is_some_and(|x| !together.is_of(x)) {
            return Err("has slopes of another shape than its values".into());
        }
        self.mapped_by(node, together, |expression, numbers| {
            let inputs: Vec<Option<u8>> = places.iter().map(|p| p.map(|at| numbers[at])).collect();
            of_node(node, expression, &inputs)?;
            if may_be_negative_zero { expression.without_negative_zero() } else { Ok(()) }
        })
    }

    /// The map of values brought together whose instructions `write` appends, given the number of each of them.
    pub(super) fn mapped_by(
        &mut self,
        node: &Node,
        together: Together,
        write: impl FnOnce(&mut Expression, &[u8]) -> Step<()>,
    ) -> Step<View> {
        let Together { sizes, sample, pieces } = together;
        let mut expression = Expression::default();
        let mut views: Vec<View> = Vec::new();
        let mut numbers = Vec::with_capacity(pieces.len());
        for piece in pieces {
            numbers.push(match piece {
                Piece::Number(number) if number.is_nan() => return Err("computes with NaN".into()),
                Piece::Number(number) => expression.constant(number)?,
                Piece::View(view) => match views.iter().position(|v| *v == view) {
                    Some(at) => expression.operand(at)?,
                    None => {
                        views.push(view);
                        expression.operand(views.len() - 1)?
                    }
                },
            });
        }
        write(&mut expression, &numbers)?;
        self.map_over(node, &sizes, sample, views, expression)
    }

    /// Appends the map of `views` that broadcast to `sizes`. Where one of them has all elements of its graph value once, the output lies as
    /// that does, so that an image stays one.
    pub(super) fn map_over(
        &mut self,
        node: &Node,
        sizes: &[usize],
        sample: Option<usize>,
        mut views: Vec<View>,
        expression: Expression,
    ) -> Step<View> {
        let dims = self.dims(node, sizes, &mut views)?;
        let total: usize = sizes.iter().product();
        let main = (0..views.len()).find(|&at| self.is_whole(&views[at], total, &dims, at));
        let (dims, shape, view) = match main {
            Some(at) => {
                let mut sorted = dims;
                sorted.retain(|d| d.size != 1);
                sorted.sort_by_key(|d| std::cmp::Reverse(d.strides[at]));
                let base = self.shapes[views[at].base].clone();
                let (dims, shape) = match grouped(&sorted, &base, views.len()) {
                    Some(dims) => (dims, base),
                    None => {
                        let dims = coalesced(sorted);
                        let shape = dims.iter().map(|d| d.size).collect();
                        (dims, shape)
                    }
                };
                (dims, shape, views[at].clone())
            }
            None => match grouped(&dims.iter().filter(|d| d.size != 1).cloned().collect::<Vec<_>>(), sizes, views.len()) {
                Some(dims) => (dims, sizes.to_vec(), View::plain(0, sizes)),
                None => {
                    let dims = coalesced(dims);
                    let shape = dims.iter().map(|d| d.size).collect();
                    (dims, shape, View::plain(0, sizes))
                }
            },
        };
        let operands = (0..views.len()).map(|at| walk(&dims, at)).collect::<Step<Vec<_>>>()?;
        let inputs: Vec<ValueId> = views.iter().map(|v| v.base).collect();
        let map = Map { shape: axes(&shape)?, operands, instructions: expression.finish()? };
        let base = self.primitive(node.label().into(), Primitive::Map(map), inputs)?;
        Ok(View { base, ..view.sampled(sample) })
    }

    /// Whether `dims` go over each element of the graph value of `view`, operand `at`, once.
    fn is_whole(&self, view: &View, total: usize, dims: &[Dim], at: usize) -> bool {
        if view.len() != total || self.shapes[view.base].iter().product::<usize>() != total {
            return false;
        }
        let mut steps: Vec<(usize, usize)> = dims.iter().filter(|d| d.size != 1).map(|d| (d.strides[at], d.size)).collect();
        steps.sort_unstable();
        let mut reached = 1;
        steps.iter().all(|&(stride, size)| {
            let fits = stride == reached;
            reached *= size;
            fits
        })
    }
}

/// `dims`, none of one element, as the axes of `shape`, each one step of each of the `operands`; `None` where they are not.
fn grouped(dims: &[Dim], shape: &[usize], operands: usize) -> Option<Vec<Dim>> {
    if shape.is_empty() || shape.len() > thinfer::artifact::Limits::AXES {
        return None;
    }
    let mut rest = dims.iter();
    let mut out = Vec::with_capacity(shape.len());
    for &size in shape {
        let mut group = Vec::new();
        let mut reached = 1;
        while reached < size {
            let dim = rest.next()?;
            reached *= dim.size;
            group.push(dim.clone());
        }
        if reached != size {
            return None;
        }
        match coalesced(group).as_slice() {
            [] => out.push(Dim { size: 1, strides: vec![0; operands] }),
            [one] => out.push(one.clone()),
            _ => return None,
        }
    }
    rest.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_grouped_into_the_axes_of_a_value() {
        let dim = |size, strides: &[usize]| Dim { size, strides: strides.to_vec() };
        let dims = [dim(2, &[60, 3]), dim(3, &[20, 1]), dim(20, &[1, 0])];
        assert_eq!(grouped(&dims, &[6, 20], 2), Some(vec![dim(6, &[20, 1]), dim(20, &[1, 0])]));
        assert_eq!(grouped(&dims, &[2, 1, 60], 2), None);
        assert_eq!(grouped(&dims, &[4, 30], 2), None);
        assert_eq!(grouped(&dims[..1], &[1, 2], 2), Some(vec![dim(1, &[0, 0]), dims[0].clone()]));
    }
}
