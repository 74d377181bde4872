//! Files that a command writes: none takes the place of something else.

use std::path::{Path, PathBuf};

use thinfer::tools::print;
use thinfer_compiler::{Error, Result, files};

/// Writes `figures` to `path`, if one was asked for.
pub(crate) fn write_json(path: Option<&Path>, figures: &serde_json::Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    files::write_atomic(path, format!("{figures:#}\n").as_bytes())
}

/// Refuses to write a .thin file over what is none: a checkpoint whose name was given twice would be lost.
pub(crate) fn check_replaced(path: &Path) -> Result<()> {
    match files::first_bytes(path) {
        Some(start) if &start != b"THIN" => {
            Err(Error::invalid(path.display().to_string(), "is there already and is no .thin file: it stays, choose another name"))
        }
        _ => Ok(()),
    }
}

/// Refuses a file of figures that cannot be written, or that is `read` by the same command.
pub(crate) fn check_figures(read: &Path, json: Option<&Path>) -> Result<()> {
    let Some(json) = json else { return Ok(()) };
    check_outputs(&[read], &[json])?;
    Ok(print::check_figures(json)?)
}

/// Refuses outputs that cannot be written, and such as would be written over each other or over one of the files `read`,
/// before any work is done for them.
pub(crate) fn check_outputs(read: &[&Path], outputs: &[&Path]) -> Result<()> {
    for (at, path) in outputs.iter().enumerate() {
        print::check_output(path)?;
        let is_among = |others: &[&Path]| others.iter().any(|other| place(other) == place(path));
        if is_among(read) {
            return Err(Error::invalid(path.display().to_string(), "is what is read: choose another name"));
        }
        if is_among(&outputs[..at]) {
            return Err(Error::invalid(path.display().to_string(), "would be written twice: choose another name for one of the two"));
        }
    }
    Ok(())
}

/// Where a file is or will be, however its path is spelled.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let to_be = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(to_be).unwrap_or_else(|| path.into())
}

/// Refuses a folder to write to that is a file.
pub(crate) fn check_folder(path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Error::invalid(path.display().to_string(), "is a file; a folder is needed"));
    }
    Ok(())
}
