//! Rewrites of what exporters take apart: each finds nodes that are together one operation and puts that in their place.
//!
//! A rule is an optimisation: without it the plain nodes give the same values. It sees names and constants, not shapes, so it
//! keeps the plain nodes beside the one that it makes ([`Pattern`](super::node::Pattern)), and the converter, which knows the
//! shapes, takes them where the one does not apply. Each rule states what must hold as its `requires`; what depends on shapes is
//! checked by the conversion that is named there.

pub(super) mod attention;
mod bias;
mod gated;
mod gelu;
mod layer_norm;
mod pattern;

use super::model::Model;
use super::node::Rule;

/// A rule, and what applies it wherever it fits.
type Rewrite = (Rule, fn(&mut Model, &'static Rule));

/// All rules in the order in which they are applied.
static RULES: [Rewrite; 7] = [
    (
        Rule {
            name: "GELU written out with erf",
            requires: "one x is scaled, added to and multiplied by; each number is the formula's to 1e-6 and has at most one axis, so \
                   that it raises no rank (rules::gelu)",
        },
        gelu::by_erf,
    ),
    (Rule { name: "GELU written out with tanh", requires: "as with erf (rules::gelu)" }, gelu::by_tanh),
    (
        Rule {
            name: "hard swish written out",
            requires: "the gate reads the x that it is multiplied by and has one reader; numbers as with GELU (rules::gated)",
        },
        gated::hard_swish,
    ),
    (
        Rule { name: "SiLU written out", requires: "the gate reads the x that it is multiplied by and has one reader (rules::gated)" },
        gated::silu,
    ),
    (
        Rule {
            name: "layer normalisation written out",
            requires: "both means are of one x over the same axes and keep them; ε has at most one axis (rules::layer_norm); scale and shift \
                   have no more axes than x and lie along x's own (convert::norms)",
        },
        layer_norm::written_out,
    ),
    (
        Rule {
            name: "attention written out",
            requires: "one product, scales of one element, a mask of zeros only, nothing between softmax and the second product but a test for \
                   NaN; none has further readers (rules::attention); tokens or heads of tokens, softmax over the last axis, no rank \
                   raised (convert::transformer)",
        },
        attention::fuse,
    ),
    (
        Rule {
            name: "MatMul and Add are a linear layer",
            requires: "a constant matrix of two axes; the sum alone reads the product; its constant has one value an output along the last axis \
                   (rules::bias) and no more axes than the product (convert::layers)",
        },
        bias::matmul_add,
    ),
];

/// Applies every rule.
pub(super) fn apply(model: &mut Model) {
    for (rule, apply) in &RULES {
        apply(model, rule);
        model.prune();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::super::array::{Array, Data};
    use super::super::node::Node;
    use super::*;

    /// A model of `nodes` (operation, inputs, output) from `x` to `y`; inputs that are numbers are constants.
    pub(in crate::import::onnx) fn model(nodes: &[(&str, &[&str], &str)]) -> Model {
        let mut constants = HashMap::new();
        let mut all = Vec::new();
        for (op, inputs, output) in nodes {
            for i in inputs.iter() {
                if let Ok(number) = i.parse::<f32>() {
                    constants.insert(i.to_string(), Arc::new(Array { shape: vec![], data: Data::Floats(vec![number]) }));
                }
            }
            all.push(Node::new(op, "", inputs, output));
        }
        let dims = vec![Some(1), Some(4)];
        let inputs = vec![crate::import::onnx::model::Input { name: "x".into(), dims, element: 1 }];
        Model { inputs, outputs: vec!["y".into()], output_types: vec![1], nodes: all, constants, ..Model::empty(17) }
    }

    #[test]
    fn a_number_is_the_formulas() {
        for (number, fits) in [("1.4142135", true), ("1.4140625", false), ("1.4143", false), ("1.41", false)] {
            let erf: [(&str, &[&str], &str); 5] = [
                ("Div", &["x", number], "a"),
                ("Erf", &["a"], "e"),
                ("Add", &["e", "1.0"], "s"),
                ("Mul", &["x", "s"], "m"),
                ("Mul", &["m", "0.5"], "y"),
            ];
            assert_eq!(rewritten(&erf).len() == 1, fits, "{number}");
        }
    }

    #[test]
    fn what_a_rule_replaces_is_kept() {
        let mut model = model(&[("Relu", &["x"], "r"), ("Sigmoid", &["r"], "s"), ("Mul", &["s", "r"], "y")]);
        apply(&mut model);
        let pattern = model.nodes[1].pattern.as_ref().unwrap();
        let plain: Vec<&str> = pattern.plain.iter().map(|n| n.op.as_str()).collect();
        assert_eq!((pattern.rule.name, plain), ("SiLU written out", vec!["Sigmoid", "Mul"]));
        assert!(RULES.iter().all(|(r, _)| !r.requires.is_empty()));
    }

    /// The operations that `nodes` become.
    pub(in crate::import::onnx) fn rewritten(nodes: &[(&str, &[&str], &str)]) -> Vec<String> {
        let mut model = model(nodes);
        apply(&mut model);
        model.nodes.iter().map(|n| format!("{}({})", n.op, n.inputs.join(", "))).collect()
    }
}
