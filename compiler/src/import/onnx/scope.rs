//! Where a body's nodes stand: the functions that their file defines, and the names that its values have outside.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::names::{Names, shortened};
use super::proto::{AttributeProto, FunctionProto};

/// What all bodies of a file share.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) folder: PathBuf,
    pub(super) opset: i64,
    pub(super) functions: Vec<FunctionProto>,
    /// By domain, name and overload.
    pub(super) known: HashMap<(String, String, String), usize>,
}

/// How a body stands in the network.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The values that it names otherwise.
    pub(super) names: HashMap<String, String>,
    /// What its nodes' names begin with.
    pub(super) prefix: String,
    /// Of the function that it belongs to.
    pub(super) attributes: HashMap<String, AttributeProto>,
    /// The functions that are being called, the outermost first. Within one, other names than its own mean nothing.
    pub(super) calls: Vec<usize>,
    /// Graphs around this one.
    pub(super) depth: usize,
}

impl Place {
    /// The value that the body calls `name`.
    pub(super) fn name(&self, name: &str) -> String {
        match self.names.get(name) {
            Some(known) => known.clone(),
            None if name.is_empty() || self.calls.is_empty() => name.into(),
            None => format!("{}{}", self.prefix, shortened(name)),
        }
    }

    pub(super) fn label(&self, name: &str) -> String {
        if name.is_empty() || self.prefix.is_empty() { name.into() } else { format!("{}{}", self.prefix, shortened(name)) }
    }

    pub(super) fn is_main(&self) -> bool {
        self.prefix.is_empty()
    }
}

impl Scope {
    pub(super) fn new(folder: &Path, opset: i64, functions: Vec<FunctionProto>) -> Self {
        let key = |f: &FunctionProto| key(f.domain.as_deref(), f.name.as_deref(), f.overload.as_deref());
        let known = functions.iter().enumerate().rev().map(|(i, f)| (key(f), i)).collect();
        Self { folder: folder.into(), opset, functions, known }
    }

    /// Gives `values` of a body names of their own, where they have none.
    pub(super) fn define<'n>(&self, values: impl Iterator<Item = &'n String>, place: &mut Place, names: &mut Names) {
        for value in values.filter(|v| !v.is_empty()) {
            if !place.names.contains_key(value) {
                place.names.insert(value.clone(), names.fresh(&format!("{}{}", place.prefix, shortened(value))));
            }
        }
    }
}

/// What a function is called by.
pub(super) fn key(domain: Option<&str>, name: Option<&str>, overload: Option<&str>) -> (String, String, String) {
    let domain = domain.filter(|d| !is_default(d)).unwrap_or_default();
    (domain.into(), name.unwrap_or_default().into(), overload.unwrap_or_default().into())
}

/// Whether a domain is that of ONNX's own operators.
pub(super) fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}
