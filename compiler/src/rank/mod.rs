//! Who gets which rank: policies over the layers' spectra.

mod global;
mod policy;

pub use policy::Policy;

use crate::error::{Error, Result};
use crate::factor::Svd;

/// A layer as a policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The layer's name.
    pub name: &'a str,
    /// Its spectrum.
    pub svd: &'a Svd,
    /// Whether it may be cut at all.
    pub fixed: bool,
}

/// Chooses a rank for every candidate; `None` for one that stays dense.
///
/// # Errors
/// [`Error::Invalid`] for a policy whose value is out of range.
pub fn choose(policy: Policy, candidates: &[Candidate<'_>]) -> Result<Vec<Option<usize>>> {
    policy.check()?;
    let local = |rank: &dyn Fn(&Svd) -> usize| candidates.iter().map(|c| (!c.fixed).then(|| rank(c.svd))).collect();
    Ok(match policy {
        Policy::Dense => vec![None; candidates.len()],
        Policy::Local(keep) => local(&|svd| share(svd.full_rank(), keep)),
        Policy::Energy(wanted) => local(&|svd| energy_rank(svd, wanted)),
        Policy::Global(keep) => global::choose(candidates, keep),
    })
}

/// Multiply–accumulates a row (and parameters) of a factor pair.
pub fn factored_cost(rows: usize, columns: usize, rank: usize) -> u64 {
    (rank as u64).saturating_mul((rows + columns) as u64)
}

/// Whether factors of this rank cost less than the matrix: r(m + n) < mn.
pub fn pays(rows: usize, columns: usize, rank: usize) -> bool {
    factored_cost(rows, columns, rank) < (rows * columns) as u64
}

/// `keep` of `full` components, rounded, at least one.
fn share(full: usize, keep: f64) -> usize {
    ((full as f64 * keep).round() as usize).clamp(1, full)
}

/// The smallest rank that keeps `wanted` of the energy.
fn energy_rank(svd: &Svd, wanted: f64) -> usize {
    let total: f64 = svd.sigma().iter().map(|s| s * s).sum();
    let mut kept = 0.0;
    for (i, s) in svd.sigma().iter().enumerate() {
        kept += s * s;
        if kept >= wanted * total {
            return i + 1;
        }
    }
    svd.full_rank()
}

impl Policy {
    fn check(self) -> Result<()> {
        let value = match self {
            Policy::Dense => return Ok(()),
            Policy::Local(x) | Policy::Global(x) | Policy::Energy(x) => x,
        };
        if value > 0.0 && value <= 1.0 {
            Ok(())
        } else {
            Err(Error::invalid(format!("--ranks {self}"), "the share must be above 0 and at most 1"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A diagonal weight has the singular values that it is given.
    pub(super) fn diagonal(sigma: &[f32]) -> Svd {
        let n = sigma.len();
        let w: Vec<f32> = (0..n * n).map(|i| if i / n == i % n { sigma[i / n] } else { 0.0 }).collect();
        Svd::new("diagonal", &w, n, n).unwrap()
    }

    fn candidate(svd: &Svd) -> Candidate<'_> {
        Candidate { name: "layer", svd, fixed: false }
    }

    #[test]
    fn local_and_energy_follow_each_layers_own_spectrum() {
        let (a, b) = (diagonal(&[4.0, 2.0, 1.0, 1.0]), diagonal(&[1.0; 8]));
        let both = [candidate(&a), candidate(&b)];
        assert_eq!(choose(Policy::Local(0.5), &both).unwrap(), [Some(2), Some(4)]);
        assert_eq!(choose(Policy::Local(0.01), &both).unwrap(), [Some(1), Some(1)]);
        assert_eq!(choose(Policy::Local(1.0), &both).unwrap(), [Some(4), Some(8)]);
        // 16 of 22, 20 of 22; 8 equal parts.
        assert_eq!(choose(Policy::Energy(0.7), &both).unwrap(), [Some(1), Some(6)]);
        assert_eq!(choose(Policy::Energy(0.9), &both).unwrap(), [Some(2), Some(8)]);
        assert_eq!(choose(Policy::Dense, &both).unwrap(), [None, None]);
        assert_eq!(choose(Policy::Local(0.5), &[Candidate { fixed: true, ..both[0] }]).unwrap(), [None]);
    }

    #[test]
    fn shares_outside_their_range_are_refused_by_name() {
        for policy in [Policy::Local(0.0), Policy::Global(1.5), Policy::Energy(-1.0), Policy::Local(f64::NAN)] {
            let error = choose(policy, &[]).unwrap_err().to_string();
            assert!(error.contains(&policy.to_string()), "{error}");
        }
    }

    #[test]
    fn break_even_is_where_both_forms_cost_the_same() {
        assert!(pays(100, 100, 49) && !pays(100, 100, 50));
    }
}
