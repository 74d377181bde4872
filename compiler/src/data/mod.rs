//! Labelled image sets: real ones from disk, and the built-in glyphs.

mod augment;
mod cifar;
mod folder;
pub mod glyphs;
mod idx;
mod spec;
mod stream;
mod strokes;

use std::path::Path;

pub use augment::Augment;
pub use spec::{CalibrationSpec, DataSpec, SetKind, default_preprocess, flat_preprocess};

use crate::error::Result;

/// Classes of the digit sets.
const DIGITS: usize = 10;

fn digit_names() -> Vec<String> {
    (0..DIGITS).map(|d| d.to_string()).collect()
}

/// Which part of a set: training images may be looked at, test images are for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The training images.
    Train,
    /// The test images.
    Test,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// Loads one part of the set that `spec` names. Real sets come as their files have them; of the glyphs there are
/// [`glyphs::TRAIN_COUNT`] training and [`glyphs::TEST_COUNT`] test images, drawn with [`glyphs::SEED`].
///
/// # Errors
/// [`crate::Error::Data`] naming the folder or file that is missing or malformed; [`crate::Error::Io`].
pub fn load(spec: &DataSpec, part: Part) -> Result<Dataset> {
    let name = format!("{spec} ({part})");
    let dir = spec.dir.as_deref().unwrap_or(Path::new(""));
    match spec.kind {
        SetKind::Mnist => idx::load(dir, part, name),
        SetKind::Cifar10 => cifar::load_10(dir, part, name),
        SetKind::Cifar100 => cifar::load_100(dir, part, name),
        SetKind::Folder => folder::load(dir, part, name),
        SetKind::Glyphs => {
            let count = match part {
                Part::Train => glyphs::TRAIN_COUNT,
                Part::Test => glyphs::TEST_COUNT,
            };
            Ok(Dataset { name, ..glyphs::generate(part, count, glyphs::SEED) })
        }
    }
}

/// Labelled 8-bit images of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Where it came from, for messages (`mnist:DIR (test)`).
    pub name: String,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Pixels, image after image, each channel after channel, each row after row.
    pub images: Vec<u8>,
    /// One class index an image, below `classes.len()`.
    pub labels: Vec<u16>,
    /// Class names.
    pub classes: Vec<String>,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Pixels of image `i`, which must be below `len()`.
    pub fn image(&self, i: usize) -> &[u8] {
        let n = self.image_len();
        &self.images[i * n..(i + 1) * n]
    }

    /// Keeps the first `count` images.
    pub fn truncate(&mut self, count: usize) {
        self.images.truncate(count * self.image_len());
        self.labels.truncate(count);
    }

    /// The images at `indices`, in that order; an index may come twice, and each must be below `len()`.
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            shape: self.shape,
            images: indices.iter().flat_map(|&i| self.image(i)).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            classes: self.classes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_and_prefixes_keep_images_with_their_labels() {
        let set = Dataset {
            name: "x".into(),
            shape: [1, 1, 2],
            images: vec![0, 1, 10, 11, 20, 21],
            labels: vec![5, 6, 7],
            classes: digit_names(),
        };
        let mut some = set.subset(&[2, 0, 2]);
        assert_eq!((&some.labels[..], &some.images[..]), (&[7, 5, 7][..], &[20, 21, 0, 1, 20, 21][..]));
        some.truncate(1);
        assert_eq!((some.len(), some.image(0)), (1, &[20, 21][..]));
    }

    #[test]
    fn the_built_in_set_needs_no_folder() {
        let test = load(&"glyphs".parse().unwrap(), Part::Test).unwrap();
        assert_eq!((test.name.as_str(), test.len(), test.shape), ("glyphs (test)", glyphs::TEST_COUNT, [1, 28, 28]));
        assert_eq!(test.images.len(), test.len() * test.image_len());
    }

    #[test]
    fn a_missing_folder_is_refused() {
        let why = load(&"mnist:/nowhere/at/all".parse().unwrap(), Part::Train).unwrap_err().to_string();
        assert!(why.contains("/nowhere/at/all"), "{why}");
    }
}
