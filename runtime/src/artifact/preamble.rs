//! The fixed first bytes of a `.thin` file, all little-endian:
//!
//! | bytes  | field                                                                       |
//! |--------|-----------------------------------------------------------------------------|
//! | 0…3    | `THIN`                                                                      |
//! | 4…5    | format version                                                              |
//! | 6…7    | zero                                                                        |
//! | 8…11   | length of the postcard header                                               |
//! | 12…15  | CRC-32 (IEEE) of the whole file with these four bytes read as zero          |
//! | 16…23  | length of the data part                                                     |
//! | 24…31  | zero                                                                        |
//!
//! The header follows at byte 32; the data part at the next multiple of 64; the file ends where the data part ends.

use super::{FormatError, Limits};

/// Length of the preamble.
pub(super) const LEN: usize = 32;
/// Alignment of the data part and of every tensor in it.
pub(super) const ALIGN: u64 = 64;
/// The version that is written, and the newest that is read.
pub(crate) const VERSION: u16 = 2;
const MAGIC: [u8; 4] = *b"THIN";
/// Where the checksum stands.
const CHECKSUM: std::ops::Range<usize> = 12..16;

/// The preamble's fields, checked against the file's real length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Preamble {
    pub(super) version: u16,
    pub(super) header_len: u32,
    pub(super) data_len: u64,
}

impl Preamble {
    /// First byte of the data part.
    pub(super) fn data_start(self) -> u64 {
        (LEN as u64 + u64::from(self.header_len)).next_multiple_of(ALIGN)
    }

    /// Reads and checks the preamble of `file`, its length and its checksum.
    pub(super) fn read(file: &[u8]) -> Result<Self, FormatError> {
        let len = file.len() as u64;
        let Some(bytes) = file.first_chunk::<LEN>() else { return Err(FormatError::TooShort { len, need: LEN as u64 }) };
        let take = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if take(0) != MAGIC {
            return Err(FormatError::Magic { found: take(0) });
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if !(1..=VERSION).contains(&version) {
            return Err(FormatError::Version { found: version, newest: VERSION });
        }
        for (at, field) in [(6, &bytes[6..8]), (24, &bytes[24..32])] {
            if field.iter().any(|&b| b != 0) {
                return Err(FormatError::Reserved { at });
            }
        }
        let header_len = u32::from_le_bytes(take(8));
        if header_len > Limits::HEADER_BYTES {
            return Err(FormatError::TooLarge {
                what: "the header's length".into(),
                value: header_len.into(),
                max: Limits::HEADER_BYTES.into(),
            });
        }
        let data_len = u64::from(u32::from_le_bytes(take(16))) | u64::from(u32::from_le_bytes(take(20))) << 32;
        let preamble = Self { version, header_len, data_len };
        let stated = preamble.data_start().saturating_add(data_len);
        if stated != len {
            return Err(FormatError::Length { len, stated });
        }
        let (stored, computed) = (u32::from_le_bytes(take(CHECKSUM.start)), checksum(file));
        if stored != computed {
            return Err(FormatError::Checksum { stored, computed });
        }
        Ok(preamble)
    }

    /// Writes the preamble into the first bytes of `file`, whose other bytes must be final. Does nothing to a file
    /// too short to hold one.
    pub(super) fn seal(self, file: &mut [u8]) {
        if let Some(bytes) = file.first_chunk_mut::<LEN>() {
            bytes.fill(0);
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4..6].copy_from_slice(&self.version.to_le_bytes());
            bytes[8..12].copy_from_slice(&self.header_len.to_le_bytes());
            bytes[16..24].copy_from_slice(&self.data_len.to_le_bytes());
            let sum = checksum(file);
            file[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// CRC-32 of the file with the checksum's own bytes read as zero.
fn checksum(file: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[..CHECKSUM.start]);
    hasher.update(&[0; 4]);
    hasher.update(&file[CHECKSUM.end..]);
    hasher.finalize()
}
