//! Sums, differences, products, quotients and powers, of values and of constants.

use super::{Converter, OnnxValue, Step};
use crate::graph::{Activation, Op, ValueId, Window};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View, canonical};
use crate::import::onnx::{eval, sizes};

impl<'a> Converter<'a> {
    /// Appends k·x + t for each channel.
    pub(super) fn scaled(&mut self, name: String, view: &View, base: ValueId, k: Vec<f32>, t: Vec<f32>) -> Step<View> {
        let name = self.fresh(name);
        let base = self.push(&name, Op::Affine { channels: k.len() }, vec![base], vec![k, t])?;
        Ok(View { base, ..view.clone() })
    }

    /// The same with one factor and one addend.
    pub(super) fn scaled_evenly(&mut self, name: String, view: &View, k: f32, t: f32) -> Step<View> {
        let channels = affordable(self.shapes[view.base][0])?;
        self.scaled(name, view, view.base, vec![k; channels], vec![t; channels])
    }

    /// A constant that broadcasts to `view` as one value for each channel of the graph value: that, flattened where the
    /// constant differs within a channel.
    pub(super) fn per_channel(&mut self, node: &Node, view: &View, constant: &Array) -> Step<(ValueId, Vec<f32>)> {
        let constant = self.aligned(view, constant)?;
        let (aligned, sizes, values) = (&constant.shape, view.sizes(), constant.to_floats());
        let base = &self.shapes[view.base];
        let (channels, pixels) = (base[0], base[1..].iter().product::<usize>().max(1));
        if let Some(of_channels) = view.of_channels(pixels, aligned) {
            // One element for each channel stands for all of them.
            let mut laid_out = vec![0.0; affordable(channels)?];
            for (place, from) in of_channels.offsets().into_iter().zip(eval::broadcast_offsets(aligned, &of_channels.sizes())) {
                laid_out[place / pixels] = values[from];
            }
            if of_channels.len() == channels {
                return Ok((view.base, laid_out));
            }
        }
        let mut laid_out = vec![0.0; affordable(view.len())?];
        for (place, from) in view.offsets().into_iter().zip(eval::broadcast_offsets(aligned, &sizes)) {
            laid_out[place] = values[from];
        }
        Ok((self.flattened(node, view.base)?, laid_out))
    }

    /// `constant` with as many axes as `view` has beside its samples, each of one element or of the view's.
    pub(super) fn aligned(&self, view: &View, constant: &Array) -> Step<Array> {
        let full = self.full_shape(view);
        constant.held_floats()?;
        let misfit = || format!("has a constant of {:?} beside a value of {full:?}", constant.shape);
        let more = full.len().checked_sub(constant.shape.len()).ok_or_else(misfit)?;
        let mut shape = [vec![1; more], constant.shape.clone()].concat();
        if shape.iter().zip(&full).any(|(c, s)| c != s && *c != 1) {
            return Err(misfit().into());
        }
        let one = of_one_sample(&constant.reshaped(shape.clone()), view.sample);
        let one = one.ok_or_else(|| format!("has a constant of {:?} that differs from sample to sample", constant.shape))?;
        if let Some(sample) = view.sample {
            shape.remove(sample);
        }
        Ok(one.reshaped(shape))
    }

    /// The shape that `view` and a constant of `shape` broadcast to.
    pub(super) fn broadcast_shape(&self, view: &View, shape: &[usize]) -> Step<Vec<usize>> {
        Ok(sizes::broadcast(&self.full_shape(view), shape)?)
    }

    /// `view` broadcast with a constant of `shape`: with more axes, and those of one element repeated.
    fn broadcast(&mut self, node: &Node, view: &View, shape: &[usize]) -> Step<View> {
        let full = self.broadcast_shape(view, shape)?;
        let raised = view.raised(full.len());
        let own: Vec<usize> = (0..raised.axes.len()).map(|i| full[raised.axis_of(i)]).collect();
        self.expanded(node, &raised, &own)
    }

