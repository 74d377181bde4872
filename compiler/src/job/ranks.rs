//! Which form each layer is given: by the policy alone, by a device's times, or by images.

use thinfer::artifact::Dtype;
use thinfer::tools::inspect::Description;

use super::cut::CutSettings;
use super::progress::{Note, Progress, Watch};
use super::source::Network;
use crate::data::{self, DataSpec, Part};
use crate::error::{Error, Result};
use crate::eval::check_fit;
use crate::judge::Judge;
use crate::lower::Factored;
use crate::rank::{Cut, JUDGEMENTS, Policy, Timing};

/// Training images to judge a drop on.
const JUDGED_IMAGES: usize = 2000;

/// How ranks are chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranks<'a> {
    pub(super) policy: Policy,
    /// The type of weights of the artifacts that are judged.
    pub(super) dtype: Dtype,
    /// The set whose test images decide under `accuracy:POINTS`.
    pub(super) holdout: Option<&'a DataSpec>,
    /// The set whose training images decide otherwise, after those used to calibrate.
    pub(super) cut: &'a CutSettings,
}

impl Ranks<'_> {
    /// Refuses a policy that lacks images to judge by.
    pub(super) fn check(&self) -> Result<()> {
        match self.policy {
            Policy::Accuracy(_) if self.holdout.is_none() && self.cut.calibrate.is_none() => Err(self.unjudged()),
            _ => Ok(()),
        }
    }

    /// The form of each layer of `factored`; `timing` if a device's times decide.
    pub(super) fn choose(&self, network: &Network, factored: &Factored, timing: Option<&Timing>, watch: Watch<'_>) -> Result<Vec<Cut>> {
        match (self.policy, timing) {
            (Policy::Accuracy(points), _) => self.judged(points, network, factored, timing, watch),
            (Policy::Latency(share), Some(timing)) => factored.within(share, timing),
            (policy, _) => factored.cuts(policy),
        }
    }

    /// The cheapest forms that lose at most so many points on the images that decide.
    fn judged(&self, points: f64, network: &Network, factored: &Factored, timing: Option<&Timing>, watch: Watch<'_>) -> Result<Vec<Cut>> {
        let judge = self.judge(network, factored)?;
        if let Some(images) = self.judged_on() {
            watch(Progress::Note(&Note::JudgedOn { images }));
        }
        if let Some(spec) = self.holdout {
            watch(Progress::Note(&Note::Flatters { set: spec.set() }));
        }
        let mut tried = 0;
        factored.cheapest(points, self.dtype, timing, |artifact| {
            let lost = judge.drop(artifact)?;
            let d = Description::of(artifact);
            tried += 1;
            watch(Progress::Note(&Note::Judged { tried, most: JUDGEMENTS, macs: d.macs as f64 / d.dense_macs as f64, lost }));
            Ok(lost)
        })
    }

    /// The images that decide under `accuracy:POINTS`, without their folder: an artifact must not tell where its maker keeps files.
    pub(super) fn judged_on(&self) -> Option<String> {
        match (self.policy, self.holdout, &self.cut.calibrate) {
            (Policy::Accuracy(_), Some(spec), _) => Some(format!("test images of {}", spec.set())),
            (Policy::Accuracy(_), None, Some(spec)) => Some(format!("shifted training images of {}", spec.data.set())),
            _ => None,
        }
    }

    /// What says how much a cut loses: a held-out set if there is one, else training images that were not calibrated with.
    fn judge(&self, network: &Network, factored: &Factored) -> Result<Judge> {
        let dense = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense)?, Dtype::F32, false)?;
        match (self.holdout, &self.cut.calibrate) {
            (Some(spec), _) => {
                let fit = network.fit.as_ref().map(|fit| (&network.input, fit));
                let held_out = data::load_some(spec, Part::Test, fit, &|count| (0..count).collect())?;
                check_fit(&dense, &held_out)?;
                Judge::by_accuracy(&dense, held_out)
            }
            (None, Some(spec)) => {
                let images = network.training_images(&spec.data, self.cut.images(), JUDGED_IMAGES)?;
                Judge::by_disagreement(&dense, &images, 0)
            }
            (None, None) => Err(self.unjudged()),
        }
    }

    /// The refusal where there are no images to judge by.
    fn unjudged(&self) -> Error {
        let why = "needs images to judge by: --calibrate SET:DIR (training images) or --holdout SET:DIR";
        Error::invalid(format!("--ranks {}", self.policy), why)
    }
}
