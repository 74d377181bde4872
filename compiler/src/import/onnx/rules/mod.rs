//! Rewrites of what exporters take apart: each finds nodes that are together one operation and puts that in their place.

pub(super) mod attention;
mod bias;
mod gated;
mod gelu;
mod layer_norm;
mod unbind;

use super::model::{Model, Node};

/// A rewrite.
pub(super) struct Rule {
    /// What `--explain` calls it.
    pub(super) name: &'static str,
    /// Applies it wherever it fits; gives the names of the nodes that it made.
    apply: fn(&mut Model) -> Vec<String>,
}

/// All rules in the order in which they are applied.
pub(super) const RULES: [Rule; 8] = [
    Rule { name: "GELU written out with erf", apply: gelu::by_erf },
    Rule { name: "GELU written out with tanh", apply: gelu::by_tanh },
    Rule { name: "hard swish written out", apply: gated::hard_swish },
    Rule { name: "SiLU written out", apply: gated::silu },
    Rule { name: "layer normalisation written out", apply: layer_norm::written_out },
    Rule { name: "queries, keys and values behind the batch", apply: unbind::behind_the_batch },
    Rule { name: "attention written out", apply: attention::fuse },
    Rule { name: "MatMul and Add are a linear layer", apply: bias::matmul_add },
];

/// Applies every rule; the nodes made, rule by rule.
pub(super) fn apply(model: &mut Model) -> Vec<(&'static str, Vec<String>)> {
    let mut fired = Vec::new();
    for rule in &RULES {
        let made = (rule.apply)(model);
        if !made.is_empty() {
            model.prune();
            fired.push((rule.name, made));
        }
    }
    fired
}

/// Puts a node of `op` over `inputs` in the place of the one that gives `output`; returns its name.
fn replace(model: &mut Model, op: &str, inputs: &[&str], output: &str) -> Option<String> {
    let at = model.nodes.iter().position(|n| n.outputs.first().is_some_and(|o| o == output))?;
    let made = Node::new(op, model.nodes[at].label(), inputs, output);
    let name = made.label().to_string();
    model.nodes[at] = made;
    Some(name)
}

/// The other input of a node with two, one of which is `value`.
fn other<'a>(node: &'a Node, value: &str) -> Option<&'a str> {
    match &node.inputs[..] {
        [a, b] if a == value => Some(b),
        [a, b] if b == value => Some(a),
        _ => None,
    }
}

/// Whether `node` is `op` of a computed value and a constant of one element near `number`; that value.
fn with_number<'a>(model: &Model, node: &'a Node, op: &str, number: f32) -> Option<&'a str> {
    let [a, b] = &node.inputs[..] else { return None };
    if node.op != op {
        return None;
    }
    let near = |name: &str| model.scalar(name).is_some_and(|x| (x - number).abs() <= 1e-3 * number.abs());
    // The order matters in a difference or quotient.
    match (near(b), near(a) && matches!(op, "Add" | "Mul")) {
        (true, _) => Some(a),
        (_, true) => Some(b),
        _ => None,
    }
}

/// The node that alone reads `value`, if it is `op` with a constant near `number`; its output.
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
        Model {
            opset: 17,
            input: "x".into(),
            dims: vec![Some(1), Some(4)],
            output: "y".into(),
            types: Default::default(),
            nodes: all,
            constants,
        }
    }

    /// The operations that `nodes` become.
    pub(in crate::import::onnx) fn rewritten(nodes: &[(&str, &[&str], &str)]) -> Vec<String> {
        let mut model = model(nodes);
        apply(&mut model);
        model.nodes.iter().map(|n| format!("{}({})", n.op, n.inputs.join(", "))).collect()
    }
}
