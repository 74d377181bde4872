//! Functions of each element alone.

use super::{Converter, OnnxValue, Step, elementwise};
use crate::graph::{Activation, Op};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

impl<'a> Converter<'a> {
    /// Appends a function of each element of `view`.
    pub(super) fn function(&mut self, name: String, f: Activation, view: &View) -> Step<View> {
        self.behind(name, Op::Activation(f), view)
    }

    pub(super) fn activation(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let name = node.label().to_string();
        if !elementwise::is_one(&node.op) {
            return Err("is an operation on computed values that is not supported".into());
        }
        let view = self.computed(node, 0)?;
        if let Some(f) = elementwise::plain(node) {
            return self.function(name, f, &view).map(OnnxValue::Computed);
        }
        let close = |a: f32, b: f32| (a - b).abs() <= 1e-7;
        let y = match node.op.as_str() {
            "HardSigmoid" => {
                let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5));
                if close(alpha, 1.0 / 6.0) && beta == 0.5 {
                    self.function(name, Activation::HardSigmoid, &view)?
                } else {
                    let z = self.scaled_evenly(format!("{name}.in"), &view, alpha, beta)?;
                    self.function(name, Activation::Clip { low: 0.0, high: 1.0 }, &z)?
                }
            }
            // max(x, 0) + min(0, α·(e^(x/α) − 1)).
            "Celu" => {
                let alpha = node.float("alpha", 1.0);
                if !alpha.is_finite() || alpha == 0.0 {
                    return Err(format!("has an alpha of {alpha}").into());
                }
                if alpha < 0.0 {
                    return Err("has a negative alpha, which is not supported".into());
                }
                let z = self.scaled_evenly(format!("{name}.in"), &view, 1.0 / alpha, 0.0)?;
                let y = self.function(name.clone(), Activation::Elu(1.0), &z)?;
                self.scaled_evenly(format!("{name}.out"), &y, alpha, 0.0)?
            }
            "Selu" => {
                let (alpha, gamma) = (node.float("alpha", 1.673_263_2), node.float("gamma", 1.050_701));
                let y = self.function(name.clone(), Activation::Elu(alpha), &view)?;
                self.scaled_evenly(format!("{name}.out"), &y, gamma, 0.0)?
            }
            "Mish" => {
                let s = self.function(format!("{name}.softplus"), Activation::Softplus, &view)?;
                let t = self.function(format!("{name}.tanh"), Activation::Tanh, &s)?;
                self.multiplied(node, &view, &t)?
            }
            // x · sigmoid(α·x).
            _ => {
                let alpha = node.float("alpha", 1.0);
                if alpha == 1.0 {
                    self.function(name, Activation::Silu, &view)?
                } else {
                    let z = self.scaled_evenly(format!("{name}.in"), &view, alpha, 0.0)?;
                    let s = self.function(format!("{name}.sigmoid"), Activation::Sigmoid, &z)?;
                    self.multiplied(node, &view, &s)?
                }
            }
        };
        Ok(OnnxValue::Computed(y))
    }

    /// A leaky ReLU by one slope; by several, max(x, 0) − slope·max(−x, 0).
    pub(super) fn prelu(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (view, slope) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let name = node.label().to_string();
        let slopes = slope.to_floats();
        let first = slopes.first().copied().ok_or("has no slope")?;
        if slopes.iter().all(|s| *s == first) && slope.shape.len() <= view.rank() && self.aligned(&view, &slope).is_ok() {
            return self.function(name, Activation::LeakyRelu(first), &view).map(OnnxValue::Computed);
        }
        if self.broadcast_shape(&view, &slope.shape)? != self.full_shape(&view) {
            return Err(format!("has slopes of {:?} beside a value of {:?}", slope.shape, self.full_shape(&view)).into());
        }
        let above = self.function(format!("{name}.above"), Activation::Relu, &view)?;
        let negative = self.negative(node, &view)?;
        let below = self.function(format!("{name}.below"), Activation::Relu, &negative)?;
        let (base, factors) = self.per_channel(node, &below, &slope)?;
        let factors: Vec<f32> = factors.into_iter().map(|s| -s).collect();
        let zeros = vec![0.0; factors.len()];
        let below = self.scaled(format!("{name}.slopes"), &below, base, factors, zeros)?;
        self.added(node, &above, &below).map(OnnxValue::Computed)
    }

    pub(super) fn clip(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let bound = |i: usize, key: &str, none: f32| -> Step<f32> {
            match self.optional(node, i)? {
                Some(array) => Ok(array.scalar().ok_or_else(|| format!("has a {key} of {:?}", array.shape))?),
                None => Ok(node.float(key, none)),
            }
        };
        let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
        self.clipped(node, &view, low, high)
    }

    /// min(max(x, low), high), the upper bound where the two cross.
    pub(super) fn clipped(&mut self, node: &'a Node, view: &View, low: f32, high: f32) -> Step<OnnxValue> {
        if low.is_nan() || high.is_nan() {
            return Err(format!("clips to {low}…{high}").into());
        }
        // What exporters write for no bound at all.
        let (open_below, open_above) = (low <= f32::MIN, high >= f32::MAX);
        let f = match (open_below, open_above) {
            (true, true) => {
                self.note("identities removed", node);
                return Ok(OnnxValue::Computed(view.clone()));
            }
            (false, true) if low == 0.0 => Activation::Relu,
            (false, false) if (low, high) == (0.0, 6.0) => Activation::Relu6,
            _ => Activation::Clip {
                low: if open_below { f32::NEG_INFINITY } else { low.min(high) },
                high: if open_above { f32::INFINITY } else { high },
            },
        };
        self.function(node.label().into(), f, view).map(OnnxValue::Computed)
    }
}
