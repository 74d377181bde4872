//! How things are timed against each other.

use crate::clock::Instant;

/// The value below which `share` (0…1) of the samples, in ascending order, lie; 0 without samples.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
}

/// The median of samples in any order; 0 of nothing.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    quantile(&samples, 0.5)
}

/// Runs `each` of `all` in turn, so that a drift of the machine meets all alike: `runs` times each after `warmup` uncounted turns; the
/// milliseconds of each.
///
/// # Errors
/// The first of `run`.
pub(crate) fn interleaved<T, E>(
    all: &mut [T],
    warmup: usize,
    runs: usize,
    mut run: impl FnMut(usize, &mut T) -> Result<(), E>,
) -> Result<Vec<Vec<f64>>, E> {
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
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_sample() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![2.0, 1.0]), median(vec![])), (2.0, 2.0, 0.0));
    }

    #[test]
    fn all_take_turns() {
        let mut order = Vec::new();
        let times = interleaved(&mut ["a", "b"], 1, 2, |at, name| {
            order.push((at, *name));
            Ok::<_, ()>(())
        });
        assert_eq!(times.unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(order, [(0, "a"), (1, "b")].repeat(3));
        assert_eq!(interleaved(&mut [0], 0, 1, |_, _| Err("no")), Err("no"));
    }
}
