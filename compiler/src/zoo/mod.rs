//! Architectures as graphs, their parameters named as PyTorch names them.

mod fcn;
mod mlp;

use crate::error::{Error, Result};
use crate::graph::Graph;

/// What `--model` accepts, for error messages and help.
pub const NAMES: &str = "fcn6|fcn8|fcn10, mlp:IN-HIDDEN-…-OUT (such as mlp:784-256-256-10)";

/// Builds the architecture called `name`.
///
/// # Errors
/// [`Error::UnknownModel`] when no architecture has that name or its parameters make no sense.
pub fn build(name: &str) -> Result<Graph> {
    let graph = match name.split_once(':') {
        Some(("mlp", widths)) => mlp::build(name, widths),
        None => fcn::build(name),
        Some(_) => None,
    };
    graph.unwrap_or_else(|| Err(Error::UnknownModel { name: name.into(), known: NAMES }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_nothing_are_refused() {
        for name in ["", "fcn", "fcn7", "fcn8:2", "mlp", "mlp:", "mlp:784", "mlp:784-0-10", "mlp:784-x-10", "mlp:99999999999-2", "resnet21"]
        {
            assert!(matches!(build(name), Err(Error::UnknownModel { .. })), "{name}");
        }
    }
}
