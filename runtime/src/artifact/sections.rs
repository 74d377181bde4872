//! The sections of a header that follow the model, and their validation.

use std::collections::BTreeSet;

use super::limits::{Limits, at_most};
use super::{Fit, FormatError, Model, Nested, Section, State, Tuned, Weight};

/// The sections by kind; empty ones are not written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sections {
    /// What layers need for smaller ranks, by rising layer.
    pub nested: Vec<Nested>,
    /// Outputs that are inputs of the next run.
    pub states: Vec<State>,
    /// How layers are best run on devices.
    pub tuned: Vec<Tuned>,
    /// How images of other sizes are brought to those of inputs.
    pub fits: Vec<Fit>,
}

impl Sections {
    /// What was read, each kind at most once and none empty.
    pub(super) fn of(read: Vec<Section>) -> Result<Self, String> {
        fn put<T>(place: &mut Vec<T>, list: Vec<T>) -> Result<(), String> {
            match (list.is_empty(), place.is_empty()) {
                (true, _) => Err("an empty list".into()),
                (false, false) => Err("two sections of one kind".into()),
                (false, true) => {
                    *place = list;
                    Ok(())
                }
            }
        }
        let mut sections = Self::default();
        for section in read {
            match section {
                Section::Nested(list) => put(&mut sections.nested, list)?,
                Section::State(list) => put(&mut sections.states, list)?,
                Section::Tuned(list) => put(&mut sections.tuned, list)?,
                Section::Fit(list) => put(&mut sections.fits, list)?,
            }
        }
        Ok(sections)
    }

    /// As they are written.
    pub(super) fn list(self) -> Vec<Section> {
        let Self { nested, states, tuned, fits } = self;
        let mut list = Vec::new();
        if !nested.is_empty() {
            list.push(Section::Nested(nested));
        }
        if !states.is_empty() {
            list.push(Section::State(states));
        }
        if !tuned.is_empty() {
            list.push(Section::Tuned(tuned));
        }
        if !fits.is_empty() {
            list.push(Section::Fit(fits));
        }
        list
    }

    /// Checks them against `model`, whose own tensors and layers have been checked.
    pub(super) fn check(&self, model: &Model) -> Result<(), FormatError> {
        check_nested(model, &self.nested)?;
        check_states(model, &self.states)?;
        check_tuned(model, &self.tuned)?;
        check_fits(model, &self.fits)
    }

    /// How images of other sizes are brought to the input of this number; `None` where the file does not say it.
    pub fn fit(&self, input: usize) -> Option<&Fit> {
        self.fits.iter().find(|fit| fit.input as usize == input)
    }
}

/// Each is of a factored layer, in order, and its means are of its first factor.
fn check_nested(model: &Model, nested: &[Nested]) -> Result<(), FormatError> {
    at_most("the number of nested layers", nested.len(), Limits::ENTRIES)?;
    for (at, n) in nested.iter().enumerate() {
        let fail = |why: String| FormatError::Field { what: format!("ranks of layer {}", n.layer), why };
        if at > 0 && nested[at - 1].layer >= n.layer {
            return Err(fail("stand behind those of a later layer".into()));
        }
        let shape = |id: u32| model.tensors[id as usize].shape.as_slice();
        let wanted = match model.layers.get(n.layer as usize).and_then(|l| l.op.weight()) {
            Some(Weight::LowRank { v, .. }) => vec![shape(*v)[0]],
            Some(Weight::Spatial { u, .. }) => vec![shape(*u)[0], shape(*u)[2]],
            Some(Weight::Tucker2 { core, .. }) => shape(*core)[1..].to_vec(),
            Some(Weight::Dense(_)) | None => return Err(fail("the file has no such layer in factors".into())),
        };
        let found = n.means.map(|id| model.tensors.get(id as usize).map(|t| &t.shape));
        match found {
            Some(None) => return Err(fail(format!("means are a tensor that the table of {} does not have", model.tensors.len()))),
            Some(Some(found)) if *found != wanted => return Err(fail(format!("means have shape {found:?} instead of {wanted:?}"))),
            _ => {}
        }
    }
    Ok(())
}

