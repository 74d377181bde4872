//! Groups of layers with one cache key, which are timed as one, and the choice by their times.

use super::ways::Way;
use crate::engine::Choice;
use crate::plan::Form;

/// Factors are chosen only where they take less than this share of the dense form's time: a tie goes to dense.
const CLEARLY: f64 = 0.97;
/// Seconds after which a session times nothing more; layers that are left run dense where they may, and their turn comes when a later
/// session finds the others in the cache.
pub(super) const MOST_SECONDS: f64 = 20.0;

/// Layers of equal cost that are not in the cache.
pub(crate) struct Group {
    /// Their key in the cache.
    pub(crate) key: String,
    pub(crate) layers: Vec<usize>,
    /// At least two, dense ones first.
    pub(crate) ways: Vec<Way>,
}

/// The fastest of the ways with these times in microseconds; a dense one unless others are clearly faster.
pub(super) fn decide(mut results: Vec<(f64, &Choice)>) -> Choice {
    results.sort_by(|a, b| a.0.total_cmp(&b.0));
    let best = |form: Form| results.iter().find(|r| r.1.form == form).map(|r| (form, r.0));
    let measured_us = [Form::Dense, Form::TwoStage, Form::Fused].into_iter().filter_map(best).collect();
    let dense = results.iter().find(|r| r.1.form == Form::Dense).filter(|d| results[0].0 > CLEARLY * d.0);
    dense.or(results.first()).map_or_else(|| Choice::of(Form::TwoStage), |r| Choice { measured_us, ..r.1.clone() })
}
