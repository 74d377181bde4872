//! Where the elements lie that a reduction makes one.

use super::lanes::LANES;
use super::walk::Walk;
use crate::plan::{ReduceStep, Slot};

/// Outputs that are computed at once.
pub(super) const OUTPUTS: usize = 128;

/// The elements of each output.
#[derive(Debug)]
pub(super) struct Elements {
    /// The first element of each output.
    pub(super) kept: Walk,
    /// The elements of an output, counted from its first one.
    pub(super) over: Walk,
    /// How many elements an output has.
    pub(super) count: usize,
    /// Whether neighbouring outputs' elements lie side by side, rather than those of one output.
    pub(super) across: bool,
}

impl Elements {
    pub(super) fn new(step: &ReduceStep, input: Slot) -> Self {
        let ReduceStep { sizes, over, operand, .. } = step;
        let sample = if operand.per_sample { input.stride() } else { 0 };
        let (kept, vanishing) = operand.strides.split_at(sizes.len());
        let kept = Walk::over(sizes, kept, operand.offset as isize, sample);
        let over_walk = Walk::over(over, vanishing, 0, 0);
        let across = kept.inner() == 1 && kept.row() > 1 && (over_walk.inner() != 1 || over_walk.row() < LANES && kept.row() >= LANES);
        Self { kept, over: over_walk, count: over.iter().product(), across }
    }
}
