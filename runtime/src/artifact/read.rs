//! Reading: length and checksum first, then the header, then everything that it claims.

use std::path::Path;

use super::bytes::Bytes;
use super::file::Artifact;
use super::preamble::{self, Preamble};
use super::{FormatError, Model, Nested, Section, Sections, check, v1};
use crate::error::{Error, Result};

impl Artifact {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] with the first fault found.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Self::check_bytes(Bytes::Owned(bytes)).map_err(|source| Error::Format { path: path.into(), source })
    }

    /// Maps a file into memory and checks it, so that opening copies nothing.
    ///
    /// # Safety
    /// Nobody may change or truncate the file while the artifact lives: the checks were made on what it held at first,
    /// and reading a page that a truncated file no longer has ends the process.
    ///
    /// # Errors
    /// As [`Artifact::open`].
    #[cfg(feature = "mmap")]
    pub unsafe fn open_mapped(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        // SAFETY: the caller promises that the file stays as it is.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
        Self::check_bytes(Bytes::Mapped(map)).map_err(|source| Error::Format { path: path.into(), source })
    }

    /// Checks a file that is in memory already.
    ///
    /// # Errors
    /// The first fault found.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, FormatError> {
        Self::check_bytes(Bytes::Owned(bytes))
    }

    fn check_bytes(bytes: Bytes) -> Result<Self, FormatError> {
        let preamble = Preamble::read(&bytes)?;
        // Both ends are within the file: its length was compared with the preamble's.
        let header = &bytes[preamble::LEN..preamble::LEN + preamble.header_len as usize];
        let (mut model, sections) = decode(header, preamble.version).map_err(|why| FormatError::Header { why })?;
        let data = preamble.data_start() as usize..bytes.len();
        let gap = preamble::LEN + preamble.header_len as usize..data.start;
        if bytes[gap].iter().any(|&b| b != 0) {
            return Err(FormatError::Field { what: "padding after the header".into(), why: "is not zero".into() });
        }
        let values = check::check(&mut model, &sections, &bytes[data.clone()], preamble.version)?;
        Ok(Self { model, values, bytes, sections, data })
    }
}

/// The network that a header of this version holds, and what stands behind it.
fn decode(header: &[u8], version: u16) -> Result<(Model, Sections), String> {
    let behind = |why: String| format!("behind the network: {why}");
    let (model, sections, rest): (Model, Vec<Section>, &[u8]) = if version == 1 {
        let (model, rest) = postcard::take_from_bytes::<v1::Model>(header).map_err(|e| e.to_string())?;
        let (sections, rest) = match rest {
            [] => (Vec::new(), rest),
            _ => postcard::take_from_bytes::<Vec<Nested>>(rest)
                .map(|(nested, rest)| (vec![Section::Nested(nested)], rest))
                .map_err(|e| behind(e.to_string()))?,
        };
        (model.into(), sections, rest)
    } else {
        let (model, rest) = postcard::take_from_bytes(header).map_err(|e| e.to_string())?;
        let (sections, rest) = postcard::take_from_bytes(rest).map_err(|e| behind(e.to_string()))?;
        (model, sections, rest)
    };
    let sections = Sections::of(sections).map_err(behind)?;
    match rest.len() {
        0 => Ok((model, sections)),
        left => Err(format!("{left} bytes are left over")),
    }
}
