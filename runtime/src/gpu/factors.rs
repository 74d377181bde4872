//! A factor pair that one kernel runs.

use crate::gpu::buffers::Weight;
use crate::plan::StepKind;

/// What a rank is called where it is too large.
pub(super) const RANK: &str = "components in a fused layer";

/// A factored weight: V, whose outputs are the rank, and U as [outputs, rank] row-major.
pub(super) struct Factors<'a> {
    pub(super) v: Weight<'a>,
    pub(super) u: &'a [f32],
}

/// vec4s of a layer's inputs, rank and outputs, and the elements of its window.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    pub(super) inputs4: u64,
    /// `None` for rows of features.
    pub(super) taps: Option<u64>,
    pub(super) rank4: u64,
    pub(super) outputs4: u64,
}

impl Lengths {
    /// Of a step that is fused; `None` of any other.
    pub(super) fn of(step: &StepKind) -> Option<Self> {
        let quarter = |n: usize| n.div_ceil(4) as u64;
        let (inputs, taps, rank, outputs) = match step {
            StepKind::Linear(l) if l.second.is_some() => (l.inputs, None, l.rank, l.outputs),
            StepKind::Conv(c) if c.second.is_some() => {
                let [height, width] = c.window.kernel.map(u64::from);
                (c.inputs, (!c.is_pointwise()).then_some(height * width), c.rank, c.outputs)
            }
            _ => return None,
        };
        Some(Self { inputs4: quarter(inputs), taps, rank4: quarter(rank), outputs4: quarter(outputs) })
    }

    /// Iterations over all taps with `inputs4` vec4s under each.
    pub(super) fn trip_count(&self, inputs4: u64) -> u64 {
        // A window is two more loops.
        self.taps.map_or(inputs4, |taps| taps * (2 + inputs4))
    }
}
