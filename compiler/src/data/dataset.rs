//! Labelled images, and which part of a set they are.

use thinfer::artifact::{Fit, Input};

/// What images of other sizes are brought to, and how.
pub type Brought<'a> = Option<(&'a Input, &'a Fit)>;

/// Which of a number of images are wanted, by their indices.
pub type Choose<'a> = &'a dyn Fn(usize) -> Vec<usize>;

/// Classes of the digit sets.
pub(super) const DIGITS: usize = 10;

pub(super) fn digit_names() -> Vec<String> {
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
}
