//! Bodies of nodes: the main graph, functions that the file defines, branches. Calls of functions become the function's
//! nodes, under names that are taken nowhere else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use prost::Message;
use prost::bytes::Bytes;

use super::array::Array;
use super::branch::{Subgraph, graph};
use super::names::Names;
use super::node::{Attribute, Node};
use super::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto};
use super::scope::{Place, Scope, is_default, key};

/// The most functions that call each other.
const MOST_DEEP: usize = 32;

impl Scope {
    /// The nodes of the main graph.
    ///
    /// # Errors
    /// A phrase that names the node which cannot be read.
    pub(super) fn main(self: &Arc<Self>, nodes: &[NodeProto], names: &mut Names) -> Result<Vec<Node>, String> {
        let mut made = Vec::with_capacity(nodes.len());
        self.body(nodes, &Arc::new(Place::default()), names, &mut made)?;
        Ok(made)
    }

    /// Appends the nodes of a body to those that are `made`.
    ///
    /// # Errors
    /// A phrase that names the node which cannot be read.
    pub(super) fn body(
        self: &Arc<Self>,
        nodes: &[NodeProto],
        place: &Arc<Place>,
        names: &mut Names,
        made: &mut Vec<Node>,
    ) -> Result<(), String> {
        for proto in nodes {
            names.count_node()?;
            let called = self.known.get(&key(proto.domain.as_deref(), proto.op_type.as_deref(), proto.overload.as_deref()));
            match called {
                Some(&function) => self.call(function, proto, place, names, made)?,
                None => made.push(self.node(proto, place, names)?),
            }
        }
        Ok(())
    }

    fn node(self: &Arc<Self>, proto: &NodeProto, place: &Arc<Place>, names: &mut Names) -> Result<Node, String> {
        let (kind, domain) = (proto.op_type(), proto.domain());
        // An operator of another domain is another operator, whatever its name.
        let op = if is_default(domain) { kind.to_string() } else { format!("{domain}.{kind}") };
        let name = place.label(proto.name());
        if !place.is_main() {
            names.spend(proto.input.len() + proto.output.len())?;
        }
        let mut attributes = BTreeMap::new();
        for a in &proto.attribute {
            let Some(given) = resolved(a, place) else { continue };
            let value = self.attribute(given, place, names).map_err(|why| format!("{op} '{name}', attribute '{}' {why}", a.name()))?;
            attributes.insert(a.name().to_string(), value);
        }
        let list = |all: &[String]| all.iter().map(|n| place.name(n)).collect();
        Ok(Node { op, name, inputs: list(&proto.input), outputs: list(&proto.output), attributes, pattern: None })
    }