    pub(super) fn arithmetic(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let op = if matches!(node.op.as_str(), "Sum" | "Mean") { "Add" } else { &node.op };
        let mut values = (0..node.inputs.len()).map(|i| self.value(node, i).cloned()).collect::<Step<Vec<_>>>()?;
        if matches!(node.op.as_str(), "Sum" | "Mean") {
            // Computed values first, so that constants meet one.
            values.sort_by_key(|v| matches!(v, OnnxValue::Constant(_)));
        } else if values.len() != 2 {
            return Err(format!("has {} inputs instead of 2", values.len()).into());
        }
        let count = values.len();
        let mut values = values.into_iter();
        let mut result = values.next().ok_or("has no inputs")?;
        for next in values {
            result = self.combined(node, op, result, next)?;
        }
        match result {
            OnnxValue::Computed(view) if node.op == "Mean" && count > 1 => {
                self.scaled_evenly(format!("{}.mean", node.label()), &view, 1.0 / count as f32, 0.0).map(OnnxValue::Computed)
            }
            other => Ok(other),
        }
    }

    /// `op` of two values, at least one of them computed.
    fn combined(&mut self, node: &'a Node, op: &str, a: OnnxValue, b: OnnxValue) -> Step<OnnxValue> {
        let (view, constant, swapped) = match (a, b) {
            (OnnxValue::Computed(a), OnnxValue::Computed(b)) => return self.pair(node, op, &a, &b).map(OnnxValue::Computed),
            (OnnxValue::Computed(view), OnnxValue::Constant(c)) => (view, c, false),
            (OnnxValue::Constant(c), OnnxValue::Computed(view)) => (view, c, true),
            _ => return Err("reads no two values that can be brought together".into()),
        };
        let view = self.broadcast(node, &view, &constant.shape)?;
        if let ("Add", _) | ("Sub", false) = (op, swapped)
            && let Some(value) = self.positioned(node, &view, &constant, if op == "Sub" { -1.0 } else { 1.0 })?
        {
            return Ok(value);
        }
        let view = match (op, swapped) {
            ("Div", true) => self.function(format!("{}.inverse", node.label()), Activation::Reciprocal, &view)?,
            _ => view,
        };
        self.by_constant(node, &view, &constant, |v| match (op, swapped) {
            ("Add", _) => (1.0, v),
            ("Sub", false) => (1.0, -v),
            ("Sub", true) => (-1.0, v),
            ("Div", false) => (1.0 / v, 0.0),
            _ => (v, 0.0),
        })
        .map(OnnxValue::Computed)
    }

    /// k·x + t with `both`, k and t, made of each element of a constant that broadcasts to `view`.
    pub(super) fn by_constant(&mut self, node: &Node, view: &View, constant: &Array, both: impl Fn(f32) -> (f32, f32)) -> Step<View> {
        let (base, values) = self.per_channel(node, view, constant)?;
        let (k, t) = values.into_iter().map(both).unzip();
        self.note("constants become scales and shifts", node);
        self.scaled(node.label().into(), view, base, k, t)
    }

    pub(super) fn negated(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        self.scaled_evenly(node.label().into(), &view, -1.0, 0.0).map(OnnxValue::Computed)
    }

    /// −x.
    pub(super) fn negative(&mut self, node: &Node, view: &View) -> Step<View> {
        self.scaled_evenly(format!("{}.negated", node.label()), view, -1.0, 0.0)
    }

    /// The sum, difference, product or quotient of two computed values.
    fn pair(&mut self, node: &'a Node, op: &str, a: &View, b: &View) -> Step<View> {
        match op {
            "Mul" => self.multiplied(node, a, b),
            "Div" => {
                let inverse = self.function(format!("{}.inverse", node.label()), Activation::Reciprocal, b)?;
                self.multiplied(node, a, &inverse)
            }
            "Sub" => {
                let negative = self.negative(node, b)?;
                self.added(node, a, &negative)
            }
            _ => self.added(node, a, b),
        }
    }

    pub(super) fn added(&mut self, node: &Node, a: &View, b: &View) -> Step<View> {
        self.joined_by(node, Op::Add, a, b)
    }

