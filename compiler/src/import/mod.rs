//! Checkpoints into parameters, and where a file brings its own, into a graph.

mod checkpoint;
mod onnx;

pub use checkpoint::{Checkpoint, Meta, save};

use std::path::Path;

use crate::error::Result;

/// A rewrite that made the graph of an imported file what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// What it does.
    pub rule: &'static str,
    /// The nodes of the file that it was applied to.
    pub nodes: Vec<String>,
}

/// Reads a checkpoint by its file's ending: `.onnx`, else safetensors.
///
/// # Errors
/// As [`import`].
pub fn load(path: &Path) -> Result<Checkpoint> {
    import(path).map(|(checkpoint, _)| checkpoint)
}

/// As [`load`], and says what was rewritten on the way.
///
/// # Errors
/// [`crate::Error::Io`]; [`crate::Error::Checkpoint`] for a file that is damaged, contradicts itself, or holds a tensor of
/// an unusable type; [`crate::Error::Unsupported`] for an ONNX file with operations that a graph does not have.
pub fn import(path: &Path) -> Result<(Checkpoint, Vec<Rewrite>)> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("onnx") => onnx::load(path),
        _ => Ok((checkpoint::load(path)?, Vec::new())),
    }
}
