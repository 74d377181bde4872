//! What compile and sweep are told about how to cut.

use clap::{Args, ValueEnum};
use thinfer_compiler::Result;
use thinfer_compiler::data::CalibrationSpec;
use thinfer_compiler::factor::Scheme;
use thinfer_compiler::lower::{Options, SchemeChoice, Spectra};

use crate::source::Source;

/// How layers are taken apart, whatever their ranks.
#[derive(Args)]
pub(crate) struct CutArguments {
    /// Training images that the cut is fitted to, so that it keeps what the layers see: SET:DIR, and how many [default: 500]
    #[arg(long, value_name = "SET:DIR[:COUNT]")]
    pub(crate) calibrate: Option<CalibrationSpec>,
    /// With --calibrate: cut each layer by what it sees in the dense network, without fitting it to what the cuts before it
    /// have changed
    #[arg(long, requires = "calibrate")]
    no_correct: bool,
    /// Without --calibrate: scale what is kept so that each weight keeps its energy (LRPET)
    #[arg(long, conflicts_with = "calibrate")]
    pub(crate) energy_gain: bool,
    /// Layers that stay dense
    #[arg(long, value_delimiter = ',', value_name = "LAYER,..")]
    pub(crate) skip: Vec<String>,
    /// Whose singular values decide: of the weights with batch norm folded in, or as they were trained
    #[arg(long, value_enum, default_value_t = SpectraName::Folded)]
    pub(crate) spectra: SpectraName,
}

/// Images to calibrate with where no count is given.
const CALIBRATION_IMAGES: usize = 500;

impl CutArguments {
    /// How many images to calibrate with.
    pub(crate) fn images(&self) -> usize {
        self.calibrate.as_ref().and_then(|c| c.count).unwrap_or(CALIBRATION_IMAGES)
    }

    /// What [`Source::factor`] takes; loads the images.
    pub(crate) fn options(&self, source: &Source, scheme: SchemeChoice) -> Result<Options> {
        let images = match &self.calibrate {
            Some(spec) => Some(source.inputs(&source.training_images(&spec.data, 0, self.images())?)?),
            None => None,
        };
        Ok(Options {
            spectra: self.spectra.into(),
            skip: self.skip.clone(),
            scheme,
            images,
            correct: !self.no_correct,
            energy_gain: self.energy_gain,
            ..Options::default()
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemeName {
    Auto,
    Channel,
    Spatial,
    Tucker2,
}

impl SchemeName {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Channel => "channel",
            Self::Spatial => "spatial",
            Self::Tucker2 => "tucker2",
        }
    }
}

impl From<SchemeName> for SchemeChoice {
    fn from(name: SchemeName) -> Self {
        match name {
            SchemeName::Auto => Self::Auto,
            SchemeName::Channel => Self::Only(Scheme::Channel),
            SchemeName::Spatial => Self::Only(Scheme::Spatial),
            SchemeName::Tucker2 => Self::Only(Scheme::Tucker2),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpectraName {
    Folded,
    Raw,
}

impl From<SpectraName> for Spectra {
    fn from(name: SpectraName) -> Self {
        match name {
            SpectraName::Folded => Self::Folded,
            SpectraName::Raw => Self::Raw,
        }
    }
}
