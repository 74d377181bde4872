//! Tensors that lie in a file beside the ONNX file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::proto::StringStringEntryProto;

/// The `needed` bytes that `entries` point to, below `folder`.
///
/// # Errors
/// A phrase for a location that is no path below `folder`, a range that is not the tensor's or not the file's, and for what
/// the system refuses. The range is checked against the file's size before anything is allocated.
pub(super) fn read(entries: &[StringStringEntryProto], folder: &Path, needed: usize) -> Result<Vec<u8>, String> {
    let get = |key: &str| entries.iter().find(|e| e.key.as_deref() == Some(key)).and_then(|e| e.value.as_deref());
    let number = |key: &str| match get(key) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("has external data with {key} '{text}'")),
    };
    let location = get("location").ok_or("has external data without a location")?;
    let path = Path::new(location);
    if location.is_empty() || !path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("has its data in '{location}', which is not below the file's folder"));
    }
    let full = folder.join(path);
    let io = |e: std::io::Error| format!("has its data in '{location}': {e}");
    // A link may lead out of the folder too.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !full.canonicalize().map_err(io)?.starts_with(folder.canonicalize().map_err(io)?) {
        return Err(format!("has its data in '{location}', which is not below the file's folder"));
    }
    let mut file = File::open(&full).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if length.is_some_and(|l| l != needed as u64) {
        return Err(format!("has {} bytes in '{location}', its shape needs {needed}", length.unwrap_or(0)));
    }
    if !metadata.is_file() || offset.checked_add(needed as u64).is_none_or(|end| end > metadata.len()) {
        return Err(format!("needs {needed} bytes from {offset} of '{location}', which has {}", metadata.len()));
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = vec![0; needed];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
        pairs.iter().map(|(k, v)| StringStringEntryProto { key: Some((*k).into()), value: Some((*v).into()) }).collect()
    }

    #[test]
    fn only_what_lies_below_the_folder_is_read() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("model");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(outer.path().join("secret"), [7; 8]).unwrap();
        std::fs::write(dir.join("sub/w.bin"), [0, 1, 2, 3, 4, 5]).unwrap();
        let from = |location: &str, offset: &str, needed| read(&entries(&[("location", location), ("offset", offset)]), &dir, needed);
        assert_eq!(from("sub/w.bin", "2", 4).unwrap(), [2, 3, 4, 5]);
        assert_eq!(from("./sub/w.bin", "0", 1).unwrap(), [0]);
        let absolute = outer.path().join("secret").display().to_string();
        for location in ["../secret", "sub/../../secret", &absolute, ""] {
            assert!(from(location, "0", 8).unwrap_err().contains("not below"), "{location}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outer.path().join("secret"), dir.join("link")).unwrap();
            assert!(from("link", "0", 8).unwrap_err().contains("not below"));
        }
        assert!(from("sub/w.bin", "3", 4).unwrap_err().contains("which has 6"));
        assert!(from("sub/w.bin", "18446744073709551615", 4).unwrap_err().contains("which has 6"));
        assert!(from("sub/w.bin", "0", 1 << 40).unwrap_err().contains("which has 6"));
        assert!(from("sub", "0", 0).is_err() && from("absent", "0", 1).is_err() && from("sub/w.bin", "-1", 1).is_err());
        let length = entries(&[("location", "sub/w.bin"), ("length", "3")]);
        assert!(read(&length, &dir, 4).unwrap_err().contains("its shape needs 4"));
        assert!(read(&[], &dir, 4).unwrap_err().contains("without a location"));
    }
}
