//! A value of the file as it is converted, and why there is none.

use std::sync::Arc;

use crate::graph::ValueId;
use crate::import::onnx::array::Array;
use crate::import::onnx::view::View;

/// Why a node cannot be converted.
pub(super) enum Stop {
    /// The reason.
    Why(String),
    /// It reads what could not be converted: its own fault is not known.
    Blocked,
    /// An input of the network, by its number, must be an image of this shape.
    Input(ValueId, Vec<usize>),
}

impl<S: Into<String>> From<S> for Stop {
    fn from(why: S) -> Self {
        Self::Why(why.into())
    }
}

pub(super) type Step<T> = Result<T, Stop>;

/// An ONNX value.
#[derive(Clone, Debug)]
pub(super) enum OnnxValue {
    Constant(Arc<Array>),
    Computed(View),
    /// A value with elements of one number around it. A window takes zeros in; for everybody else they are computed.
    Padded(View, Pads),
    /// Some elements of a value, beginning with the one of this number; moved when somebody reads them who needs that.
    Part(View, usize),
}

/// The numbers around a padded value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pads {
    /// How many before and behind, for each of the view's own axes.
    pub(super) amounts: Vec<(usize, usize)>,
    /// The number.
    pub(super) fill: f32,
}
