//! Rewrites of what exporters take apart: each finds nodes that are together one operation and puts that in their place.
//!
//! A rule is an optimisation: without it the plain nodes give the same values. It sees names and constants, not shapes, so it
//! keeps the plain nodes beside the one that it makes ([`Pattern`]), and the converter, which knows the shapes, takes them
//! where the one does not apply. Each rule states what must hold as its `requires`; what depends on shapes is checked by the
//! conversion that is named there.

pub(super) mod attention;
mod bias;
mod gated;
mod gelu;
mod layer_norm;

use std::collections::BTreeSet;

use super::model::{Model, Node, Pattern};

/// A rewrite.
#[derive(Debug)]
pub(super) struct Rule {
    /// What `--explain` calls it.
    pub(super) name: &'static str,
    /// What must hold, and where that is checked. Where it does not, `--explain` says so.
    pub(super) requires: &'static str,
    /// Applies it wherever it fits.
    apply: fn(&mut Model, &'static Rule),
}

/// All rules in the order in which they are applied.
pub(super) static RULES: [Rule; 7] = [
    Rule {
        name: "GELU written out with erf",
        requires: "one x is scaled, added to and multiplied by; each number is the formula's to 1e-6 and has at most one axis, so \
                   that it raises no rank (rules::gelu)",
        apply: gelu::by_erf,
    },
    Rule { name: "GELU written out with tanh", requires: "as with erf (rules::gelu)", apply: gelu::by_tanh },
    Rule {
        name: "hard swish written out",
        requires: "the gate reads the x that it is multiplied by and has one reader; numbers as with GELU (rules::gated)",
        apply: gated::hard_swish,
    },
    Rule {
        name: "SiLU written out",
        requires: "the gate reads the x that it is multiplied by and has one reader (rules::gated)",
        apply: gated::silu,
    },
    Rule {
        name: "layer normalisation written out",
        requires: "both means are of one x over the same axes and keep them; ε has at most one axis (rules::layer_norm); scale and shift \
                   have no more axes than x and lie along x's own (convert::norms)",
        apply: layer_norm::written_out,
    },
    Rule {
        name: "attention written out",
        requires: "one product, scales of one element, a mask of zeros only, nothing between softmax and the second product but a test for \
                   NaN; none has further readers (rules::attention); tokens or heads of tokens, softmax over the last axis, no rank \
                   raised (convert::transformer)",
        apply: attention::fuse,
    },
    Rule {
        name: "MatMul and Add are a linear layer",
        requires: "a constant matrix of two axes; the sum alone reads the product; its constant has one value an output along the last axis \
                   (rules::bias) and no more axes than the product (convert::layers)",
        apply: bias::matmul_add,
    },
];

/// Applies every rule.
pub(super) fn apply(model: &mut Model) {
    for rule in &RULES {
        (rule.apply)(model, rule);
        model.prune();
    }
}

/// Puts a node of `op` over `inputs` in the place of the one that gives `output`, and keeps the nodes between them as what it
/// stands for; the node, for its attributes.
fn replace<'a>(model: &'a mut Model, rule: &'static Rule, op: &str, inputs: &[&str], output: &str) -> Option<&'a mut Node> {
    let at = model.nodes.iter().position(|n| n.outputs.first().is_some_and(|o| o == output))?;
    let plain = between(model, inputs, output);
    let mut made = Node::new(op, model.nodes[at].label(), inputs, output);
    made.pattern = Some(Box::new(Pattern { rule, plain }));
    model.nodes[at] = made;
    model.nodes.get_mut(at)
}

/// The nodes that give `output` from `inputs`, constants and the network's input, in execution order. What another rule made
/// stays as it is, with what it stands for.
fn between(model: &Model, inputs: &[&str], output: &str) -> Vec<Node> {
    let mut wanted: BTreeSet<&str> = [output].into();
    let mut nodes = Vec::new();
    for node in model.nodes.iter().rev() {
        if node.outputs.iter().any(|o| wanted.contains(o.as_str())) {
            wanted.extend(node.inputs.iter().map(String::as_str).filter(|i| !inputs.contains(i)));
            nodes.push(node.clone());
        }
    }
    nodes.reverse();
    nodes
}

/// The other input of a node with two, one of which is `value`.
fn other<'a>(node: &'a Node, value: &str) -> Option<&'a str> {
    match &node.inputs[..] {
        [a, b] if a == value => Some(b),
        [a, b] if b == value => Some(a),
        _ => None,
    }
}

/// Whether the constant `name` is `number` to 1e-6, and of at most one axis, so that it raises no rank. Numbers rounded to f16
/// are others: what they give is off by 1e-4.
fn is_number(model: &Model, name: &str, number: f32) -> bool {
    let Some(array) = model.constants.get(name).filter(|a| a.shape.len() <= 1) else { return false };
    array.scalar().is_some_and(|x| (x - number).abs() <= 1e-6 * number.abs())
}

/// Whether `node` is `op` of a computed value and the constant `number`; that value.
fn with_number<'a>(model: &Model, node: &'a Node, op: &str, number: f32) -> Option<&'a str> {
    let [a, b] = &node.inputs[..] else { return None };
    if node.op != op {
        return None;
    }
    // The order matters in a difference or quotient.
    match (is_number(model, b, number), is_number(model, a, number) && matches!(op, "Add" | "Mul")) {
        (true, _) => Some(a),
        (_, true) => Some(b),
        _ => None,
    }
}

/// The node that alone reads `value`, if it is `op` with the constant `number`; its output.
fn next_with_number<'a>(model: &'a Model, value: &str, op: &str, number: f32) -> Option<&'a str> {
    let reader = model.sole_reader(value)?;
    (with_number(model, reader, op, number)? == value).then(|| reader.outputs[0].as_str())
}

/// Names of the outputs of all nodes of `op`.
fn outputs_of(model: &Model, op: &str) -> Vec<String> {
    model.nodes.iter().filter(|n| n.op == op).filter_map(|n| n.outputs.first().cloned()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::super::array::{Array, Data};
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
        Model { input: "x".into(), dims, outputs: vec!["y".into()], nodes: all, constants, ..Model::empty(17) }
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
        assert!(RULES.iter().all(|r| !r.requires.is_empty()));
    }

    /// The operations that `nodes` become.
    pub(in crate::import::onnx) fn rewritten(nodes: &[(&str, &[&str], &str)]) -> Vec<String> {
        let mut model = model(nodes);
        apply(&mut model);
        model.nodes.iter().map(|n| format!("{}({})", n.op, n.inputs.join(", "))).collect()
    }
}