    pub(super) fn multiplied(&mut self, node: &Node, a: &View, b: &View) -> Step<View> {
        match self.gated(node, a, b)? {
            Some(view) => Ok(view),
            None => self.joined_by(node, Op::Multiply, a, b),
        }
    }

    /// `op` of two values that broadcast to one shape.
    fn joined_by(&mut self, node: &Node, op: Op, a: &View, b: &View) -> Step<View> {
        let (mut a, mut b) = self.together(node, a, b)?;
        if a.axes != b.axes {
            (a, b) = (self.ordered(node, &a)?, self.ordered(node, &b)?);
        }
        let (mut left, mut right) = (a.base, b.base);
        if self.shapes[left] != self.shapes[right] {
            (left, right) = (self.flattened(node, left)?, self.flattened(node, right)?);
        }
        let name = self.fresh(node.label().into());
        let base = self.push(&name, op, vec![left, right], Vec::new())?;
        Ok(View { base, ..a })
    }

    /// Two values with as many axes of as many elements, repeated where they had one. One that is the same for all samples stands beside
    /// each of them.
    pub(super) fn together(&mut self, node: &Node, a: &View, b: &View) -> Step<(View, View)> {
        let rank = a.rank().max(b.rank());
        let (a, b) = (a.raised(rank), b.raised(rank));
        let (a, b) = (a.beside(&b).unwrap_or(a.clone()), b.beside(&a).unwrap_or(b));
        if a.sample != b.sample {
            return Err(format!(
                "brings the samples of one value to another axis of the other ({:?} and {:?})",
                self.full_shape(&a),
                self.full_shape(&b)
            )
            .into());
        }
        let sizes = sizes::broadcast(&a.sizes(), &b.sizes())?;
        Ok((self.expanded(node, &a, &sizes)?, self.expanded(node, &b, &sizes)?))
    }

    /// The product of an image and one factor a channel, if that is what the two are.
    fn gated(&mut self, node: &Node, a: &View, b: &View) -> Step<Option<View>> {
        for (image, factors) in [(a, b), (b, a)] {
            let shape = self.shapes[image.base].clone();
            let [channels, height, width] = shape[..] else { continue };
            let (along, own) =
                (canonical([Atom { size: channels, stride: height * width }]), canonical([Atom { size: channels, stride: 1 }]));
            let fits = image.axes.len() == factors.axes.len()
                && image.sample == factors.sample
                && channels > 1
                && height * width > 1
                && image.axes.iter().zip(&factors.axes).all(|(i, f)| if *i == along { *f == own } else { f.is_empty() });
            if fits && factors.len() == channels {
                let vector = self.flattened(node, factors.base)?;
                let name = self.fresh(node.label().into());
                let base = self.push(&name, Op::Multiply, vec![image.base, vector], Vec::new())?;
                return Ok(Some(View { base, ..image.clone() }));
            }
        }
        Ok(None)
    }

    /// x^p for some constant p, and c^x for a positive c.
    pub(super) fn power(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let name = node.label().to_string();
        if self.is_constant(node, 0) {
            let (constant, view) = (self.constant(node, 0)?, self.computed(node, 1)?);
            if constant.to_floats().iter().any(|c| *c <= 0.0) {
                return Err("raises a number that is not positive to computed powers, which is not supported".into());
            }
            let view = self.broadcast(node, &view, &constant.shape)?;
            let z = self.by_constant(node, &view, &constant, |c| (c.ln(), 0.0))?;
            return self.function(name, Activation::Exp, &z).map(OnnxValue::Computed);
        }
        let (view, exponents) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let view = self.broadcast(node, &view, &exponents.shape)?;
        let values = exponents.to_floats();
        let p = values.first().copied().filter(|p| values.iter().all(|v| v == p)).ok_or("has different powers for different elements")?;
        let y = match p {
            _ if p == 0.5 => self.function(name, Activation::Sqrt, &view)?,
            _ if p == -0.5 => {
                let root = self.function(format!("{name}.root"), Activation::Sqrt, &view)?;
                self.function(name, Activation::Reciprocal, &root)?
            }
            _ if p.fract() == 0.0 && (1.0..=16.0).contains(&p.abs()) => {
                let mut y = view.clone();
                for _ in 1..p.abs() as usize {
                    y = self.multiplied(node, &y, &view)?;
                }
                if p < 0.0 { self.function(name, Activation::Reciprocal, &y)? } else { y }
            }
            _ => return Err(format!("raises computed values to the power {p}, which is not supported").into()),
        };
        Ok(OnnxValue::Computed(y))
    }

