//! Architectures as graphs, their parameters named as PyTorch names them.

mod fcn;
mod mlp;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::tensor::Params;

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

/// The name of the architecture that has exactly these tensors, for checkpoints that do not say it.
pub fn guess(params: &Params) -> Option<String> {
    let candidates = mlp::guess(params).into_iter().chain(fcn::NAMES.map(String::from));
    candidates.into_iter().find(|name| {
        let specs = build(name).map(|g| g.params()).unwrap_or_default();
        specs.len() == params.len() && specs.iter().all(|s| params.get(&s.name).is_some_and(|t| t.shape() == s.shape))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_known_by_their_tensors() {
        for name in ["fcn6", "fcn10", "mlp:784-256-10", "mlp:5-4-3-2"] {
            let mut params = crate::graph::init(&build(name).unwrap(), 0);
            assert_eq!(guess(&params).as_deref(), Some(name));
            params.insert("extra".into(), crate::tensor::Tensor::full([1], 0.0));
            assert_eq!(guess(&params), None);
        }
    }

    #[test]
    fn names_that_mean_nothing_are_refused() {
        for name in ["", "fcn", "fcn7", "fcn8:2", "mlp", "mlp:", "mlp:784", "mlp:784-0-10", "mlp:784-x-10", "mlp:99999999999-2", "resnet21"]
        {
            assert!(matches!(build(name), Err(Error::UnknownModel { .. })), "{name}");
        }
    }
}
