//! Numbers to run networks on where their values do not matter.

/// Repeatable values in −1…1, so that no kernel meets denormals or a special case.
pub(crate) fn noise(len: usize) -> Vec<f32> {
    xorshift(0x9e37_79b9).take(len).collect()
}

/// Values in −1…1 without end (Marsaglia's xorshift of 32 bits); `seed` is not 0.
pub(crate) fn xorshift(seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    })
}
