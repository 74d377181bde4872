//! Files that appear whole or not at all, and what kind one is.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `bytes` to `path` so that a reader, or a crash at any moment, sees the old file or the new one: a sibling
/// temporary file is written, flushed to the disk and renamed over `path`.
///
/// # Errors
/// [`Error::Io`] naming `path`; no temporary file is left.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    thinfer::artifact::write_atomic(path, bytes).map_err(Error::io(path))
}

/// The four bytes that say what kind of file is at `path`; `None` where there is no file of that many.
pub fn first_bytes(path: &Path) -> Option<[u8; 4]> {
    let mut start = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).ok()?;
    Some(start)
}

/// Makes `path` and its parents.
///
/// # Errors
/// [`Error::Io`] naming `path`.
pub fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(path))
}
