//! Losses of classes: of log probabilities, or of scores.

use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;

impl<'a> Converter<'a> {
    pub(super) fn loss(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let x = self.input_name(node, 0)?;
        if self.shape_of(x)?.len() < 2 {
            return Err("reads scores without an axis of classes".into());
        }
        if node.op == "NegativeLogLikelihoodLoss" {
            return Ok(vec![self.negative_log_likelihood(node, x)?]);
        }
        // A log softmax of axis 1 alone, whatever the operator set.
        let sum = self.put_reduce(node, "ReduceLogSumExp", x, &[1])?;
        let log = self.put(node, "Sub", &[x, sum])?;
        Ok(vec![self.negative_log_likelihood(node, log)?, log])
    }

    /// −weight[t]·x[n, t, …] of each target t, reduced. Targets that are ignored weigh nothing.
    fn negative_log_likelihood(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let target = self.input_name(node, 1)?;
        let (shape, classes) = (self.shape_of(target)?, self.shape_of(x)?[1]);
        if !self.holds_integers(target) {
            return Err("has targets that are no integers".into());
        }
        let ignored = node.attributes.contains_key("ignore_index").then(|| node.int("ignore_index", 0));
        // Classes of what is ignored need not exist.
        let (target, is_ignored) = match ignored {
            None => (target, None),
            Some(index) => {
                let is = self.equals(node, target, index)?;
                let zero = self.put_constant(node, Array { shape: vec![], data: Data::Ints(vec![0]) });
                let target = match self.constant_called(target) {
                    Some(known) => self.put_constant(
                        node,
                        Array { shape: known.shape.clone(), data: Data::Ints(known.as_ints().unwrap_or_default().to_vec()) },
                    ),
                    None => target,
                };
                (self.put(node, "Where", &[is, zero, target])?, Some(is))
            }
        };
        if let Some(known) = self.constant_called(target)
            && known.as_ints().is_some_and(|t| t.iter().any(|t| !(0..classes as i64).contains(t)))
        {
            return Err(format!("has a target beyond its {classes} classes").into());
        }
        let rows = self.put_unsqueeze(node, target, &[1])?;
        let picked = self.put_with(node, "GatherElements", &[x, rows], &[("axis", 1.into())])?;
        let picked = self.put_reshape(node, picked, &shape)?;
        let mut loss = self.put(node, "Neg", &[picked])?;
        let mut weights = match node.input(2) {
            Some(weight) => Some(self.put_with(node, "Gather", &[weight, target], &[("axis", 0.into())])?),
            None => None,
        };
        if let Some(is) = is_ignored {
            let (zero, one) = (self.put_number(node, 0.0), self.put_number(node, 1.0));
            weights = Some(self.put(node, "Where", &[is, zero, weights.unwrap_or(one)])?);
            loss = self.put(node, "Where", &[is, zero, loss])?;
        }
        if let Some(weights) = weights {
            loss = self.put(node, "Mul", &[loss, weights])?;
        }
        let all = |this: &mut Self, op: &str, x: &str| this.put_with(node, op, &[x], &[("keepdims", 0.into())]);
        match (node.text("reduction").unwrap_or("mean"), weights) {
            ("none", _) => Ok(loss),
            ("sum", _) => all(self, "ReduceSum", loss),
            ("mean", None) => all(self, "ReduceMean", loss),
            ("mean", Some(weights)) => {
                let (loss, weights) = (all(self, "ReduceSum", loss)?, all(self, "ReduceSum", weights)?);
                self.put(node, "Div", &[loss, weights])
            }
            (other, _) => Err(format!("has the reduction {other:?}").into()),
        }
    }

    /// Where the integers of `name` are `number`.
    fn equals(&mut self, node: &'a Node, name: &str, number: i64) -> Step<&'a str> {
        if let Some(known) = self.constant_called(name) {
            let ints = known.as_ints().ok_or("has targets that are no integers")?;
            let is = Array::bools(known.shape.clone(), ints.iter().map(|i| *i == number));
            return Ok(self.put_constant(node, is));
        }
        let number = self.put_constant(node, Array { shape: vec![], data: Data::Ints(vec![number]) });
        self.put(node, "Equal", &[name, number])
    }
}
