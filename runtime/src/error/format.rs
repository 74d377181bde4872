//! One error for each way in which a `.thin` file can be wrong.

/// The first fault found in a file; each says where and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file is shorter than its fixed preamble.
    #[error("not a .thin file: {len} bytes, the preamble alone has {need}")]
    TooShort {
        /// The file's length.
        len: u64,
        /// The preamble's length.
        need: u64,
    },
    /// The first four bytes are not `THIN`.
    #[error("not a .thin file: it starts with {found:02x?} instead of 'THIN' (thinferc compile makes one of a checkpoint)")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A version that this build does not know.
    #[error("format version {found} is not known here (this build reads up to {newest}): update thinfer")]
    Version {
        /// The file's version.
        found: u16,
        /// The newest version that this build reads.
        newest: u16,
    },
    /// A field that must be zero is not.
    #[error("reserved bytes {at} of the preamble are not zero")]
    Reserved {
        /// The first byte's place.
        at: u64,
    },
    /// The file's length is not the one that its preamble states.
    #[error("the file has {len} bytes, its preamble says {stated}: truncated or grown")]
    Length {
        /// The file's length.
        len: u64,
        /// The stated length.
        stated: u64,
    },
    /// The bytes are not those that were written.
    #[error("checksum mismatch (stored {stored:08x}, computed {computed:08x}): the file is damaged")]
    Checksum {
        /// What the file says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The header is no valid postcard of this version.
    #[error("the header cannot be decoded: {why}")]
    Header {
        /// What the decoder said.
        why: String,
    },
    /// A count, size or length is above what the format allows.
    #[error("{what} is {value}, the format allows at most {max}")]
    TooLarge {
        /// The field.
        what: String,
        /// Its value.
        value: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A tensor's description does not hold.
    #[error("tensor '{tensor}' (number {index}): {why}")]
    Tensor {
        /// Its place in the table.
        index: usize,
        /// Its name.
        tensor: String,
        /// What is wrong.
        why: String,
    },
    /// A layer's description does not hold.
    #[error("layer '{layer}' (number {index}): {why}")]
    Layer {
        /// Its place.
        index: usize,
        /// Its name.
        layer: String,
        /// What is wrong.
        why: String,
    },
    /// Another field of the header does not hold.
    #[error("{what}: {why}")]
    Field {
        /// The field.
        what: String,
        /// What is wrong.
        why: String,
    },
}
