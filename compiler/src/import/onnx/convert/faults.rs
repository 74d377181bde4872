//! How a conversion ends without a network.

/// Why a network cannot be converted.
#[derive(Clone, Debug, Default)]
pub(in crate::import::onnx) struct Faults {
    /// What is wrong with its inputs and outputs.
    pub(in crate::import::onnx) ends: Vec<String>,
    /// Its nodes that cannot be converted, with their reasons.
    pub(in crate::import::onnx) nodes: Vec<String>,
}

/// How a conversion ends without a network.
pub(super) enum Failure {
    Faults(Faults),
    /// An input, by its number, must be an image of this shape.
    Input(usize, Vec<usize>),
}
