//! An ONNX file as nodes in execution order and constants by name, everything that it claims checked first.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use super::array::Array;
use super::body::initialisers;
use super::elem::Type;
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
    /// The arrays that it takes, constants apart; at least one.
    pub(super) inputs: Vec<Input>,
    /// The names of the values that it gives; at least one.
    pub(super) outputs: Vec<String>,
    /// The element type of each of them.
    pub(super) output_types: Vec<i32>,
    /// In execution order.
    pub(super) nodes: Vec<Node>,
    pub(super) constants: HashMap<String, Arc<Array>>,
}

/// An array that a network takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    pub(super) name: String,
    /// Its dimensions; `None` for one that is not a number.
    pub(super) dims: Vec<Option<usize>>,
    /// The declared element type, as ONNX numbers it; 0 where the file does not say it.
    pub(super) element: i32,
}

impl Input {
    /// The type of its elements if they are no floats; int64 for what holds no numbers.
    pub(super) fn integers(&self) -> Option<Type> {
        let ty = Type::of(self.element.into()).filter(|ty| !ty.is_float()).unwrap_or(Type::I64);
        (self.element != 0 && !is_float(self.element)).then_some(ty)
    }

    /// Its shape as messages show it, `?` for an axis of no size.
    pub(super) fn shown(&self) -> String {
        let axes: Vec<String> = self.dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
        format!("[{}]", axes.join(", "))
    }
}

impl Model {
    /// No network yet, of operator set `opset`.
    #[cfg(test)]
    pub(super) fn empty(opset: i64) -> Self {
        Self { opset, inputs: Vec::new(), outputs: Vec::new(), output_types: Vec::new(), nodes: Vec::new(), constants: HashMap::new() }
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
        let computed = |i: &&ValueInfoProto| !i.name.as_ref().is_some_and(|n| constants.contains_key(n));
        let inputs = graph.input.iter().filter(computed).map(input).collect::<Result<Vec<_>, _>>()?;
        if inputs.is_empty() {
            return Err("is no network: it has no input".into());
        }
        let outputs: Vec<String> = graph.output.iter().map(|o| o.name.clone().unwrap_or_default()).collect();
        if outputs.is_empty() {
            return Err("is no network: it has no output".into());
        }
        if let Some((at, twice)) = outputs.iter().enumerate().find(|(at, o)| outputs[..*at].contains(o)) {
            return Err(format!("has the output '{twice}' twice, the second time as its output {at}"));
        }
        let output_types = graph.output.iter().map(element).collect();
        let mut names = Names::new(held);
        let ends = inputs.iter().map(|i| &i.name).chain(&outputs);
        names.take(graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output)).chain(constants.keys()).chain(ends));
        let nodes = Arc::new(Scope::new(folder, opset, proto.functions)).main(&graph.node, &mut names)?;
        let mut model = Self { opset, inputs, outputs, output_types, nodes, constants };
        model.check_names()?;
        model.sort()?;
        model.prune();
        Ok(model)
    }

    /// Every name is defined once, and what is read is defined.
    pub(super) fn check_names(&self) -> Result<(), String> {
        let mut defined: BTreeSet<&str> = self.constants.keys().map(String::as_str).collect();
        if let Some(twice) = self.inputs.iter().find(|input| !defined.insert(&input.name)) {
            return Err(format!("has two inputs called '{}'", twice.name));
        }
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

    /// Gives input `name` the axes of `shape` where it has none of a size.
    ///
    /// # Errors
    /// A phrase where there is no such input, or it has other axes.
    pub(super) fn fix(&mut self, name: &str, shape: &[usize]) -> Result<(), String> {
        let known: Vec<String> = self.inputs.iter().map(|i| format!("'{}' {}", i.name, i.shown())).collect();
        let Some(input) = self.inputs.iter_mut().find(|i| i.name == name) else {
            return Err(format!("the network has no input of that name; it takes {}", known.join(", ")));
        };
        let fits = input.dims.len() == shape.len() && input.dims.iter().zip(shape).all(|(d, s)| d.is_none_or(|d| d == *s));
        if !fits {
            return Err(format!("does not fit what the file declares, {}", input.shown()));
        }
        input.dims = shape.iter().map(|&s| Some(s)).collect();
        Ok(())
    }

    /// The input of this name.
    pub(super) fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.name == name)
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

/// What the file says of an input.
///
/// # Errors
/// A phrase for one without a shape.
fn input(input: &ValueInfoProto) -> Result<Input, String> {
    let name = input.name.clone().unwrap_or_default();
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|t| t.shape.as_ref()).ok_or_else(|| format!("input '{name}' has no shape"))?;
    let dims = shape.dim.iter().map(|d| d.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0));
    Ok(Input { name, dims: dims.collect(), element: element(input) })
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
