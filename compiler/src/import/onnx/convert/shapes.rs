//! Nodes that move elements or say how many there are.

use super::super::array::{Array, Data};
use super::super::model::Node;
use super::super::view::{Atom, View, canonical};
use super::super::{dims, eval};
use super::{Converter, Step, Value};
use crate::graph::{Op, ShortcutA, ValueId, Window};

impl<'a> Converter<'a> {
    /// A node that only changes the order or the shape in which elements are read.
    pub(super) fn moved(&mut self, node: &'a Node) -> Step<Value> {
        let (view, offset) = match self.value(node, 0)? {
            Value::Part(view, offset) => (view.clone(), Some(*offset)),
            _ => (self.computed(node, 0)?, None),
        };
        let seen = |view: View| offset.map_or_else(|| Value::Computed(view.clone()), |at| Value::Part(view.clone(), at));
        let full = self.full_shape(&view);
        if node.op == "Transpose" {
            let order = dims::permutation(node, full.len())?;
            let Some((0, rest)) = order.split_first().map(|(f, r)| (*f, r)) else { return Err("moves the batch to another axis".into()) };
            let order: Vec<usize> = rest.iter().map(|a| a - 1).collect();
            self.note("transposes, reshapes and flattens taken into views", node);
            return Ok(seen(view.permuted(&order).ok_or("names an axis twice")?));
        }
        let second = self.optional(node, 1)?;
        let to = match node.op.as_str() {
            "Reshape" => match (second, node.ints("shape")) {
                (Some(target), _) => dims::target_shape(node, &full, &target)?,
                (None, Some(target)) => dims::target_shape(node, &full, &Array::ints(target.to_vec()))?,
                (None, None) => return Err("has no target shape".into()),
            },
            "Flatten" => {
                let at = dims::axis(node.int("axis", 1), full.len() + 1)?;
                vec![full[..at].iter().product(), full[at..].iter().product()]
            }
            "Squeeze" => dims::squeezed(&full, dims::axes(node, second.as_deref())?.as_deref())?,
            _ => dims::unsqueezed(&full, dims::axes(node, second.as_deref())?.as_deref())?,
        };
        let [batch, sizes @ ..] = &to[..] else { return Err("takes the batch away".into()) };
        if *batch != self.batch {
            return Err(format!("makes {to:?} of {full:?}, which changes the batch").into());
        }
        let moved = match view.reshaped(sizes) {
            Some(moved) => seen(moved),
            // The cut goes across an order that was changed before: in a vector there is none.
            None => {
                let vector = self.rearranged(node, view.base, vec![view.len()], offset.unwrap_or(0), &view.atoms())?;
                Value::Computed(View::plain(vector, sizes))
            }
        };
        self.note("transposes, reshapes and flattens taken into views", node);
        Ok(moved)
    }

    pub(super) fn shape(&mut self, node: &'a Node) -> Step<Value> {
        let full = self.full_shape(&self.seen(node, 0)?.0);
        self.note("shapes folded", node);
        let array = if node.op == "Size" {
            Array { shape: vec![], data: Data::Ints(vec![full.iter().product::<usize>() as i64]) }
        } else {
            eval::shape_of(node, &full)
        };
        Ok(Value::Constant(array.into()))
    }

