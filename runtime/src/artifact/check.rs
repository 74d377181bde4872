//! Validation of a header.

use super::bytes::chunks;
use super::check_ends::{check_inputs, check_specs};
use super::file::Values;
use super::limits::{Limits, at_most};
use super::preamble::ALIGN;
use super::sections::Sections;
use super::shapes::output_shape;
use super::{FormatError, Model, Op, TensorInfo};

/// Checks all that `model` claims against the data part; returns what is known of every value. Of a network of version `1`, which
/// names no output, the output is put in.
pub(super) fn check(model: &mut Model, sections: &Sections, data: &[u8], version: u16) -> Result<Values, FormatError> {
    check_texts(model)?;
    check_inputs(model)?;
    check_tensors(&model.tensors, data)?;
    let values = check_layers(model)?;
    sections.check(model)?;
    if let (1, Some(last)) = (version, values.shapes.last()) {
        model.complete(last);
    }
    check_specs(model, &values)?;
    Ok(values)
}

fn check_texts(model: &Model) -> Result<(), FormatError> {
    let p = &model.provenance;
    let lists = [
        ("inputs", model.inputs.len()),
        ("outputs", model.outputs.len()),
        ("layers", model.layers.len()),
        ("tensors", model.tensors.len()),
        ("classes", model.classes.len()),
        ("layer notes", p.layers.len()),
        ("accuracies", p.accuracies.len()),
        ("times", p.times.len()),
    ];
    for (what, len) in lists {
        at_most(&format!("the number of {what}"), len, Limits::ENTRIES)?;
    }
    let texts = [&model.name, &p.tool, &p.source, &p.method, &p.policy];
    let specs = model.inputs.iter().map(|i| &i.spec).chain(model.outputs.iter().map(|o| &o.spec));
    let names = specs.map(|s| &s.name).chain(model.layers.iter().map(|l| &l.name)).chain(model.tensors.iter().map(|t| &t.name));
    let notes = p.layers.iter().map(|l| &l.layer).chain(p.accuracies.iter().map(|a| &a.data)).chain(p.times.iter().map(|t| &t.adapter));
    for text in texts.into_iter().chain(&model.classes).chain(names).chain(notes) {
        at_most("the length of a name", text.len(), Limits::NAME_BYTES)?;
    }
    Ok(())
}

/// Every tensor follows the one before it, padded with zeros to 64 bytes; none overlaps, none is left out.
fn check_tensors(tensors: &[TensorInfo], data: &[u8]) -> Result<(), FormatError> {
    let mut end = 0u64;
    for (index, t) in tensors.iter().enumerate() {
        let fail = |why: String| Err(FormatError::Tensor { index, tensor: t.name.clone(), why });
        if t.shape.is_empty() || t.shape.len() > Limits::AXES || t.shape.contains(&0) {
            return fail(format!("shape {:?} has no elements or more than {} axes", t.shape, Limits::AXES));
        }
        let expected = end.next_multiple_of(ALIGN);
        if t.offset != expected {
            return fail(format!("starts at byte {}, the one before it ends so that it must start at {expected}", t.offset));
        }
        let stop = t.offset.saturating_add(t.byte_len());
        if stop > data.len() as u64 {
            return fail(format!("ends at byte {stop}, the data part has {}", data.len()));
        }
        if data[end as usize..t.offset as usize].iter().any(|&b| b != 0) {
            return fail("the padding before it is not zero".into());
        }
        let bytes = &data[t.offset as usize..stop as usize];
        // Block by block without an early exit, so that the loop vectorises.
        let finite = bytes.chunks(1 << 12).all(|block| match t.dtype {
            super::Dtype::F32 => chunks(block).fold(true, |so_far, b| so_far & f32::from_le_bytes(b).is_finite()),
            super::Dtype::F16 => chunks(block).fold(true, |so_far, b| so_far & half::f16::from_le_bytes(b).is_finite()),
        });
        if !finite {
            return fail("holds a NaN or an infinity".into());
        }
        end = stop;
    }
    if end == data.len() as u64 {
        Ok(())
    } else {
        Err(FormatError::Field { what: "data part".into(), why: format!("has {} bytes, its tensors end at {end}", data.len()) })
    }
}

