//! Files that are plain, gzipped or xz-compressed, read to an exact length.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::error::{Error, Result};

/// KiB that an xz decoder may take: what `xz -9` needs, and some room.
const XZ_MEMORY_KIB: u32 = 96 << 10;

/// What may stand behind a file's name.
const ENDINGS: [&str; 3] = ["", ".gz", ".xz"];

/// The first of `folders` that holds `name`, plain or compressed.
///
/// # Errors
/// [`Error::Data`] naming the first folder and what was looked for.
pub(super) fn find(folders: &[PathBuf], name: &str) -> Result<PathBuf> {
    let candidates = folders.iter().flat_map(|folder| ENDINGS.iter().map(move |ending| folder.join(format!("{name}{ending}"))));
    let Some(found) = candidates.into_iter().find(|path| path.is_file()) else {
        let (first, others) = folders.split_first().ok_or_else(|| Error::data(name, "has no folder to be in"))?;
        let why = if first.is_dir() { "" } else { "is no folder: " };
        let and: Vec<String> = others.iter().filter_map(|f| f.file_name()).map(|f| format!(" and in {}", f.display())).collect();
        return Err(Error::data(
            first.display().to_string(),
            format!("{why}looked for {name}, also with .gz and .xz, here{}", and.concat()),
        ));
    };
    Ok(found)
}

/// Reads all of `path`, which must give `len` bytes once decompressed; never takes memory for more.
///
/// # Errors
/// [`Error::Data`] naming a file that is shorter, longer or damaged; [`Error::Io`].
pub(super) fn read_exactly(path: &Path, len: usize) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let plain = BufReader::new(file);
    let mut bytes = Vec::new();
    // One byte past the end, so that a longer file shows and the compressed stream's own checksum is verified.
    let most = len as u64 + 1;
    let (read, format) = match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => (MultiGzDecoder::new(plain).take(most).read_to_end(&mut bytes), "gzip"),
        Some("xz") => (XzReader::new_mem_limit(plain, true, XZ_MEMORY_KIB).take(most).read_to_end(&mut bytes), "xz"),
        _ => (plain.take(most).read_to_end(&mut bytes), ""),
    };
    let fault = |why: String| Error::data(path.display().to_string(), why);
    match read {
        Err(e) if format.is_empty() => return Err(Error::io(path)(e)),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(fault(format!("no whole {format} file: it ends too early"))),
        Err(e) => return Err(fault(format!("no valid {format} file: {e}"))),
        Ok(_) => {}
    }
    match bytes.len() {
        n if n == len => Ok(bytes),
        n if n < len => Err(fault(format!("ends after {n} of {len} bytes"))),
        _ => Err(fault(format!("goes on after the {len} bytes that it should have"))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// `printf '0123456789' | xz`.
    #[rustfmt::skip]
    const XZ: [u8; 68] = [
        253, 55, 122, 88, 90, 0, 0, 4, 230, 214, 180, 70, 2, 0, 33, 1, 22,
        0, 0, 0, 116, 47, 229, 163, 1, 0, 9, 48, 49, 50, 51, 52, 53, 54,
        55, 56, 57, 0, 0, 0, 30, 115, 18, 127, 44, 207, 101, 39, 0, 1, 34,
        10, 21, 26, 225, 103, 31, 182, 243, 125, 1, 0, 0, 0, 0, 4, 89, 90,
    ];

    #[test]
    fn every_ending_is_read_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let text = b"0123456789";
        let (zipped, bomb) = (gz(text), gz(&[0; 1 << 20]));
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        put("plain", text);
        put("zipped.gz", &zipped);
        put("packed.xz", &XZ);
        for name in ["plain", "zipped", "packed"] {
            let path = find(&[dir.path().into()], name).unwrap();
            assert_eq!(read_exactly(&path, 10).unwrap(), text);
            assert!(read_exactly(&path, 11).unwrap_err().to_string().contains("after 10 of 11"));
            assert!(read_exactly(&path, 9).unwrap_err().to_string().contains("goes on"));
        }
        put("cut.gz", &zipped[..zipped.len() - 3]);
        put("cut.xz", &XZ[..40]);
        put("no.xz", b"nonsense, no xz");
        let mut flipped = XZ;
        flipped[30] ^= 1;
        put("flipped.xz", &flipped);
        put("bomb.gz", &bomb);
        for name in ["cut.gz", "cut.xz", "no.xz", "flipped.xz", "bomb.gz"] {
            let error = read_exactly(&dir.path().join(name), 10).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains('\n'), "{error}");
        }
        let error = find(&[dir.path().into(), dir.path().join("inner")], "none").unwrap_err().to_string();
        assert!(error.contains("none, also with .gz and .xz, here and in inner"), "{error}");
    }
}
