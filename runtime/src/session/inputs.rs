//! The inputs of a run: one array, or several by name.

use super::{Array, ArrayView, NamedArray, Outputs, Session};
use crate::error::{Error, Result};

/// What [`Session::run`] takes: the elements of the one array that a network takes, as `&[f32]`, or arrays by name, as
/// `&[("x", &[f32])]` or `&[("x", ArrayView)]` where their types differ. One array gives back one, names give back [`Outputs`].
///
/// States that the network keeps from run to run count as neither, unless they are named.
pub trait RunInputs<'a>: Sized {
    /// What a run returns.
    type Returned;

    /// The arrays in the order of the network's inputs.
    #[doc(hidden)]
    fn feed(self, session: &Session) -> Result<Feed<'a>>;

    /// Converts the values of every output to what a run returns.
    #[doc(hidden)]
    fn returned(session: &Session, samples: usize, outputs: Vec<Vec<f32>>) -> Self::Returned;
}

/// Arrays in the order of the network's inputs.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum Feed<'a> {
    /// The array of the only input.
    One(ArrayView<'a>),
    /// One for each; none for a state that the session keeps.
    Many(Vec<Option<ArrayView<'a>>>),
}

impl<'a> Feed<'a> {
    pub(super) fn array(&self, number: usize) -> Option<ArrayView<'a>> {
        match self {
            Self::One(array) => Some(*array),
            Self::Many(arrays) => arrays.get(number).copied().flatten(),
        }
    }
}

impl<'a> RunInputs<'a> for &'a [f32] {
    type Returned = Vec<f32>;

    fn feed(self, session: &Session) -> Result<Feed<'a>> {
        session.one(ArrayView::F32(self))
    }

    fn returned(session: &Session, _: usize, mut outputs: Vec<Vec<f32>>) -> Vec<f32> {
        let first = session.free_outputs().next().unwrap_or(0);
        if first < outputs.len() { outputs.swap_remove(first) } else { Vec::new() }
    }
}

impl<'a> RunInputs<'a> for &'a Vec<f32> {
    type Returned = Vec<f32>;

    fn feed(self, session: &Session) -> Result<Feed<'a>> {
        self.as_slice().feed(session)
    }

    fn returned(session: &Session, samples: usize, outputs: Vec<Vec<f32>>) -> Vec<f32> {
        <&[f32]>::returned(session, samples, outputs)
    }
}

impl<'a, const N: usize> RunInputs<'a> for &'a [f32; N] {
    type Returned = Vec<f32>;

    fn feed(self, session: &Session) -> Result<Feed<'a>> {
        self.as_slice().feed(session)
    }

    fn returned(session: &Session, samples: usize, outputs: Vec<Vec<f32>>) -> Vec<f32> {
        <&[f32]>::returned(session, samples, outputs)
    }
}

impl<'a, V: Into<ArrayView<'a>> + Copy> RunInputs<'a> for &[(&str, V)] {
    type Returned = Outputs;

    fn feed(self, session: &Session) -> Result<Feed<'a>> {
        session.named(self)
    }

    fn returned(session: &Session, samples: usize, outputs: Vec<Vec<f32>>) -> Outputs {
        session.declared(samples, outputs)
    }
}

impl<'a, V: Into<ArrayView<'a>> + Copy, const N: usize> RunInputs<'a> for &[(&str, V); N] {
    type Returned = Outputs;

    fn feed(self, session: &Session) -> Result<Feed<'a>> {
        session.named(self)
    }

    fn returned(session: &Session, samples: usize, outputs: Vec<Vec<f32>>) -> Outputs {
        session.declared(samples, outputs)
    }
}

impl<'a, V: Into<ArrayView<'a>> + Copy> RunInputs<'a> for &Vec<(&str, V)> {
    type Returned = Outputs;

    fn feed(self, session: &Session) -> Result<Feed<'a>> {
        session.named(self)
    }

    fn returned(session: &Session, samples: usize, outputs: Vec<Vec<f32>>) -> Outputs {
        session.declared(samples, outputs)
    }
}

impl Session {
    /// The one array of a network that takes and gives one, states apart.
    pub(super) fn one<'a>(&self, array: ArrayView<'a>) -> Result<Feed<'a>> {
        let (inputs, outputs) = (self.given_inputs().count(), self.free_outputs().count());
        if (inputs, outputs) != (1, 1) {
            let names = self.given_inputs().map(|number| self.inputs[number].spec.name.as_str()).collect::<Vec<_>>().join("', '");
            let why =
                format!("the network takes {inputs} arrays ('{names}') and gives {outputs}: give them by name, as [(\"NAME\", array), …]");
            return Err(Error::invalid("input", why));
        }
        if self.states.is_empty() {
            return Ok(Feed::One(array));
        }
        let one = self.given_inputs().next();
        Ok(Feed::Many((0..self.inputs.len()).map(|number| (Some(number) == one).then_some(array)).collect()))
    }

    /// Arrays by name, each once, all but states given.
    fn named<'a, V: Into<ArrayView<'a>> + Copy>(&self, arrays: &[(&str, V)]) -> Result<Feed<'a>> {
        let mut found = vec![None; self.inputs.len()];
        for &(name, array) in arrays {
            let Some(number) = self.inputs.iter().position(|input| input.spec.name == name) else {
                let known = self.inputs.iter().map(|i| i.spec.to_string()).collect::<Vec<_>>().join("; ");
                return Err(Error::invalid(format!("input '{name}'"), format!("the network has none of that name; it takes {known}")));
            };
            if found[number].replace(array.into()).is_some() {
                return Err(Error::invalid(format!("input '{name}'"), "is given twice"));
            }
        }
        match self.given_inputs().find(|&number| found[number].is_none()) {
            Some(missing) => Err(Error::invalid(format!("input {}", self.inputs[missing].spec), "is not given")),
            None => Ok(Feed::Many(found)),
        }
    }

    /// Values of every output as arrays of the declared types and shapes.
    fn declared(&self, samples: usize, outputs: Vec<Vec<f32>>) -> Outputs {
        let array = |(output, values): (&crate::artifact::Output, Vec<f32>)| {
            let spec = &output.spec;
            let mut shape = spec.sample_shape();
            if let Some(axis) = spec.sample_axis {
                shape.insert((axis as usize).min(shape.len()), samples);
            }
            let data = if spec.element == crate::artifact::Element::F32 { Array::F32(values) } else { Array::of(spec.element, &values) };
            NamedArray { name: spec.name.clone(), shape, data }
        };
        Outputs(self.outputs.iter().zip(outputs).map(array).collect())
    }
}
