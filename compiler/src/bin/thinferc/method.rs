//! The training methods on the command line, each with its flags.

use clap::ValueEnum;
use thinfer_compiler::train::{ElrtSettings, Method, Ortho, Scheme, TrpSettings};
use thinfer_compiler::{Error, Result};

/// What only some methods know.
#[derive(clap::Args, Debug)]
pub(crate) struct Settings {
    /// Matrices a weight (lorita) [default: 2]
    #[arg(long, value_name = "N", help_heading = "Methods")]
    factors: Option<usize>,
    /// How kernels are cut (trp) or factored (elrt) [default: channel for trp, tucker2 for elrt]
    #[arg(long, value_enum, value_name = "SCHEME", help_heading = "Methods")]
    scheme: Option<SchemeName>,
    /// Steps from one cut to the next (trp) [default: 5]
    #[arg(long, value_name = "M", help_heading = "Methods")]
    every: Option<u64>,
    /// Share of the energy that a cut keeps (trp) [default: 0.9]
    #[arg(long, value_name = "E", allow_negative_numbers = true, help_heading = "Methods")]
    energy: Option<f64>,
    /// Weight of the nuclear norm's gradient (trp) [default: 0.0003]
    #[arg(long, value_name = "L", allow_negative_numbers = true, help_heading = "Methods")]
    nuclear: Option<f64>,
    /// Cut by the spectrum with batch norm folded in (trp)
    #[arg(long, help_heading = "Methods")]
    fold: bool,
    /// Scale what a cut keeps to the energy from before it (trp)
    #[arg(long, help_heading = "Methods")]
    transfer: bool,
    /// Share of the dense multiply–accumulates (elrt) [default: 0.5]
    #[arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Methods")]
    macs: Option<f64>,
    /// Which orthogonality of the outer factors is added to the loss, and its weight: so, dso, srip or mc (elrt) [default: so:0.001]
    #[arg(long, value_name = "MEASURE[:W]", help_heading = "Methods")]
    ortho: Option<OrthoName>,
}

impl Settings {
    /// The method with its settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a flag of another method.
    pub(crate) fn method(&self, name: MethodName) -> Result<Method> {
        let given = [
            ("factors", self.factors.is_some(), &[MethodName::Lorita][..]),
            ("scheme", self.scheme.is_some(), &[MethodName::Trp, MethodName::Elrt]),
            ("every", self.every.is_some(), &[MethodName::Trp]),
            ("energy", self.energy.is_some(), &[MethodName::Trp]),
            ("nuclear", self.nuclear.is_some(), &[MethodName::Trp]),
            ("fold", self.fold, &[MethodName::Trp]),
            ("transfer", self.transfer, &[MethodName::Trp]),
            ("macs", self.macs.is_some(), &[MethodName::Elrt]),
            ("ortho", self.ortho.is_some(), &[MethodName::Elrt]),
        ];
        let label = |m: MethodName| m.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string());
        if let Some((flag, _, owners)) = given.into_iter().find(|(_, given, owners)| *given && !owners.contains(&name)) {
            let owners = owners.iter().map(|&m| label(m)).collect::<Vec<_>>().join(" and ");
            return Err(Error::invalid(flag, format!("belongs to --method {owners}; {} has none", label(name))));
        }
        let scheme = self.scheme.map(|scheme| match scheme {
            SchemeName::Channel => Scheme::Channel,
            SchemeName::Spatial => Scheme::Spatial,
            SchemeName::Tucker2 => Scheme::Tucker2,
        });
        let (trp, elrt) = (TrpSettings::default(), ElrtSettings::default());
        let OrthoName { measure, weight } = self.ortho.unwrap_or(OrthoName { measure: elrt.ortho, weight: None });
        Ok(match name {
            MethodName::Dense => Method::Dense,
            MethodName::Lorita => Method::Lorita { factors: self.factors.unwrap_or(2) },
            MethodName::Trp => Method::Trp(TrpSettings {
                every: self.every.unwrap_or(trp.every),
                energy: self.energy.unwrap_or(trp.energy),
                nuclear: self.nuclear.unwrap_or(trp.nuclear),
                scheme: scheme.unwrap_or(trp.scheme),
                fold: self.fold,
                transfer: self.transfer,
            }),
            MethodName::Elrt => Method::Elrt(ElrtSettings {
                macs: self.macs.unwrap_or(elrt.macs),
                scheme: scheme.unwrap_or(elrt.scheme),
                ortho: measure,
                weight: weight.unwrap_or(elrt.weight),
            }),
            MethodName::Finetune => Method::Finetune,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodName {
    /// Every weight as it is
    Dense,
    /// As products of matrices, which weight decay draws to low rank
    Lorita,
    /// As they are, kernels cut to low rank every few steps
    Trp,
    /// Kernels in factors of fixed ranks
    Elrt,
    /// A checkpoint as it is, dense or in factors
    Finetune,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemeName {
    Channel,
    Spatial,
    Tucker2,
}

/// `so`, `dso`, `srip` or `mc`, with or without `:WEIGHT`.
#[derive(Clone, Copy, Debug)]
struct OrthoName {
    measure: Ortho,
    weight: Option<f64>,
}

impl std::str::FromStr for OrthoName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (measure, weight) = text.split_once(':').map_or((text, None), |(measure, weight)| (measure, Some(weight)));
        let measure = match measure {
            "so" => Ortho::So,
            "dso" => Ortho::Dso,
            "srip" => Ortho::Srip,
            "mc" => Ortho::Mc,
            other => return Err(format!("unknown measure '{other}' (known: so, dso, srip, mc)")),
        };
        let weight = weight.map(|w| w.parse().map_err(|_| format!("'{w}' is no weight"))).transpose()?;
        Ok(Self { measure, weight })
    }
}
