//! The outputs of a run, by name and in the order of the network's source.

use super::{Array, ArrayView};

/// An array that a network gave.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedArray {
    /// As the network's source calls it.
    pub name: String,
    /// Length of each axis as declared, the sample axis as long as there were samples.
    pub shape: Vec<usize>,
    /// Its elements, the last axis fastest, of the declared type.
    pub data: Array,
}

/// The arrays that a run gave, in the order of the network's source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs(pub(crate) Vec<NamedArray>);

impl Outputs {
    /// The array called `name`.
    pub fn get(&self, name: &str) -> Option<&NamedArray> {
        self.0.iter().find(|array| array.name == name)
    }

    /// The elements of the array called `name`, if they are f32.
    pub fn f32(&self, name: &str) -> Option<&[f32]> {
        self.get(name)?.data.as_f32()
    }

    /// The arrays in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, NamedArray> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Outputs {
    type Item = NamedArray;
    type IntoIter = std::vec::IntoIter<NamedArray>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Outputs {
    type Item = &'a NamedArray;
    type IntoIter = std::slice::Iter<'a, NamedArray>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl NamedArray {
    /// Its elements, to be given to another run.
    pub fn view(&self) -> ArrayView<'_> {
        ArrayView::from(&self.data)
    }
}
