//! Values whose elements must really move: for whoever cannot turn a weight instead.

use super::{Converter, OnnxValue, Step};
use crate::graph::{Op, Rearrange, ValueId};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View};
use crate::tensor::count;

/// The most elements of a constant that is moved when compiling.
const MOST_MOVED: usize = 1 << 20;

impl<'a> Converter<'a> {
    /// The elements of `view` in the order in which it reads them, as a graph value of `shape`.
    pub(super) fn moved_to(&mut self, node: &Node, view: &View, shape: Vec<usize>) -> Step<ValueId> {
        self.rearranged(node, view.base, shape, 0, &view.atoms())
    }

    pub(super) fn rearranged(&mut self, node: &Node, base: ValueId, shape: Vec<usize>, offset: usize, atoms: &[Atom]) -> Step<ValueId> {
        let steps = atoms.iter().map(|a| (a.size, a.stride)).collect();
        let moved = Rearrange { shape, offset, steps };
        if let Some(constant) = self.constant_moved(node, base, &moved)? {
            return Ok(constant);
        }
        self.note("elements moved", node);
        let name = self.fresh(format!("{}.moved", node.label()));
        self.push(&name, Op::Rearrange(moved), vec![base], Vec::new())
    }

    /// A constant whose elements are moved is another constant: only primitives read one.
    fn constant_moved(&mut self, node: &Node, base: ValueId, moved: &Rearrange) -> Step<Option<ValueId>> {
        let Some(producer) = self.graph.producer(base).filter(|n| matches!(n.op, Op::Constant { .. })) else { return Ok(None) };
        let Some(spec) = producer.op.params(&producer.name).into_iter().next() else { return Ok(None) };
        let Some(from) = self.params.get(&spec.name) else { return Ok(None) };
        if count(&moved.shape).is_none_or(|n| n > MOST_MOVED) {
            return Ok(None);
        }
        moved.output_shape(&self.shapes[base])?;
        let values = moved.source_indices().into_iter().map(|at| from.data()[at]).collect();
        let name = self.fresh(format!("{}.constant", node.label()));
        self.push(&name, Op::Constant { shape: moved.shape.clone() }, Vec::new(), vec![values]).map(Some)
    }

    /// Makes `name` a value of its own, if that is a part of one (tokens become an image with their channels first) or has
    /// numbers around it.
    pub(super) fn settle(&mut self, node: &Node, name: &'a str) -> Step<()> {
        let settled = match self.values.get(name) {
            Some(OnnxValue::Part(view, offset)) => {
                let (view, offset) = (view.clone(), *offset);
                self.own_part(node, &view, offset)?
            }
            Some(OnnxValue::Padded(view, pads)) => {
                let (view, pads) = (view.clone(), pads.clone());
                self.with_pads(node, &view, &pads)?
            }
            _ => return Ok(()),
        };
        if let Some(before) = self.values.insert(name, OnnxValue::Computed(settled)) {
            self.settled.push((name, before));
        }
        Ok(())
    }

    /// The part `view`, which begins with element `offset`, as a graph value of its own.
    pub(super) fn own_part(&mut self, node: &Node, view: &View, offset: usize) -> Step<View> {
        let sizes = view.sizes();
        let pixels: usize = self.shapes[view.base][1..].iter().product();
        let is_channels = |at: &usize| self.shapes[view.base].len() == 3 && view.axes[*at].iter().all(|a| a.stride >= pixels);
        let own = match (sizes.len(), (0..sizes.len()).rev().find(is_channels)) {
            (2, Some(at)) => {
                let turned = view.permuted(&[at, 1 - at]).ok_or("names no axis")?;
                let base = self.rearranged(node, view.base, vec![sizes[at], sizes[1 - at], 1], offset, &turned.atoms())?;
                let plain = View::plain(base, &[sizes[at], sizes[1 - at]]);
                if at == 0 { plain } else { plain.permuted(&[1, 0]).ok_or("names no axis")? }
            }
            _ => {
                let base = self.rearranged(node, view.base, graph_shape(&sizes), offset, &view.atoms())?;
                View::plain(base, &sizes)
            }
        };
        Ok(own.sampled(view.sample))
    }