    fn attribute(self: &Arc<Self>, a: &AttributeProto, place: &Arc<Place>, names: &mut Names) -> Result<Attribute, String> {
        let mut spend = |elements: usize| if place.is_main() { Ok(()) } else { names.spend(elements) };
        let dense = |t: &super::proto::TensorProto| match t.data_type {
            // Text and complex numbers: whoever needs them says so.
            Some(8 | 14 | 15) => Ok(Attribute::Other),
            _ => Ok::<_, String>(Attribute::Tensor(Arc::new(Array::read(t, &self.folder)?))),
        };
        let made = match a.r#type.filter(|t| *t != 0).unwrap_or_else(|| guessed(a)) {
            1 => Attribute::Float(a.f()),
            2 => Attribute::Int(a.i()),
            3 => Attribute::Text(String::from_utf8_lossy(a.s()).into_owned()),
            4 => dense(&a.t.clone().unwrap_or_default())?,
            5 => {
                let bytes = a.g.clone().unwrap_or_default();
                Attribute::Graph(Arc::new(Subgraph::new(self.clone(), place.clone(), bytes)?))
            }
            6 => Attribute::Floats(a.floats.clone()),
            7 => Attribute::Ints(a.ints.clone()),
            8 => Attribute::Texts(a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect()),
            11 => Attribute::Tensor(Arc::new(sparse(a.sparse_tensor.as_ref().unwrap_or(&Bytes::new()), &self.folder)?.1)),
            _ => Attribute::Other,
        };
        spend(match &made {
            Attribute::Text(s) => s.len(),
            Attribute::Tensor(t) => t.len(),
            Attribute::Floats(v) => v.len(),
            Attribute::Texts(v) => v.iter().map(String::len).sum(),
            Attribute::Ints(v) => v.len(),
            Attribute::Graph(g) => g.reads().len(),
            _ => 1,
        })?;
        Ok(made)
    }

    /// Puts the nodes of a function in the place of a call.
    fn call(
        self: &Arc<Self>,
        at: usize,
        proto: &NodeProto,
        place: &Arc<Place>,
        names: &mut Names,
        made: &mut Vec<Node>,
    ) -> Result<(), String> {
        let function = &self.functions[at];
        let name = if is_default(proto.domain()) { proto.op_type().to_string() } else { format!("{}.{}", proto.domain(), proto.op_type()) };
        let label = place.label(if proto.name().is_empty() { proto.output.first().map_or("", String::as_str) } else { proto.name() });
        let fault = |why: &str| format!("{name} '{label}' is a function of the file that {why}");
        if place.calls.contains(&at) {
            return Err(fault("calls itself"));
        }
        if place.calls.len() >= MOST_DEEP {
            return Err(fault("is called too deep in others"));
        }
        let version = function.opset_import.iter().find(|o| is_default(o.domain())).and_then(|o| o.version);
        if let Some(version) = version.filter(|v| *v != self.opset) {
            return Err(fault(&format!("is written for operator set {version}, the file for {}", self.opset)));
        }
        if proto.input.len() > function.input.len() || proto.output.len() > function.output.len() {
            return Err(fault("takes fewer inputs or gives fewer outputs"));
        }
        let mut attributes: HashMap<String, AttributeProto> = HashMap::new();
        for a in function.attribute_proto.iter().chain(&proto.attribute) {
            let declared =
                || function.attribute.iter().any(|n| n == a.name()) || function.attribute_proto.iter().any(|d| d.name() == a.name());
            if let Some(given) = resolved(a, place).filter(|_| declared()) {
                if given.g.is_some() {
                    return Err(fault("takes a graph as an attribute, which is not supported"));
                }
                names.spend(given.encoded_len())?;
                attributes.insert(a.name().into(), given.clone());
            }
        }
        let prefix = names.fresh(&format!("{label}/"));
        let mut inside = Place { prefix, attributes, calls: [&place.calls[..], &[at]].concat(), depth: place.depth, ..Place::default() };
        for (i, formal) in function.input.iter().enumerate() {
            inside.names.insert(formal.clone(), proto.input.get(i).map(|n| place.name(n)).unwrap_or_default());
        }
        let mut copies = Vec::new();
        for (i, formal) in function.output.iter().enumerate() {
            let Some(outer) = proto.output.get(i).filter(|o| !o.is_empty()).map(|o| place.name(o)) else { continue };
            match inside.names.get(formal) {
                Some(inner) => copies.push((inner.clone(), outer)),
                None => drop(inside.names.insert(formal.clone(), outer)),
            }
        }
        self.define(function.node.iter().flat_map(|n| &n.output), &mut inside, names);
        self.body(&function.node, &Arc::new(inside), names, made)?;
        made.extend(copies.iter().map(|(from, to)| Node::new("Identity", &label, &[from], to)));
        Ok(())
    }
}

/// A branch's nodes and constants, by names of their own.
pub(super) type Branch = (Vec<Node>, Vec<(String, Arc<Array>)>);

impl Subgraph {
    /// The nodes of a graph without inputs, in the place of the node `label` that has it, which give its `outputs`.
    ///
    /// # Errors
    /// A phrase that says what of the graph cannot be read.
    pub(super) fn inlined(&self, label: &str, outputs: &[String], names: &mut Names) -> Result<Branch, String> {
        self.inlined_with(label, &[], outputs, names)
    }

