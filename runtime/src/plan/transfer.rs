//! Callbacks that copy inputs into an executor's buffers and outputs out of them.

use super::Slot;

/// Writes the samples of an input, given by its number, into a buffer in the layout of the slot.
pub(crate) trait Fill: FnMut(usize, Slot, &mut [f32]) {}
impl<F: FnMut(usize, Slot, &mut [f32])> Fill for F {}

/// Reads the samples of an output, given by its number, from a buffer in the layout of the slot.
pub(crate) trait Read: FnMut(usize, Slot, &[f32]) {}
impl<F: FnMut(usize, Slot, &[f32])> Read for F {}
