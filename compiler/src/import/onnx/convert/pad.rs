//! Padding: numbers around a value, or its own elements repeated at the ends.

use super::{Converter, OnnxValue, Pads, Step};
use crate::graph::{Conv2d, Op, ShortcutA, Window};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::View;

impl<'a> Converter<'a> {
    pub(super) fn pad(&mut self, node: &'a Node) -> Step<OnnxValue> {
        // The samples' axis among the amounts is that of the view.
        let (view, before) = match self.value(node, 0)? {
            OnnxValue::Padded(view, pads) => (view.clone(), Some(pads.clone())),
            OnnxValue::Part(view, offset) => {
                let (view, offset) = (view.clone(), *offset);
                (self.own_part(node, &view, offset)?, None)
            }
            _ => (self.computed(node, 0)?, None),
        };
        let rank = view.rank();
        let given = self.optional(node, 1)?;
        let pads = given.as_ref().and_then(|a| a.as_ints()).or(node.ints("pads")).ok_or("does not say how much")?;
        let axes = match self.optional(node, 3)? {
            Some(a) => {
                a.as_ints().ok_or("names its axes by no integers")?.iter().map(|&a| sizes::axis(a, rank)).collect::<Result<_, _>>()?
            }
            None => (0..rank).collect::<Vec<_>>(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("has {} amounts for {} axes", pads.len(), axes.len()).into());
        }
        let mut around = vec![(0, 0); rank];
        axes.iter().enumerate().for_each(|(i, &a)| around[a] = (pads[i], pads[i + axes.len()]));
        if view.sample.is_some_and(|s| around[s] != (0, 0)) {
            return Err("pads the samples".into());
        }
        let own: Vec<(i64, i64)> = (0..view.axes.len()).map(|i| around[view.axis_of(i)]).collect();
        if own.iter().all(|p| *p == (0, 0)) {
            self.note("identities removed", node);
            return self.value(node, 0).cloned();
        }
        let fill = self.optional(node, 2)?.map_or(Some(node.float("value", 0.0)), |a| a.scalar());
        match node.text("mode").unwrap_or("constant") {
            "constant" => self.constantly(node, view, before, &own, fill.ok_or("pads with several numbers")?),
            mode @ ("reflect" | "edge" | "wrap") => {
                let mut view = match &before {
                    Some(pads) => self.with_pads(node, &view, pads)?,
                    None => view,
                };
                for (at, &(front, back)) in own.iter().enumerate().filter(|(_, p)| **p != (0, 0)) {
                    let places = places(mode, view.sizes()[at], front, back)?;
                    view = self.picked_along(node, &view, at, &places)?;
                }
                Ok(OnnxValue::Computed(view))
            }
            mode => Err(format!("pads by mode {mode:?}, which is not supported").into()),
        }
    }

    fn constantly(&mut self, node: &Node, view: View, before: Option<Pads>, own: &[(i64, i64)], fill: f32) -> Step<OnnxValue> {
        let cuts = own.iter().any(|p| p.0 < 0 || p.1 < 0);
        let (mut view, before) = match before {
            Some(pads) if cuts || pads.fill != fill => (self.with_pads(node, &view, &pads)?, None),
            before => (view, before),
        };
        for (at, &(front, back)) in own.iter().enumerate().filter(|(_, p)| p.0 < 0 || p.1 < 0) {
            let size = view.sizes()[at] as i64;
            let (start, end) = ((-front).max(0), size.saturating_add(back.min(0)));
            if start >= end {
                return Err(format!("cuts away all of axis {at}").into());
            }
            let (part, offset) = self.part_along(node, &view, at, (start as usize, (end - start) as usize, 1))?;
            view = self.own_part(node, &part, offset)?;
        }
        let mut amounts = before.map_or_else(|| vec![(0, 0); own.len()], |b| b.amounts);
        for (amount, &(front, back)) in amounts.iter_mut().zip(own) {
            let more = |n: usize, by: i64| n.checked_add(by.max(0) as usize).filter(|n| *n <= sizes::MOST);
            *amount = more(amount.0, front).zip(more(amount.1, back)).ok_or("pads by more than can be counted")?;
        }
        if amounts.iter().all(|a| *a == (0, 0)) {
            return Ok(OnnxValue::Computed(view));
        }
        if let [.., (front, back), (0, 0), (0, 0)] = amounts[..]
            && front == back
            && front > 0
            && fill == 0.0
            && amounts.iter().filter(|a| **a != (0, 0)).count() == 1
            && let Ok((before, bare)) = self.behind_front(&view)
            && bare.axes.len() == 3
        {
            return self.shortcut(node, &bare, front).map(|v| OnnxValue::Computed(before.before(v)));
        }
        Ok(OnnxValue::Padded(view, Pads { amounts, fill }))
    }

    /// Channels of zeros on both sides, of each so-many-th pixel if that is what the image is: option A.
    fn shortcut(&mut self, node: &Node, view: &View, around: usize) -> Step<View> {
        let mut base = self.image(node, view)?;
        let mut stride = 1;
        if let Some((from, [down, right])) = self.thinned(base)
            && down == right
        {
            (base, stride) = (from, down);
        }
        let inputs = self.shapes[base][0];
        let outputs = inputs.checked_add(2 * around).ok_or("pads to more channels than can be counted")?;
        self.note("slices and padded channels are shortcuts without weights", node);
        let name = self.fresh(node.label().into());
        let value = self.push(&name, Op::ShortcutA(ShortcutA { stride, inputs, outputs }), vec![base], Vec::new())?;
        Ok(View::plain(value, &self.shapes[value]))
    }

