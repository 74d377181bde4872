//! The training methods by name, with their settings.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use crate::factor::Scheme;

/// Which measure of UᵀU − I is added to the loss, U having the factors' directions as columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ortho {
    /// Soft: ‖UᵀU − I‖_F².
    So,
    /// Double soft: also ‖UUᵀ − I‖_F².
    Dso,
    /// Spectral: σ_max(UᵀU − I), by power iteration.
    Srip,
    /// Mutual coherence: the largest |element| of UᵀU − I.
    Mc,
}

/// Settings of [`Method::Trp`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrpSettings {
    /// m, the steps from one cut to the next.
    pub every: u64,
    /// Share of Σσ² that a cut keeps at least, above 0 and at most 1.
    pub energy: f64,
    /// λ of the nuclear norm's sub-gradient, added on the steps with a cut.
    pub nuclear: f64,
    /// Channel or spatial.
    pub scheme: Scheme,
    /// Take spectra of the weight with its batch norm folded in.
    pub fold: bool,
    /// Scale what is kept so that the layer keeps its energy.
    pub transfer: bool,
}

impl Default for TrpSettings {
    /// As the authors' code: a cut every 5 steps to 0.9 of the energy, λ 3e-4; none of LRPET's options.
    fn default() -> Self {
        Self { every: 5, energy: 0.9, nuclear: 3e-4, scheme: Scheme::Channel, fold: false, transfer: false }
    }
}

/// Settings of [`Method::Elrt`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ElrtSettings {
    /// Share of the dense network's multiply–accumulates that the factored one may take.
    pub macs: f64,
    /// The form of the factored kernels.
    pub scheme: Scheme,
    /// Which orthogonality is asked for.
    pub ortho: Ortho,
    /// Its weight in the loss.
    pub weight: f64,
}

impl Default for ElrtSettings {
    /// Tucker-2 at half the multiply–accumulates with soft orthogonality. Its weight is our choice: the paper's is unknown.
    fn default() -> Self {
        Self { macs: 0.5, scheme: Scheme::Tucker2, ortho: Ortho::So, weight: 1e-3 }
    }
}

/// How the network's weights are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every weight as it is.
    Dense,
    /// Every weight as a product (LoRITa, arXiv 2405.03089).
    Lorita {
        /// N, the number of factors a weight; 1 is the dense network.
        factors: usize,
    },
    /// Kernels as they are, cut to low rank every few steps (TRP, arXiv 2004.14566).
    Trp(TrpSettings),
    /// Kernels as factors of a rank that is fixed from the start (ELRT, arXiv 2401.10341).
    Elrt(ElrtSettings),
    /// A trained network in the form that it has, dense or in factors.
    Finetune,
}

impl Method {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first one that is out of range.
    pub(super) fn validate(&self) -> Result<()> {
        let require = |ok: bool, what: &str, why: String| if ok { Ok(()) } else { Err(Error::invalid(what, why)) };
        let positive = |x: f64| x.is_finite() && x >= 0.0;
        match *self {
            Method::Lorita { factors } => require((1..=8).contains(&factors), "factors", format!("must be between 1 and 8, not {factors}")),
            Method::Trp(s) => {
                require(s.every >= 1, "every", "must be at least 1".into())?;
                require(s.energy > 0.0 && s.energy <= 1.0, "energy", format!("must be above 0 and at most 1, not {}", s.energy))?;
                require(positive(s.nuclear), "nuclear", format!("must be zero or a positive number, not {}", s.nuclear))?;
                require(s.scheme != Scheme::Tucker2, "scheme", "must be channel or spatial: a cut is of one matrix".into())
            }
            Method::Elrt(s) => {
                require(s.macs > 0.0 && s.macs <= 1.0, "macs", format!("must be above 0 and at most 1, not {}", s.macs))?;
                require(positive(s.weight), "ortho", format!("must have zero or a positive number as weight, not {}", s.weight))
            }
            Method::Dense | Method::Finetune => Ok(()),
        }
    }
}
