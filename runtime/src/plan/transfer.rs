//! How values come to an executor and leave it.

use super::Slot;

/// Puts samples of the input of a number into a buffer, where they lie as the slot says.
pub(crate) trait Bring: FnMut(usize, Slot, &mut [f32]) {}
impl<F: FnMut(usize, Slot, &mut [f32])> Bring for F {}

/// Gets samples of the output of a number from a buffer, where they lie as the slot says.
pub(crate) trait Take: FnMut(usize, Slot, &[f32]) {}
impl<F: FnMut(usize, Slot, &[f32])> Take for F {}
