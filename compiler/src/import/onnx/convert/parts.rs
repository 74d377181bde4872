//! Parts of values: slices, splits and single elements of an axis.

use std::sync::Arc;

use super::{Converter, OnnxValue, Step};
use crate::graph::{Op, ValueId, Window};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::dims::Ranges;
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::{Atom, View, canonical};

impl<'a> Converter<'a> {
    /// The part of `view` that `ranges`, one for each of its own axes, take, by rising steps.
    fn part(&mut self, node: &Node, view: &View, ranges: &[(usize, usize, usize)]) -> Step<(View, usize)> {
        let whole = |v: &View, i: usize| (v.sizes()[i], 1) == (ranges[i].1, ranges[i].2);
        let mut view = view.clone();
        // A range over nested steps is none over each of them.
        if (0..ranges.len()).any(|i| !whole(&view, i) && view.axes[i].len() > 1) {
            let vector = self.moved_to(node, &view, vec![view.len()])?;
            view = View { base: vector, ..View::plain(vector, &view.sizes()).sampled(view.sample) };
        }
        let (mut offset, mut axes) = (0, Vec::with_capacity(ranges.len()));
        for (atoms, &(start, len, step)) in view.axes.iter().zip(ranges) {
            match atoms[..] {
                [Atom { stride, size }] if (start, len, step) != (0, size, 1) => {
                    offset += start * stride;
                    // One element is reached by no step, however large the file says that it is.
                    let stride = if len > 1 { stride.checked_mul(step).ok_or("steps beyond its input")? } else { stride };
                    axes.push(canonical([Atom { size: len, stride }]));
                }
                _ => axes.push(atoms.clone()),
            }
        }
        Ok((View { axes, ..view }, offset))
    }

    /// The elements of axis `at` (of its own) from `start` on.
    pub(super) fn part_along(&mut self, node: &Node, view: &View, at: usize, range: (usize, usize, usize)) -> Step<(View, usize)> {
        let mut ranges: Vec<(usize, usize, usize)> = view.sizes().iter().map(|&n| (0, n, 1)).collect();
        ranges[at] = range;
        self.part(node, view, &ranges)
    }

    /// Parts of a value one after the other along an axis.
    pub(super) fn split(&mut self, node: &'a Node) -> Step<Vec<OnnxValue>> {
        let view = self.computed(node, 0)?;
        let at = self.own_axis(&view, node.int("axis", 0))?;
        let size = view.sizes()[at];
        let stated = match (node.ints("split"), self.optional(node, 1)?) {
            (Some(split), _) => Some(split.to_vec()),
            (None, Some(split)) => Some(split.as_ints().ok_or("has parts of no integers")?.to_vec()),
            (None, None) => None,
        };
        let parts = node.outputs.len().max(1);
        let lens = match stated {
            Some(lens) => {
                lens.iter().map(|&l| usize::try_from(l).map_err(|_| format!("has parts of {lens:?}"))).collect::<Result<_, _>>()?
            }
            // Equal ones, the last one smaller.
            None => {
                let each = size.div_ceil(parts);
                (0..parts).map(|i| each.min(size.saturating_sub(i * each))).collect::<Vec<_>>()
            }
        };
        if lens.len() != parts || lens.iter().sum::<usize>() != size {
            return Err(format!("takes {size} elements apart into {lens:?} for {parts} outputs").into());
        }
        let (mut start, mut values) = (0, Vec::with_capacity(parts));
        for len in lens {
            if len == 0 {
                values.push(self.nothing_of(&view, at));
                continue;
            }
            let (part, offset) = self.part_along(node, &view, at, (start, len, 1))?;
            start += len;
            values.push(OnnxValue::Part(part, offset));
        }
        Ok(values)
    }

    /// No elements of axis `at` (of its own): a constant, of which a Concat takes nothing.
    fn nothing_of(&self, view: &View, at: usize) -> OnnxValue {
        let mut shape = self.full_shape(view);
        shape[view.axis_of(at)] = 0;
        OnnxValue::Constant(Array { shape, data: Data::Floats(Vec::new()) }.into())
    }

    /// Elements of an axis by number. The axis goes away for a single number, and becomes several for a list of lists.
    pub(super) fn gather(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (view, index) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let at = self.own_axis(&view, node.int("axis", 0))?;
        let size = view.sizes()[at];
        let numbers = index.as_ints().ok_or("picks by no integers")?;
        let numbers = numbers.iter().map(|&i| sizes::axis(i, size)).collect::<Result<Vec<_>, _>>()?;
        // How the picked axis is replaced by those of the index.
        let replaced = |part: &View| -> Step<View> {
            let (axis, mut sizes) = (part.axis_of(at), part.sizes());
            sizes.splice(at..=at, index.shape.iter().copied());
            let sample = part.sample.map(|s| if s > axis { s + index.shape.len() - 1 } else { s });
            let part = part.reshaped(&sizes).ok_or("picks elements that cannot be put into the order of its index")?;
            Ok(part.sampled(sample))
        };
        if let [one] = numbers[..] {
            let (part, offset) = self.part_along(node, &view, at, (one, 1, 1))?;
            return Ok(OnnxValue::Part(replaced(&part)?, offset));
        }
        let picked = self.picked_along(node, &view, at, &numbers)?;
        replaced(&picked).map(OnnxValue::Computed)
    }

