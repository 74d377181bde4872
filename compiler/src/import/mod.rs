//! Checkpoints into parameters, and where a file brings its own, into a graph.

mod checkpoint;
mod choice;
mod ends;
mod factors;
mod float;
mod onnx;
mod rewrite;
mod state_dict;
mod torch;

pub use checkpoint::{Checkpoint, Meta, save};
pub use choice::{Choice, InputShape};
pub use ends::{Declared, Ends};
pub(crate) use factors::SUFFIXES;
pub use factors::{Place, composed, held};
pub use rewrite::Rewrite;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Reads a checkpoint: ONNX by its file's ending `.onnx`, else what its bytes say, PyTorch's files or safetensors. Float tensors of
/// any width become f32; integers and booleans are left out. Of a checkpoint that holds other things too, or tensors whose names
/// have prefixes, the tensors of the one network that is known are taken, by that network's names; if none is known, those of the
/// largest dict as they are called there, without what wrappers such as `DataParallel` put before every name.
///
/// # Errors
/// As [`import`].
pub fn load(path: &Path) -> Result<Checkpoint> {
    import(path).map(|(checkpoint, _)| checkpoint)
}

/// As [`load`], and says what was rewritten on the way.
///
/// # Errors
/// As [`import_with`].
pub fn import(path: &Path) -> Result<(Checkpoint, Vec<Rewrite>)> {
    import_with(path, &Choice::default())
}

/// As [`import`], by what the user says of the file.
///
/// # Errors
/// [`crate::Error::Io`]; [`crate::Error::Checkpoint`] for a file that is damaged, contradicts itself, holds a tensor of an unusable
/// type or several networks with equal claim; [`crate::Error::UnknownModel`]; [`crate::Error::Unsupported`] for an ONNX file with
/// operations that a graph does not have; [`crate::Error::Invalid`] for a choice among dicts that an ONNX file does not have.
pub fn import_with(path: &Path, choice: &Choice<'_>) -> Result<(Checkpoint, Vec<Rewrite>)> {
    let start = start(path).map_err(Error::io(path))?;
    if let Some(kind) = foreign(&start) {
        return Err(Error::Checkpoint { path: path.into(), why: format!("it is {kind}") });
    }
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if ending == "onnx" {
        return match choice.state_dict {
            Some(key) => Err(Error::invalid(format!("--state-dict {key}"), format!("{} brings its own network", path.display()))),
            None => onnx::load(path, choice.shapes),
        };
    }
    if let Some(shape) = choice.shapes.first() {
        return Err(Error::invalid(format!("--shape {shape}"), format!("{} is no ONNX file, whose axes may be free", path.display())));
    }
    // A header of safetensors begins behind 8 bytes with a brace.
    let is_torch = ["pth", "pt", "bin", "ckpt", "tar", "pkl"].contains(&ending) && start.get(8) != Some(&b'{');
    let checkpoint = match is_torch || start.starts_with(b"PK\x03\x04") || torch::is_legacy(&start) {
        true => torch::load(path, choice)?,
        false => checkpoint::load(path, choice)?,
    };
    Ok((checkpoint, Vec::new()))
}

/// The first bytes of a file, at most 32.
fn start(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(32).read_to_end(&mut start)?;
    Ok(start)
}

/// What a file is whose first bytes say that it is no checkpoint at all.
fn foreign(start: &[u8]) -> Option<&'static str> {
    match start.first_chunk::<4>()? {
        b"THIN" => Some("a .thin file, compiled already"),
        b"\x89PNG" | b"\xff\xd8\xff\xe0" => Some("an image"),
        b"\x89HDF" => Some("an HDF5 file, as Keras writes it; export the network as ONNX"),
        _ => None,
    }
}
