//! One axis of a chart: its range, its ticks and where a value lies on it.

use crate::error::{Error, Result};

/// A range of values, linear or logarithmic, with the ticks that divide it.
#[derive(Debug)]
pub(super) struct Axis {
    log: bool,
    /// Ends of the range; powers of ten if `log`.
    ends: (f64, f64),
    /// Each tick's place from 0 to 1, and its label.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// The axis over `values`, wider than they are by the share `pad` at both ends (but not across zero).
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `what` if no value can be drawn, or if they are too far apart.
    pub(super) fn over(what: &str, values: impl Iterator<Item = f64>, log: bool, pad: f64) -> Result<Self> {
        let drawn = values.filter(|&v| drawable(v, log)).map(|v| if log { v.log10() } else { v });
        let (lo, hi) = drawn.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        if lo > hi {
            return Err(Error::invalid(what, "there is no finite value to draw"));
        }
        // A single value still needs a range around it.
        let extra = if lo < hi { (hi - lo) * pad } else { (lo.abs() * 0.05).max(if log || lo == 0.0 { 0.5 } else { 0.0 }) };
        let (mut low, mut high) = (lo - extra, hi + extra);
        if !log && lo >= 0.0 {
            low = low.max(0.0);
        }
        if !log && hi <= 0.0 && lo < 0.0 {
            high = high.min(0.0);
        }
        let span = high - low;
        if !(span.is_normal() && span > 1e-12 * low.abs().max(high.abs())) {
            return Err(Error::invalid(what, format!("values from {lo:e} to {hi:e} are too far apart or too close to draw")));
        }
        let mut axis = Self { log, ends: (low, high), ticks: Vec::new() };
        let ticks = if log { log_ticks(low, high) } else { linear_ticks(low, high) };
        axis.ticks = ticks.into_iter().map(|(v, label)| (axis.place(v).unwrap_or(0.0), label)).collect();
        Ok(axis)
    }

    /// Where `value` lies, 0 to 1 within the range; `None` if it cannot be drawn at all.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let mapped = if self.log { value.log10() } else { value };
        drawable(value, self.log).then(|| (mapped - self.ends.0) / (self.ends.1 - self.ends.0))
    }
}

fn drawable(value: f64, log: bool) -> bool {
    value.is_finite() && (!log || value > 0.0)
}

/// Multiples of 1, 2 or 5 times a power of ten, five to ten of them.
fn linear_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 10.0;
    let power = rough.log10().floor();
    let unit = 10f64.powf(power);
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * unit).find(|&s| s >= rough * 0.999).unwrap_or(unit);
    let decimals = (-(step * 1.001).log10().floor()).max(0.0) as usize;
    let plain = decimals <= 5 && low.abs().max(high.abs()) < 1e6;
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let count = (last - first + 1.0).clamp(0.0, 20.0) as usize;
    let values = (0..count).map(|i| (first + i as f64) * step);
    // The sum turns -0 into 0.
    values.map(|v| (v, if plain { format!("{:.decimals$}", v + 0.0) } else { short(v) })).collect()
}

/// Powers of ten, thinned or divided so that there are two to eight labels or so.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let within = |v: &f64| (low - 1e-9..=high + 1e-9).contains(&v.log10());
    let powers = |step: i32| (low.floor() as i32..=high.ceil() as i32).filter(move |p| p % step == 0);
    let decades = high - low;
    let factors: &[f64] = match decades {
        d if d > 3.0 => &[1.0],
        d if d > 1.4 => &[1.0, 3.0],
        _ => &[1.0, 2.0, 5.0],
    };
    let step = (decades / 8.0).ceil().max(1.0) as i32;
    let values = powers(step).flat_map(|p| factors.iter().map(move |f| f * 10f64.powi(p)));
    let ticks: Vec<_> = values.filter(within).map(|v| (v, short(v))).collect();
    // Less than half a decade is as good as linear.
    if ticks.len() > 2 { ticks } else { linear_ticks(10f64.powf(low), 10f64.powf(high)) }
}

/// `v` without needless digits, in scientific notation where plain digits would be many.
fn short(v: f64) -> String {
    if v == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&v.abs()) {
        format!("{}", (v * 1e6).round() / 1e6)
    } else {
        let text = format!("{v:.3e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool) -> Vec<String> {
        let axis = Axis::over("x", values.iter().copied(), log, 0.05).unwrap();
        assert!(axis.ticks.iter().all(|(at, _)| (-1e-6..=1.0 + 1e-6).contains(at)), "{axis:?}");
        axis.ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(labels(&[10.0, 98.0], false), ["10", "20", "30", "40", "50", "60", "70", "80", "90", "100"]);
        assert_eq!(labels(&[0.0, 0.5], false), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(&[1e-9, 1.0], true), ["1e-8", "1e-6", "1e-4", "0.01", "1"]);
        assert_eq!(labels(&[1.0, 1000.0], true), ["1", "10", "100", "1000"]);
        assert_eq!(labels(&[3.0, 30.0], true), ["5", "10", "20"]);
        assert_eq!(labels(&[2e6, 8e6], false).first().map(String::as_str), Some("2e6"));
        for (lo, hi) in [(0.0, 1.0), (-3.0, 7.0), (1e-12, 3e-12), (5.0, 5.0), (0.0, 0.0), (-4.0, -4.0), (1e300, 2e300), (99.1, 99.3)] {
            let count = labels(&[lo, hi], false).len();
            assert!((3..=12).contains(&count), "{lo} {hi}: {count}");
            if lo > 0.0 {
                let count = labels(&[lo, hi], true).len();
                assert!((2..=12).contains(&count), "{lo} {hi} log: {count}");
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_has_no_place() {
        let axis = Axis::over("x", [f64::NAN, 1.0, 100.0, -3.0].into_iter(), true, 0.0).unwrap();
        assert_eq!(axis.place(10.0), Some(0.5));
        assert_eq!((axis.place(0.0), axis.place(f64::NAN), axis.place(f64::INFINITY)), (None, None, None));
        for bad in [&[][..], &[f64::NAN], &[-f64::MAX, f64::MAX], &[1.0, 1.0 + 1e-15]] {
            assert!(Axis::over("x", bad.iter().copied(), false, 0.05).is_err(), "{bad:?}");
        }
    }
}