    /// All of a value, each so-many-th pixel of an image, or any other part.
    pub(super) fn slice(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let full = self.full_shape(&view);
        let ranges = self.ranges(node, &full)?;
        if ranges.iter().zip(&full).all(|(&(start, len, step), &n)| start == 0 && len == n && step == 1) {
            self.note("identities removed", node);
            return Ok(OnnxValue::Computed(view));
        }
        // Before emptiness: a range that is empty for several samples may hold the one of a batch of 1.
        if view.sample.is_some_and(|s| ranges[s] != (0, full[s], 1)) {
            return Err("takes some of the samples".into());
        }
        if ranges.iter().any(|r| r.1 == 0) {
            let shape = ranges.iter().map(|r| r.1).collect();
            return Ok(OnnxValue::Constant(Array { shape, data: Data::Floats(Vec::new()) }.into()));
        }
        if let Some(value) = self.strided(node, &view, &ranges, &full)? {
            return Ok(value);
        }
        let own: Vec<(usize, usize, i64)> = (0..view.axes.len()).map(|i| ranges[view.axis_of(i)]).collect();
        if own.iter().all(|r| r.2 > 0) {
            let rising: Vec<(usize, usize, usize)> = own.iter().map(|&(start, len, step)| (start, len, step as usize)).collect();
            return self.part(node, &view, &rising).map(|(view, offset)| OnnxValue::Part(view, offset));
        }
        // Backwards along some axes.
        let mut picked = view;
        for (at, &(start, len, step)) in own.iter().enumerate() {
            if (start, len, step) != (0, picked.sizes()[at], 1) {
                let places: Vec<usize> = (0..len as i64).map(|i| (start as i64 + i * step) as usize).collect();
                picked = self.picked_along(node, &picked, at, &places)?;
            }
        }
        Ok(OnnxValue::Computed(picked))
    }

    /// Each so-many-th row and column of an image, as a pool, so that padding its channels makes it a shortcut.
    fn strided(&mut self, node: &'a Node, view: &View, ranges: &[(usize, usize, i64)], full: &[usize]) -> Step<Option<OnnxValue>> {
        let step = |i: usize| match (ranges.get(i), full.get(i)) {
            (Some(&(0, len, step)), Some(n)) if step > 0 && len == n.div_ceil(step as usize) => Some(step as usize),
            _ => None,
        };
        let ([_, _, _, _], Some(1), Some(1), Some(down), Some(right)) = (ranges, step(0), step(1), step(2), step(3)) else {
            return Ok(None);
        };
        let Ok((front, bare)) = self.behind_front(view) else { return Ok(None) };
        let (mut base, mut stride) = (self.image(node, &bare)?, [down, right]);
        // Exporters slice one axis after the other.
        if let Some((from, before)) = self.thinned(base) {
            (base, stride) = (from, [before[0].saturating_mul(down), before[1].saturating_mul(right)]);
        }
        let name = self.fresh(node.label().into());
        let window = Window { stride, ..Window::square(1, 1, 0) };
        let value = self.push(&name, Op::MaxPool(window), vec![base], Vec::new())?;
        Ok(Some(OnnxValue::Computed(front.before(View::plain(value, &self.shapes[value])))))
    }

    /// If `base` is each so-many-th pixel of another value: that value, and the steps down and to the right.
    pub(super) fn thinned(&self, base: ValueId) -> Option<(ValueId, [usize; 2])> {
        let node = self.graph.producer(base)?;
        let Op::MaxPool(window) = &node.op else { return None };
        (*window == Window { stride: window.stride, ..Window::square(1, 1, 0) }).then(|| (node.inputs[0], window.stride))
    }

    /// The ranges that a Slice takes of the value with its samples.
    fn ranges(&self, node: &Node, full: &[usize]) -> Step<Vec<(usize, usize, i64)>> {
        let constant = |i: usize| -> Step<Option<Arc<Array>>> { if i == 0 { Ok(None) } else { self.optional(node, i) } };
        let constants = (0..node.inputs.len()).map(constant).collect::<Step<Vec<_>>>()?;
        Ok(Ranges::of(node, &constants, full)?.axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::onnx::convert::attempts::convert;
    use crate::import::onnx::rules::tests::model;

    #[test]
    fn none_of_several_samples_may_be_one_of_one() {
        let mut model = model(&[("Slice", &["x", "from", "to", "axis", "step"], "part"), ("ReduceMax", &["part"], "y")]);
        model.inputs[0].dims = vec![None];
        for (name, value) in [("from", 0), ("to", -2), ("axis", -1), ("step", -1)] {
            model.constants.insert(name.into(), Array::ints(vec![value]).into());
        }
        let faults = convert(&model, "net").map(drop).unwrap_err();
        assert!(faults.nodes[0].contains("takes some of the samples"), "{faults:?}");
    }
}
