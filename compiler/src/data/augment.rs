//! Training images changed on the fly, each by its key alone.

use rand::RngExt;

use super::{Dataset, SetKind};
use crate::rng::{Purpose, keyed};

/// Shifts an image by up to `pad` pixels on each axis, zeros coming in, and mirrors one in two (PyTorch's
/// `RandomCrop(size, padding=pad)` and `RandomHorizontalFlip`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augment {
    /// Pixels of the largest shift.
    pub pad: usize,
    /// Whether images are mirrored left to right.
    pub flip: bool,
}

impl Default for Augment {
    /// By 4 pixels, mirrored: what papers do on CIFAR.
    fn default() -> Self {
        Self { pad: 4, flip: true }
    }
}

impl Augment {
    /// What suits the set `kind`, if anything does: the CIFAR sets are shifted and mirrored; digits are not, since they do
    /// not survive a mirror, nor are folders, of which nothing is known.
    pub fn of(kind: SetKind) -> Option<Self> {
        match kind {
            SetKind::Cifar10 | SetKind::Cifar100 => Some(Self::default()),
            SetKind::Mnist | SetKind::Folder | SetKind::Glyphs => None,
        }
    }

    /// Every image of `data`, changed once as (seed, its index) say.
    #[must_use]
    pub fn all(&self, data: &Dataset, seed: u64) -> Dataset {
        let changed = (0..data.len()).flat_map(|i| self.apply(data.image(i), data.shape, seed, &[i as u64]));
        Dataset { images: changed.collect(), ..data.clone() }
    }

    /// `image` of `shape` [channels, height, width], changed as (seed, keys) say: epoch and image index, so that no order
    /// of work changes it.
    pub fn apply(&self, image: &[u8], shape: [usize; 3], seed: u64, keys: &[u64]) -> Vec<u8> {
        let [_, height, width] = shape;
        let mut rng = keyed(seed, Purpose::Augment, keys);
        let (top, left) = (rng.random_range(0..=2 * self.pad), rng.random_range(0..=2 * self.pad));
        let mirrored = rng.random::<bool>() && self.flip;
        let mut changed = vec![0; image.len()];
        for (from, to) in image.chunks_exact((height * width).max(1)).zip(changed.chunks_exact_mut((height * width).max(1))) {
            for (y, row) in to.chunks_exact_mut(width.max(1)).enumerate() {
                let Some(source) = (y + top).checked_sub(self.pad).filter(|&y| y < height) else { continue };
                let source = &from[source * width..][..width];
                for (x, pixel) in row.iter_mut().enumerate() {
                    let x = if mirrored { width - 1 - x } else { x };
                    *pixel = (x + left).checked_sub(self.pad).and_then(|x| source.get(x)).copied().unwrap_or(0);
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_shift_and_mirror_comes_and_nothing_else() {
        let image: Vec<u8> = (1..=24).collect();
        let shape = [2, 3, 4];
        let augment = Augment { pad: 1, flip: true };
        let mut expected = BTreeSet::new();
        for (dy, dx, mirrored) in (0..18).map(|i| (i / 3 % 3 - 1, i % 3 - 1, i >= 9)) {
            let at = |c: i32, y: i32, x: i32| {
                let x = if mirrored { 3 - x } else { x };
                let (y, x) = (y + dy, x + dx);
                if (0..3).contains(&y) && (0..4).contains(&x) { image[(c * 12 + y * 4 + x) as usize] } else { 0 }
            };
            expected.insert((0..24).map(|i| at(i / 12, i / 4 % 3, i % 4)).collect::<Vec<_>>());
        }
        let seen: BTreeSet<_> = (0..500).map(|i| augment.apply(&image, shape, 7, &[0, i])).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_key_decides_alone() {
        let image: Vec<u8> = (0..=255).cycle().take(3072).collect();
        let get = |seed, epoch, i| Augment::default().apply(&image, [3, 32, 32], seed, &[epoch, i]);
        assert_eq!(get(1, 2, 3), get(1, 2, 3));
        let others: BTreeSet<_> = (0..8).map(|epoch| get(1, epoch, 3)).collect();
        assert!(others.len() > 5);
    }
}
