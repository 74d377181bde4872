//! Standard output, standard error and exit codes for command lines.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read, Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use crate::error::{Error, Result};

/// Writes `text` to standard output. Where the reader has gone (`… | head`) nothing is written and nothing is wrong: a
/// command goes on with what else it was asked to do.
///
/// # Errors
/// [`Error::Io`] for anything else that stops it, such as a full disk.
pub fn text(text: impl Display) -> Result<()> {
    written(write!(stdout().lock(), "{text}").and_then(|()| stdout().flush()))
}

/// [`text`] and a newline.
///
/// # Errors
/// As [`text`].
pub fn line(line: impl Display) -> Result<()> {
    text(format_args!("{line}\n"))
}

fn written(done: std::io::Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output")(e)),
        _ => Ok(()),
    }
}

/// Writes `text` and a newline to standard error, if it takes them: progress must not stop what it tells of.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Refuses a file of figures that could not be written, or that would take the place of something else: a network whose name was
/// given twice would be lost. To be asked before any work is done for it.
///
/// # Errors
/// [`Error::Invalid`] for a folder, a path into none that there is, and a file that holds no JSON.
pub fn check_figures(path: &Path) -> Result<()> {
    check_output(path)?;
    let mut start = [0; 64];
    let read = File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    match start[..read].iter().find(|byte| !byte.is_ascii_whitespace()) {
        None | Some(b'{' | b'[') => Ok(()),
        Some(_) => Err(Error::invalid(path.display().to_string(), "is there already and holds no JSON: it stays, choose another name")),
    }
}

/// Refuses an output that is a folder, or whose folder does not exist, before any work is done for it.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_output(path: &Path) -> Result<()> {
    let fail = |why: String| Err(Error::invalid(path.display().to_string(), why));
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => fail(format!("there is no folder {}", folder.display())),
        _ if path.is_dir() => fail("is a folder".into()),
        _ => Ok(()),
    }
}

/// How a program ends: silently, or with its error on one line of standard error and exit code 1.
pub fn ended<E: Display>(done: Result<(), E>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("error: {error}"));
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_the_place_of_figures_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        for (path, why) in [
            (file("a.thin", b"THIN\x01\0"), "stays"),
            (file("b.safetensors", b"\x40\0\0\0\0\0\0\0{"), "stays"),
            (dir.path().to_path_buf(), "is a folder"),
            (dir.path().join("none/c.json"), "no folder"),
        ] {
            assert!(check_figures(&path).is_err_and(|e| e.to_string().contains(why)), "{path:?}");
        }
        for path in [file("d.json", b"{}"), file("e.json", b"\n [1]"), file("f.json", b""), dir.path().join("g.json")] {
            check_figures(&path).unwrap();
        }
    }

    #[test]
    fn only_a_reader_that_has_gone_is_forgiven() {
        assert!(written(Ok(())).is_ok() && written(Err(ErrorKind::BrokenPipe.into())).is_ok());
        let error = written(Err(ErrorKind::StorageFull.into())).unwrap_err().to_string();
        assert!(error.contains("standard output"), "{error}");
    }
}
