//! Networks of several inputs and outputs, from their files to the arrays that they give; and axes that a file leaves free.

use std::path::Path;

use prost::Message;
use thinfer::artifact::Dtype;
use thinfer::{ArrayView, Device, Options, Session};

use super::hostile::{node, tensor, value};
use super::proto::*;
use super::read;
use crate::error::Result;
use crate::import::{Checkpoint, InputShape};
use crate::lower::{self, Factored};
use crate::rank::Policy;

/// y = relu(x·W + f)·ids of samples x [N, 2] and f [N, 3] and one vector of integers ids [3]; z = x·W, its axes turned.
fn model(first: i64) -> ModelProto {
    let mut ids = value("ids", &[3]);
    ids.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(6);
    let mut cast = node("Cast", "cast", &["ids"], &["idf"]);
    cast.attribute = vec![AttributeProto { name: Some("to".into()), i: Some(1), r#type: Some(2), ..Default::default() }];
    let graph = GraphProto {
        node: vec![
            node("MatMul", "fc", &["x", "w"], &["h"]),
            node("Add", "sum", &["h", "f"], &["s"]),
            node("Relu", "act", &["s"], &["r"]),
            cast,
            node("Mul", "gate", &["r", "idf"], &["y"]),
            node("Transpose", "turn", &["h"], &["z"]),
        ],
        initializer: vec![tensor("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])],
        input: vec![value("x", &[first, 2]), value("f", &[first, 3]), ids],
        output: vec![value("y", &[]), value("z", &[])],
        sparse_initializer: vec![],
    };
    let opset = OperatorSetIdProto { domain: None, version: Some(17) };
    ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() }
}

fn imported(model: &ModelProto, shapes: &[&str]) -> Result<Checkpoint> {
    let shapes: Vec<InputShape> = shapes.iter().map(|s| s.parse().unwrap()).collect();
    read(Path::new("net.onnx"), model.encode_to_vec(), &shapes).map(|(checkpoint, _)| checkpoint)
}

fn session(checkpoint: &Checkpoint) -> Session {
    let graph = checkpoint.meta.graph.clone().unwrap();
    let factored = Factored::new(&graph, checkpoint, lower::Options { dense_only: true, ..Default::default() }, &|_, _, _| ()).unwrap();
    let artifact = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense).unwrap(), Dtype::F32, false).unwrap();
    Session::new(&Device::cpu(), &artifact, &Options { cache: None, ..Options::default() }).unwrap()
}

#[test]
fn three_arrays_become_two() {
    let checkpoint = imported(&model(0), &[]).unwrap();
    let mut session = session(&checkpoint);
    let declared: Vec<String> = session.inputs().iter().map(|i| i.spec.to_string()).collect();
    assert_eq!(declared, ["'x', float32 [N, 2]", "'f', float32 [N, 3]", "'ids', int32 [3]"]);
    let (x, f, ids) = ([1.0f32, 0.0, 0.0, 2.0], [-5.0f32, 1.0, 1.0, 0.0, -20.0, 0.5], [2i32, 3, -1]);
    let outputs = session.run(&[("ids", ArrayView::from(&ids)), ("f", ArrayView::from(&f)), ("x", ArrayView::from(&x))]).unwrap();
    // x·W = [1, 2, 3] and [8, 10, 12].
    assert_eq!(outputs.f32("y"), Some(&[0.0, 9.0, -4.0, 16.0, 0.0, -12.5][..]));
    let z = outputs.get("z").unwrap();
    assert_eq!((&z.shape[..], z.data.as_f32()), (&[3, 2][..], Some(&[1.0, 8.0, 2.0, 10.0, 3.0, 12.0][..])));
    assert_eq!(outputs.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["y", "z"]);
}

#[test]
fn samples_of_one_input_do_not_meet_those_of_another() {
    // `f` has as many rows as there may be samples, and none of them is a sample's.
    let mut fixed = model(0);
    fixed.graph.as_mut().unwrap().input[1] = value("f", &[2, 3]);
    let why = imported(&fixed, &[]).unwrap_err().to_string();
    assert!(why.contains("brings the samples of one value to another axis of the other"), "{why}");
    // One row is for all of them.
    fixed.graph.as_mut().unwrap().input[1] = value("f", &[1, 3]);
    let mut session = session(&imported(&fixed, &[]).unwrap());
    let inputs =
        [("x", ArrayView::F32(&[1.0, 0.0, 0.0, 2.0])), ("f", ArrayView::F32(&[0.0, -100.0, 1.0])), ("ids", ArrayView::I32(&[1; 3]))];
    assert_eq!(session.run(&inputs).unwrap().f32("y"), Some(&[1.0, 0.0, 4.0, 8.0, 0.0, 13.0][..]));
}

#[test]
fn free_axes_are_fixed_by_their_names() {
    let free = |dims: &[i64]| {
        let mut model = model(0);
        model.graph.as_mut().unwrap().input[0] = value("x", dims);
        model
    };
    let why = imported(&free(&[0, 0]), &[]).unwrap_err().to_string();
    assert!(why.contains("'x' has axes without a size: [?, ?] (--shape 'x=N,N'"), "{why}");
    let spec = |checkpoint: &Checkpoint, at: usize| checkpoint.meta.ends.as_ref().unwrap().inputs[at].spec.to_string();
    let fixed = imported(&free(&[0, 0]), &["x=1,2", "f=1,3"]).unwrap();
    assert_eq!([0, 1, 2].map(|at| spec(&fixed, at)), ["'x', float32 [1, 2]", "'f', float32 [1, 3]", "'ids', int32 [3]"]);
    for (shape, expected) in [
        ("q=1,2", "--shape q=1,2: the network has no input of that name; it takes 'x' [?, ?], 'f' [?, 3], 'ids' [3]"),
        ("x=1,2,3", "--shape x=1,2,3: does not fit what the file declares, [?, ?]"),
        ("f=1,4", "--shape f=1,4: does not fit what the file declares, [?, 3]"),
    ] {
        assert_eq!(imported(&free(&[0, 0]), &[shape]).unwrap_err().to_string(), expected);
    }
}
