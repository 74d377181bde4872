//! How an image of another size than a network's input is brought to that size.

use serde::{Deserialize, Serialize};

/// How images of other sizes are brought to that of an input. An image of the input's own size is taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// Index into [`super::Model::inputs`]: one that is given images.
    pub input: u32,
    /// What becomes of the sides.
    pub method: FitMethod,
    /// How pixels are resampled.
    pub filter: Filter,
}

/// What becomes of the sides of an image of w × h pixels for an input of W × H.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FitMethod {
    /// Each side is scaled for itself: the image is distorted.
    Stretch,
    /// The shorter side is scaled to `shorter` pixels, the longer one with it, to ⌊longer · shorter / side⌋; then the middle W × H are
    /// cut out, from the offsets (w − W) / 2 and (h − H) / 2, of two integers as near the even one.
    Crop {
        /// Pixels of the shorter side.
        shorter: u32,
    },
    /// Both sides are scaled by min(W / w, H / h), rounded to nearest and at least 1, so that all of the image is seen; the rest is filled.
    Letterbox {
        /// Red, green and blue of what is filled; grey networks take their luma.
        fill: [u8; 3],
        /// Where the image lies.
        anchor: Anchor,
    },
}

/// Where a letterboxed image lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Anchor {
    /// In the middle: ⌊rest / 2⌋ pixels are filled to its left and above it.
    Middle,
    /// In the upper left corner.
    Corner,
}

/// How pixels are resampled: as weighted means under a kernel that is widened by the scale where an image is made smaller (so it is
/// antialiased), its weights normalised to a sum of 1, columns before rows, with 8-bit pixels between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// A triangle of radius 1.
    #[default]
    Bilinear,
    /// Keys' cubic of radius 2 with a = −1/2.
    Bicubic,
}