/// Layers read earlier values only, their tensors exist and fit; returns every value's shape, and which have samples: what is
/// computed of one that has.
pub(super) fn check_layers(model: &Model) -> Result<Values, FormatError> {
    let mut shapes = model.inputs.iter().map(|i| sample_shape("the input", &i.value_shape)).collect::<Result<Vec<_>, _>>()?;
    let mut sampled: Vec<bool> = model.inputs.iter().map(|i| i.spec.sample_axis.is_some()).collect();
    if model.layers.is_empty() {
        return Err(FormatError::Field { what: "layers".into(), why: "there is none".into() });
    }
    for (index, layer) in model.layers.iter().enumerate() {
        let fail = |why: String| FormatError::Layer { index, layer: layer.name.clone(), why };
        let inputs: Vec<&Vec<usize>> = layer
            .inputs
            .iter()
            .map(|&v| shapes.get(v as usize).ok_or_else(|| fail(format!("reads value {v}, which no earlier layer defines"))))
            .collect::<Result<_, _>>()?;
        let constant = |v: &&u32| (**v as usize).checked_sub(model.inputs.len()).is_some_and(|at| model.layers[at].op.is_constant());
        if let (false, Some(v)) = (matches!(layer.op, Op::Primitive(_)), layer.inputs.iter().find(constant)) {
            return Err(fail(format!("reads value {v}, a constant, which only primitives may")));
        }
        let shape = output_shape(model, &layer.op, &inputs).map_err(fail)?;
        shapes.push(sample_shape(&layer.name, &shape)?);
        sampled.push(layer.inputs.iter().any(|&v| sampled[v as usize]));
    }
    Ok(Values { shapes, sampled })
}

fn sample_shape(what: &str, shape: &[u32]) -> Result<Vec<usize>, FormatError> {
    let len = shape.iter().fold(1u64, |n, &d| n.saturating_mul(u64::from(d)));
    if len == 0 {
        return Err(FormatError::Field { what: format!("the size of {what} {shape:?}"), why: "is 0".into() });
    }
    if len > Limits::SAMPLE_LEN {
        return Err(FormatError::TooLarge { what: format!("the size of {what} {shape:?}"), value: len, max: Limits::SAMPLE_LEN });
    }
    Ok(shape.iter().map(|&d| d as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::super::write::tests::{sample, sample_tensors};
    use super::super::{Artifact, FormatError, Model, Op, Sections, TensorData, Weight};

    fn refusal(change: impl Fn(&mut Model)) -> FormatError {
        Artifact::build_with(sample(), sample_tensors(), Sections::default(), |model| change(model)).unwrap_err()
    }

    fn linear(model: &mut Model, at: usize) -> (&mut Weight, &mut Option<u32>) {
        let Op::Linear { weight, bias, .. } = &mut model.layers[at].op else { panic!("a linear layer") };
        (weight, bias)
    }

    #[test]
    fn each_lie_of_a_header_is_refused_by_name() {
        type Lie = (&'static str, fn(&mut Model));
        let lies: [Lie; 16] = [
            ("reads value 1", |m| m.layers[0].inputs = vec![1]),
            ("reads 1 value, not 2", |m| m.layers[0].inputs = vec![0, 0]),
            ("there is none", |m| m.layers.clear()),
            ("takes 6 features", |m| m.inputs[0].value_shape = vec![7]),
            ("size of the input", |m| m.inputs[0].value_shape = vec![u32::MAX, 2]),
            ("size of the input", |m| m.inputs[0].value_shape = vec![0]),
            ("has 0 axes", |m| m.inputs[0].value_shape = vec![]),
            ("tensor 99", |m| *linear(m, 0).1 = Some(99)),
            ("bias has shape [4, 6]", |m| *linear(m, 0).1 = Some(0)),
            ("not two axes", |m| *linear(m, 0).0 = Weight::Dense(1)),
            ("make no weight", |m| *linear(m, 1).0 = Weight::LowRank { v: 2, u: 0, sigma: 4, tail_energy: 0.0 }),
            ("tail energy -1", |m| *linear(m, 1).0 = Weight::LowRank { v: 2, u: 3, sigma: 4, tail_energy: -1.0 }),
            ("starts at byte 8", |m| m.tensors[0].offset = 8),
            ("ends at byte", |m| m.tensors[4].shape = vec![1 << 30]),
            ("no elements", |m| m.tensors[4].shape = vec![0]),
            ("std is 0", |m| m.inputs[0].preprocess.std = vec![0.0]),
        ];
        for (expected, lie) in lies {
            let error = refusal(lie).to_string();
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
    }

    #[test]
    fn texts_and_lists_have_bounds() {
        assert!(matches!(refusal(|m| m.name = "x".repeat(5000)), FormatError::TooLarge { .. }));
        assert!(matches!(refusal(|m| m.classes = vec![String::new(); 70_000]), FormatError::TooLarge { .. }));
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        let mut tensors = sample_tensors();
        tensors[0] = TensorData::f32("w", &[4, 6], vec![f32::NAN; 24]);
        let error = Artifact::build(sample(), tensors).unwrap_err().to_string();
        assert!(error.contains("'w'") && error.contains("NaN"), "{error}");
    }
}
