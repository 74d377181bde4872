//! How ranks are chosen, as a command line says it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A rule for choosing ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// No layer is factored.
    Dense,
    /// Layers that the checkpoint holds as factors stay so, nothing cut; the others stay dense.
    Keep,
    /// Each layer keeps the same share of its singular values (LoRITa's LSVT).
    Local(f64),
    /// The largest share of all layers' singular values taken together (LoRITa's GSVT).
    Global(f64),
    /// Each layer keeps the fewest values that hold this share of its energy Σσ².
    Energy(f64),
    /// The least error with at most this share of the dense network's multiply–accumulates.
    Macs(f64),
    /// The least error with at most this share of the dense network's parameters.
    Params(f64),
    /// The least error within this share of the dense network's time on a device.
    Latency(f64),
    /// The fewest multiply–accumulates, or the least time where a device's times are known, whose judged loss is at most this many percentage points.
    Accuracy(f64),
}

impl Policy {
    /// Its name and value; `dense` and `keep` have none.
    fn parts(self) -> (&'static str, Option<f64>) {
        match self {
            Self::Dense => ("dense", None),
            Self::Keep => ("keep", None),
            Self::Local(x) => ("local", Some(x)),
            Self::Global(x) => ("global", Some(x)),
            Self::Energy(x) => ("energy", Some(x)),
            Self::Macs(x) => ("macs", Some(x)),
            Self::Params(x) => ("params", Some(x)),
            Self::Latency(x) => ("latency", Some(x)),
            Self::Accuracy(x) => ("accuracy", Some(x)),
        }
    }

    /// Checks that its value makes sense.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a share outside (0, 1], or points outside 0…100.
    pub fn check(self) -> Result<()> {
        let refuse = |why: &str| Err(Error::invalid(format!("--ranks {self}"), why));
        match self {
            Self::Dense | Self::Keep => Ok(()),
            Self::Accuracy(points) if (0.0..=100.0).contains(&points) => Ok(()),
            Self::Accuracy(_) => refuse("the points must be from 0 to 100"),
            Self::Local(x) | Self::Global(x) | Self::Energy(x) | Self::Macs(x) | Self::Params(x) | Self::Latency(x)
                if x > 0.0 && x <= 1.0 =>
            {
                Ok(())
            }
            _ => refuse("the share must be above 0 and at most 1, such as 0.5 for a half"),
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dense" => return Ok(Self::Dense),
            "keep" => return Ok(Self::Keep),
            _ => {}
        }
        let known =
            || format!("'{text}' is none of dense, keep, local:KEEP, global:KEEP, energy:E, macs:F, params:F, latency:F, accuracy:POINTS");
        let (name, value) = text.split_once(':').ok_or_else(known)?;
        let value: f64 = value.parse().map_err(|_| format!("'{value}' in '{text}' is no number"))?;
        match name {
            "local" => Ok(Self::Local(value)),
            "global" => Ok(Self::Global(value)),
            "energy" => Ok(Self::Energy(value)),
            "macs" => Ok(Self::Macs(value)),
            "params" => Ok(Self::Params(value)),
            "latency" => Ok(Self::Latency(value)),
            "accuracy" => Ok(Self::Accuracy(value)),
            _ => Err(known()),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, None) => write!(f, "{name}"),
            (name, Some(x)) => write!(f, "{name}:{x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_print_as_they_parse() {
        for text in ["dense", "keep", "local:0.25", "global:0.5", "energy:0.99", "macs:0.5", "params:0.4", "latency:0.6", "accuracy:1.5"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for bad in ["", "local", "local:", "local:x", "best:0.5", "dense:1", "keep:0.5"] {
            assert!(bad.parse::<Policy>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_outside_their_range_are_refused_by_name() {
        for policy in [
            Policy::Local(0.0),
            Policy::Global(1.5),
            Policy::Energy(-1.0),
            Policy::Macs(f64::NAN),
            Policy::Latency(0.0),
            Policy::Accuracy(-1.0),
        ] {
            let error = policy.check().unwrap_err().to_string();
            assert!(error.contains(&policy.to_string()), "{error}");
        }
    }
}
