//! Graphs within nodes, as those of an `If` are. They stay bytes until somebody needs their nodes.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message;
use prost::bytes::Bytes;

use super::proto::{GraphProto, SparseTensorProto};
use super::scope::{Place, Scope};

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

pub(super) fn graph(bytes: &Bytes) -> Result<GraphProto, String> {
    GraphProto::decode(bytes.clone()).map_err(|e| format!("holds no graph: {e}"))
}

/// A graph within a node.
#[derive(Debug)]
pub(super) struct Subgraph {
    pub(super) scope: Arc<Scope>,
    pub(super) place: Arc<Place>,
    pub(super) bytes: Bytes,
    reads: Vec<String>,
}

impl PartialEq for Subgraph {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.reads == other.reads
    }
}

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
}
