//! An ONNX file as nodes in execution order and constants by name, everything that it claims checked first.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use super::array::Array;
use super::body::initialisers;
use super::names::Names;
use super::node::{Node, is_float};
use super::proto::{ModelProto, ValueInfoProto};
use super::scope::{Scope, is_default};

/// Versions of the default operator set that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=28;

/// A network as its file has it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) opset: i64,
    /// The one computed input.
    pub(super) input: String,
    /// Its dimensions; `None` for one that is not a number.
    pub(super) dims: Vec<Option<usize>>,
    /// What is wrong with the inputs and outputs: there are not one of each.
    pub(super) faults: Vec<String>,
    /// At least one.
    pub(super) outputs: Vec<String>,
    /// Inputs beside the one.
    pub(super) other_inputs: Vec<String>,
    pub(super) types: Types,
    /// In execution order.
    pub(super) nodes: Vec<Node>,
    pub(super) constants: HashMap<String, Arc<Array>>,
}

/// The declared element types of input and output, as ONNX numbers them; 0 where the file does not say it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Types {
    pub(super) input: i32,
    pub(super) output: i32,
}

impl Types {
    /// Whether the input's elements are integers.
    pub(super) fn input_is_integer(self) -> bool {
        self.input != 0 && !is_float(self.input)
    }
}

impl Model {
    /// No network yet, of operator set `opset`.
    #[cfg(test)]
    pub(super) fn empty(opset: i64) -> Self {
        Self {
            opset,
            input: String::new(),
            dims: Vec::new(),
            faults: Vec::new(),
            outputs: Vec::new(),
            other_inputs: Vec::new(),
            types: Types::default(),
            nodes: Vec::new(),
            constants: HashMap::new(),
        }
    }

    /// Reads the bytes of an ONNX file that lies in `folder`.
    ///
    /// # Errors
    /// A phrase that names what is damaged or contradicts itself.
    pub(super) fn read(bytes: Vec<u8>, folder: &Path) -> Result<Self, String> {
        let held = bytes.len();
        let proto = ModelProto::decode(prost::bytes::Bytes::from(bytes)).map_err(|e| format!("is no ONNX file: {e}"))?;
        let opset = operator_set(&proto)?;
        if !OPSETS.contains(&opset) {
            return Err(format!("has operator set {opset}; {} to {} are read", OPSETS.start(), OPSETS.end()));
        }
        let graph = proto.graph.ok_or("is no ONNX file: it holds no graph")?;
        let mut constants = HashMap::new();
        for (name, array) in initialisers(&graph, folder)? {
            if constants.insert(name.clone(), Arc::new(array)).is_some() {
                return Err(format!("has two initialisers called '{name}'"));
            }
        }
        let mut faults = Vec::new();
        let mut inputs = graph.input.iter().filter(|i| !i.name.as_ref().is_some_and(|n| constants.contains_key(n)));
        let first = inputs.next().ok_or("is no network: it has no input")?;
        let (input, dims) = the_input(first)?;
        let types = Types { input: element(first), output: graph.output.first().map_or(0, element) };
        let other_inputs: Vec<String> = inputs.filter_map(|i| i.name.clone()).collect();
        if !other_inputs.is_empty() {
            let count = 1 + other_inputs.len();
            faults.push(format!(
                "it has {count} inputs ({input}, {}), one is supported (make the others initialisers)",
                other_inputs.join(", ")
            ));
        }
        let outputs: Vec<String> = graph.output.iter().map(|o| o.name.clone().unwrap_or_default()).collect();
        match outputs.len() {
            0 => return Err("is no network: it has no output".into()),
            1 => {}
            n => faults.push(format!("it has {n} outputs ({}), one is supported (remove the others)", outputs.join(", "))),
        }
        let mut names = Names::new(held);
        let ends = other_inputs.iter().chain(&outputs).chain([&input]);
        names.take(graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output)).chain(constants.keys()).chain(ends));
        let nodes = Arc::new(Scope::new(folder, opset, proto.functions)).main(&graph.node, &mut names)?;
        let mut model = Self { opset, input, dims, faults, outputs, other_inputs, types, nodes, constants };
        model.check_names()?;
        model.sort()?;
        model.prune();
        Ok(model)
    }

    /// Every name is defined once, and what is read is defined.
    pub(super) fn check_names(&self) -> Result<(), String> {
        let mut defined: BTreeSet<&str> = self.constants.keys().map(String::as_str).collect();
        defined.insert(&self.input);
        defined.extend(self.other_inputs.iter().map(String::as_str));
        for node in &self.nodes {
            for output in node.outputs.iter().filter(|o| !o.is_empty()) {
                if !defined.insert(output) {
                    return Err(format!("defines '{output}' twice, the second time by {} '{}'", node.op, node.label()));
                }
            }
        }
        for node in &self.nodes {
            if let Some(missing) = node.reads().find(|i| !defined.contains(i)) {
                return Err(format!("{} '{}' reads '{missing}', which nothing defines", node.op, node.label()));
            }
        }
        match self.outputs.iter().find(|o| !defined.contains(o.as_str())) {
            None => Ok(()),
            Some(missing) => Err(format!("has the output '{missing}', which nothing defines")),
        }
    }

    /// Puts nodes into an order in which each reads only what is there.
    pub(super) fn sort(&mut self) -> Result<(), String> {
        let producer: HashMap<&str, usize> =
            self.nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().map(move |o| (o.as_str(), i))).collect();
        let mut waits: Vec<usize> = vec![0; self.nodes.len()];
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for from in node.reads().filter_map(|name| producer.get(name)) {
                waits[i] += 1;
                readers[*from].push(i);
            }
        }
        // The smallest place first, so that an ordered file keeps its order.
        let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|&i| waits[i] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(next) = ready.pop_first() {
            order.push(next);
            for &reader in &readers[next] {
                waits[reader] -= 1;
                if waits[reader] == 0 {
                    ready.insert(reader);
                }
            }
        }
        if let Some(stuck) = (0..waits.len()).find(|&i| waits[i] > 0) {
            return Err(format!("is no network: {} '{}' waits for its own output", self.nodes[stuck].op, self.nodes[stuck].label()));
        }
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|i| nodes[i].take()).collect();
        Ok(())
    }

    /// Drops nodes and constants that the output does not depend on.
    pub(super) fn prune(&mut self) {
        let mut wanted: BTreeSet<String> = self.outputs.iter().cloned().collect();
        for node in self.nodes.iter().rev() {
            if node.outputs.iter().any(|o| wanted.contains(o)) {
                wanted.extend(node.reads().map(str::to_string));
                let plain = node.pattern.iter().flat_map(|p| &p.plain);
                let inside: BTreeSet<&String> = plain.clone().flat_map(|n| &n.outputs).collect();
                wanted.extend(plain.flat_map(|n| &n.inputs).filter(|i| !inside.contains(i)).cloned());
            }
        }
        self.nodes.retain(|n| n.outputs.iter().any(|o| !o.is_empty() && wanted.contains(o)));
        self.constants.retain(|name, _| wanted.contains(name));
    }

    /// The node that gives `value`.
    pub(super) fn producer(&self, value: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.outputs.iter().any(|o| o == value))
    }

    /// The one node that reads `value`, once, if that is not the output.
    pub(super) fn sole_reader(&self, value: &str) -> Option<&Node> {
        let mut readers = self.nodes.iter().flat_map(|n| n.reads().filter(|i| *i == value).map(move |_| n));
        let first = readers.next()?;
        (readers.next().is_none() && !self.is_output(value)).then_some(first)
    }

    pub(super) fn is_output(&self, value: &str) -> bool {
        self.outputs.iter().any(|o| o == value)
    }

    /// Whether anybody reads `value`.
    pub(super) fn reads(&self, value: &str) -> bool {
        self.is_output(value) || self.nodes.iter().any(|n| n.reads().any(|i| i == value))
    }

    /// The one element of the constant `value`.
    pub(super) fn scalar(&self, value: &str) -> Option<f32> {
        self.constants.get(value)?.scalar()
    }
}

