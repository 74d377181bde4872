//! The tensors of a file before they are read, and what is asked of them.

use crate::graph::Graph;
use crate::import::float::Float;

/// What an element of a tensor is.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::import) enum Element {
    Float(Float),
    /// An integer or a boolean, which no network has as a weight.
    Integer,
    /// What cannot be read, by its name.
    Other(String),
}

/// A tensor that was not read yet.
#[derive(Clone, Debug)]
pub(in crate::import) struct Entry<T> {
    /// Keys of the dicts around it and its own, with dots between.
    pub(in crate::import) name: String,
    /// The dict that it is in: index into [`Held::dicts`].
    pub(in crate::import) dict: usize,
    pub(in crate::import) shape: Vec<usize>,
    pub(in crate::import) element: Element,
    /// Where it is in the file: the same place is the same tensor.
    pub(in crate::import) at: T,
}

/// All tensors of a file.
#[derive(Debug)]
pub(in crate::import) struct Held<T> {
    pub(in crate::import) entries: Vec<Entry<T>>,
    /// For each dict the keys that lead to it; of the file's own dict none.
    pub(super) dicts: Vec<String>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), dicts: Vec::new() }
    }
}

impl<T> Held<T> {
    /// A further dict.
    pub(in crate::import) fn dict(&mut self, path: &str) -> usize {
        self.dicts.push(path.into());
        self.dicts.len() - 1
    }
}

/// The network that the tensors must be of.
#[derive(Clone, Copy, Debug)]
pub(in crate::import) enum Asked<'a> {
    Name(&'a str),
    Graph(&'a Graph),
    /// Any that is known.
    Nothing,
}