/// Each is of one output and one input that are the same array, and no array stands in two.
fn check_states(model: &Model, states: &[State]) -> Result<(), FormatError> {
    at_most("the number of states", states.len(), Limits::ENTRIES)?;
    let (mut outputs, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    for state in states {
        let fail = |why: String| FormatError::Field { what: format!("state of output {} and input {}", state.output, state.input), why };
        let (output, input) = (model.outputs.get(state.output as usize), model.inputs.get(state.input as usize));
        let (Some(output), Some(input)) = (output, input) else {
            return Err(fail(format!("there are {} outputs and {} inputs", model.outputs.len(), model.inputs.len())));
        };
        if !outputs.insert(state.output) || !inputs.insert(state.input) {
            return Err(fail("one of them is a state already".into()));
        }
        let like = |spec: &super::TensorSpec| (spec.element, spec.sample_shape(), spec.sample_axis);
        if like(&output.spec) != like(&input.spec) {
            return Err(fail(format!("{} is no {}", output.spec, input.spec)));
        }
    }
    Ok(())
}

/// Each is of another device or batch and has an entry for each layer.
fn check_tuned(model: &Model, tuned: &[Tuned]) -> Result<(), FormatError> {
    at_most("the number of tuned devices", tuned.len(), Limits::ENTRIES)?;
    let mut known = BTreeSet::new();
    for t in tuned {
        at_most("the length of a name", t.device.len(), Limits::NAME_BYTES)?;
        let fail = |why: String| FormatError::Field { what: format!("what was tuned on '{}'", t.device), why };
        if t.device.is_empty() || t.batch == 0 || !known.insert((&t.device, t.batch)) {
            return Err(fail(format!("a batch of {} there stands twice, or the device has no name, or the batch no sample", t.batch)));
        }
        if t.layers.len() != model.layers.len() {
            return Err(fail(format!("has {} layers, the network {}", t.layers.len(), model.layers.len())));
        }
        for layer in &t.layers {
            if !["dense", "two-stage", "fused"].contains(&layer.form.as_str()) {
                return Err(fail(format!("'{}' is no form of a weight", layer.form)));
            }
            at_most("the number of kernels", layer.kernels.len(), Limits::KERNELS)?;
            layer.kernels.iter().try_for_each(|kernel| at_most("the length of a name", kernel.len(), Limits::NAME_BYTES))?;
        }
    }
    Ok(())
}

/// Each is of another input, which is given images.
fn check_fits(model: &Model, fits: &[Fit]) -> Result<(), FormatError> {
    at_most("the number of fits", fits.len(), Limits::ENTRIES)?;
    let mut known = BTreeSet::new();
    for fit in fits {
        let fail = |why: String| FormatError::Field { what: format!("how images are brought to input {}", fit.input), why };
        if !known.insert(fit.input) {
            return Err(fail("stands twice".into()));
        }
        fit.check(model).map_err(fail)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::write::tests::{sample, sample_tensors};
    use super::super::{Artifact, TunedLayer};
    use super::*;

    fn build(sections: Sections) -> Result<Artifact, FormatError> {
        Artifact::build_with_sections(sample(), sample_tensors(), sections)
    }

    #[test]
    fn what_stands_behind_the_network_is_read_again() {
        let layers = vec![TunedLayer { form: "fused".into(), kernels: vec!["low_rank".into()] }; 2];
        let sections = Sections {
            // The singular values have the shape that means have.
            nested: vec![Nested { layer: 1, means: Some(4), gained: true }],
            states: Vec::new(),
            tuned: vec![Tuned { device: "a GPU".into(), batch: 3, layers }],
            fits: Vec::new(),
        };
        let whole = build(sections.clone()).unwrap();
        assert_eq!(*Artifact::from_bytes(whole.as_bytes().to_vec()).unwrap().sections(), sections);
    }

    #[test]
    fn what_stands_behind_the_network_is_checked_as_well() {
        let nested = |layer, means| Sections { nested: vec![Nested { layer, means, gained: false }], ..Sections::default() };
        let state = |list: &[(u32, u32)]| Sections {
            states: list.iter().map(|&(output, input)| State { output, input }).collect(),
            ..Sections::default()
        };
        let tuned = |device: &str, batch, count, form: &str, kernels: usize| {
            let layer = TunedLayer { form: form.into(), kernels: vec!["k".into(); kernels] };
            Sections { tuned: vec![Tuned { device: device.into(), batch, layers: vec![layer; count] }; 1], ..Sections::default() }
        };
        let twice = |mut sections: Sections| {
            sections.tuned.extend(sections.tuned.clone());
            sections.nested.extend(sections.nested.clone());
            sections
        };
        let lies = [
            ("layer 0: the file has no such layer", nested(0, None)),
            ("layer 7: the file has no such layer", nested(7, None)),
            ("does not have", nested(1, Some(99))),
            ("means have shape [4, 6] instead of [2]", nested(1, Some(0))),
            ("behind those of a later layer", twice(nested(1, None))),
            ("there are 1 outputs and 1 inputs", state(&[(1, 0)])),
            ("there are 1 outputs and 1 inputs", state(&[(0, 1)])),
            ("'output', float32 [N, 3] is no 'input', float32 [N, 6]", state(&[(0, 0)])),
            ("has 1 layers, the network 2", tuned("d", 1, 1, "dense", 0)),
            ("'thin' is no form", tuned("d", 1, 2, "thin", 0)),
            ("stands twice", twice(tuned("d", 1, 2, "dense", 0))),
            ("no name", tuned("", 1, 2, "dense", 0)),
            ("no sample", tuned("d", 0, 2, "dense", 0)),
            ("the number of kernels", tuned("d", 1, 2, "dense", 100)),
        ];
        for (expected, lie) in lies {
            let error = build(lie).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
    }
}