    pub(super) fn concat(&mut self, node: &'a Node) -> Step<Value> {
        let constants = self.constants(node);
        if let (Some(Some(_)), Some(None)) = (constants.first(), constants.last()) {
            let last = self.computed(node, constants.len() - 1)?;
            let at = dims::axis(node.int("axis", 0), last.axes.len() + 1)?.checked_sub(1).ok_or("puts samples together")?;
            return self.with_class_tokens(node, at);
        }
        let views = (0..node.inputs.len()).map(|i| self.computed(node, i)).collect::<Step<Vec<_>>>()?;
        let [first, rest @ ..] = &views[..] else { return Err("has no inputs".into()) };
        let at = dims::axis(node.int("axis", 0), first.axes.len() + 1)?.checked_sub(1).ok_or("puts samples together")?;
        if rest.is_empty() {
            return Ok(Value::Computed(first.clone()));
        }
        // Along the channels, all else alike: what lies that way can be put one after the other.
        let (mut bases, mut channels, mut pixels) = (Vec::new(), 0, None);
        for view in &views {
            let all = view.len();
            // A flattened image is one axis of all its elements.
            let base = if view.axes.get(at) == Some(&canonical([Atom { size: all, stride: 1 }])) {
                self.flattened(node, view.base)?
            } else {
                view.base
            };
            let each: usize = self.shapes[base][1..].iter().product();
            let along = canonical([Atom { size: self.shapes[base][0], stride: each }]);
            let beside =
                |v: &View| -> Vec<Vec<Atom>> { v.axes.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, a)| a.clone()).collect() };
            if view.axes.get(at) != Some(&along) || beside(view) != beside(first) || *pixels.get_or_insert(each) != each {
                return self.joined(node, &views, at);
            }
            channels += self.shapes[base][0];
            bases.push(base);
        }
        let name = self.fresh(node.label().into());
        let value = self.push(&name, Op::Concat, bases, Vec::new())?;
        let mut axes = first.axes.clone();
        axes[at] = canonical([Atom { size: channels, stride: pixels.unwrap_or(1) }]);
        Ok(Value::Computed(View { base: value, axes }))
    }

    /// Values whose channels do not lie along axis `at`: moved so that they do, put together, and read back.
    fn joined(&mut self, node: &'a Node, views: &[View], at: usize) -> Step<Value> {
        let rank = views[0].axes.len();
        let alike =
            |v: &View| v.axes.len() == rank && v.sizes().iter().zip(views[0].sizes()).enumerate().all(|(i, (a, b))| i == at || *a == b);
        if !views.iter().all(alike) {
            return Err(format!("puts together values of {:?}", views.iter().map(|v| self.full_shape(v)).collect::<Vec<_>>()).into());
        }
        let order: Vec<usize> = std::iter::once(at).chain((0..rank).filter(|&i| i != at)).collect();
        let (mut bases, mut channels) = (Vec::new(), 0);
        let rest: Vec<usize> = order[1..].iter().map(|&i| views[0].sizes()[i]).collect();
        let pixels: usize = rest.iter().product();
        for view in views {
            let turned = view.permuted(&order).ok_or("has no such axis")?;
            let size = turned.sizes()[0];
            channels += size;
            bases.push(self.moved_to(node, &turned, if rest.is_empty() { vec![size] } else { vec![size, pixels, 1] })?);
        }
        let name = self.fresh(node.label().into());
        let value = self.push(&name, Op::Concat, bases, Vec::new())?;
        let joined = View::plain(value, &[&[channels], &rest[..]].concat());
        // Axis i of the file is where `order` put it.
        let back: Vec<usize> = (0..rank).map(|i| order.iter().position(|&o| o == i).unwrap_or(i)).collect();
        Ok(Value::Computed(joined.permuted(&back).ok_or("has no such axis")?))
    }

    /// All of a value, each so-many-th pixel of an image, or any other part.
    pub(super) fn slice(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        let full = self.full_shape(&view);
        let ranges = self.ranges(node, &full)?;
        if ranges.iter().zip(&full).all(|(&(start, len, step), &n)| start == 0 && len == n && step == 1) {
            self.note("identities removed", node);
            return Ok(Value::Computed(view));
        }
        if ranges.iter().any(|r| r.1 == 0) {
            return Err(format!("takes nothing of a value of {full:?}").into());
        }
        let strided = |i: usize| match (ranges.get(i), full.get(i)) {
            (Some(&(0, len, step)), Some(n)) if step > 0 && len == n.div_ceil(step as usize) => Some(step as usize),
            _ => None,
        };
        match (&ranges[..], strided(0), strided(1), strided(2), strided(3)) {
            // As a pool, so that padding its channels makes it a shortcut.
            ([_, _, _, _], Some(1), Some(1), Some(down), Some(right)) => {
                let (mut base, mut stride) = (self.image(node, &view)?, [down, right]);
                // Exporters slice one axis after the other.
                if let Some((from, before)) = self.picked(base) {
                    (base, stride) = (from, [before[0].saturating_mul(down), before[1].saturating_mul(right)]);
                }
                let name = self.fresh(node.label().into());
                let window = Window { stride, ..Window::square(1, 1, 0) };
                let value = self.push(&name, Op::MaxPool(window), vec![base], Vec::new())?;
                Ok(Value::Computed(View::plain(value, &self.shapes[value])))
            }
            ([(0, samples, 1), rest @ ..], ..) if *samples == self.batch => {
                self.part(node, &view, rest).map(|(view, offset)| Value::Part(view, offset))
            }
            _ => Err("takes some of the samples".into()),
        }
    }

    /// If `base` is each so-many-th pixel of another value: that value, and the steps down and to the right.
    fn picked(&self, base: ValueId) -> Option<(ValueId, [usize; 2])> {
        let node = &self.graph.nodes[base.checked_sub(1)?];
        let Op::MaxPool(window) = &node.op else { return None };
        (*window == Window { stride: window.stride, ..Window::square(1, 1, 0) }).then(|| (node.inputs[0], window.stride))
    }

    pub(super) fn pad(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        let rank = view.axes.len() + 1;
        let given = self.optional(node, 1)?;
        let pads = given.as_ref().and_then(|a| a.as_ints()).or(node.ints("pads")).ok_or("does not say how much")?;
        let axes = match self.optional(node, 3)? {
            Some(a) => {
                a.as_ints().ok_or("names its axes by no integers")?.iter().map(|&a| dims::axis(a, rank)).collect::<Result<_, _>>()?
            }
            None => (0..rank).collect::<Vec<_>>(),
        };
        let value = self.optional(node, 2)?.map_or(Some(node.float("value", 0.0)), |a| a.scalar());
        if pads.len() != 2 * axes.len() {
            return Err(format!("has {} amounts for {} axes", pads.len(), axes.len()).into());
        }
        let mut around = vec![(0, 0); rank];
        for (i, &a) in axes.iter().enumerate() {
            let amount = |p: i64| usize::try_from(p).map_err(|_| "cuts instead of padding");
            around[a] = (amount(pads[i])?, amount(pads[i + axes.len()])?);
        }
        if around.iter().all(|p| *p == (0, 0)) {
            self.note("identities removed", node);
            return Ok(Value::Computed(view));
        }
        if node.text("mode").unwrap_or("constant") != "constant" || value != Some(0.0) {
            return Err("pads with something else than zeros".into());
        }
        match around[..] {
            [(0, 0), (0, 0), (top, bottom), (left, right)] => {
                self.image(node, &view)?;
                Ok(Value::Padded(view, [top, left, bottom, right]))
            }
            [(0, 0), (before, after), (0, 0), (0, 0)] if before == after => self.shortcut(node, &view, before),
            _ => Err(format!("pads by {pads:?}; an image's sides, or its channels evenly, are supported").into()),
        }
    }

    /// Channels of zeros on both sides, of each so-many-th pixel if that is what the image is: option A.
    fn shortcut(&mut self, node: &'a Node, view: &View, around: usize) -> Step<Value> {
        let mut base = self.image(node, view)?;
        let mut stride = 1;
        if let Some((from, [down, right])) = self.picked(base)
            && down == right
        {
            (base, stride) = (from, down);
        }
        let inputs = self.shapes[base][0];
        let outputs = inputs.checked_add(2 * around).ok_or("pads to more channels than can be counted")?;
        self.note("slices and padded channels are shortcuts without weights", node);
        let name = self.fresh(node.label().into());
        let value = self.push(&name, Op::ShortcutA(ShortcutA { stride, inputs, outputs }), vec![base], Vec::new())?;
        Ok(Value::Computed(View::plain(value, &self.shapes[value])))
    }
}
