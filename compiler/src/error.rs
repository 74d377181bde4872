//! Everything that the compiler refuses, each kind its own variant, each message one line that names the thing at fault.

use std::path::{Path, PathBuf};

/// The compiler's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the compiler refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint is no readable safetensors file.
    #[error("{}: not a usable checkpoint: {why}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A checkpoint's tensors are not those of the network; all faults at once.
    #[error("the tensors do not fit {model}: {}", first(faults))]
    Params {
        /// The network.
        model: String,
        /// One phrase a fault.
        faults: Vec<String>,
    },
    /// An ONNX file with inputs, outputs or operations that have no place in a graph.
    #[error("{}: {}", path.display(), unsupported(ends, nodes))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is wrong with its inputs and outputs.
        ends: Vec<String>,
        /// For each node that cannot be imported its operation, its name and the reason.
        nodes: Vec<String>,
    },
    /// No architecture has this name.
    #[error("unknown model '{name}' (known: {known})")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: &'static str,
    },
    /// A graph whose operations do not fit together.
    #[error("layer '{node}' {why}")]
    Graph {
        /// The node at fault.
        node: String,
        /// What it expected and what it got.
        why: String,
    },
    /// A data set that is missing, malformed or of the wrong kind.
    #[error("data {at}: {why}")]
    Data {
        /// The set, folder or file.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value outside what its place allows.
    #[error("{what}: {why}")]
    Invalid {
        /// The flag, field or layer.
        what: String,
        /// Why its value cannot be used.
        why: String,
    },
    /// A budget that no choice of forms meets.
    #[error("{what}: {why}")]
    Unmet {
        /// The policy.
        what: String,
        /// The smallest that can be met.
        why: String,
    },
    /// A run folder that cannot be started in or resumed.
    #[error("{}: {why}", path.display())]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The user asked to stop; everything needed to go on was saved.
    #[error("interrupted after epoch {epoch}, step {step}: saved in {}, go on with --resume", path.display())]
    Interrupted {
        /// The run's folder.
        path: PathBuf,
        /// Epochs finished.
        epoch: usize,
        /// Steps of the current epoch finished.
        step: usize,
    },
    /// The runtime refused an artifact or a device.
    #[error(transparent)]
    Runtime(#[from] thinfer::Error),
}

/// The first few of many, and how many more there are.
fn first(faults: &[String]) -> String {
    const SHOWN: usize = 6;
    let rest = faults.len().saturating_sub(SHOWN);
    let shown = faults[..faults.len() - rest].join("; ");
    if rest == 0 { shown } else { format!("{shown}; and {rest} more") }
}

/// All that keeps a file from being imported, in one line.
fn unsupported(ends: &[String], nodes: &[String]) -> String {
    let counted = match nodes.len() {
        0 => None,
        1 => Some(format!("1 node cannot be imported: {}", nodes[0])),
        n => Some(format!("{n} nodes cannot be imported: {}", nodes.join("; "))),
    };
    ends.iter().cloned().chain(counted).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// An adapter for `map_err` that adds the path to what the system said.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// A [`Error::Data`].
    pub fn data(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Data { at: at.into(), why: why.into() }
    }

    /// A [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }
}
