//! What was done to the graph of an imported file.

use std::borrow::Cow;

/// A rewrite that made the graph of an imported file what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// What it does.
    pub rule: Cow<'static, str>,
    /// The nodes of the file that it was applied to.
    pub nodes: Vec<String>,
}
