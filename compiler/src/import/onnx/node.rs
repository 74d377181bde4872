//! One operation of a file, with its attributes and with what a rule put it in the place of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::array::Array;
use super::branch::Subgraph;

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) op: String,
    /// May be empty; see [`Node::label`].
    pub(super) name: String,
    /// Empty for an optional input that is left out.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attributes: BTreeMap<String, Attribute>,
    /// What a rule put this node in the place of.
    pub(super) pattern: Option<Box<Pattern>>,
}

/// The nodes that a rule put another in the place of. They are converted instead where that one's own conversion does not
/// apply: rules know no shapes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) rule: &'static Rule,
    /// In execution order.
    pub(super) plain: Vec<Node>,
}

/// What is said of a rewrite.
#[derive(Debug)]
pub(super) struct Rule {
    /// What `--explain` calls it.
    pub(super) name: &'static str,
    /// What must hold, and where that is checked. Where it does not, `--explain` says so.
    pub(super) requires: &'static str,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attribute {
    Float(f32),
    Int(i64),
    Text(String),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Tensor(Arc<Array>),
    Graph(Arc<Subgraph>),
    /// A type that nothing here reads.
    Other,
}

impl From<i64> for Attribute {
    fn from(i: i64) -> Self {
        Self::Int(i)
    }
}

impl From<f32> for Attribute {
    fn from(f: f32) -> Self {
        Self::Float(f)
    }
}

impl From<&str> for Attribute {
    fn from(s: &str) -> Self {
        Self::Text(s.into())
    }
}

impl From<&[i64]> for Attribute {
    fn from(v: &[i64]) -> Self {
        Self::Ints(v.to_vec())
    }
}

impl Node {
    /// A node of `op`, called `name`, from `inputs` to `output`.
    pub(super) fn new(op: &str, name: &str, inputs: &[&str], output: &str) -> Self {
        let inputs = inputs.iter().map(|s| s.to_string()).collect();
        Self { op: op.into(), name: name.into(), inputs, outputs: vec![output.into()], attributes: BTreeMap::new(), pattern: None }
    }

    /// What messages and layers call it: its name, or that of its output.
    pub(super) fn label(&self) -> &str {
        if self.name.is_empty() { self.outputs.first().map_or("", String::as_str) } else { &self.name }
    }

    /// The names that are read: its inputs, and what its subgraphs read from outside.
    pub(super) fn reads(&self) -> impl Iterator<Item = &str> {
        fn graph(a: &Attribute) -> &[String] {
            if let Attribute::Graph(graph) = a { graph.reads() } else { &[] }
        }
        let captured = self.attributes.values().flat_map(graph);
        self.inputs.iter().chain(captured).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether this is a Cast to floats (FLOAT 1, FLOAT16 10, DOUBLE 11, BFLOAT16 16), which keeps the numbers of floats.
    pub(super) fn casts_to_float(&self) -> bool {
        self.op == "Cast" && is_float(self.int("to", 1) as i32)
    }

    /// The name of input `i`, if it is given.
    pub(super) fn input(&self, i: usize) -> Option<&str> {
        self.inputs.get(i).map(String::as_str).filter(|s| !s.is_empty())
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        if let Some(Attribute::Int(i)) = self.attributes.get(name) { *i } else { default }
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        if let Some(Attribute::Float(f)) = self.attributes.get(name) { *f } else { default }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Some(Attribute::Text(s)) = self.attributes.get(name) { Some(s) } else { None }
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        if let Some(Attribute::Ints(v)) = self.attributes.get(name) { Some(v) } else { None }
    }
}

/// Whether ONNX's element type of this number holds floats of at least 16 bits.
pub(super) fn is_float(number: i32) -> bool {
    matches!(number, 1 | 10 | 11 | 16)
}
