//! Numbers around a value, that nobody has computed yet.

/// Numbers around a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pads {
    /// How many before and behind, for each of the view's own axes.
    pub(super) amounts: Vec<(usize, usize)>,
    /// The number.
    pub(super) fill: f32,
}
