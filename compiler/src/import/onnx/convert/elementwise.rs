//! Activations, arithmetic with constants, and sums.

use super::super::array::Array;
use super::super::model::Node;
use super::super::view::{Atom, View, canonical};
use super::super::{dims, eval};
use super::{Converter, Step, Value};
use crate::graph::{Activation, Op, ValueId};

impl<'a> Converter<'a> {
    /// Appends `op` without parameters behind what `view` sees; the elements stay where they are.
    fn behind(&mut self, name: String, op: Op, view: &View) -> Step<View> {
        let name = self.fresh(name);
        let value = self.push(&name, op, vec![view.base], Vec::new())?;
        Ok(View { base: value, axes: view.axes.clone() })
    }

    /// Appends k·x + t for each channel.
    fn scaled(&mut self, name: String, view: &View, base: ValueId, k: Vec<f32>, t: Vec<f32>) -> Step<View> {
        let name = self.fresh(name);
        let value = self.push(&name, Op::Affine { channels: k.len() }, vec![base], vec![k, t])?;
        Ok(View { base: value, axes: view.axes.clone() })
    }

    /// The same with one factor and one addend.
    fn scaled_evenly(&mut self, name: String, view: &View, k: f32, t: f32) -> Step<View> {
        let channels = affordable(self.shapes[view.base][0])?;
        self.scaled(name, view, view.base, vec![k; channels], vec![t; channels])
    }

    /// A constant that broadcasts to `view` as one value for each channel of the graph value: that, flattened where the
    /// constant differs within a channel.
    pub(super) fn per_channel(&mut self, node: &Node, view: &View, constant: &Array) -> Step<(ValueId, Vec<f32>)> {
        let aligned = self.aligned(view, constant)?;
        let sizes = view.sizes();
        let values = constant.to_floats();
        let base = &self.shapes[view.base];
        let (channels, pixels) = (base[0], base[1..].iter().product::<usize>().max(1));
        if let Some(of_channels) = view.of_channels(pixels, &aligned) {
            // One element for each channel stands for all of them.
            let mut lying = vec![0.0; affordable(channels)?];
            for (place, from) in of_channels.places().into_iter().zip(eval::spread(&aligned, &of_channels.sizes())) {
                lying[place / pixels] = values[from];
            }
            return Ok((view.base, lying));
        }
        let mut lying = vec![0.0; affordable(view.len())?];
        for (place, from) in view.places().into_iter().zip(eval::spread(&aligned, &sizes)) {
            lying[place] = values[from];
        }
        Ok((self.flattened(node, view.base)?, lying))
    }

    /// The shape of `constant` with as many axes as `view`, each of one element or of the view's.
    pub(super) fn aligned(&self, view: &View, constant: &Array) -> Step<Vec<usize>> {
        let (sizes, mut shape) = (view.sizes(), constant.shape.clone());
        while shape.len() > sizes.len() && shape.first() == Some(&1) {
            shape.remove(0);
        }
        let offset = sizes.len().checked_sub(shape.len());
        if offset.is_none_or(|o| shape.iter().zip(&sizes[o..]).any(|(c, s)| c != s && *c != 1)) {
            return Err(format!("has a constant of {:?} beside a value of {:?}", constant.shape, self.full_shape(view)).into());
        }
        Ok([vec![1; sizes.len() - shape.len()], shape].concat())
    }

    pub(super) fn arithmetic(&mut self, node: &'a Node) -> Step<Value> {
        let op = if node.op == "Sum" { "Add" } else { &node.op };
        let mut result = self.value(node, 0)?.clone();
        for i in 1..node.inputs.len() {
            let next = self.value(node, i)?.clone();
            result = self.combined(node, op, result, next)?;
        }
        Ok(result)
    }

    /// `op` of two values, at least one of them computed.
    fn combined(&mut self, node: &'a Node, op: &str, a: Value, b: Value) -> Step<Value> {
        let (view, constant, swapped) = match (a, b) {
            (Value::Computed(a), Value::Computed(b)) => return self.pair(node, op, &a, &b),
            (Value::Computed(view), Value::Constant(c)) => (view, c, false),
            (Value::Constant(c), Value::Computed(view)) => (view, c, true),
            (Value::Constant(_), Value::Constant(_)) => return Err("has constants among its inputs".into()),
            _ => return Err("reads zeros around an image, which only a convolution or a pool takes in".into()),
        };
        if let ("Add", _) | ("Sub", false) = (op, swapped)
            && let Some(value) = self.positioned(node, &view, &constant, if op == "Sub" { -1.0 } else { 1.0 })?
        {
            return Ok(value);
        }
        let (base, values) = self.per_channel(node, &view, &constant)?;
        let n = values.len();
        let (k, t): (Vec<f32>, Vec<f32>) = match (op, swapped) {
            ("Add", _) => (vec![1.0; n], values),
            ("Sub", false) => (vec![1.0; n], values.iter().map(|v| -v).collect()),
            ("Sub", true) => (vec![-1.0; n], values),
            ("Mul", _) => (values, vec![0.0; n]),
            ("Div", false) => (values.iter().map(|v| 1.0 / v).collect(), vec![0.0; n]),
            _ => return Err("divides by a computed value, which is not supported".into()),
        };
        self.note("constants become scales and shifts", node);
        self.scaled(node.label().into(), &view, base, k, t).map(Value::Computed)
    }