    /// The same of a graph with inputs, which are the values called `inputs`.
    ///
    /// # Errors
    /// A phrase that says what of the graph cannot be read.
    pub(super) fn inlined_with(&self, label: &str, inputs: &[String], outputs: &[String], names: &mut Names) -> Result<Branch, String> {
        let graph = graph(&self.bytes)?;
        if graph.input.len() != inputs.len() || graph.output.len() != outputs.len() {
            return Err(format!("has a graph of {} inputs and {} outputs", graph.input.len(), graph.output.len()));
        }
        let mut place = (*self.place).clone();
        place.prefix = names.fresh(&format!("{label}/"));
        place.depth += 1;
        let own: HashSet<&String> = graph.node.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty()).collect();
        // A name of the branch hides the same one outside.
        own.iter().for_each(|o| drop(place.names.remove(*o)));
        for (inner, outer) in graph.input.iter().zip(inputs) {
            place.names.insert(inner.name().to_string(), outer.clone());
        }
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

/// The attribute that stands for `a`: itself, or in a function what the call gives; nothing where it gives none.
fn resolved<'p>(a: &'p AttributeProto, place: &'p Place) -> Option<&'p AttributeProto> {
    match a.ref_attr_name() {
        "" => Some(a),
        named => place.attributes.get(named),
    }
}

/// Files from before the type was stored have just the one field.
fn guessed(a: &AttributeProto) -> i32 {
    let held = [
        (a.t.is_some(), 4),
        (a.g.is_some(), 5),
        (a.s.is_some(), 3),
        (a.f.is_some(), 1),
        (a.i.is_some(), 2),
        (!a.floats.is_empty(), 6),
        (!a.strings.is_empty(), 8),
    ];
    held.iter().find(|(is, _)| *is).map_or(7, |(_, ty)| *ty)
}

/// A sparse tensor by its bytes: its name, and the dense one that it stands for.
fn sparse(bytes: &Bytes, folder: &Path) -> Result<(String, Array), String> {
    let tensor = SparseTensorProto::decode(bytes.clone()).map_err(|e| format!("holds no sparse tensor: {e}"))?;
    Array::read_sparse(&tensor, folder)
}

/// The constants that a graph holds, by name.
///
/// # Errors
/// A phrase that names the one which cannot be read.
pub(super) fn initialisers(graph: &GraphProto, folder: &Path) -> Result<Vec<(String, Array)>, String> {
    let dense = graph.initializer.iter().map(|t| {
        let array = Array::read(t, folder).map_err(|why| format!("initialiser '{}' {why}", t.name()))?;
        Ok((t.name().to_string(), array))
    });
    let sparse = graph.sparse_initializer.iter().map(|b| sparse(b, folder).map_err(|why| format!("a sparse initialiser {why}")));
    dense.chain(sparse).collect()
}

#[cfg(test)]
mod tests {
    use super::super::hostile::{node, tensor, value};
    use super::super::model::Model;
    use super::super::proto::{FunctionProto, ModelProto, OperatorSetIdProto};
    use super::*;

    fn float(name: &str, f: Option<f32>, of: &str) -> AttributeProto {
        AttributeProto { name: Some(name.into()), f, r#type: Some(1), ref_attr_name: Some(of.into()), ..Default::default() }
    }

    fn own(op: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto { domain: Some("own".into()), ..node(op, name, inputs, outputs) }
    }

    fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> FunctionProto {
        let list = |names: &[&str]| names.iter().map(|s| s.to_string()).collect();
        let (name, domain) = (Some(name.to_string()), Some("own".to_string()));
        FunctionProto { name, domain, input: list(inputs), output: list(outputs), node: nodes, ..Default::default() }
    }

    /// alpha · x, where alpha is 2 if the call does not say.
    fn scale() -> FunctionProto {
        let mut constant = node("Constant", "", &[], &["k"]);
        constant.attribute = vec![float("value_float", None, "alpha")];
        let mut made = function("Scale", &["a"], &["b"], vec![constant, node("Mul", "times", &["a", "k"], &["b"])]);
        made.attribute_proto = vec![float("alpha", Some(2.0), "")];
        made
    }

    /// From x to y.
    fn read(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> Result<Model, String> {
        let graph = GraphProto {
            node: nodes,
            initializer: vec![tensor("c", &[2], &[1.0, -1.0])],
            input: vec![value("x", &[1, 2])],
            output: vec![value("y", &[])],
            sparse_initializer: vec![],
        };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(18) }];
        let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, functions, ..Default::default() };
        Model::read(model.encode_to_vec(), Path::new(""))
    }

