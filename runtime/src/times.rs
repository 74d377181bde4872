//! Times of repeated runs, and how things are timed against each other.

use crate::clock::Instant;

/// Times of repeated runs, milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    sorted: Vec<f64>,
}

impl Times {
    /// From samples in any order.
    pub fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { sorted: samples }
    }

    /// The value below which `share` (0…1) of the samples lie; 0 without samples.
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
    }

    /// The median.
    pub fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The 90th percentile.
    pub fn p90(&self) -> f64 {
        self.quantile(0.9)
    }

    /// Number of samples.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }
}

/// Runs `each` of `all` in turn, so that a drift of the machine meets all alike: `runs` times each after `warmup` uncounted turns; the
/// times of each.
///
/// # Errors
/// The first of `run`.
pub(crate) fn interleaved<T, E>(
    all: &mut [T],
    warmup: usize,
    runs: usize,
    mut run: impl FnMut(usize, &mut T) -> Result<(), E>,
) -> Result<Vec<Times>, E> {
    let mut samples = vec![Vec::with_capacity(runs); all.len()];
    for round in 0..warmup + runs {
        for (at, (one, samples)) in all.iter_mut().zip(&mut samples).enumerate() {
            let start = Instant::now();
            run(at, one)?;
            if round >= warmup {
                samples.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    Ok(samples.into_iter().map(Times::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let t = Times::new(vec![3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!((t.p50(), t.p90(), t.count()), (3.0, 5.0, 5));
        assert_eq!(Times::new(vec![]).p50(), 0.0);
    }

    #[test]
    fn all_take_turns() {
        let mut order = Vec::new();
        let times = interleaved(&mut ["a", "b"], 1, 2, |at, name| {
            order.push((at, *name));
            Ok::<_, ()>(())
        });
        assert_eq!(times.unwrap().iter().map(Times::count).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(order, [(0, "a"), (1, "b")].repeat(3));
        assert_eq!(interleaved(&mut [0], 0, 1, |_, _| Err("no")), Err("no"));
    }
}