    pub(super) fn negated(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        self.scaled_evenly(node.label().into(), &view, -1.0, 0.0).map(Value::Computed)
    }

    /// The sum, difference or product of two computed values.
    fn pair(&mut self, node: &'a Node, op: &str, a: &View, b: &View) -> Step<Value> {
        if op == "Div" {
            return Err("divides by a computed value, which is not supported".into());
        }
        if op == "Mul"
            && let Some(view) = self.gated(node, a, b)?
        {
            return Ok(Value::Computed(view));
        }
        let (mut a, mut b) = (a.clone(), b.clone());
        if a.sizes() != b.sizes() {
            let to = if a.len() >= b.len() { a.sizes() } else { b.sizes() };
            (a, b) = (self.expanded(node, &a, &to)?, self.expanded(node, &b, &to)?);
        }
        if a.axes != b.axes {
            (a, b) = (self.ordered(node, &a)?, self.ordered(node, &b)?);
        }
        let (mut left, mut right) = (a.base, b.base);
        if self.shapes[left] != self.shapes[right] {
            (left, right) = (self.flattened(node, left)?, self.flattened(node, right)?);
        }
        if op == "Sub" {
            right = self.scaled_evenly(format!("{}.negated", node.label()), &View { base: right, axes: b.axes.clone() }, -1.0, 0.0)?.base;
        }
        let name = self.fresh(node.label().into());
        let op = if op == "Mul" { Op::Multiply } else { Op::Add };
        let value = self.push(&name, op, vec![left, right], Vec::new())?;
        Ok(Value::Computed(View { base: value, axes: a.axes }))
    }

    /// The product of an image and one factor a channel, if that is what the two are.
    fn gated(&mut self, node: &'a Node, a: &View, b: &View) -> Step<Option<View>> {
        for (image, factors) in [(a, b), (b, a)] {
            let shape = self.shapes[image.base].clone();
            let [channels, height, width] = shape[..] else { continue };
            let (along, own) =
                (canonical([Atom { size: channels, stride: height * width }]), canonical([Atom { size: channels, stride: 1 }]));
            let fits = image.axes.len() == factors.axes.len()
                && channels > 1
                && height * width > 1
                && image.axes.iter().zip(&factors.axes).all(|(i, f)| if *i == along { *f == own } else { f.is_empty() });
            if fits && factors.len() == channels {
                let vector = self.flattened(node, factors.base)?;
                let name = self.fresh(node.label().into());
                let value = self.push(&name, Op::Multiply, vec![image.base, vector], Vec::new())?;
                return Ok(Some(View { base: value, axes: image.axes.clone() }));
            }
        }
        Ok(None)
    }

    /// The larger or smaller of a value and a number.
    pub(super) fn bounded(&mut self, node: &'a Node) -> Step<Value> {
        let (at, number) = match (self.value(node, 0)?, self.value(node, 1)?) {
            (Value::Computed(_), Value::Constant(c)) => (0, c.scalar()),
            (Value::Constant(c), Value::Computed(_)) => (1, c.scalar()),
            _ => (0, None),
        };
        let number = number.filter(|_| node.inputs.len() == 2).ok_or("is not of a value and a number")?;
        let view = self.computed(node, at)?;
        let (low, high) = if node.op == "Max" { (number, f32::MAX) } else { (f32::MIN, number) };
        self.clipped(node, &view, low, high)
    }

