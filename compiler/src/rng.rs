//! Randomness by key: the same (seed, purpose, counters) give the same numbers, whatever was drawn before,
//! so that a resumed run, a parallel one and an undisturbed one agree bit for bit.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for; part of its key, so that two uses never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights.
    Init = 1,
    /// The order of the training images in an epoch.
    Order = 2,
    /// Augmentation of one image.
    Augment = 3,
    /// The choice of the held-out split.
    Split = 4,
    /// The built-in data set.
    Glyphs = 5,
}

/// A generator for `purpose` under `seed`; `keys` are counters such as epoch, step or image index.
pub fn keyed(seed: u64, purpose: Purpose, keys: &[u64]) -> ChaCha8Rng {
    let mut state = mix(seed ^ 0x7468_696e_6665_7221);
    for key in std::iter::once(purpose as u64).chain(keys.iter().copied()) {
        state = mix(state ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    ChaCha8Rng::seed_from_u64(state)
}

/// A stable 64-bit key of a name (FNV-1a), for streams that belong to a named tensor.
pub fn name_key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A random permutation of 0..n (Fisher–Yates).
pub fn permutation(rng: &mut impl Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_distinct() {
        let draw = |seed, purpose, keys: &[u64]| keyed(seed, purpose, keys).random::<u64>();
        assert_eq!(draw(1, Purpose::Init, &[3]), draw(1, Purpose::Init, &[3]));
        let others =
            [draw(2, Purpose::Init, &[3]), draw(1, Purpose::Order, &[3]), draw(1, Purpose::Init, &[4]), draw(1, Purpose::Init, &[])];
        assert!(others.iter().all(|&o| o != draw(1, Purpose::Init, &[3])), "{others:?}");
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = permutation(&mut keyed(0, Purpose::Order, &[]), 1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
