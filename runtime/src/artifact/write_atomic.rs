//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path` so that a reader, or a crash at any moment, sees the old file or the new one: a sibling
/// temporary file is written, flushed to the disk and renamed over `path`.
///
/// # Errors
/// What the system said; the temporary file is removed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file"))?;
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    };
    // A browser has neither files nor processes; asking for the process's number would panic there.
    if cfg!(all(target_family = "wasm", target_os = "unknown")) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // Containers' processes have the same few numbers: a name that is taken is another's, or a killed one's, and stays.
    let (mut file, temporary) = loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = parent.join(format!(".{}.{}.{count}.tmp", name.to_string_lossy(), std::process::id()));
        match File::create_new(&temporary) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => break (made?, temporary),
        }
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // The first error is the one to report; a temporary file that cannot be removed changes nothing about it.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    // The rename is durable once the folder is; not every system lets a folder be opened, and the file itself is safe.
    if let Ok(folder) = File::open(&parent) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_processes_temporary_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let taken: Vec<PathBuf> = (0..100).map(|i| dir.path().join(format!(".x.{}.{i}.tmp", std::process::id()))).collect();
        taken.iter().for_each(|t| fs::write(t, b"theirs").unwrap());
        write_atomic(&path, b"ours").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        assert!(taken.iter().all(|t| fs::read(t).unwrap() == b"theirs"));
    }

    #[test]
    fn a_failure_leaves_the_folder_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("is-a-folder");
        fs::create_dir(&target).unwrap();
        assert!(write_atomic(&target, b"new").is_err());
        assert!(write_atomic(&dir.path().join("missing/x"), b"new").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
