//! Who gets which rank: policies over the layers' spectra.

mod global;
mod policy;

pub use policy::Policy;

use crate::error::Result;
use crate::factor::Svd;

/// Chooses a rank for every layer that may be cut, from their spectra; `None` for one that stays dense.
///
/// # Errors
/// [`crate::Error::Invalid`] for a policy whose value is out of range.
pub fn choose(policy: Policy, layers: &[&Svd]) -> Result<Vec<Option<usize>>> {
    policy.check()?;
    Ok(match policy {
        Policy::Dense => vec![None; layers.len()],
        Policy::Local(keep) => layers.iter().map(|svd| Some(share(svd.full_rank(), keep))).collect(),
        Policy::Energy(wanted) => layers.iter().map(|svd| Some(energy_rank(svd, wanted))).collect(),
        Policy::Global(keep) => global::choose(layers, keep).into_iter().map(Some).collect(),
    })
}

/// Multiply–accumulates a row (and parameters) of a factor pair.
pub fn factored_cost(rows: usize, columns: usize, rank: usize) -> u64 {
    (rank as u64).saturating_mul((rows + columns) as u64)
}

/// The largest rank at which factors cost less than the matrix: r(m + n) < mn. 0 where none does.
pub fn break_even(rows: usize, columns: usize) -> usize {
    (rows * columns).saturating_sub(1) / (rows + columns).max(1)
}

/// `keep` of `full` components, rounded, at least one.
fn share(full: usize, keep: f64) -> usize {
    ((full as f64 * keep).round() as usize).clamp(1, full)
}

/// The smallest rank that keeps `wanted` of the energy.
pub fn energy_rank(svd: &Svd, wanted: f64) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A diagonal weight has the singular values that it is given.
    pub(super) fn diagonal(sigma: &[f32]) -> Svd {
        let n = sigma.len();
        let w: Vec<f32> = (0..n * n).map(|i| if i / n == i % n { sigma[i / n] } else { 0.0 }).collect();
        Svd::new("diagonal", &w, n, n).unwrap()
    }

    #[test]
    fn local_and_energy_follow_each_layers_own_spectrum() {
        let (a, b) = (diagonal(&[4.0, 2.0, 1.0, 1.0]), diagonal(&[1.0; 8]));
        let both = [&a, &b];
        assert_eq!(choose(Policy::Local(0.5), &both).unwrap(), [Some(2), Some(4)]);
        assert_eq!(choose(Policy::Local(0.01), &both).unwrap(), [Some(1), Some(1)]);
        assert_eq!(choose(Policy::Local(1.0), &both).unwrap(), [Some(4), Some(8)]);
        // 16 of 22, 20 of 22; 8 equal parts.
        assert_eq!(choose(Policy::Energy(0.7), &both).unwrap(), [Some(1), Some(6)]);
        assert_eq!(choose(Policy::Energy(0.9), &both).unwrap(), [Some(2), Some(8)]);
        assert_eq!(choose(Policy::Dense, &both).unwrap(), [None, None]);
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
        assert_eq!(break_even(100, 100), 49);
        for (m, n) in [(1, 1), (10, 96), (784, 96), (7, 3)] {
            let r = break_even(m, n);
            assert!(factored_cost(m, n, r) < (m * n) as u64 && factored_cost(m, n, r + 1) >= (m * n) as u64);
        }
    }
}
