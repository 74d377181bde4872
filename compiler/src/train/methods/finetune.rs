//! Fine-tuning: a trained network goes on in the form that it has, each layer dense or in factors.

use super::TrainingMethod;
use super::factored::{Form, factors};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::import::composed;
use crate::tensor::Params;
use crate::train::leaves::Leaves;
use crate::train::site::{Factor, Site};

/// Trains the tensors of a checkpoint as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finetune;

impl TrainingMethod for Finetune {
    fn name(&self) -> String {
        "finetune".into()
    }

    fn start(&self, graph: &Graph, _seed: u64, start: Option<&Params>) -> Result<Params> {
        let mut trained = start.cloned().ok_or_else(|| Error::invalid("finetune", "needs a checkpoint to start from"))?;
        for spec in graph.params().iter().filter(|s| !s.role.is_trained()) {
            trained.remove(&spec.name);
        }
        Ok(trained)
    }

    fn takes_factors(&self) -> bool {
        true
    }

    fn weight(&self, site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Factor>> {
        weight(site, leaves)
    }

    fn dense(&self, graph: &Graph, trained: &Params, _running: &Params) -> Result<Params> {
        composed(graph, trained)
    }

    fn factors<'a>(&self, trained: &'a Params) -> Option<&'a Params> {
        trained.keys().any(|name| name.ends_with(".u")).then_some(trained)
    }

    fn step_macs(&self, site: &Site<'_>, trained: &Params) -> u64 {
        step_macs(site, trained)
    }
}

/// A layer's weight in whichever form `leaves` have it.
pub(super) fn weight(site: &Site<'_>, leaves: &Leaves) -> Result<Vec<Factor>> {
    match factors(site, leaves)? {
        Some(factors) => Ok(factors),
        None => Ok(vec![site.whole(leaves.get(&format!("{}.weight", site.name))?)]),
    }
}

/// What one step costs in the form that `trained` has.
pub(super) fn step_macs(site: &Site<'_>, trained: &Params) -> u64 {
    match Form::of(site.name, site.layer, trained) {
        Ok(Some(form)) => site.chain_macs(form.chain(site)),
        _ => site.dense_macs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{graph, zoo};

    #[test]
    fn a_dense_network_goes_on_dense_and_nothing_cannot_go_on() {
        let graph = zoo::build("resnet20").unwrap();
        let start = graph::init(&graph, 1);
        let trained = Finetune.start(&graph, 0, Some(&start)).unwrap();
        assert!(Finetune.factors(&trained).is_none());
        assert!(trained.iter().all(|(name, tensor)| start[name] == *tensor && !name.contains("running")));
        assert!(Finetune.start(&graph, 0, None).unwrap_err().to_string().contains("checkpoint"));
    }
}