    /// `view` with the numbers around it computed: by a convolution of each channel for itself with a kernel of one 1 among
    /// zeros, two axes at a time, and a sum where the number is not 0.
    pub(super) fn with_pads(&mut self, node: &Node, view: &View, pads: &Pads) -> Step<View> {
        // A constant is finite; what a pick puts between elements need not be.
        if !pads.fill.is_finite() {
            let sizes = view.sizes();
            let around = |(&(front, back), &size): (&(usize, usize), &usize)| {
                let places = std::iter::repeat_n(None, front).chain((0..size).map(Some)).chain(std::iter::repeat_n(None, back));
                (front + back > 0).then(|| places.collect())
            };
            let indices: Vec<Option<Vec<Option<usize>>>> = pads.amounts.iter().zip(&sizes).map(around).collect();
            return self.picked(node, view, &indices, pads.fill);
        }
        let mut view = view.clone();
        let padded: Vec<usize> = (0..view.axes.len()).filter(|&i| pads.amounts[i] != (0, 0)).collect();
        for pair in padded.chunks(2) {
            view = self.zeros_around(node, &view, pair, &pads.amounts)?;
        }
        if pads.fill == 0.0 {
            return Ok(view);
        }
        let sizes = view.sizes();
        let inside = |at: usize| {
            let mut rest = at;
            (0..sizes.len()).rev().all(|i| {
                let place = rest % sizes[i];
                rest /= sizes[i];
                place >= pads.amounts[i].0 && place < sizes[i] - pads.amounts[i].1
            })
        };
        let len = super::arithmetic::affordable(view.len())?;
        let values = (0..len).map(|at| if inside(at) { 0.0 } else { pads.fill }).collect();
        let mut shape = sizes.clone();
        if let Some(sample) = view.sample {
            shape.insert(sample, 1);
        }
        self.by_constant(node, &view, &Array { shape, data: Data::Floats(values) }, |v| (1.0, v))
    }

    /// Zeros around one or two axes of `view`.
    fn zeros_around(&mut self, node: &Node, view: &View, padded: &[usize], amounts: &[(usize, usize)]) -> Step<View> {
        let rank = view.axes.len();
        let order: Vec<usize> = (0..rank).filter(|i| !padded.contains(i)).chain(padded.iter().copied()).collect();
        let turned = view.permuted(&order).ok_or("names no axis")?;
        let mut sizes = turned.sizes();
        let rest: usize = sizes[..rank - padded.len()].iter().product();
        let size = [sizes[rank - padded.len()], if padded.len() == 2 { sizes[rank - 1] } else { 1 }];
        let image = turned.reshaped(&[rest, size[0], size[1]]).ok_or("pads axes that cannot be brought together")?.sampled(None);
        let base = self.image(node, &image)?;
        let [down, right] = [amounts[padded[0]], padded.get(1).map_or((0, 0), |&i| amounts[i])];
        // A tap at the far padding's place leaves the near one in front; the window's own padding stays below its kernel.
        let kernel = [down.0 + down.1 + 1, right.0 + right.1 + 1];
        let padding = [kernel[0] - 1, kernel[1] - 1, kernel[0] - 1, kernel[1] - 1];
        let window = Window { kernel, padding, ..Window::square(1, 1, 0) };
        let len = super::arithmetic::affordable(rest.saturating_mul(kernel[0]).saturating_mul(kernel[1]))?;
        let mut taps = vec![0.0; len];
        taps.chunks_exact_mut(kernel[0] * kernel[1]).for_each(|tap| tap[down.1 * kernel[1] + right.1] = 1.0);
        let name = self.fresh(format!("{}.pad", node.label()));
        let op = Op::Conv2d(Conv2d { inputs: rest, outputs: rest, window, groups: rest, bias: false });
        let base = self.push(&name, op, vec![base], vec![taps])?;
        self.note("numbers around values computed", node);
        for (at, &axis) in (rank - padded.len()..rank).zip(padded) {
            sizes[at] += amounts[axis].0 + amounts[axis].1;
        }
        Ok(View::plain(base, &sizes).restored(&order).ok_or("names no axis")?.sampled(view.sample))
    }
}

/// Which of `size` elements stand at each place after `front` and `back` more were taken from them by `mode`.
fn places(mode: &str, size: usize, front: i64, back: i64) -> Step<Vec<usize>> {
    let n = size as i64;
    let limit = if mode == "reflect" { n - 1 } else { sizes::MOST as i64 };
    if front > limit || back > limit {
        return Err(format!("pads {size} elements by {front} and {back} in mode {mode:?}, more than it has to give").into());
    }
    let place = |at: i64| match mode {
        "edge" => at.clamp(0, n - 1),
        "wrap" => at.rem_euclid(n),
        _ if at < 0 => -at,
        _ if at >= n => 2 * (n - 1) - at,
        _ => at,
    };
    let places: Vec<usize> = (-front..n.saturating_add(back)).map(|at| place(at) as usize).collect();
    if places.is_empty() || places.iter().any(|p| *p >= size) {
        return Err(format!("pads {size} elements by {front} and {back} in mode {mode:?}, which is not supported").into());
    }
    Ok(places)
}
