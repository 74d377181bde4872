//! Sums and functions of single elements on the CPU: an epilogue without a product before it.

use super::epilogue::Epilogue;
use crate::plan::Slot;

/// Gives `output`, of shape `slot`, the elements of `input` after `epilogue`.
pub(super) fn run(input: &[f32], slot: Slot, epilogue: Epilogue<'_>, output: &mut [f32]) {
    let stride = slot.channel_stride();
    for (i, (x, y)) in input.chunks_exact(stride).zip(output.chunks_exact_mut(stride)).enumerate() {
        let (values, padding) = y.split_at_mut(slot.channels);
        values.copy_from_slice(&x[..slot.channels]);
        epilogue.finish(values, i, 0);
        padding.fill(0.0);
    }
}
