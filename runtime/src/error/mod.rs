//! Everything that the runtime refuses or fails at, each kind its own variant, each message one line.

mod format;

use std::path::{Path, PathBuf};

pub use format::FormatError;

/// The runtime's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the runtime refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is no valid `.thin` file.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file, or `<memory>`.
        path: PathBuf,
        /// The first fault found.
        source: FormatError,
    },
    /// An input, option or file of another kind that does not fit the request.
    #[error("{what}: {why}")]
    Invalid {
        /// The file, argument or option.
        what: String,
        /// What was expected and what came.
        why: String,
    },
    /// No device of the kind that was asked for.
    #[error("no {wanted} here: {why}")]
    NoDevice {
        /// The kind of device.
        wanted: String,
        /// What the system said.
        why: String,
    },
    /// The network needs more than the device, or a budget, allows.
    #[error("{part} needs {needs} {what}, {device} allows {allows}")]
    Limit {
        /// A layer, or what else of the network is too much.
        part: String,
        /// The limit's name.
        what: String,
        /// What the layer needs.
        needs: u64,
        /// What the device allows.
        allows: u64,
        /// The device, or who else allows no more.
        device: String,
    },
    /// The GPU reported an error, ran out of memory or was lost; the session cannot be used any more.
    #[error("{device}: {why}")]
    Gpu {
        /// The adapter.
        device: String,
        /// What it reported.
        why: String,
    },
}

impl Error {
    /// An adapter for `map_err` that adds the path to what the system said.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// An [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }
}