    pub(super) fn activation(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        let name = node.label().to_string();
        let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
        let f = match node.op.as_str() {
            "Relu" => Activation::Relu,
            "LeakyRelu" => Activation::LeakyRelu(node.float("alpha", 0.01)),
            "PRelu" => {
                let slope = self.constant(node, 1)?.to_floats();
                match slope.first() {
                    Some(&first) if slope.iter().all(|s| *s == first) => Activation::LeakyRelu(first),
                    _ => return Err("has a slope for each channel, which is not supported".into()),
                }
            }
            "Sigmoid" => Activation::Sigmoid,
            "Tanh" => Activation::Tanh,
            "HardSwish" => Activation::HardSwish,
            "Silu" => Activation::Silu,
            "Gelu" if node.text("approximate") == Some("tanh") => Activation::GeluTanh,
            "Gelu" => Activation::Gelu,
            "HardSigmoid" => {
                let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5));
                if close(alpha, 1.0 / 6.0) && close(beta, 0.5) {
                    Activation::HardSigmoid
                } else {
                    // clip(αx + β, 0, 1), as the one that is clip(z/6 + 1/2, 0, 1).
                    let z = self.scaled_evenly(format!("{name}.in"), &view, 6.0 * alpha, 6.0 * (beta - 0.5))?;
                    return self.behind(name, Op::Activation(Activation::HardSigmoid), &z).map(Value::Computed);
                }
            }
            _ => return self.clip(node, &view),
        };
        self.behind(name, Op::Activation(f), &view).map(Value::Computed)
    }

    fn clip(&mut self, node: &'a Node, view: &View) -> Step<Value> {
        let bound = |i: usize, key: &str, none: f32| -> Step<f32> {
            match self.optional(node, i)? {
                Some(array) => Ok(array.scalar().ok_or_else(|| format!("has a {key} of {:?}", array.shape))?),
                None => Ok(node.float(key, none)),
            }
        };
        // What exporters write for no bound at all.
        let (low, high) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
        self.clipped(node, view, low, high)
    }

    /// min(max(x, low), high).
    fn clipped(&mut self, node: &'a Node, view: &View, low: f32, high: f32) -> Step<Value> {
        let (open_below, open_above) = (low <= f32::MIN, high >= f32::MAX);
        let name = node.label().to_string();
        let (f, k, t) = match (open_below, open_above) {
            (true, true) => return Ok(Value::Computed(view.clone())),
            _ if low >= high || low.is_nan() || high.is_nan() => return Err(format!("clips to {low}…{high}").into()),
            (false, true) => (Activation::Relu, 1.0, low),
            // min(x, h) = h − max(h − x, 0).
            (true, false) => (Activation::Relu, -1.0, high),
            (false, false) => (Activation::Relu6, (high - low) / 6.0, low),
        };
        if (k, t) == (1.0, 0.0) {
            return self.behind(name, Op::Activation(f), view).map(Value::Computed);
        }
        // x = k·z + t, f(z), and back.
        self.note("bounds turned into those of ReLU6", node);
        let z = self.scaled_evenly(format!("{name}.in"), view, 1.0 / k, -t / k)?;
        let y = self.behind(name.clone(), Op::Activation(f), &z)?;
        self.scaled_evenly(format!("{name}.out"), &y, k, t).map(Value::Computed)
    }

    pub(super) fn softmax(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        let sizes = view.sizes();
        let at = dims::axis(node.int("axis", if self.model.opset < 13 { 1 } else { -1 }), sizes.len() + 1)?;
        // Before operator set 13 everything from the axis on was one.
        let over: Vec<usize> = if self.model.opset < 13 { (at..=sizes.len()).collect() } else { vec![at] };
        let log = node.op == "LogSoftmax";
        if over.contains(&0) {
            return Err("runs over the batch".into());
        }
        let beside: usize = (1..=sizes.len()).filter(|a| !over.contains(a)).map(|a| sizes[a - 1]).product();
        if beside == 1 {
            // One softmax over all elements, in whatever order.
            let base = self.flattened(node, view.base)?;
            return self.behind(node.label().into(), Op::Softmax { log }, &View { base, axes: view.axes }).map(Value::Computed);
        }
        let shape = &self.shapes[view.base];
        let channels = canonical([Atom { size: shape[0], stride: shape[1..].iter().product() }]);
        match over[..] {
            [a] if view.axes[a - 1] == channels => self.behind(node.label().into(), Op::Softmax { log }, &view).map(Value::Computed),
            // With that axis in front, as channels are.
            [a] => {
                let order: Vec<usize> = std::iter::once(a - 1).chain((0..sizes.len()).filter(|&i| i + 1 != a)).collect();
                let turned = view.permuted(&order).ok_or("names no axis")?;
                let first = turned.sizes()[0];
                let base = self.moved_to(node, &turned, vec![first, turned.len() / first.max(1), 1])?;
                let flat = View::plain(base, &turned.sizes());
                let y = self.behind(node.label().into(), Op::Softmax { log }, &flat)?;
                let back: Vec<usize> = (0..sizes.len()).map(|i| order.iter().position(|&o| o == i).unwrap_or(i)).collect();
                Ok(Value::Computed(y.permuted(&back).ok_or("names no axis")?))
            }
            _ => Err("runs over several axes beside others, which is not supported".into()),
        }
    }

    pub(super) fn identity(&mut self, node: &'a Node) -> Step<Value> {
        if node.op == "Cast" && !matches!(node.int("to", 1), 1 | 10 | 11 | 16) {
            return Err("makes integers of a computed value".into());
        }
        if node.op == "Dropout" && self.optional(node, 2)?.is_some_and(|a| a.scalar() == Some(1.0)) {
            return Err("drops at random (training_mode)".into());
        }
        self.note("identities removed", node);
        self.value(node, 0).cloned()
    }
}

/// `elements`, if so many may be made of a constant of fewer.
fn affordable(elements: usize) -> Step<usize> {
    match elements <= dims::MOST {
        true => Ok(elements),
        false => Err(format!("would need a constant of {elements} elements, more than {}", dims::MOST).into()),
    }
}
