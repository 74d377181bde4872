//! How values come to an executor and leave it.

use super::Slot;

/// Puts samples of the input of a number into a buffer, where they lie as the slot says.
pub(crate) trait Fill: FnMut(usize, Slot, &mut [f32]) {}
impl<F: FnMut(usize, Slot, &mut [f32])> Fill for F {}

/// Gets samples of the output of a number from a buffer, where they lie as the slot says.
pub(crate) trait Read: FnMut(usize, Slot, &[f32]) {}
impl<F: FnMut(usize, Slot, &[f32])> Read for F {}
