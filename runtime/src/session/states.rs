//! Arrays that a session keeps from one run to the next.

use super::arrangement::Arrangement;
use crate::artifact::{Sections, State};

/// An output that is an input of the next run.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) output: usize,
    pub(super) input: usize,
    /// The next run's input, in its declared order of axes; empty before the first run, which reads zeros.
    pub(super) array: Vec<f32>,
}

/// The states of a network, before its first run.
pub(super) fn of(sections: &Sections) -> Vec<Kept> {
    let kept = |state: &State| Kept { output: state.output as usize, input: state.input as usize, array: Vec::new() };
    sections.states.iter().map(kept).collect()
}

impl Kept {
    /// Prepares it for a run of `samples`: zeros before the first run.
    ///
    /// # Errors
    /// Where the kept array has another number of samples.
    pub(super) fn prepare(&mut self, arrangement: &Arrangement, samples: usize) -> Result<(), String> {
        let kept = self.array.len();
        if kept == 0 {
            let rows = if arrangement.is_sampled() { samples } else { 1 };
            self.array = vec![0.0; rows * arrangement.len()];
            return Ok(());
        }
        match arrangement.samples(kept) {
            Ok(Some(before)) if before != samples => {
                Err(format!("is kept of {before} samples, this run has {samples} (reset begins anew)"))
            }
            _ => Ok(()),
        }
    }
}
