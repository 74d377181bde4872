//! Checkpoints into parameters, and where a file brings its own, into a graph.

mod checkpoint;
mod factors;
mod float;
mod onnx;
mod torch;

pub use checkpoint::{Checkpoint, Meta, save};
pub(crate) use factors::SUFFIXES;
pub use factors::{Place, composed, held};

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::first_bytes;
use crate::tensor::Params;

/// What PyTorch's `DataParallel` puts before the name of every tensor.
const PARALLEL: &str = "module.";

/// A rewrite that made the graph of an imported file what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// What it does.
    pub rule: Cow<'static, str>,
    /// The nodes of the file that it was applied to.
    pub nodes: Vec<String>,
}

/// Reads a checkpoint by its file's ending: `.onnx`, PyTorch's `.pth`, `.pt` and `.bin`, else safetensors. Float tensors of
/// any width become f32; the integer counters `num_batches_tracked` that PyTorch keeps beside batch norm are dropped, and
/// so is the `module.` that `DataParallel` puts before every name.
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
    if let Some(kind) = foreign(path) {
        return Err(Error::Checkpoint { path: path.into(), why: format!("it is {kind}") });
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("onnx") => onnx::load(path),
        Some("pth" | "pt" | "bin") => Ok((torch::load(path)?, Vec::new())),
        _ => Ok((checkpoint::load(path)?, Vec::new())),
    }
}

/// What a file is whose first bytes say that it is no checkpoint at all.
fn foreign(path: &Path) -> Option<&'static str> {
    let named = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match &first_bytes(path)? {
        b"THIN" => Some("a .thin file, compiled already"),
        b"\x89PNG" | b"\xff\xd8\xff\xe0" => Some("an image"),
        b"PK\x03\x04" if !["pth", "pt", "bin"].contains(&named) => Some("a zip archive; a PyTorch state dict is named .pth or .pt"),
        _ => None,
    }
}

/// Whether a tensor only counts batches.
fn is_counter(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

/// The tensors without the prefix that all of them have if `DataParallel` saved them.
fn without_parallel(params: Params) -> Params {
    if params.is_empty() || !params.keys().all(|name| name.starts_with(PARALLEL)) {
        return params;
    }
    params.into_iter().map(|(name, tensor)| (name[PARALLEL.len()..].to_string(), tensor)).collect()
}
