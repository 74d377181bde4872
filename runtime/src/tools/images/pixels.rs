//! Decoded images.

/// Bytes that an image's decoded pixels may take.
pub(super) const MOST_BYTES: usize = 1 << 30;

/// Called with an image's width and height before its pixels are decoded, so that one that is refused costs nothing.
pub(super) type Accept<'a> = &'a dyn Fn(usize, usize) -> Result<(), String>;

/// An image of 8-bit pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// [height, width, channels].
    pub data: Vec<u8>,
}

impl Pixels {
    /// [channels, height, width].
    pub fn planes(&self) -> Vec<u8> {
        (0..self.channels).flat_map(|c| self.data.iter().skip(c).step_by(self.channels).copied()).collect()
    }
}