/// Name and dimensions of an input.
fn the_input(input: &ValueInfoProto) -> Result<(String, Vec<Option<usize>>), String> {
    let name = input.name.clone().unwrap_or_default();
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|t| t.shape.as_ref()).ok_or_else(|| format!("input '{name}' has no shape"))?;
    let dims = shape.dim.iter().map(|d| d.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0));
    Ok((name, dims.collect()))
}

/// The declared element type of a value.
fn element(value: &ValueInfoProto) -> i32 {
    value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).and_then(|t| t.elem_type).unwrap_or(0)
}

/// The version of ONNX's own operators that the file is written for.
///
/// # Errors
/// A phrase where nodes of that domain have none.
fn operator_set(proto: &ModelProto) -> Result<i64, String> {
    let default = |sets: &[super::proto::OperatorSetIdProto]| {
        sets.iter().find(|o| is_default(o.domain.as_deref().unwrap_or_default())).map(|o| o.version.unwrap_or(1))
    };
    if let Some(version) = default(&proto.opset_import) {
        return Ok(version);
    }
    let nodes = proto.graph.iter().flat_map(|g| &g.node);
    let needs_one = nodes.filter(|n| is_default(n.domain.as_deref().unwrap_or_default())).count() > 0;
    // Before version 3 of the format no file named one.
    if proto.opset_import.is_empty() && (needs_one || proto.functions.is_empty()) {
        return match proto.ir_version {
            Some(3..) => Err("is no ONNX file: it names no operator set".into()),
            _ => Ok(1),
        };
    }
    match proto.functions.iter().find_map(|f| default(&f.opset_import)) {
        _ if needs_one => Err("is no ONNX file: it names no operator set for its operations".into()),
        // Where no node is of that domain, any does.
        version => Ok(version.unwrap_or(*OPSETS.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::{node, value};
    use super::super::proto::OperatorSetIdProto;
    use super::*;

    fn of(ir: Option<i64>, sets: &[(&str, Option<i64>)], domain: &str) -> Result<i64, String> {
        let opset_import = sets.iter().map(|(d, v)| OperatorSetIdProto { domain: Some(d.to_string()), version: *v }).collect();
        let mut relu = node("Relu", "", &["x"], &["y"]);
        relu.domain = Some(domain.into());
        let graph = crate::import::onnx::proto::GraphProto { node: vec![relu], input: vec![value("x", &[1])], ..Default::default() };
        operator_set(&ModelProto { ir_version: ir, graph: Some(graph), opset_import, ..Default::default() })
    }

    #[test]
    fn files_without_a_version_are_of_the_first() {
        assert_eq!((of(Some(2), &[], ""), of(None, &[], ""), of(Some(3), &[("", None)], "")), (Ok(1), Ok(1), Ok(1)));
        assert_eq!(of(Some(8), &[("com.acme", Some(3)), ("ai.onnx", Some(18))], ""), Ok(18));
        assert_eq!(of(Some(8), &[("com.acme", Some(3))], "com.acme"), Ok(28));
        assert!(of(Some(8), &[], "").unwrap_err().contains("no operator set"));
        assert!(of(Some(8), &[("com.acme", Some(3))], "").unwrap_err().contains("no operator set"));
    }
}
