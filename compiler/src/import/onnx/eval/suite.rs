//! ONNX's own tests of single operations, over constants: each folds to what the suite expects, or stays.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use super::super::array::Array;
use super::super::body::initialisers;
use super::super::elem::Type;
use super::super::model::Model;
use super::super::names::Names;
use super::super::node::Node;
use super::super::proto::ModelProto;
use super::super::scope::Scope;
use super::super::{fold, legacy};
use super::Folding;

/// What a file's `output` folds to, and where it does not the operations that stay.
fn folded(proto: &ModelProto, constants: &HashMap<String, Arc<Array>>, output: &str) -> Result<Arc<Array>, String> {
    let opset = proto.opset_import.iter().find(|o| o.domain().is_empty()).map_or(1, |o| o.version());
    let scope = Arc::new(Scope::new(Path::new(""), opset, proto.functions.clone()));
    let nodes = scope.main(&proto.graph.as_ref().unwrap().node, &mut Names::new(1 << 20))?;
    let constants = constants.clone();
    let mut model = Model {
        inputs: vec![crate::import::onnx::model::Input { name: "thinfer.input".into(), ..Default::default() }],
        outputs: vec![output.into()],
        nodes,
        constants,
        ..Model::empty(opset)
    };
    model.sort()?;
    model.prune();
    legacy::modernise(&mut model).map_err(|faults| faults.join("; "))?;
    fold::constants(&mut model)?;
    let why = |n: &Node| {
        let inputs: Option<Vec<_>> = n.inputs.iter().map(|i| model.constants.get(i).cloned().map(Some)).collect();
        let told = inputs.and_then(|inputs| Folding::new(opset, 0).evaluate(n, &inputs)).and_then(Result::err);
        format!("{} {}", n.op, told.unwrap_or("stays".into()))
    };
    model.constants.get(output).cloned().ok_or_else(|| model.nodes.first().map_or("nothing".into(), why))
}

/// The suite has the outputs of this one with four digits.
const FOUR_DIGITS: &str = "test_averagepool_2d_ceil_last_window_starts_on_pad";

/// Whether two arrays are the same, floats but for their last bits.
fn differ(name: &str, made: &Array, wanted: &Array) -> Option<String> {
    if (made.ty(), &made.shape) != (wanted.ty(), &wanted.shape) {
        return Some(format!("{} of {:?}, not {} of {:?}", made.ty().name(), made.shape, wanted.ty().name(), wanted.shape));
    }
    let near = match made.ty() {
        _ if name == FOUR_DIGITS => 6e-5,
        Type::F64 | Type::F32 => 2e-6,
        Type::F16 => 2e-3,
        Type::BF16 => 1e-2,
        _ => 0.0,
    };
    let (a, b) = (made.to_doubles(), wanted.to_doubles());
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= near * b.abs().max(1.0);
    let exact = made.stored() == wanted.stored();
    let at = (0..a.len()).find(|&i| !same(a[i], b[i]) || !exact)?;
    Some(format!("element {at} is {}, not {}", a[at], b[at]))
}

/// Needs the files that tests/onnx/suite.py writes, in the folder THINFER_SUITE.
#[test]
fn every_operation_of_the_suite_folds_rightly_or_stays() {
    let Some(folder) = std::env::var_os("THINFER_SUITE") else {
        eprintln!("skipped: no folder THINFER_SUITE");
        return;
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let (mut right, mut wrong, mut stayed) = (0, Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for path in &paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let proto = ModelProto::decode(&std::fs::read(path).unwrap()[..]).unwrap();
        let graph = proto.graph.as_ref().unwrap();
        let constants: HashMap<String, Arc<Array>> = match initialisers(graph, Path::new("")) {
            Ok(all) => all.into_iter().map(|(name, array)| (name, Arc::new(array))).collect(),
            Err(why) => {
                stayed.entry(why).or_default().push(name);
                continue;
            }
        };
        let mut verdict = Ok(());
        for (i, output) in graph.output.iter().enumerate() {
            match folded(&proto, &constants, output.name()) {
                Err(why) => verdict = Err(why),
                Ok(made) => {
                    if let Some(why) = differ(&name, &made, &constants[&format!("thinfer.output.{i}")]) {
                        wrong.push(format!("{name}, output {i}: {why}"));
                    }
                }
            }
        }
        match verdict {
            Ok(()) => right += 1,
            Err(why) => stayed.entry(why).or_default().push(name),
        }
    }
    for (why, names) in &stayed {
        println!(
            "{} not folded: {why} ({}{})",
            names.len(),
            names[..names.len().min(3)].join(", "),
            if names.len() > 3 { ", …" } else { "" }
        );
    }
    println!("{right} of {} folded, {} wrong:\n{}", paths.len(), wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty() && right > 1000, "{right} right, {} wrong", wrong.len());
}
