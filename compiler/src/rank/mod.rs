//! Who gets which rank: policies over the layers' spectra.

mod accuracy;
mod cost;
mod global;
mod latency;
mod layer;
mod policy;
mod solver;

pub use accuracy::{JUDGEMENTS, cheapest};
pub use cost::{Cut, Geometry, macs, params};
pub use latency::{Timed, Timing};
pub use layer::{Candidate, LayerChoices, Pool};
pub use policy::Policy;

use crate::error::{Error, Result};
use crate::factor::{Factoring, Rank};

/// Chooses a form for every layer. Under `local`, `global` and `energy` every layer with a factoring is cut, even where
/// factors cost more than the matrix; whoever writes the file decides what becomes of those.
///
/// # Errors
/// [`Error::Unmet`] for a budget that no choice meets; [`Error::Invalid`] for a policy whose value is out of range, for `accuracy`, which needs a judge
/// ([`cheapest`]), for `latency`, which needs a clock ([`Timing`]), and for `keep`, which leaves nothing to choose.
pub fn choose(policy: Policy, layers: &[LayerChoices<'_>]) -> Result<Vec<Cut>> {
    policy.check()?;
    match policy {
        Policy::Dense => Ok(vec![None; layers.len()]),
        Policy::Local(keep) => Ok(layers.iter().map(|l| local(l, keep)).collect()),
        Policy::Global(keep) => Ok(pooled(layers, keep)),
        Policy::Energy(wanted) => layers.iter().map(|l| by_energy(l, wanted)).collect(),
        Policy::Macs(share) => budgeted(policy, layers, share, |c| c.macs),
        Policy::Params(share) => budgeted(policy, layers, share, |c| c.params),
        Policy::Keep => Err(Error::invalid("--ranks keep", "chooses nothing: the ranks are those of the checkpoint")),
        Policy::Latency(_) => Err(Error::invalid(format!("--ranks {policy}"), "needs the times of a device")),
        Policy::Accuracy(_) => Err(Error::invalid(format!("--ranks {policy}"), "needs images to judge by")),
    }
}

/// `keep` of `full` components, rounded, at least one.
fn share(full: usize, keep: f64) -> usize {
    ((full as f64 * keep).round() as usize).clamp(1, full.max(1))
}

/// The fewest of a layer's values, largest first, that hold `wanted` of Σσ².
pub fn energy_rank(sigma: &[f64], wanted: f64) -> usize {
    let total: f64 = sigma.iter().map(|s| s * s).sum();
    let mut kept = 0.0;
    for (i, s) in sigma.iter().enumerate() {
        kept += s * s;
        if kept >= wanted * total {
            return i + 1;
        }
    }
    sigma.len()
}

fn local(layer: &LayerChoices<'_>, keep: f64) -> Cut {
    let factoring = layer.factorings.first()?;
    let rank = match factoring.full_rank() {
        Rank::One(full) => Rank::One(share(full, keep)),
        Rank::Two { output, input } => Rank::Two { output: share(output, keep), input: share(input, keep) },
    };
    Some((factoring.scheme(), rank))
}

fn pooled(layers: &[LayerChoices<'_>], keep: f64) -> Vec<Cut> {
    let spectra =
        layers.iter().map(|l| global::Pooled { sigma: l.factorings.first().map(Factoring::sigma).unwrap_or_default(), pool: l.pool });
    let kept = global::choose(&spectra.collect::<Vec<_>>(), keep);
    let cut = |(layer, kept): (&LayerChoices<'_>, usize)| {
        let (factoring, rank) = (layer.factorings.first()?, global::rank(layer, kept)?);
        Some((factoring.scheme(), factoring.clamp(rank)))
    };
    layers.iter().zip(kept).map(cut).collect()
}

/// The cheapest form of each scheme's that keeps `wanted` of the energy.
fn by_energy(layer: &LayerChoices<'_>, wanted: f64) -> Result<Cut> {
    let allowed = 1.0 - wanted + 1e-12;
    let mut best: Option<Candidate> = None;
    for factoring in layer.comparable() {
        let ranks = match factoring.full_rank() {
            Rank::One(full) => {
                let mut rank = full;
                for r in 1..=full {
                    if factoring.lost(Rank::One(r))? <= allowed {
                        rank = r;
                        break;
                    }
                }
                vec![Rank::One(rank)]
            }
            Rank::Two { .. } => factoring.grid().into_iter().filter(|(_, lost)| *lost <= allowed).map(|(rank, _)| rank).collect(),
        };
        for rank in ranks {
            let candidate = layer.candidate(Some((factoring.scheme(), rank)), 0.0);
            if best.is_none_or(|b| candidate.macs < b.macs) {
                best = Some(candidate);
            }
        }
    }
    Ok(best.and_then(|b| b.cut))
}

fn budgeted(policy: Policy, layers: &[LayerChoices<'_>], share: f64, cost: impl Fn(&Candidate) -> u64) -> Result<Vec<Cut>> {
    let candidates: Vec<Vec<Candidate>> = layers.iter().map(LayerChoices::candidates).collect();
    let item = |c: &Candidate| solver::Item { cost: cost(c), error: c.error };
    let items: Vec<Vec<solver::Item>> = candidates.iter().map(|layer| layer.iter().map(item).collect()).collect();
    // The share is of the network as it came, without what a correction adds.
    let given = |l: &LayerChoices<'_>| cost(&LayerChoices { added: 0, ..*l }.candidate(None, 0.0));
    let dense = layers.iter().map(given).fold(0, u64::saturating_add);
    let budget = (dense as f64 * share).floor() as u64;
    let chosen = solver::solve(&items, budget);
    // The network as it came is never corrected: where it fits, only what loses nothing either is better.
    let loses = |chosen: &[usize]| chosen.iter().zip(&items).any(|(&i, layer)| layer[i].error > 0.0);
    if budget >= dense && chosen.as_deref().is_none_or(loses) {
        return Ok(vec![None; layers.len()]);
    }
    let chosen = chosen.ok_or_else(|| {
        let least: u64 = items.iter().filter_map(|l| l.iter().map(|i| i.cost).min()).fold(0, u64::saturating_add);
        // Rounded up, so that the share it names can be met.
        let least = (least as f64 / dense.max(1) as f64 * 1e4).ceil() / 1e4;
        Error::Unmet { what: format!("--ranks {policy}"), why: format!("the smallest share that can be met is {least}") }
    })?;
    Ok(chosen.into_iter().zip(&candidates).map(|(i, c)| c[i].cut).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::{LayerMoments, Moments, Scheme, testing::random};
    use crate::tensor::Kernel;

    /// A diagonal weight has the singular values that it is given.
    fn diagonal(sigma: &[f32]) -> Vec<Factoring> {
        let n = sigma.len();
        let w: Vec<f32> = (0..n * n).map(|i| if i / n == i % n { sigma[i / n] } else { 0.0 }).collect();
        let kernel = Kernel { outputs: n, inputs: n, height: 1, width: 1 };
        vec![Factoring::new("diagonal", &w, kernel, Scheme::Channel, None).unwrap()]
    }

    fn layer(factorings: &[Factoring]) -> LayerChoices<'_> {
        LayerChoices {
            kernel: factorings[0].kernel(),
            pool: Pool::Linear,
            geometry: Geometry { input: [1, 1], output: [1, 1] },
            bias: 2,
            added: 0,
            factorings,
        }
    }

    fn ranks(policy: Policy, layers: &[LayerChoices<'_>]) -> Vec<usize> {
        let cuts = choose(policy, layers).unwrap();
        cuts.iter().map(|c| if let Some((_, Rank::One(r))) = c { *r } else { 0 }).collect()
    }

    #[test]
    fn local_and_energy_follow_each_layers_own_spectrum() {
        let (a, b) = (diagonal(&[4.0, 2.0, 1.0, 1.0]), diagonal(&[1.0; 8]));
        let both = [layer(&a), layer(&b)];
        assert_eq!(ranks(Policy::Local(0.5), &both), [2, 4]);
        assert_eq!(ranks(Policy::Local(0.01), &both), [1, 1]);
        assert_eq!(ranks(Policy::Local(1.0), &both), [4, 8]);
        // 16 of 22, 20 of 22; 8 equal parts.
        assert_eq!(ranks(Policy::Energy(0.7), &both), [1, 6]);
        assert_eq!(ranks(Policy::Energy(0.9), &both), [2, 8]);
        assert_eq!(ranks(Policy::Dense, &both), [0, 0]);
    }

    #[test]
    fn energies_of_different_measures_are_not_compared() {
        let kernel = Kernel { outputs: 6, inputs: 6, height: 3, width: 3 };
        // Separable, so that alone its spatial factors hold everything at rank 1; outputs that are all alike need every channel.
        let side = random(18, 1);
        let at = |i: usize| side[i / 9 % 6] * side[i / 54 + 6] * side[12 + i % 3] * side[15 + i / 3 % 3];
        let weight: Vec<f32> = (0..kernel.len()).map(at).collect();
        let mut outputs = Moments::new(6);
        outputs.add(&random(6 * 200, 2));
        let outputs = LayerMoments::Outputs(outputs);
        let both = [Scheme::Channel, Scheme::Spatial].map(|s| Factoring::new("w", &weight, kernel, s, Some(&outputs)).unwrap());
        assert_eq!(both.each_ref().map(Factoring::is_data_aware), [true, false]);
        let cuts = choose(Policy::Energy(0.9), &[layer(&both)]).unwrap();
        assert!(matches!(cuts[..], [Some((Scheme::Channel, Rank::One(5..)))]), "{cuts:?}");
    }

    #[test]
    fn a_bias_that_a_correction_adds_is_counted_and_all_dense_needs_none() {
        let a = diagonal(&[1.0; 12]);
        let one = |added| [LayerChoices { bias: 0, added, ..layer(&a) }];
        // 144 dense, 24 a rank.
        assert_eq!(ranks(Policy::Params(0.5), &one(0)), [3]);
        assert_eq!(ranks(Policy::Params(0.5), &one(12)), [2]);
        assert_eq!(ranks(Policy::Macs(0.5), &one(12)), [3]);
        assert_eq!(ranks(Policy::Params(1.0), &one(12)), [0]);
        // What costs nothing is taken even where all fits.
        let thin = diagonal(&[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(ranks(Policy::Macs(1.0), &[layer(&thin)]), [2]);
    }

    #[test]
    fn a_budget_goes_where_it_saves_most_error_and_says_what_can_be_met() {
        let (a, b) = (diagonal(&[4.0, 0.1, 0.1, 0.1, 0.1, 0.1]), diagonal(&[1.0; 6]));
        let both = [layer(&a), layer(&b)];
        // 36 + 36 dense; rank 1 of the first costs 12 and loses next to nothing.
        assert_eq!(ranks(Policy::Macs(0.7), &both), [1, 0]);
        assert_eq!(ranks(Policy::Params(0.7), &both), [1, 0]);
        assert_eq!(ranks(Policy::Macs(1.0), &both), [0, 0]);
        let error = choose(Policy::Macs(0.1), &both).unwrap_err().to_string();
        assert!(error.contains("macs:0.1") && error.contains("0.3334"), "{error}");
        assert!(choose(Policy::Macs(0.3334), &both).is_ok());
        assert!(choose(Policy::Accuracy(1.0), &both).is_err());
    }
}
