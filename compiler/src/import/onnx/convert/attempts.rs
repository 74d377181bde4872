//! How a network is converted: with which samples, and whether in an order of its input that its readers ask for.

use thinfer::artifact::TensorSpec;

use super::ends::{self, FirstAxis, Samples};
use super::faults::{Failure, Faults};
use super::kept::Kept;
use super::{Converted, Converter};
use crate::import::onnx::model::Model;
use crate::import::onnx::node::Node;

/// Turns `model` into a graph called `name`.
///
/// Inputs whose first axis has no fixed size have their samples along that axis; all others are the same for every sample. The
/// network is converted with two numbers of samples, which must give one network: what depends on that number cannot run sample by
/// sample. Where all inputs have one fixed first axis longer than 1, it is read as samples where the network keeps them apart, else as
/// one sample.
///
/// # Errors
/// What is wrong with the inputs and outputs, and every node that cannot be converted, with its operation, its name and the
/// reason.
pub(in crate::import::onnx) fn convert(model: &Model, name: &str) -> Result<Converted, Faults> {
    match ends::first_axis(model) {
        FirstAxis::Free => {
            let converted = attempt(model, name, Samples::Along(2))?;
            let other = attempt(model, name, Samples::Along(3))?;
            if converted.graph != other.graph || converted.params != other.params {
                let free = model.inputs.iter().find(|i| i.dims.first() == Some(&None)).map_or("", |i| &i.name);
                let why = format!(
                    "it computes other things for 2 samples than for 3, so samples cannot be run one by one (fix the first axis of '{free}' to 1 by --shape)"
                );
                return Err(Faults { ends: vec![why], nodes: Vec::new() });
            }
            // Where there is one sample, a Squeeze that names no axes takes its axis, too.
            let squeezes = |n: &Node| n.op == "Squeeze" && n.ints("axes").is_none() && n.input(1).is_none();
            if model.nodes.iter().any(squeezes) {
                let one = attempt(model, name, Samples::None)?;
                if converted.graph != one.graph || converted.params != one.params {
                    let why = "it squeezes axes that it does not name and computes other things for 1 sample than for 2 (name the axes)";
                    return Err(Faults { ends: vec![why.into()], nodes: Vec::new() });
                }
            }
            Ok(converted)
        }
        FirstAxis::Of(samples) => {
            let apart = attempt(model, name, Samples::Along(samples));
            // Nothing says that these are samples: where an output has them elsewhere, they are an axis like others.
            match apart.as_ref().is_ok_and(|c| c.ends.outputs.iter().all(stand_in_front)) {
                true => apart,
                false => attempt(model, name, Samples::None).map_err(|whole| match apart {
                    Err(apart) if apart.nodes.len() <= whole.nodes.len() => apart,
                    _ => whole,
                }),
            }
        }
        FirstAxis::None => attempt(model, name, Samples::None),
    }
}

/// Whether samples of an array stand one after the other.
fn stand_in_front(spec: &TensorSpec) -> bool {
    spec.sample_axis.is_some_and(|axis| spec.shape[..axis as usize].iter().all(|d| *d == 1))
}

fn attempt(model: &Model, name: &str, samples: Samples) -> Result<Converted, Faults> {
    let mut chosen = vec![None; model.inputs.len()];
    loop {
        let kept = Kept::default();
        match Converter::new(model, name, samples, chosen.clone(), &kept).and_then(Converter::run) {
            Ok(converted) => return Ok(converted),
            Err(Failure::Faults(faults)) => return Err(faults),
            // The input is an image although its own shape does not say so.
            Err(Failure::Input(number, shape)) if chosen[number].is_none() => chosen[number] = Some(shape),
            Err(Failure::Input(number, shape)) => {
                let why = format!("its input '{}' is read as {shape:?} and in another shape", model.inputs[number].name);
                return Err(Faults { ends: vec![why], nodes: Vec::new() });
            }
        }
    }
}
