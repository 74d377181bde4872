//! How ranks are chosen, as a command line says it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A rule for choosing ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// No layer is factored.
    Dense,
    /// Each layer keeps the same share of its singular values (LoRITa's LSVT).
    Local(f64),
    /// The largest share of all layers' singular values taken together (LoRITa's GSVT).
    Global(f64),
    /// Each layer keeps the fewest values that hold this share of its energy Σσ².
    Energy(f64),
}

impl Policy {
    /// Checks that its share is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a share outside (0, 1].
    pub fn check(self) -> Result<()> {
        let share = match self {
            Self::Dense => return Ok(()),
            Self::Local(x) | Self::Global(x) | Self::Energy(x) => x,
        };
        if share > 0.0 && share <= 1.0 {
            Ok(())
        } else {
            Err(Error::invalid(format!("--ranks {self}"), "the share must be above 0 and at most 1"))
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "dense" {
            return Ok(Self::Dense);
        }
        let known = || format!("'{text}' is none of dense, local:KEEP, global:KEEP, energy:E");
        let (name, value) = text.split_once(':').ok_or_else(known)?;
        let value: f64 = value.parse().map_err(|_| format!("'{value}' in '{text}' is no number"))?;
        match name {
            "local" => Ok(Self::Local(value)),
            "global" => Ok(Self::Global(value)),
            "energy" => Ok(Self::Energy(value)),
            _ => Err(known()),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense => write!(f, "dense"),
            Self::Local(x) => write!(f, "local:{x}"),
            Self::Global(x) => write!(f, "global:{x}"),
            Self::Energy(x) => write!(f, "energy:{x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_print_as_they_parse() {
        for text in ["dense", "local:0.25", "global:0.5", "energy:0.99"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for bad in ["", "local", "local:", "local:x", "best:0.5", "dense:1"] {
            assert!(bad.parse::<Policy>().is_err(), "{bad}");
        }
    }
}
