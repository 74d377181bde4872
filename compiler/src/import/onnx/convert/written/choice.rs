//! If: the branch that runs where its condition is known when compiling, else both of them, of whose outputs one is chosen.

use super::super::{Converter, Step, Stop};
use crate::import::onnx::branch::Subgraph;
use crate::import::onnx::node::{Attribute, Node};
use std::sync::Arc;

impl<'a> Converter<'a> {
    pub(super) fn choice(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let condition = self.input_name(node, 0)?;
        if let Some(known) = self.constant_called(condition) {
            let is = known.scalar().ok_or_else(|| format!("has a condition of {:?}", known.shape))? != 0.0;
            return self.branch(node, if is { "then_branch" } else { "else_branch" });
        }
        if self.shape_of(condition)?.iter().product::<usize>() != 1 {
            return Err(format!("has a condition of {:?}", self.shape_of(condition)?).into());
        }
        let (yes, no) = (self.branch(node, "then_branch")?, self.branch(node, "else_branch")?);
        let condition = self.put_reshape(node, condition, &[])?;
        let mut chosen = Vec::with_capacity(yes.len());
        for (yes, no) in yes.into_iter().zip(no) {
            let (a, b) = (self.shape_of(yes)?, self.shape_of(no)?);
            if a != b {
                return Err(format!("has a condition that depends on the input, and branches that give values of {a:?} and {b:?}").into());
            }
            if self.holds_integers(yes) != self.holds_integers(no) {
                return Err("has branches that give values of different types".into());
            }
            chosen.push(self.put(node, "Where", &[condition, yes, no])?);
        }
        Ok(chosen)
    }

    /// The outputs of a branch.
    fn branch(&mut self, node: &'a Node, which: &str) -> Step<Vec<&'a str>> {
        let Some(Attribute::Graph(graph)) = node.attributes.get(which) else { return Err(format!("has no {which}").into()) };
        self.put_graph(node, graph, &[], node.outputs.len())
    }

    /// Converts the nodes of a graph whose inputs are the values called `inputs`; the names of its outputs.
    pub(super) fn put_graph(&mut self, node: &Node, graph: &Arc<Subgraph>, inputs: &[&str], outputs: usize) -> Step<Vec<&'a str>> {
        let outputs: Vec<String> = (0..outputs).map(|_| self.fresh_name(node, "output")).collect();
        let inputs: Vec<String> = inputs.iter().map(|s| s.to_string()).collect();
        let (nodes, constants) = graph.inlined_with(node.label(), &inputs, &outputs, self.taken())?;
        for (name, array) in constants {
            self.put_named(name, array);
        }
        let mut names = Vec::new();
        for made in nodes {
            let place = format!("{} '{}'", made.op, made.label());
            match self.put_node(made) {
                Ok(outputs) => names.extend(outputs),
                Err(Stop::Why(why)) => return Err(format!("holds {place}, which {why}").into()),
                Err(stop) => return Err(stop),
            }
        }
        let find = |wanted: &String| names.iter().rev().copied().find(|n| n == wanted);
        outputs.iter().map(|o| find(o).ok_or_else(|| "has a graph without one of its outputs".into())).collect()
    }
}
