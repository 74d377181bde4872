//! Labelled image sets: real ones from disk, and the built-in glyphs.

pub mod glyphs;
mod idx;
mod spec;

pub use spec::{DataSpec, SetKind, default_preprocess};

/// Which part of a set: training images may be looked at, test images are for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The training images.
    Train,
    /// The test images.
    Test,
}

/// Labelled 8-bit images of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Where it came from, for messages (`mnist:DIR`, test part).
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
}
