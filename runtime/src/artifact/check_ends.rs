//! Validation of the declared inputs and outputs.

use std::collections::BTreeSet;

use super::file::Values;
use super::{Channels, FormatError, Input, InputKind, Limits, Meaning, Model};

fn fail(what: impl Into<String>, why: impl Into<String>) -> FormatError {
    FormatError::Field { what: what.into(), why: why.into() }
}

/// The inputs, before anything is said of the layers that read them.
pub(super) fn check_inputs(model: &Model) -> Result<(), FormatError> {
    if model.inputs.is_empty() {
        return Err(fail("inputs", "there is none"));
    }
    model.inputs.iter().try_for_each(check_input)
}

fn check_input(input: &Input) -> Result<(), FormatError> {
    if input.value_shape.is_empty() || input.value_shape.len() > Limits::AXES {
        return Err(fail("input shape", format!("has {} axes", input.value_shape.len())));
    }
    if let Err(why) = input.preprocess.check(input.channels()) {
        return Err(fail("preprocessing", why));
    }
    if input.kind == InputKind::Image && !matches!(input.value_shape[..], [1 | 3, _, _]) {
        return Err(fail("input kind", format!("an image has one channel or three, a height and a width, not {:?}", input.value_shape)));
    }
    if input.preprocess.channels == Channels::Bgr && (input.kind, input.channels()) != (InputKind::Image, 3) {
        return Err(fail("channels", format!("blue, green and red are of an image of three channels, not of {:?}", input.value_shape)));
    }
    Ok(())
}

/// Checks the declared arrays against the network's values.
pub(super) fn check_specs(model: &Model, values: &Values) -> Result<(), FormatError> {
    let len = |value: usize| values.shapes[value].iter().product::<usize>();
    for (value, input) in model.inputs.iter().enumerate() {
        input.spec.check(len(value)).map_err(|why| fail(format!("input '{}'", input.spec.name), why))?;
    }
    if model.outputs.is_empty() {
        return Err(fail("outputs", "there is none"));
    }
    for output in &model.outputs {
        let what = || format!("output '{}'", output.spec.name);
        let value = output.value as usize;
        if value >= values.shapes.len() {
            return Err(fail(what(), format!("is value {value}, of which there are {}", values.shapes.len())));
        }
        output.spec.check(len(value)).map_err(|why| fail(what(), why))?;
        if value.checked_sub(model.inputs.len()).is_some_and(|at| model.layers[at].op.is_constant()) {
            return Err(fail(what(), "is a constant, which only primitives may read"));
        }
        if output.spec.sample_axis.is_some() != values.sampled[value] {
            return Err(fail(what(), "must have an axis of samples if and only if an input that it depends on has one"));
        }
        if output.meaning != Meaning::Values && !output.spec.is_line() {
            return Err(fail(what(), format!("has scores of classes along several axes: {:?}", output.spec.sample_shape())));
        }
    }
    // Arrays are given and asked for by name.
    let inputs = model.inputs.iter().map(|i| ("inputs", &i.spec.name));
    let outputs = model.outputs.iter().map(|o| ("outputs", &o.spec.name));
    let mut names = BTreeSet::new();
    match inputs.chain(outputs).find(|named| !names.insert(*named)) {
        Some((what, name)) => Err(fail(what, format!("two are called '{name}'"))),
        None => Ok(()),
    }
}
