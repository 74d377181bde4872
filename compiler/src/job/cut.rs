//! How layers are taken apart, whatever their ranks.

use super::source::Network;
use crate::data::CalibrationSpec;
use crate::error::{Error, Result};
use crate::lower::{Options, SchemeChoice, Spectra};

/// Images to calibrate with where no count is given.
const CALIBRATION_IMAGES: usize = 500;

/// How layers are taken apart, whatever their ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct CutSettings {
    /// Training samples that the cut is fitted to, so that it keeps what the layers see; 500 where it says no count.
    pub calibrate: Option<CalibrationSpec>,
    /// With `calibrate`: fit each layer to what the cuts before it have changed.
    pub correct: bool,
    /// Without `calibrate`: scale what is kept so that each weight keeps its energy (LRPET).
    pub energy_gain: bool,
    /// Names of layers that stay dense.
    pub skip: Vec<String>,
    /// Whose singular values decide.
    pub spectra: Spectra,
}

impl Default for CutSettings {
    fn default() -> Self {
        Self { calibrate: None, correct: true, energy_gain: false, skip: Vec::new(), spectra: Spectra::default() }
    }
}

impl CutSettings {
    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the one without a use.
    pub fn check(&self) -> Result<()> {
        if self.energy_gain && self.calibrate.is_some() {
            return Err(Error::invalid("--energy-gain", "is for cuts without images to calibrate with"));
        }
        Ok(())
    }

    /// How many images to calibrate with.
    pub(super) fn images(&self) -> usize {
        self.calibrate.as_ref().and_then(|c| c.count).unwrap_or(CALIBRATION_IMAGES)
    }

    /// What [`Network::factor`] takes; loads the images.
    pub(super) fn options(&self, network: &Network, scheme: SchemeChoice) -> Result<Options> {
        let images = match &self.calibrate {
            Some(spec) => Some(network.calibration(spec, self.images())?),
            None => None,
        };
        Ok(Options {
            spectra: self.spectra,
            skip: self.skip.clone(),
            scheme,
            images,
            correct: self.correct,
            energy_gain: self.energy_gain,
            ..Options::default()
        })
    }
}
