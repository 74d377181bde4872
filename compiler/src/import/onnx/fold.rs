//! Constants folded: what depends on constants only is computed, so that rules see weights and numbers, and of an `If`
//! whose condition is one of them only the branch that runs is left.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::array::Array;
use super::body::Names;
use super::eval::Folding;
use super::model::{Attribute, Model, Node};

/// The first operator set whose branches are read.
const BRANCHES: i64 = 7;

/// The labels of what is gone.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// Nodes that were computed.
    pub(super) nodes: Vec<String>,
    /// Nodes in whose place a branch stands.
    pub(super) branches: Vec<String>,
}

/// Folds the constants of `model`. A node whose constants do not fit stays, for the conversion to say so.
///
/// # Errors
/// A phrase for a branch that is damaged or contradicts itself.
pub(super) fn constants(model: &mut Model) -> Result<Folded, String> {
    let mut done = Folded::default();
    let held = model.constants.values().map(|a| a.len()).sum();
    let folding = Folding::new(model.opset, held);
    let mut readers: HashMap<String, usize> = HashMap::new();
    let mut names = None;
    model.nodes.iter().for_each(|node| count(&mut readers, node));
    let mut queue: VecDeque<Node> = std::mem::take(&mut model.nodes).into();
    while let Some(node) = queue.pop_front() {
        if let Some(taken) = branch(model, &node) {
            let names = names.get_or_insert_with(|| names_of(model, &node, &queue, held));
            let (nodes, made) = taken.inlined(node.label(), &node.outputs, names).map_err(|why| format!("If '{}' {why}", node.label()))?;
            nodes.iter().for_each(|n| count(&mut readers, n));
            model.constants.extend(made);
            nodes.into_iter().rev().for_each(|n| queue.push_front(n));
            done.branches.push(node.label().to_string());
            continue;
        }
        let Some(arrays) = evaluated(model, &folding, &node) else {
            model.nodes.push(node);
            continue;
        };
        if node.op != "Constant" {
            done.nodes.push(node.label().to_string());
        }
        let named = node.outputs.iter().zip(arrays).filter(|(name, _)| !name.is_empty());
        model.constants.extend(named.map(|(name, array)| (name.clone(), Arc::new(array))));
        // What nobody reads any more makes room.
        for name in node.reads().filter(|name| !model.outputs.iter().any(|o| o == name)) {
            let left = readers.entry(name.to_string()).or_default();
            *left = left.saturating_sub(1);
            if *left == 0
                && let Some(array) = model.constants.remove(name)
            {
                folding.freed(&array);
            }
        }
    }
    if !done.branches.is_empty() {
        model.check_names()?;
        model.sort()?;
    }
    model.prune();
    Ok(done)
}

fn count(readers: &mut HashMap<String, usize>, node: &Node) {
    node.reads().for_each(|name| *readers.entry(name.to_string()).or_default() += 1);
}

/// All names of a network that is being folded.
fn names_of(model: &Model, node: &Node, queue: &VecDeque<Node>, held: usize) -> Names {
    let mut names = Names::new(held.saturating_mul(4));
    let nodes = || model.nodes.iter().chain([node]).chain(queue);
    let read: Vec<String> = nodes().flat_map(Node::reads).map(str::to_string).collect();
    names.take(read.iter().chain(nodes().flat_map(|n| &n.outputs)).chain(model.constants.keys()).chain(&model.outputs).chain([&model.input]));
    names.count_nodes(nodes().count());
    names
}

/// The branch of an `If` that runs, where that is known.
fn branch(model: &Model, node: &Node) -> Option<Arc<super::body::Subgraph>> {
    if node.op != "If" || model.opset < BRANCHES {
        return None;
    }
    let condition = model.scalar(node.input(0)?)?;
    match node.attributes.get(if condition != 0.0 { "then_branch" } else { "else_branch" })? {
        Attribute::Graph(graph) => Some(graph.clone()),
        _ => None,
    }
}

/// The outputs of a node over constants, all that somebody could read.
fn evaluated(model: &Model, folding: &Folding, node: &Node) -> Option<Vec<Array>> {
    if node.op == "Shape" && node.input(0) == Some(&model.input) {
        let dims: Option<Vec<usize>> = model.dims.iter().copied().collect();
        return dims.map(|dims| vec![super::eval::shape_of(node, &dims)]);
    }
    let constant = |name: &String| if name.is_empty() { Some(None) } else { model.constants.get(name).cloned().map(Some) };
    let inputs: Vec<_> = node.inputs.iter().map(constant).collect::<Option<_>>()?;
    let arrays = folding.evaluate(node, &inputs)?.ok()?;
    node.outputs.iter().skip(arrays.len()).all(String::is_empty).then_some(arrays)
}
