//! Lengths of axes as the file has them.

use super::super::Step;

/// A length as the file has it.
pub(super) fn small(n: usize) -> Step<u32> {
    Ok(u32::try_from(n).map_err(|_| format!("has an axis of {n} elements"))?)
}

/// Lengths as the file has them, one axis at least.
pub(super) fn axes(sizes: &[usize]) -> Step<Vec<u32>> {
    if sizes.is_empty() { Ok(vec![1]) } else { sizes.iter().map(|&n| small(n)).collect() }
}