    /// The larger or smaller of values and constants.
    pub(super) fn bounded(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let is_max = node.op == "Max";
        let (mut views, mut numbers) = (Vec::new(), Vec::new());
        for i in 0..node.inputs.len() {
            match self.value(node, i)? {
                OnnxValue::Constant(c) => numbers.push(c.clone()),
                _ => views.push(self.computed(node, i)?),
            }
        }
        let mut all = views.into_iter();
        let mut view = all.next().ok_or("has no computed input")?;
        for next in all {
            view = self.larger(node, &view, &next, is_max)?;
        }
        for constant in numbers {
            let values = constant.to_floats();
            let number = values.first().copied().filter(|n| values.iter().all(|v| v == n));
            let number = number.ok_or("is of a computed value and a constant of different numbers, which is not supported")?;
            view = self.broadcast(node, &view, &constant.shape)?;
            let (low, high) = if is_max { (number, f32::INFINITY) } else { (f32::NEG_INFINITY, number) };
            match self.clipped(node, &view, low, high)? {
                OnnxValue::Computed(next) => view = next,
                other => return Ok(other),
            }
        }
        Ok(OnnxValue::Computed(view))
    }

    /// The larger, or the smaller, of two values element by element: they lie side by side, and a pool takes the larger.
    fn larger(&mut self, node: &'a Node, a: &View, b: &View, is_max: bool) -> Step<View> {
        let (a, b) = self.together(node, a, b)?;
        let turned = |this: &mut Self, v: View| match is_max {
            true => Ok(v),
            false => this.negative(node, &v),
        };
        let (a, b) = (turned(self, a)?, turned(self, b)?);
        let (a, b) = (self.ordered(node, &a)?, self.ordered(node, &b)?);
        let len = a.len();
        let inputs = vec![self.flattened(node, a.base)?, self.flattened(node, b.base)?];
        let name = self.fresh(format!("{}.both", node.label()));
        let both = self.push(&name, Op::Concat, inputs, Vec::new())?;
        let steps = [Atom { size: len, stride: 1 }, Atom { size: 2, stride: len }];
        let pairs = self.rearranged(node, both, vec![len, 2, 1], 0, &steps)?;
        let window = Window { kernel: [2, 1], ..Window::square(1, 1, 0) };
        let name = self.fresh(node.label().into());
        let base = self.push(&name, Op::MaxPool(window), vec![pairs], Vec::new())?;
        let view = View { base, ..View::plain(base, &a.sizes()).sampled(a.sample) };
        turned(self, view)
    }
}

/// `constant` with one element along the axis of the samples, if all samples have the same.
pub(super) fn of_one_sample(constant: &Array, sample: Option<usize>) -> Option<Array> {
    let Some(sample) = sample.filter(|&s| constant.shape.get(s) != Some(&1)) else { return Some(constant.clone()) };
    let mut shape = constant.shape.clone();
    let (count, inner) = (shape[sample], shape[sample + 1..].iter().product::<usize>().max(1));
    shape[sample] = 1;
    let values = constant.to_floats();
    let mut data = Vec::with_capacity(values.len() / count.max(1));
    for block in values.chunks_exact((count * inner).max(1)) {
        if !block.chunks_exact(inner).all(|other| *other == block[..inner]) {
            return None;
        }
        data.extend_from_slice(&block[..inner]);
    }
    let data = Data::Floats(data);
    Some(Array { shape, data })
}

/// `elements`, if so many may be made of a constant of fewer.
pub(super) fn affordable(elements: usize) -> Step<usize> {
    match elements <= sizes::MOST {
        true => Ok(elements),
        false => Err(format!("would need a constant of {elements} elements, more than {}", sizes::MOST).into()),
    }
}
