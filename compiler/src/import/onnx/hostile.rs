//! Files that are damaged, contradict themselves or claim too much: each is refused in one line, and nothing is allocated
//! for what is only claimed.

use std::path::Path;

use prost::Message;

use super::proto::*;
use super::read;

pub(super) fn tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto { name: Some(name.into()), dims: dims.to_vec(), data_type: Some(1), raw_data: Some(raw.into()), ..TensorProto::default() }
}

pub(super) fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let list = |names: &[&str]| names.iter().map(|s| s.to_string()).collect();
    NodeProto { op_type: Some(op.into()), name: Some(name.into()), input: list(inputs), output: list(outputs), ..NodeProto::default() }
}

pub(super) fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| DimensionProto { dim_value: Some(d), dim_param: None };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape: Some(shape) });
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type }) }
}

/// x [1, 2] through a matrix and a ReLU to y.
fn sound() -> ModelProto {
    let graph = GraphProto {
        node: vec![node("Gemm", "fc", &["x", "w"], &["h"]), node("Relu", "act", &["h"], &["y"])],
        initializer: vec![tensor("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0])],
        input: vec![value("x", &[1, 2])],
        output: vec![value("y", &[])],
        sparse_initializer: vec![],
    };
    let opset = OperatorSetIdProto { domain: None, version: Some(13) };
    ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() }
}

/// What is said of `bytes`; `None` where they are read.
fn said(bytes: &[u8]) -> Option<String> {
    let said = read(Path::new("net.onnx"), bytes.to_vec(), &[]).err().map(|e| e.to_string());
    if let Some(said) = &said {
        assert!(said.contains("net.onnx") && said.lines().count() == 1, "{said}");
    }
    said
}

#[test]
fn contradictions_are_named() {
    type Change = (&'static str, fn(&mut GraphProto));
    let changes: [Change; 20] = [
        ("Relu 'act' waits for its own output", |g| g.node[1].input[0] = "y".into()),
        ("waits for its own output", |g| {
            g.node[0].input[0] = "z".into();
            g.node.push(node("Relu", "back", &["h"], &["z"]));
        }),
        ("Gemm 'fc' reads 'w', which nothing defines", |g| g.initializer.clear()),
        ("two initialisers called 'w'", |g| g.initializer.push(g.initializer[0].clone())),
        ("defines 'h' twice, the second time by Relu 'more'", |g| g.node.push(node("Relu", "more", &["x"], &["h"]))),
        ("defines 'x' twice", |g| g.node.push(node("Relu", "more", &["h"], &["x"]))),
        ("output 'q', which nothing defines", |g| g.output[0].name = Some("q".into())),
        ("has two inputs called 'x'", |g| g.input.push(value("x", &[1, 2]))),
        ("has the output 'y' twice", |g| g.output.push(value("y", &[]))),
        ("it has no output", |g| g.output.clear()),
        ("has 16 bytes, its shape [1073741824, 2] needs 8589934592", |g| g.initializer[0].dims = vec![1 << 30, 2]),
        ("more than can be counted", |g| g.initializer[0].dims = vec![1 << 40, 1 << 40]),
        ("dimension of -2", |g| g.initializer[0].dims = vec![-2, -2]),
        ("has 0 elements, its shape [2, 2] needs 4", |g| g.initializer[0].raw_data = None),
        ("not below the file's folder", |g| {
            let entry = StringStringEntryProto { key: Some("location".into()), value: Some("../w.bin".into()) };
            (g.initializer[0].data_location, g.initializer[0].external_data) = (Some(1), vec![entry]);
        }),
        ("which is too large", |g| g.input[0] = value("x", &[1, 1 << 40])),
        ("Gemm 'fc' multiplies a value of [2], which is no matrix", |g| g.input[0] = value("x", &[2])),
        ("has axes without a size: [1, ?]", |g| g.input[0] = value("x", &[1, 0])),
        ("multiplies a value of [1, 3], where its weight takes 2 features", |g| g.input[0] = value("x", &[1, 3])),
        ("has NaN as element 2 of 'fc.weight'", |g| g.initializer[0] = tensor("w", &[2, 2], &[1.0, f32::NAN, 0.0, 0.0])),
    ];
    assert_eq!(said(&sound().encode_to_vec()), None);
    for (expected, change) in changes {
        let mut model = sound();
        change(model.graph.as_mut().unwrap());
        let said = said(&model.encode_to_vec()).unwrap_or_default();
        assert!(said.contains(expected), "{expected:?} not in {said:?}");
    }
}

#[test]
fn what_no_graph_can_hold_is_listed_node_by_node() {
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    graph.node[1] = node("RMSNormalization", "norm", &["h", "w"], &["n"]);
    graph.node.push(node("MatMul", "scores", &["n", "h"], &["s"]));
    graph.node.push(NodeProto { domain: Some("com.acme".into()), ..node("Relu", "strange", &["s"], &["t"]) });
    graph.node.push(node("TopK", "", &["t"], &["y"]));
    let said = said(&model.encode_to_vec()).unwrap();
    assert!(said.contains("3 nodes cannot be imported: RMSNormalization 'norm' has a constant of [2, 2]"), "{said}");
    for part in ["com.acme.Relu 'strange' is an operation of another domain", "TopK 'y' gives indices"] {
        assert!(said.contains(part), "{part:?} not in {said:?}");
    }
}

#[test]
fn ends_and_nodes_are_told_together() {
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![value("x", &[0, 3, 0, 0]), value("state", &[1, 2]), value("more", &[2, 0])];
    graph.output.push(value("h", &[1, 2]));
    graph.node.push(node("TopK", "around", &["h", "state"], &["l"]));
    graph.node.push(node("TopK", "unread", &["h", "state"], &["m"]));
    graph.output.push(value("l", &[1, 2]));
    let said = said(&model.encode_to_vec()).unwrap();
    for part in [
        "axes without a size: [?, 3, ?, ?] (--shape 'x=N,3,N,N'",
        "'more' has axes without a size: [2, ?]",
        "1 node cannot be imported: TopK 'around'",
    ] {
        assert!(said.contains(part), "{part:?} not in {said:?}");
    }
}

#[test]
fn what_means_something_else_is_refused() {
    let norm = |outputs: &[&str]| node("BatchNormalization", "norm", &["x", "g", "g", "g", "g"], outputs);
    let of = |opset: i64, nodes: Vec<NodeProto>| {
        let mut model = sound();
        model.opset_import[0].version = Some(opset);
        let graph = model.graph.as_mut().unwrap();
        graph.initializer.push(tensor("g", &[2], &[1.0, 2.0]));
        graph.initializer.push(tensor("zero", &[], &[0.0]));
        graph.node = nodes;
        said(&model.encode_to_vec()).unwrap_or_default()
    };
    // Before operator set 14 five outputs meant the statistics of the batch at hand.
    assert!(of(9, vec![norm(&["y", "a", "b", "c", "d"])]).contains("normalises by the batch at hand"));
    assert_eq!(of(9, vec![norm(&["y"])]), "");
    // A condition that chooses, and no test for NaN.
    let chosen = vec![node("Softmax", "p", &["x"], &["p"]), node("Where", "w", &["g", "zero", "p"], &["y"])];
    assert!(of(17, chosen).contains("Where 'w' has a condition that is no truth"));
    // Samples that a node mixes, in a file that leaves open how many there are.
    let mut model = sound();
    model.graph.as_mut().unwrap().input[0] = value("x", &[0, 2]);
    model.graph.as_mut().unwrap().node = vec![node("ReduceMean", "mean", &["x"], &["y"])];
    let why = said(&model.encode_to_vec()).unwrap_or_default();
    assert!(why.contains("ReduceMean 'mean' runs over the samples"), "{why}");
}

#[test]
fn operator_sets_and_other_files_are_told() {
    for (version, read) in [(0, false), (1, true), (6, true), (7, true), (28, true), (29, false)] {
        let mut model = sound();
        model.opset_import[0].version = Some(version);
        assert_eq!(said(&model.encode_to_vec()).is_none(), read, "{version}");
    }
    assert!(said(b"").unwrap().contains("is no ONNX file"));
    assert!(said(b"not an onnx file at all").unwrap().contains("is no ONNX file"));
    // A length of 2 GiB in 12 bytes.
    assert!(said(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0, 0, 0, 0]).unwrap().contains("is no ONNX file"));
}

#[test]
fn claims_are_not_allocated_for() {
    // Values of 2^58 elements, and constants that would fill them.
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    let ints = |name: &str, values: &[i64]| AttributeProto {
        name: Some(name.into()),
        ints: values.to_vec(),
        r#type: Some(7),
        ..Default::default()
    };
    graph.input[0] = value("x", &[1, 1, 2, 2]);
    graph.initializer = vec![tensor("w", &[1, 1, 1, 1], &[1.0]), tensor("half", &[], &[0.5])];
    let mut conv = node("Conv", "wide", &["x", "w"], &["h"]);
    conv.attribute = vec![ints("pads", &[1 << 28; 4])];
    graph.node = vec![conv, node("Mul", "all", &["h", "half"], &["y"])];
    let why = said(&model.encode_to_vec()).unwrap();
    assert!(why.contains("Conv 'wide' would need a constant of 288230377225453569 elements"), "{why}");
    let graph = model.graph.as_mut().unwrap();
    graph.input[0] = value("x", &[1, 1 << 28]);
    graph.node = vec![node("Mul", "all", &["x", "half"], &["y"])];
    // One number is multiplied by without a constant of as many.
    assert_eq!(said(&model.encode_to_vec()), None);
}

#[test]
fn no_damage_ends_in_a_panic() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/cases");
    for name in ["shortcut_option_a", "zeros_around_an_image", "matmul_of_one_row", "pool_average_ceil"] {
        let bytes = std::fs::read(case.join(format!("{name}.onnx"))).unwrap();
        for end in 0..bytes.len() {
            assert!(said(&bytes[..end]).is_some(), "{name} cut at {end}");
        }
        for at in 0..bytes.len() {
            for bits in [0x01, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= bits;
                said(&changed);
            }
        }
    }
}
