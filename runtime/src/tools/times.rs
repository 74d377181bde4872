//! Times of repeated runs.

use crate::times::quantile;

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
        quantile(&self.sorted, share)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let t = Times::new(vec![3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!((t.p50(), t.p90(), t.count()), (3.0, 5.0, 5));
        assert_eq!(Times::new(vec![]).p50(), 0.0);
    }
}
