//! Values whose elements must really move: for whoever cannot turn a weight instead.

use std::sync::Arc;

use super::super::array::Array;
use super::super::dims::{self, Ranges};
use super::super::model::Node;
use super::super::view::{Atom, View, canonical};
use super::{Converter, Step, Value};
use crate::graph::{Op, Rearrange, ValueId};

impl<'a> Converter<'a> {
    /// The elements of `view` in the order in which it reads them, as a graph value of `shape`.
    pub(super) fn moved_to(&mut self, node: &Node, view: &View, shape: Vec<usize>) -> Step<ValueId> {
        self.rearranged(node, view.base, shape, 0, &view.atoms())
    }

    pub(super) fn rearranged(&mut self, node: &Node, base: ValueId, shape: Vec<usize>, offset: usize, atoms: &[Atom]) -> Step<ValueId> {
        let steps = atoms.iter().map(|a| (a.size, a.stride)).collect();
        self.note("elements moved", node);
        let name = self.fresh(format!("{}.moved", node.label()));
        self.push(&name, Op::Rearrange(Rearrange { shape, offset, steps }), vec![base], Vec::new())
    }

    /// Makes `name`, if that is a part of a value, a value of its own: tokens as an image, with their channels first.
    pub(super) fn settle(&mut self, node: &Node, name: &'a str) -> Step<()> {
        let Some(Value::Part(view, offset)) = self.values.get(name).cloned() else { return Ok(()) };
        let sizes = view.sizes();
        let pixels: usize = self.shapes[view.base][1..].iter().product();
        let is_channels = |at: &usize| self.shapes[view.base].len() == 3 && view.axes[*at].iter().all(|a| a.stride >= pixels);
        let settled = match (sizes.len(), (0..sizes.len()).rev().find(is_channels)) {
            (2, Some(at)) => {
                let turned = view.permuted(&[at, 1 - at]).ok_or("names no axis")?;
                let base = self.rearranged(node, view.base, vec![sizes[at], sizes[1 - at], 1], offset, &turned.atoms())?;
                let plain = View::plain(base, &[sizes[at], sizes[1 - at]]);
                if at == 0 { plain } else { plain.permuted(&[1, 0]).ok_or("names no axis")? }
            }
            _ => {
                let shape = if sizes.len() == 3 { sizes.clone() } else { vec![view.len()] };
                let base = self.rearranged(node, view.base, shape, offset, &view.atoms())?;
                View::plain(base, &sizes)
            }
        };
        self.values.insert(name, Value::Computed(settled));
        Ok(())
    }

    /// The same value with its elements lying in the order in which they are read.
    pub(super) fn ordered(&mut self, node: &Node, view: &View) -> Step<View> {
        if view.is_ordered() {
            return Ok(view.clone());
        }
        let sizes = view.sizes();
        let shape = if sizes.len() == 3 { sizes.clone() } else { vec![view.len()] };
        let base = self.moved_to(node, view, shape)?;
        Ok(View::plain(base, &sizes))
    }

    /// The same value read as having axes of `sizes`, those of one element repeated.
    pub(super) fn expanded(&mut self, node: &Node, view: &View, sizes: &[usize]) -> Step<View> {
        let mut from = view.sizes();
        while from.len() < sizes.len() {
            from.insert(0, 1);
        }
        let fits = from.len() == sizes.len() && from.iter().zip(sizes).all(|(f, s)| f == s || *f == 1);
        let view = view.reshaped(&from).filter(|_| fits);
        let view = view.ok_or_else(|| format!("has values of {from:?} and {sizes:?}, which cannot be brought together"))?;
        if from == sizes {
            return Ok(view);
        }
        let repeated = |(atoms, (&f, &s)): (&Vec<Atom>, (&usize, &usize))| match f == s {
            true => atoms.clone(),
            false => vec![Atom { size: s, stride: 0 }],
        };
        let atoms: Vec<Atom> = view.axes.iter().zip(from.iter().zip(sizes)).flat_map(repeated).collect();
        let shape = if sizes.len() == 3 { sizes.to_vec() } else { vec![sizes.iter().product()] };
        let base = self.rearranged(node, view.base, shape, 0, &atoms)?;
        Ok(View::plain(base, sizes))
    }

