//! Sums and functions of single elements on the CPU: an epilogue without a product before it.

use super::epilogue::Epilogue;
use crate::plan::Slot;

/// Gives `output`, of shape `slot`, the elements of `input` after `epilogue`; channels that `from`, the shape of `input`,
/// lacks start as 0.
pub(super) fn run(input: &[f32], from: Slot, slot: Slot, epilogue: Epilogue<'_>, output: &mut [f32]) {
    let pixels = input.chunks_exact(from.channel_stride()).zip(output.chunks_exact_mut(slot.channel_stride()));
    for (i, (x, y)) in pixels.enumerate() {
        let (values, padding) = y.split_at_mut(slot.channels);
        let (there, more) = values.split_at_mut(from.channels.min(slot.channels));
        there.copy_from_slice(&x[..there.len()]);
        more.fill(0.0);
        epilogue.finish(values, i, 0);
        padding.fill(0.0);
    }
}
