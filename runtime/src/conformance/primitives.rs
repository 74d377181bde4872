//! Drawn networks of primitives on every executor against f64, on poisoned buffers.

use super::devices;
use super::primitive_cases::PrimitiveCase;
use crate::{ArrayView, Options, Session, reference};

/// How many networks are drawn.
const CASES: u64 = 600;

#[test]
fn drawn_networks_of_primitives_agree_with_f64() {
    let only: Option<u64> = std::env::var("THINFER_CASE").ok().and_then(|n| n.parse().ok());
    let count = std::env::var("THINFER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let mut wrong = Vec::new();
    for device in devices() {
        for key in only.map_or(0..count, |n| n..n + 1) {
            let case = PrimitiveCase::draw(key);
            let inputs: Vec<&[f32]> = case.inputs.iter().map(|x| &x[..]).collect();
            let expected = reference::values(&case.artifact, &inputs).pop().unwrap();
            let options = Options { batch: case.batch, cache: None, ..Options::default() };
            let model = case.artifact.model();
            let mut session = Session::new(&device, &case.artifact, &options).unwrap_or_else(|e| panic!("case {key}: {e}\n{model:#?}"));
            let names: Vec<String> = (0..inputs.len()).map(|at| format!("x{at}")).collect();
            let arrays: Vec<(&str, ArrayView<'_>)> = names.iter().map(|n| &n[..]).zip(inputs.iter().map(|&x| ArrayView::F32(x))).collect();
            for _ in 0..2 {
                session.poison();
                let outputs = session.run(&arrays[..]).unwrap_or_else(|e| panic!("case {key}: {e}"));
                let compared = expected.compare(outputs.f32("y").unwrap());
                if let Err(e) = compared {
                    let layers: Vec<_> = model.layers.iter().map(|l| format!("{:?} of {:?}", l.op, l.inputs)).collect();
                    wrong.push(format!("case {} on {}: {e}\n{}", case.key, device.info(), layers.join("\n")));
                    break;
                }
            }
        }
    }
    // The smallest first: it shows the most.
    wrong.sort_by_key(String::len);
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong[..wrong.len().min(8)].join("\n\n"));
}
