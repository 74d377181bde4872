//! How a network is converted: with which samples, and whether in an order of its input that its readers ask for.

use super::ends::Samples;
use super::faults::{Failure, Faults};
use super::{Converted, Converter};
use crate::import::onnx::model::Model;
use crate::import::onnx::node::Node;

/// Turns `model` into a graph called `name`.
///
/// An input whose first axis has no fixed size has its samples along that axis. It is converted with two numbers of
/// samples, which must give one network: what depends on that number cannot run sample by sample. An input of a fixed first
/// axis longer than 1 is read as samples where the network keeps them apart, else as one sample.
///
/// # Errors
/// What is wrong with the inputs and outputs, and every node that cannot be converted, with its operation, its name and the
/// reason.
pub(in crate::import::onnx) fn convert(model: &Model, name: &str) -> Result<Converted, Faults> {
    match model.dims[..] {
        [None, ..] => {
            let converted = attempt(model, name, Samples::Along(2))?;
            let other = attempt(model, name, Samples::Along(3))?;
            if converted.graph != other.graph || converted.params != other.params {
                let why = format!(
                    "it computes other things for 2 samples than for 3, so samples cannot be run one by one (fix the first axis of '{}' to 1)",
                    model.input
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
        [Some(2..), _, ..] => {
            let samples = model.dims[0].unwrap_or(1);
            attempt(model, name, Samples::Along(samples)).or_else(|faults| attempt(model, name, Samples::None).map_err(|_| faults))
        }
        _ => attempt(model, name, Samples::None),
    }
}

fn attempt(model: &Model, name: &str, samples: Samples) -> Result<Converted, Faults> {
    match Converter::new(model, name, samples, None).and_then(Converter::run) {
        // The input is an image although its own shape does not say so.
        Err(Failure::Input(shape)) => Converter::new(model, name, samples, Some(shape)).and_then(Converter::run),
        other => other,
    }
    .map_err(|failure| match failure {
        Failure::Faults(faults) => faults,
        Failure::Input(shape) => Faults { ends: vec![format!("its input is read as {shape:?} and in another shape")], nodes: Vec::new() },
    })
}
