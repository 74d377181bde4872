//! Upper bounds for files.

use super::FormatError;

/// Upper bounds for files.
pub struct Limits;

impl Limits {
    /// Bytes of the postcard header.
    pub const HEADER_BYTES: u32 = 16 << 20;
    /// Layers, and entries of any other list in the header.
    pub const ENTRIES: usize = 1 << 16;
    /// Bytes of a name or note.
    pub const NAME_BYTES: usize = 1 << 10;
    /// Axes of a value, of a declared array and of a stored tensor.
    pub const AXES: usize = 8;
    /// Kernels of a tuned layer.
    pub const KERNELS: usize = 64;
    /// Elements of one sample at any layer.
    pub const SAMPLE_LEN: u64 = 1 << 28;
    /// Values that a primitive reads.
    pub const OPERANDS: usize = 6;
    /// Instructions of a map.
    pub const INSTRUCTIONS: usize = 64;
    /// A window's size, stride, dilation and padding.
    pub const WINDOW: u32 = 1 << 12;
    /// Pixels of the shorter side that an image is scaled to.
    pub const SIDE: u32 = 1 << 14;
}

/// Refuses a `value` of `what` above `max`.
pub(super) fn at_most(what: &str, value: usize, max: usize) -> Result<(), FormatError> {
    if value > max { Err(FormatError::TooLarge { what: what.into(), value: value as u64, max: max as u64 }) } else { Ok(()) }
}