    /// The same value with its elements stored in the order in which they are read.
    pub(super) fn ordered(&mut self, node: &Node, view: &View) -> Step<View> {
        if view.is_ordered() && view.len() == self.shapes[view.base].iter().product::<usize>() {
            return Ok(view.clone());
        }
        let sizes = view.sizes();
        let base = self.moved_to(node, view, graph_shape(&sizes))?;
        Ok(View::plain(base, &sizes).sampled(view.sample))
    }

    /// The same value with its own axes of `sizes`, those of one element repeated.
    pub(super) fn expanded(&mut self, node: &Node, view: &View, sizes: &[usize]) -> Step<View> {
        let from = view.sizes();
        if from == sizes {
            return Ok(view.clone());
        }
        if from.len() != sizes.len() || from.iter().zip(sizes).any(|(f, s)| f != s && *f != 1) {
            return Err(format!("has values of {from:?} and {sizes:?}, which cannot be brought together").into());
        }
        let repeated = |(atoms, (&f, &s)): (&Vec<Atom>, (&usize, &usize))| match f == s {
            true => atoms.clone(),
            false => vec![Atom { size: s, stride: 0 }],
        };
        let atoms: Vec<Atom> = view.axes.iter().zip(from.iter().zip(sizes)).flat_map(repeated).collect();
        let base = self.rearranged(node, view.base, graph_shape(sizes), 0, &atoms)?;
        Ok(View::plain(base, sizes).sampled(view.sample))
    }

    pub(super) fn expand(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (view, target) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let target = target.as_ints().ok_or("has a target shape of no integers")?;
        let target = target.iter().map(|&t| usize::try_from(t).map_err(|_| format!("has the target shape {target:?}")));
        let target = target.collect::<Result<Vec<_>, _>>()?;
        let full = self.broadcast_shape(&view, &target)?;
        let raised = view.raised(full.len());
        if raised.sample.is_some_and(|s| full[s] != self.samples.count()) {
            return Err(format!("brings {:?} to {target:?}, which changes the number of samples", self.full_shape(&view)).into());
        }
        let own: Vec<usize> = (0..raised.axes.len()).map(|i| full[raised.axis_of(i)]).collect();
        self.expanded(node, &raised, &own).map(OnnxValue::Computed)
    }

    /// A value repeated along its axes.
    pub(super) fn tile(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (view, repeats) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let repeats = repeats.as_ints().filter(|r| r.len() == view.rank()).ok_or("has no number of copies for each axis")?;
        let mut atoms = Vec::new();
        let mut sizes = Vec::new();
        for (axis, &times) in repeats.iter().enumerate() {
            let times = usize::try_from(times).ok().filter(|t| *t > 0).ok_or_else(|| format!("repeats its input {times} times"))?;
            match view.own(axis) {
                None if times == 1 => {}
                None => return Err("repeats samples".into()),
                Some(own) => {
                    atoms.push(Atom { size: times, stride: 0 });
                    atoms.extend(&view.axes[own]);
                    sizes.push(times.checked_mul(view.sizes()[own]).ok_or("repeats its input more often than can be counted")?);
                }
            }
        }
        if sizes == view.sizes() {
            self.note("identities removed", node);
            return Ok(OnnxValue::Computed(view));
        }
        let atoms: Vec<Atom> = atoms.into_iter().filter(|a| a.size != 1).collect();
        let base = self.rearranged(node, view.base, graph_shape(&sizes), 0, &atoms)?;
        Ok(OnnxValue::Computed(View::plain(base, &sizes).sampled(view.sample)))
    }
}

/// The shape of a graph value for elements of `sizes`: an image where there are three axes, else a vector.
pub(super) fn graph_shape(sizes: &[usize]) -> Vec<usize> {
    if sizes.len() == 3 { sizes.to_vec() } else { vec![sizes.iter().fold(1, |n: usize, &size| n.saturating_mul(size))] }
}
