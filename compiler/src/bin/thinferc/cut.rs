//! What compile and sweep are told about how to cut.

use clap::{Args, ValueEnum};
use thinfer_compiler::data::CalibrationSpec;
use thinfer_compiler::factor::Scheme;
use thinfer_compiler::job::CutSettings;
use thinfer_compiler::lower::{SchemeChoice, Spectra};

/// How layers are taken apart, whatever their ranks.
#[derive(Args)]
pub(crate) struct CutArguments {
    /// Training samples that the cut is fitted to, so that it keeps what the layers see: SET:DIR, an .npy or .npz file of arrays as the
    /// network declares its input, or a folder of images, and how many [default: 500]. No labels are needed
    #[arg(long, value_name = "SET:DIR[:COUNT]|X.npy|X.npz|FOLDER")]
    calibrate: Option<CalibrationSpec>,
    /// With --calibrate: cut each layer by what it sees in the dense network, without fitting it to what the cuts before it
    /// have changed
    #[arg(long, requires = "calibrate")]
    no_correct: bool,
    /// Without --calibrate: scale what is kept so that each weight keeps its energy (LRPET)
    #[arg(long, conflicts_with = "calibrate")]
    energy_gain: bool,
    /// Layers that stay dense
    #[arg(long, value_delimiter = ',', value_name = "LAYER,..")]
    skip: Vec<String>,
    /// Whose singular values decide: of the weights with batch norm folded in, or as they were trained
    #[arg(long, value_enum, default_value_t = SpectraName::Folded)]
    spectra: SpectraName,
}

impl CutArguments {
    pub(crate) fn settings(&self) -> CutSettings {
        CutSettings {
            calibrate: self.calibrate.clone(),
            correct: !self.no_correct,
            energy_gain: self.energy_gain,
            skip: self.skip.clone(),
            spectra: self.spectra.into(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemeName {
    Auto,
    Channel,
    Spatial,
    Tucker2,
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
