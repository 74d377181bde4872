//! The learning rate of a step.

use super::config::{Schedule, TrainConfig};

/// Epochs without a better training accuracy that the plateau schedule puts up with.
const PATIENCE: usize = 15;
/// A better accuracy is one that is larger than the best by this share of it.
const THRESHOLD: f64 = 1e-4;

/// The learning rate of step `step` (counted over the whole run from 0), `steps_per_epoch` steps making an epoch.
/// `accuracies` are the training accuracies of the epochs that are over; the plateau schedule alone looks at them.
/// In warm-up the rate rises in a straight line and reaches `config.lr` at the last of its steps.
pub(super) fn learning_rate(config: &TrainConfig, step: u64, steps_per_epoch: usize, accuracies: &[f32]) -> f64 {
    let warmup = config.warmup * steps_per_epoch as f64;
    let total = (config.epochs * steps_per_epoch) as f64;
    let t = step as f64;
    if t < warmup {
        return config.lr * ((t + 1.0) / warmup).min(1.0);
    }
    let progress = ((t - warmup) / (total - warmup).max(1.0)).min(1.0);
    config.lr
        * match config.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - progress,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Schedule::Plateau => plateau(accuracies),
        }
}

/// The product of the reductions that PyTorch's `ReduceLROnPlateau(mode="max", factor=0.1, patience=15)` has made after
/// these values. Worked out from the history each time, so that there is no state to save.
fn plateau(accuracies: &[f32]) -> f64 {
    let (mut best, mut bad, mut factor) = (f64::NEG_INFINITY, 0, 1.0);
    for accuracy in accuracies.iter().map(|&a| f64::from(a)) {
        if best == f64::NEG_INFINITY || accuracy > best * (1.0 + THRESHOLD) {
            (best, bad) = (accuracy, 0);
        } else {
            bad += 1;
        }
        if bad > PATIENCE {
            (factor, bad) = (factor * 0.1, 0);
        }
    }
    factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(schedule: Schedule, warmup: f64) -> TrainConfig {
        TrainConfig { lr: 0.4, epochs: 4, schedule, warmup, ..TrainConfig::new("fcn6", "glyphs") }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn warm_up_then_fall() {
        let rate = |schedule, step| learning_rate(&config(schedule, 0.5), step, 10, &[]);
        for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine, Schedule::Plateau] {
            close(rate(schedule, 0), 0.08);
            close(rate(schedule, 4), 0.4);
            close(rate(schedule, 5), 0.4);
        }
        close(rate(Schedule::Constant, 39), 0.4);
        close(rate(Schedule::Linear, 39), 0.4 / 35.0);
        close(rate(Schedule::Linear, 12), 0.4 * 0.8);
        let half_way = learning_rate(&config(Schedule::Cosine, 0.0), 20, 10, &[]);
        close(half_way, 0.2);
    }

    #[test]
    fn a_warm_up_of_the_whole_run_never_divides_by_zero() {
        let c = config(Schedule::Linear, 4.0);
        assert!((0..40).all(|t| learning_rate(&c, t, 10, &[]).is_finite()));
    }

    #[test]
    fn a_plateau_reduces_after_its_patience_and_starts_counting_anew() {
        let flat = |n: usize| plateau(&vec![0.5; n]);
        close(flat(16), 1.0);
        close(flat(17), 0.1);
        close(flat(32), 0.1);
        close(flat(33), 0.01);
        let rising: Vec<f32> = (0..50).map(|i| 0.5 + i as f32 / 100.0).collect();
        close(plateau(&rising), 1.0);
    }
}
