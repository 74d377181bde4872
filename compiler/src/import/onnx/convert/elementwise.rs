//! Activations, arithmetic with constants, and sums.

use super::super::array::Array;
use super::super::eval;
use super::super::model::Node;
use super::super::view::{Atom, View, canonical};
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
        let (sizes, mut shape) = (view.sizes(), constant.shape.clone());
        while shape.len() > sizes.len() && shape.first() == Some(&1) {
            shape.remove(0);
        }
        let offset = sizes.len().checked_sub(shape.len());
        if offset.is_none_or(|o| shape.iter().zip(&sizes[o..]).any(|(c, s)| c != s && *c != 1)) {
            return Err(format!("has a constant of {:?} beside a value of {:?}", constant.shape, self.full_shape(view)).into());
        }
        let values = constant.to_floats();
        let base = &self.shapes[view.base];
        let (channels, pixels) = (base[0], base[1..].iter().product::<usize>().max(1));
        let aligned = [vec![1; sizes.len() - shape.len()], shape].concat();
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

    pub(super) fn arithmetic(&mut self, node: &'a Node) -> Step<Value> {
        let (a, b) = (self.value(node, 0)?.clone(), self.value(node, 1)?.clone());
        let (view, constant, swapped) = match (a, b) {
            (Value::Computed(a), Value::Computed(b)) => return self.sum(node, &a, &b),
            (Value::Computed(view), Value::Constant(c)) => (view, c, false),
            (Value::Constant(c), Value::Computed(view)) => (view, c, true),
            _ => return Err("reads zeros around an image, which only a convolution or a pool takes in".into()),
        };
        let (base, values) = self.per_channel(node, &view, &constant)?;
        let n = values.len();
        let (k, t): (Vec<f32>, Vec<f32>) = match (node.op.as_str(), swapped) {
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

    fn sum(&mut self, node: &'a Node, a: &View, b: &View) -> Step<Value> {
        if !matches!(node.op.as_str(), "Add" | "Sub") {
            return Err("takes two computed values, which is not supported".into());
        }
        if a.sizes() != b.sizes() {
            return Err(format!("adds values of {:?} and {:?}", self.full_shape(a), self.full_shape(b)).into());
        }
        if a.axes != b.axes {
            return Err("adds values that lie in different orders".into());
        }
        let (mut left, mut right) = (a.base, b.base);
        if self.shapes[left] != self.shapes[right] {
            (left, right) = (self.flattened(node, left)?, self.flattened(node, right)?);
        }
        if node.op == "Sub" {
            right = self.scaled_evenly(format!("{}.negated", node.label()), &View { base: right, axes: b.axes.clone() }, -1.0, 0.0)?.base;
        }
        let name = self.fresh(node.label().into());
        let value = self.push(&name, Op::Add, vec![left, right], Vec::new())?;
        Ok(Value::Computed(View { base: value, axes: a.axes.clone() }))
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
        let at = eval::axis(node.int("axis", if self.model.opset < 13 { 1 } else { -1 }), sizes.len() + 1)?;
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
            _ => Err("runs over other axes than the channels, which is not supported".into()),
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
    match elements <= eval::MOST {
        true => Ok(elements),
        false => Err(format!("would need a constant of {elements} elements, more than {}", eval::MOST).into()),
    }
}