    fn ops(model: &Model) -> Vec<String> {
        model.nodes.iter().map(|n| format!("{} {}({})", n.op, n.name, n.inputs.join(", "))).collect()
    }

    #[test]
    fn calls_become_the_functions_nodes() {
        let mut thrice = own("Scale", "two", &["h"], &["y"]);
        thrice.attribute = vec![float("alpha", Some(3.0), "")];
        let model = read(vec![own("Scale", "one", &["x"], &["h"]), thrice], vec![scale()]).unwrap();
        assert_eq!(ops(&model), ["Constant ()", "Mul one/times(x, one/k)", "Constant ()", "Mul two/times(h, two/k)"]);
        let of = |i: usize| model.nodes[i].float("value_float", 0.0);
        assert_eq!((of(0), of(2), model.nodes[3].outputs[0].as_str()), (2.0, 3.0, "y"));
    }

    #[test]
    fn functions_call_functions_and_pass_values_on() {
        let mut inner = own("Scale", "s", &["p"], &["q"]);
        inner.attribute = vec![float("alpha", None, "by")];
        let mut outer = function("Twice", &["p", "unused"], &["q", "p"], vec![inner]);
        outer.attribute = vec!["by".into()];
        let mut call = own("Twice", "n", &["x"], &["h", "same"]);
        call.attribute = vec![float("by", Some(5.0), "")];
        let nodes = vec![call, node("Add", "sum", &["h", "same"], &["y"])];
        let model = read(nodes, vec![outer, scale()]).unwrap();
        assert_eq!(ops(&model), ["Constant ()", "Mul n/s/times(x, n/s/k)", "Identity n(x)", "Add sum(h, same)"]);
        assert_eq!(model.nodes[0].float("value_float", 0.0), 5.0);
    }

    #[test]
    fn calls_that_do_not_end_are_refused() {
        let itself = function("F", &["a"], &["b"], vec![own("F", "again", &["a"], &["b"])]);
        assert!(
            read(vec![own("F", "n", &["x"], &["y"])], vec![itself])
                .unwrap_err()
                .contains("'n/again' is a function of the file that calls itself")
        );
        // Each calls the next one twice: 2³¹ nodes from a file of a few kilobytes.
        let name = |i: usize| format!("F{i}");
        let doubling = |i: usize| {
            function(&name(i), &["a"], &["c"], vec![own(&name(i + 1), "", &["a"], &["b"]), own(&name(i + 1), "", &["b"], &["c"])])
        };
        let deep = (0..31).map(doubling).collect();
        assert!(read(vec![own("F0", "n", &["x"], &["y"])], deep).unwrap_err().contains("more than 65536 nodes"));
        let chain = |i: usize| function(&name(i), &["a"], &["b"], vec![own(&name(i + 1), "", &["a"], &["b"])]);
        assert!(read(vec![own("F0", "n", &["x"], &["y"])], (0..40).map(chain).collect()).unwrap_err().contains("too deep"));
    }

    #[test]
    fn functions_that_do_not_fit_are_refused() {
        let refused = |f: FunctionProto, call: NodeProto| read(vec![call], vec![f]).unwrap_err();
        let other = FunctionProto { opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }], ..scale() };
        assert!(
            refused(other, own("Scale", "n", &["x"], &["y"]))
                .contains("own.Scale 'n' is a function of the file that is written for operator set 13")
        );
        assert!(refused(scale(), own("Scale", "n", &["x", "c"], &["y"])).contains("fewer inputs"));
        // A function does not see the values around it.
        let leaky = function("Leak", &["a"], &["b"], vec![node("Add", "", &["a", "c"], &["b"])]);
        assert!(refused(leaky, own("Leak", "n", &["x"], &["y"])).contains("reads 'n/c', which nothing defines"));
    }
}
