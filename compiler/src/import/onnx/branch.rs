//! Graphs within nodes, as those of an `If` are. They stay bytes until somebody needs their nodes.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message;
use prost::bytes::Bytes;

use super::array::Array;
use super::body::{Place, Scope, initialisers};
use super::model::Node;
use super::names::Names;
use super::proto::{GraphProto, SparseTensorProto};

/// The most graphs within each other.
const MOST_DEEP: usize = 32;

/// The names that a graph reads from outside.
fn free_names(bytes: &Bytes, depth: usize) -> Result<Vec<String>, String> {
    if depth > MOST_DEEP {
        return Err(format!("is a graph more than {MOST_DEEP} deep in others"));
    }
    let graph = graph(bytes)?;
    let mut own: HashSet<String> = graph.initializer.iter().map(|t| t.name().to_string()).collect();
    for bytes in &graph.sparse_initializer {
        let tensor = SparseTensorProto::decode(bytes.clone()).map_err(|e| format!("holds no sparse tensor: {e}"))?;
        own.extend(tensor.values.map(|v| v.name().to_string()));
    }
    own.extend(graph.input.iter().map(|v| v.name().to_string()));
    own.extend(graph.node.iter().flat_map(|n| &n.output).cloned());
    let mut free: HashSet<String> = graph.node.iter().flat_map(|n| &n.input).cloned().collect();
    free.extend(graph.output.iter().map(|v| v.name().to_string()));
    for inner in graph.node.iter().flat_map(|n| &n.attribute).filter_map(|a| a.g.as_ref()) {
        free.extend(free_names(inner, depth + 1)?);
    }
    let mut free: Vec<String> = free.into_iter().filter(|n| !n.is_empty() && !own.contains(n)).collect();
    free.sort_unstable();
    Ok(free)
}

fn graph(bytes: &Bytes) -> Result<GraphProto, String> {
    GraphProto::decode(bytes.clone()).map_err(|e| format!("holds no graph: {e}"))
}

/// A graph within a node.
#[derive(Debug)]
pub(super) struct Subgraph {
    scope: Arc<Scope>,
    place: Arc<Place>,
    bytes: Bytes,
    reads: Vec<String>,
}

impl PartialEq for Subgraph {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.reads == other.reads
    }
}

/// A branch's nodes and constants, by names of their own.
pub(super) type Branch = (Vec<Node>, Vec<(String, Arc<Array>)>);

impl Subgraph {
    /// The graph of these bytes, within a body that stands at `place`.
    ///
    /// # Errors
    /// A phrase for bytes that are no graph, and for graphs too deep within each other.
    pub(super) fn new(scope: Arc<Scope>, place: Arc<Place>, bytes: Bytes) -> Result<Self, String> {
        let reads = free_names(&bytes, place.depth + 1)?.iter().map(|n| place.name(n)).collect();
        Ok(Self { scope, place, bytes, reads })
    }

    /// The values that are read from outside.
    pub(super) fn reads(&self) -> &[String] {
        &self.reads
    }

    /// The nodes of a graph without inputs, in the place of the node `label` that has it, which give its `outputs`.
    ///
    /// # Errors
    /// A phrase that says what of the graph cannot be read.
    pub(super) fn inlined(&self, label: &str, outputs: &[String], names: &mut Names) -> Result<Branch, String> {
        let graph = graph(&self.bytes)?;
        if !graph.input.is_empty() || graph.output.len() != outputs.len() {
            return Err(format!("has a branch of {} inputs and {} outputs", graph.input.len(), graph.output.len()));
        }
        let mut place = (*self.place).clone();
        place.prefix = names.fresh(&format!("{label}/"));
        place.depth += 1;
        let own: HashSet<&String> = graph.node.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty()).collect();
        // A name of the branch hides the same one outside.
        own.iter().for_each(|o| drop(place.names.remove(*o)));
        let mut copies = Vec::new();
        for (value, outer) in graph.output.iter().zip(outputs).filter(|(_, outer)| !outer.is_empty()) {
            let inner = value.name().to_string();
            match own.contains(&inner) && !place.names.contains_key(&inner) {
                true => drop(place.names.insert(inner, outer.clone())),
                false => copies.push((inner, outer)),
            }
        }
        let mut constants = Vec::new();
        for (name, array) in initialisers(&graph, &self.scope.folder)? {
            names.spend(array.len())?;
            place.names.remove(&name);
            self.scope.define([&name].into_iter(), &mut place, names);
            constants.push((place.name(&name), Arc::new(array)));
        }
        self.scope.define(graph.node.iter().flat_map(|n| &n.output), &mut place, names);
        let mut nodes = Vec::with_capacity(graph.node.len());
        let place = Arc::new(place);
        self.scope.body(&graph.node, &place, names, &mut nodes)?;
        nodes.extend(copies.iter().map(|(from, to)| Node::new("Identity", label, &[&place.name(from)], to)));
        Ok((nodes, constants))
    }
}
