//! Constants folded: what depends on constants only is computed, so that rules see weights and numbers, and of an `If`
//! whose condition is one of them only the branch that runs is left.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::array::Array;
use super::branch::Subgraph;
use super::eval::Folding;
use super::model::Model;
use super::names::Names;
use super::node::{Attribute, Node};

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
    names.take(
        read.iter()
            .chain(nodes().flat_map(|n| &n.outputs))
            .chain(model.constants.keys())
            .chain(&model.outputs)
            .chain(model.inputs.iter().map(|i| &i.name)),
    );
    names.count_nodes(nodes().count());
    names
}

/// The branch of an `If` that runs, where that is known.
fn branch(model: &Model, node: &Node) -> Option<Arc<Subgraph>> {
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
    if node.op == "Shape"
        && let Some(input) = node.input(0).and_then(|name| model.input(name))
    {
        let dims: Option<Vec<usize>> = input.dims.iter().copied().collect();
        return dims.map(|dims| vec![super::eval::shape_of(node, &dims)]);
    }
    let constant = |name: &String| if name.is_empty() { Some(None) } else { model.constants.get(name).cloned().map(Some) };
    let inputs: Vec<_> = node.inputs.iter().map(constant).collect::<Option<_>>()?;
    let arrays = folding.evaluate(node, &inputs)?.ok()?;
    node.outputs.iter().skip(arrays.len()).all(String::is_empty).then_some(arrays)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost::Message;

    use super::super::hostile::{node, tensor, value};
    use super::super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};
    use super::*;

    fn graph(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, output: &str) -> GraphProto {
        GraphProto { node: nodes, initializer: constants, output: vec![value(output, &[])], ..Default::default() }
    }

    fn with(mut node: NodeProto, name: &str, graph: &GraphProto) -> NodeProto {
        let g = Some(graph.encode_to_vec().into());
        node.attribute.push(AttributeProto { name: Some(name.into()), g, r#type: Some(5), ..Default::default() });
        node
    }

    fn choice(name: &str, condition: &str, output: &str, yes: &GraphProto, no: &GraphProto) -> NodeProto {
        with(with(node("If", name, &[condition], &[output]), "then_branch", yes), "else_branch", no)
    }

    fn truth(name: &str, is: bool) -> TensorProto {
        TensorProto { name: Some(name.into()), data_type: Some(9), int32_data: vec![is.into()], ..Default::default() }
    }

    /// From x [1, 2] to y.
    fn read(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Result<Model, String> {
        let main = GraphProto { input: vec![value("x", &[1, 2])], ..graph(nodes, constants, "y") };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
        let model = ModelProto { graph: Some(main), opset_import, ..Default::default() };
        Model::read(model.encode_to_vec(), Path::new(""))
    }

    fn ops(model: &Model) -> Vec<String> {
        model.nodes.iter().map(|n| format!("{}({}) {}", n.op, n.inputs.join(", "), n.outputs.join(", "))).collect()
    }

    #[test]
    fn of_a_constant_condition_one_branch_is_left() {
        // Both branches use the same names, and h, x of the outside.
        let yes =
            graph(vec![node("Mul", "m", &["h", "k"], &["t"]), node("Relu", "r", &["t"], &["o"])], vec![tensor("k", &[1], &[3.0])], "o");
        let no = graph(vec![node("Neg", "m", &["x"], &["o"])], vec![], "o");
        for (is, left) in [(true, vec!["Relu(x) h", "Mul(h, if/k) if/t", "Relu(if/t) y"]), (false, vec!["Neg(x) y"])] {
            let nodes = vec![node("Relu", "", &["x"], &["h"]), node("Not", "", &["n"], &["c"]), choice("if", "c", "y", &yes, &no)];
            let mut model = read(nodes, vec![truth("n", !is)]).unwrap();
            let folded = constants(&mut model).unwrap();
            assert_eq!((ops(&model), folded.branches), (left.iter().map(|s| s.to_string()).collect(), vec!["if".to_string()]));
            assert_eq!(model.constants.get("if/k").and_then(|k| k.scalar()), is.then_some(3.0));
        }
    }

    #[test]
    fn branches_within_branches_are_chosen_too() {
        let leaf = |op: &str| graph(vec![node(op, "", &["x"], &["o"])], vec![], "o");
        // A branch whose output is a value of the outside, and one whose condition is its own.
        let inner = graph(vec![choice("in", "own", "p", &graph(vec![], vec![], "x"), &leaf("Relu"))], vec![truth("own", true)], "p");
        let nodes = vec![choice("out", "c", "q", &leaf("Neg"), &inner), node("Relu", "", &["q"], &["y"])];
        let mut model = read(nodes, vec![truth("c", false)]).unwrap();
        assert_eq!(constants(&mut model).unwrap().branches, ["out", "out/in"]);
        assert_eq!(ops(&model), ["Identity(x) q", "Relu(q) y"]);
    }

    #[test]
    fn a_condition_that_is_computed_keeps_what_its_branches_read() {
        let reads = graph(vec![node("Mul", "", &["x", "k"], &["o"])], vec![], "o");
        let nodes = vec![node("Neg", "", &["w"], &["k"]), node("Greater", "", &["x", "w"], &["c"]), choice("if", "c", "y", &reads, &reads)];
        let mut model = read(nodes, vec![tensor("w", &[1], &[2.0])]).unwrap();
        constants(&mut model).unwrap();
        assert_eq!(ops(&model), ["Greater(x, w) c", "If(c) y"]);
        assert_eq!(model.constants["k"].scalar(), Some(-2.0));
    }

    #[test]
    fn graphs_that_contradict_themselves_or_nest_too_deep_are_refused() {
        let leaf = graph(vec![node("Neg", "", &["missing"], &["o"])], vec![], "o");
        let why = read(vec![choice("if", "c", "y", &leaf, &leaf)], vec![truth("c", true)]).unwrap_err();
        assert!(why.contains("If 'if' reads 'missing', which nothing defines"), "{why}");
        let mut deep = graph(vec![node("Neg", "", &["x"], &["o"])], vec![], "o");
        for _ in 0..40 {
            deep = graph(vec![choice("", "c", "o", &deep, &deep.clone())], vec![], "o");
            deep.node[0].attribute.truncate(1);
        }
        let why = read(vec![choice("if", "c", "y", &deep, &leaf)], vec![truth("c", true)]).unwrap_err();
        assert!(why.contains("more than 32 deep"), "{why}");
    }

    #[test]
    fn what_does_not_fit_stays_and_the_rest_is_folded() {
        let nodes = vec![
            node("Add", "", &["w", "v"], &["bad"]),
            node("Neg", "", &["w"], &["good"]),
            node("Split", "", &["v"], &["a", "b", "c"]),
            node("Sum", "", &["x", "bad", "good", "b"], &["y"]),
        ];
        let mut model = read(nodes, vec![tensor("w", &[2], &[1.0, 2.0]), tensor("v", &[3], &[4.0, 5.0, 6.0])]).unwrap();
        constants(&mut model).unwrap();
        assert_eq!(ops(&model), ["Add(w, v) bad", "Sum(x, bad, good, b) y"]);
        assert_eq!((model.constants["b"].scalar(), model.constants["good"].to_floats()), (Some(5.0), vec![-1.0, -2.0]));
    }

    #[test]
    fn the_shape_of_the_input_is_a_constant() {
        let mut model = read(vec![node("Shape", "", &["x"], &["s"]), node("Reshape", "", &["x", "s"], &["y"])], vec![]).unwrap();
        constants(&mut model).unwrap();
        assert_eq!(model.constants["s"].as_ints(), Some(&[1, 2][..]));
    }
}
