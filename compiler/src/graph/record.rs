//! The serialized form of a graph in checkpoints.

use serde::Deserialize;

use super::{Graph, Node, ValueId};

/// What is read; checkpoints written before networks had several inputs say the shape of one, `input`, and no outputs.
#[derive(Deserialize)]
pub(super) struct Record {
    name: String,
    #[serde(alias = "input")]
    inputs: Shapes,
    nodes: Vec<Node>,
    #[serde(default)]
    outputs: Vec<ValueId>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shapes {
    One(Vec<usize>),
    Many(Vec<Vec<usize>>),
}

impl From<Record> for Graph {
    fn from(record: Record) -> Self {
        let Record { name, inputs, nodes, mut outputs } = record;
        let inputs = match inputs {
            Shapes::One(shape) => vec![shape],
            Shapes::Many(shapes) => shapes,
        };
        if outputs.is_empty() {
            outputs.push((inputs.len() + nodes.len()).saturating_sub(1));
        }
        Self { name, inputs, nodes, outputs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn graphs_are_read_as_they_are_written_and_as_they_were() {
        let graph = zoo::build("mlp:4-3-2").unwrap();
        let text = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph);
        let mut old = serde_json::to_value(&graph).unwrap();
        let fields = old.as_object_mut().unwrap();
        fields.remove("outputs");
        let inputs = fields.remove("inputs").unwrap();
        fields.insert("input".into(), inputs[0].clone());
        assert_eq!(serde_json::from_value::<Graph>(old).unwrap(), graph);
    }
}
