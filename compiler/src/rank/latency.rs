//! Ranks by the clock: a layer's candidates are the forms that were timed on a device, and time takes the place of cost.

use std::collections::BTreeMap;

use thinfer::tools::latency::LatencyTable;

use super::{Cut, LayerChoices, Policy, solver};
use crate::error::{Error, Result};
use crate::factor::Rank;

/// A form of a layer with what it was timed at.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The form.
    pub cut: Cut,
    /// How it was run when it was fastest: `dense`, `two-stage`, `fused`.
    pub form: String,
    /// Microseconds that it adds to a run of the batch.
    pub us: f64,
    /// Share of the energy that is lost, 0…1.
    pub error: f64,
}

/// What every layer may become and how long it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Microseconds of a run without the layers that have a weight.
    pub base_us: f64,
    /// The candidates of each layer with a weight, in layer order, dense first.
    pub layers: Vec<Vec<Timed>>,
}

impl Timing {
    /// Joins the times of `table`, which must be checked and fit, with the errors of `choices`, of which `at` says their
    /// places in the network. Schemes that know the data are not compared with such that do not.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a decomposition fails.
    pub fn new(table: &LatencyTable, at: &[usize], choices: &[LayerChoices<'_>]) -> Result<Self> {
        let mut layers = Vec::with_capacity(choices.len());
        for (&layer, choice) in at.iter().zip(choices) {
            let mut all = Vec::new();
            if let Some(dense) = table.fastest(layer, "dense", None, None) {
                all.push(Timed { cut: None, form: dense.form.clone(), us: table.cost_us(dense), error: 0.0 });
            }
            for factoring in choice.comparable() {
                // A fully connected layer knows one scheme, under a name of its own.
                let linear = table.layers[layer].candidates.iter().any(|c| c.scheme == "low-rank");
                let scheme = if linear { "low-rank" } else { factoring.scheme().label() };
                let known: BTreeMap<Rank, f64> = factoring.grid().into_iter().collect();
                let mut ranks: Vec<Rank> = table.layers[layer].candidates.iter().filter(|c| c.scheme == scheme).filter_map(rank).collect();
                ranks.sort_unstable();
                ranks.dedup();
                for rank in ranks.into_iter().filter(|r| factoring.clamp(*r) == *r) {
                    let (output, input) = match rank {
                        Rank::One(r) => (r, None),
                        Rank::Two { output, input } => (output, Some(input)),
                    };
                    let Some(fastest) = table.fastest(layer, scheme, Some(output), input) else { continue };
                    let error = known.get(&rank).map_or_else(|| factoring.lost(rank), |lost| Ok(*lost))?;
                    all.push(Timed {
                        cut: Some((factoring.scheme(), rank)),
                        form: fastest.form.clone(),
                        us: table.cost_us(fastest),
                        error,
                    });
                }
            }
            layers.push(all);
        }
        let dense: f64 = layers.iter().filter_map(|l| l.first()).map(|c| c.us).sum();
        Ok(Self { base_us: (table.dense_us() - dense).max(0.0), layers })
    }

    /// What a run of the dense network takes, microseconds.
    pub fn dense_us(&self) -> f64 {
        self.base_us + self.layers.iter().filter_map(|l| l.first()).map(|c| c.us).sum::<f64>()
    }

    /// The candidate of layer `at` (of those with a weight) that is `cut`; dense where it was never timed.
    pub fn find(&self, at: usize, cut: Cut) -> Option<&Timed> {
        let layer = self.layers.get(at)?;
        layer.iter().find(|c| c.cut == cut).or_else(|| layer.first())
    }

    /// What a run of the network in these forms, one a layer with a weight, is predicted to take, microseconds.
    pub fn total_us(&self, cuts: &[Cut]) -> f64 {
        self.base_us + cuts.iter().enumerate().filter_map(|(i, cut)| self.find(i, *cut)).map(|c| c.us).sum::<f64>()
    }

    /// The forms that lose least within `share` of the dense network's time, solved exactly over what was timed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a share out of range, [`Error::Unmet`] for one that no candidates meet, which says the least
    /// that can be.
    pub fn choose(&self, share: f64) -> Result<Vec<Cut>> {
        let policy = Policy::Latency(share);
        policy.check()?;
        let item = |c: &Timed| solver::Item { cost: nanoseconds(c.us), error: c.error };
        let items: Vec<Vec<_>> = self.layers.iter().map(|l| l.iter().map(item).collect()).collect();
        let dense = nanoseconds(self.base_us) + items.iter().filter_map(|l| l.first()).map(|i| i.cost).sum::<u64>();
        let budget = ((dense as f64 * share).floor() as u64).checked_sub(nanoseconds(self.base_us));
        let chosen = budget.and_then(|budget| solver::solve(&items, budget)).ok_or_else(|| {
            let least: u64 = items.iter().filter_map(|l| l.iter().map(|i| i.cost).min()).sum();
            let least = nanoseconds(self.base_us) + least;
            // Rounded up, so that the share it names can be met.
            let least_share = (least as f64 / dense.max(1) as f64 * 1e4).ceil() / 1e4;
            let why = format!("the smallest share that can be met is {least_share} ({:.3} of {:.3} ms)", ms(least), ms(dense));
            Error::Unmet { what: format!("--ranks {policy}"), why }
        })?;
        Ok(chosen.into_iter().zip(&self.layers).map(|(i, l)| l[i].cut).collect())
    }
}

fn rank(c: &thinfer::tools::latency::CandidateTime) -> Option<Rank> {
    Some(match (c.rank?, c.input_rank) {
        (output, Some(input)) => Rank::Two { output, input },
        (rank, None) => Rank::One(rank),
    })
}

fn nanoseconds(us: f64) -> u64 {
    (us * 1e3).round() as u64
}

fn ms(nanoseconds: u64) -> f64 {
    nanoseconds as f64 * 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::Scheme;

    fn timed(rank: usize, us: f64, error: f64) -> Timed {
        Timed { cut: Some((Scheme::Channel, Rank::One(rank))), form: "fused".into(), us, error }
    }

    fn timing() -> Timing {
        let dense = |us| Timed { cut: None, form: "dense".into(), us, error: 0.0 };
        Timing {
            base_us: 10.0,
            layers: vec![
                vec![dense(50.0), timed(4, 20.0, 0.4), timed(8, 30.0, 0.1)],
                // Nothing is faster than dense here.
                vec![dense(40.0), timed(4, 45.0, 0.01), timed(8, 60.0, 0.001)],
            ],
        }
    }

    #[test]
    fn the_least_error_within_the_time() {
        let t = timing();
        assert_eq!(t.dense_us(), 100.0);
        let ranks = |share| t.choose(share).unwrap().iter().map(|c| c.map(|(_, r)| r)).collect::<Vec<_>>();
        assert_eq!(ranks(1.0), [None, None]);
        assert_eq!(ranks(0.8), [Some(Rank::One(8)), None]);
        assert_eq!(ranks(0.79), [Some(Rank::One(4)), None]);
        assert_eq!(t.total_us(&t.choose(0.8).unwrap()), 80.0);
        let error = t.choose(0.5).unwrap_err().to_string();
        assert!(error.contains("latency:0.5") && error.contains("is 0.7 (0.070 of 0.100 ms)"), "{error}");
        assert!(t.choose(0.05).unwrap_err().to_string().contains("0.7"));
        assert!(t.choose(1.5).is_err());
    }
}
