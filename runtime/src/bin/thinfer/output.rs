//! Files of figures.

use std::path::Path;

use thinfer::{Error, Result};

/// Writes `figures` to `path`, if one was asked for.
pub(crate) fn write_json(path: Option<&Path>, figures: &serde_json::Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = format!("{figures:#}\n");
    thinfer::artifact::write_atomic(path, text.as_bytes()).map_err(Error::io(path))
}
