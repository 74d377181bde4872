//! What rules look for, and what they put in its place.

use std::collections::BTreeSet;

use crate::import::onnx::model::Model;
use crate::import::onnx::node::{Node, Pattern, Rule};

/// Puts a node of `op` over `inputs` in the place of the one that gives `output`, and keeps the nodes between them as what it
/// stands for; the node, for its attributes.
pub(super) fn replace<'a>(model: &'a mut Model, rule: &'static Rule, op: &str, inputs: &[&str], output: &str) -> Option<&'a mut Node> {
    let at = model.nodes.iter().position(|n| n.outputs.first().is_some_and(|o| o == output))?;
    let plain = between(model, inputs, output);
    let mut made = Node::new(op, model.nodes[at].label(), inputs, output);
    made.pattern = Some(Box::new(Pattern { rule, plain }));
    model.nodes[at] = made;
    model.nodes.get_mut(at)
}

/// The nodes that give `output` from `inputs`, constants and the network's input, in execution order. What another rule made
/// stays as it is, with what it stands for.
pub(super) fn between(model: &Model, inputs: &[&str], output: &str) -> Vec<Node> {
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
pub(super) fn other<'a>(node: &'a Node, value: &str) -> Option<&'a str> {
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
pub(super) fn with_number<'a>(model: &Model, node: &'a Node, op: &str, number: f32) -> Option<&'a str> {
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
pub(super) fn next_with_number<'a>(model: &'a Model, value: &str, op: &str, number: f32) -> Option<&'a str> {
    let reader = model.sole_reader(value)?;
    (with_number(model, reader, op, number)? == value).then(|| reader.outputs[0].as_str())
}

/// Names of the outputs of all nodes of `op`.
pub(super) fn outputs_of(model: &Model, op: &str) -> Vec<String> {
    model.nodes.iter().filter(|n| n.op == op).filter_map(|n| n.outputs.first().cloned()).collect()
}
