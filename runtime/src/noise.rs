//! Numbers to run networks on where their values do not matter.

/// Repeatable values in −1…1, so that no kernel meets denormals or a special case (Marsaglia's xorshift of 32 bits).
pub(crate) fn noise(len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    fill(&mut values);
    values
}

/// The same into a buffer.
pub(crate) fn fill(values: &mut [f32]) {
    let mut state = 0x9e37_79b9u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    values.iter_mut().for_each(|x| *x = next());
}
