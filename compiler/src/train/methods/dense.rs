//! Plain training: every weight is what it is.

use super::TrainingMethod;
use crate::error::Result;
use crate::graph::{self, Graph};
use crate::tensor::Params;
use crate::train::leaves::Leaves;
use crate::train::site::{Factor, Site};

/// Trains the network's own parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense;

impl TrainingMethod for Dense {
    fn name(&self) -> String {
        "dense".into()
    }

    fn start(&self, graph: &Graph, seed: u64, start: Option<&Params>) -> Result<Params> {
        Ok(trained_part(graph, seed, start))
    }

    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Factor>> {
        Ok(vec![site.whole(leaves.get(&format!("{}.weight", site.name))?)])
    }

    fn dense(&self, _graph: &Graph, trained: &Params, _running: &Params) -> Result<Params> {
        Ok(trained.clone())
    }

    fn step_macs(&self, site: &Site<'_>, _trained: &Params) -> u64 {
        site.dense_macs()
    }
}

/// The parameters that training moves: of `start`, or drawn for `seed`.
pub(super) fn trained_part(graph: &Graph, seed: u64, start: Option<&Params>) -> Params {
    let mut params = start.cloned().unwrap_or_else(|| graph::init(graph, seed));
    for spec in graph.params().iter().filter(|s| !s.role.is_trained()) {
        params.remove(&spec.name);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn running_statistics_are_not_trained() {
        let graph = zoo::build("fcn6").unwrap();
        let trained = Dense.start(&graph, 0, None).unwrap();
        assert_eq!(trained.len(), 4 * 6);
        assert!(trained.keys().all(|k| !k.contains("running")));
    }
}