    pub(super) fn expand(&mut self, node: &'a Node) -> Step<Value> {
        let (view, target) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let full = self.full_shape(&view);
        let target = target.as_ints().ok_or("has a target shape of no integers")?.to_vec();
        let misfit = || format!("brings {full:?} to {target:?}, which is not supported");
        // Axes are matched from the last; the batch stays.
        let mut to = Vec::new();
        for (i, &t) in target.iter().rev().enumerate() {
            let own = full.len().checked_sub(i + 1).map_or(1, |at| full[at]);
            let t = usize::try_from(t).map_err(|_| misfit())?;
            to.push(if t == 1 { own } else { t });
        }
        to.extend(full.iter().rev().skip(target.len()));
        to.reverse();
        match to.split_first() {
            Some((batch, sizes)) if *batch == self.batch && to.len() == full.len() => {
                self.expanded(node, &view, sizes).map(Value::Computed)
            }
            _ => Err(misfit().into()),
        }
    }

    /// The part of `view` that `ranges`, one an axis of its sizes, take.
    pub(super) fn part(&mut self, node: &Node, view: &View, ranges: &[(usize, usize, i64)]) -> Step<(View, usize)> {
        let whole = |v: &View, i: usize| v.sizes()[i] == ranges[i].1 && ranges[i].2 == 1;
        let mut view = view.clone();
        // A range over nested steps is none over each of them.
        if (0..ranges.len()).any(|i| !whole(&view, i) && view.axes[i].len() > 1) {
            let vector = self.moved_to(node, &view, vec![view.len()])?;
            view = View::plain(vector, &view.sizes());
        }
        let (mut offset, mut axes) = (0, Vec::with_capacity(ranges.len()));
        for (atoms, &(start, len, step)) in view.axes.iter().zip(ranges) {
            let step = usize::try_from(step).ok().filter(|s| *s > 0).ok_or("takes elements backwards, which is not supported")?;
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
        Ok((View { base: view.base, axes }, offset))
    }

    /// [`Converter::split`] of a value that lies as it is read.
    pub(super) fn split_of(&mut self, node: &'a Node) -> Step<Vec<Value>> {
        node.inputs.iter().try_for_each(|name| self.settle(node, name))?;
        self.split(node)
    }

    /// Parts of a value one after the other along an axis.
    fn split(&mut self, node: &'a Node) -> Step<Vec<Value>> {
        let view = self.computed(node, 0)?;
        let sizes = view.sizes();
        let at = dims::axis(node.int("axis", 0), sizes.len() + 1)?.checked_sub(1).ok_or("takes the batch apart")?;
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
                let each = sizes[at].div_ceil(parts);
                (0..parts).map(|i| each.min(sizes[at].saturating_sub(i * each))).collect::<Vec<_>>()
            }
        };
        if lens.len() != parts || lens.iter().sum::<usize>() != sizes[at] {
            return Err(format!("takes {} elements apart into {lens:?} for {parts} outputs", sizes[at]).into());
        }
        let mut start = 0;
        let mut values = Vec::with_capacity(parts);
        for len in lens {
            let mut ranges: Vec<(usize, usize, i64)> = sizes.iter().map(|&n| (0, n, 1)).collect();
            ranges[at] = (start, len, 1);
            start += len;
            let (part, offset) = self.part(node, &view, &ranges)?;
            values.push(Value::Part(part, offset));
        }
        Ok(values)
    }

    /// One element of an axis, which goes away unless its index is a list of one.
    pub(super) fn gather(&mut self, node: &'a Node) -> Step<Value> {
        let (view, index) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let sizes = view.sizes();
        let at = dims::axis(node.int("axis", 0), sizes.len() + 1)?.checked_sub(1).ok_or("picks samples")?;
        let Some([one]) = index.as_ints() else { return Err(format!("picks {} elements; one is supported", index.len()).into()) };
        let mut ranges: Vec<(usize, usize, i64)> = sizes.iter().map(|&n| (0, n, 1)).collect();
        ranges[at] = (dims::axis(*one, sizes[at])?, 1, 1);
        let (mut part, offset) = self.part(node, &view, &ranges)?;
        if index.shape.is_empty() {
            part.axes.remove(at);
        }
        Ok(Value::Part(part, offset))
    }

    /// The ranges that a Slice takes of the value with its batch.
    pub(super) fn ranges(&self, node: &Node, full: &[usize]) -> Step<Vec<(usize, usize, i64)>> {
        let constants: Vec<Option<Arc<Array>>> = self.constants(node);
        if node.inputs.iter().skip(1).zip(constants.iter().skip(1)).any(|(name, c)| !name.is_empty() && c.is_none()) {
            return Err("has computed bounds".into());
        }
        Ok(Ranges::of(node, &constants, full)?.axes)
    }
}
