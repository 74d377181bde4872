//! Accuracy against singular values kept (LoRITa's Figures 2 and 3) and against multiply–accumulates, for policies × schemes.

use thinfer::artifact::Dtype;
use thinfer::tools::inspect::Description;
use thinfer::{Device, DeviceInfo, DeviceKind, Forms, Options, Session};

use super::cut::CutSettings;
use super::progress::{Progress, Stage, Watch};
use super::source::Source;
use crate::data::{self, DataSpec, Dataset, Part};
use crate::error::{Error, Result};
use crate::eval::{batch, check_fit, evaluate};
use crate::factor::{Rank, Scheme};
use crate::lower::{Factored, SchemeChoice};
use crate::rank::{Cut, Policy};

/// Images that go through the device at once.
const BATCH: usize = 256;

/// A family of policies that differ by the share that they keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Each layer keeps the same share of its singular values.
    Local,
    /// The largest share of all layers' singular values taken together.
    Global,
    /// Each layer keeps the same share of its energy.
    Energy,
    /// A share of the dense network's multiply–accumulates.
    Macs,
}

impl Family {
    /// Its name on a command line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
            Self::Energy => "energy",
            Self::Macs => "macs",
        }
    }

    /// Its policy that keeps `share`.
    pub fn at(self, share: f64) -> Policy {
        match self {
            Self::Local => Policy::Local(share),
            Self::Global => Policy::Global(share),
            Self::Energy => Policy::Energy(share),
            Self::Macs => Policy::Macs(share),
        }
    }

    /// Shares worth a point: energy says little below one half.
    fn shares(self) -> &'static [f64] {
        match self {
            Self::Local | Self::Global => &[
                1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.22, 0.2, 0.17, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02,
                0.01,
            ],
            Self::Macs => &[1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.453, 0.4, 0.35, 0.3, 0.25, 0.2],
            Self::Energy => &[1.0, 0.9999, 0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5],
        }
    }
}

/// Cuts a network again and again and measures each on test images.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The network.
    pub source: Source,
    /// How layers are taken apart, whatever their ranks.
    pub cut: CutSettings,
    /// How the values to keep are chosen, a curve each.
    pub families: Vec<Family>,
    /// How convolutions are taken apart, a curve each.
    pub schemes: Vec<SchemeChoice>,
    /// The set whose test images are classified.
    pub data: DataSpec,
    /// Only its first so many test images.
    pub limit: Option<usize>,
    /// The device that runs the networks.
    pub device: DeviceKind,
}

/// What a sweep gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Swept {
    /// For each scheme a curve a family.
    pub curves: Vec<Curve>,
    /// For each scheme the singular values of each layer.
    pub spectra: Vec<SchemeSpectra>,
    /// The images that were classified.
    pub data: String,
    /// How many there were.
    pub images: usize,
    /// The device that ran the networks.
    pub device: DeviceInfo,
}

/// One family and scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The family.
    pub family: Family,
    /// The scheme.
    pub scheme: SchemeChoice,
    /// Its points, largest share first. A share that cannot be met ends the curve.
    pub points: Vec<Point>,
}

/// One point of a curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// How the ranks were chosen.
    pub policy: Policy,
    /// Singular values kept, of all layers that can be cut.
    pub kept: usize,
    /// Singular values that there are.
    pub total: usize,
    /// Multiply–accumulates for one sample, as factors.
    pub macs: u64,
    /// Parameters.
    pub params: u64,
    /// Accuracy in percent.
    pub top1: f64,
    /// Images classified rightly.
    pub correct: usize,
}

impl Point {
    /// The share of the singular values that is kept.
    pub fn share_kept(&self) -> f64 {
        self.kept as f64 / self.total.max(1) as f64
    }
}

/// The singular values of a network's layers.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemeSpectra {
    /// The scheme that they are of.
    pub scheme: SchemeChoice,
    /// Each layer that can be cut, and its values, the largest first.
    pub layers: Vec<(String, Vec<f64>)>,
}

/// What a scheme is called on a command line.
pub(super) fn label(scheme: SchemeChoice) -> &'static str {
    match scheme {
        SchemeChoice::Auto => "auto",
        SchemeChoice::Only(scheme) => scheme.label(),
    }
}

impl Sweep {
    /// Local, global and energy by the channel scheme, judged on all test images of `data`, on the CPU.
    pub fn new(source: Source, data: DataSpec) -> Self {
        Self {
            source,
            cut: CutSettings::default(),
            families: vec![Family::Local, Family::Global, Family::Energy],
            schemes: vec![SchemeChoice::Only(Scheme::Channel)],
            data,
            limit: None,
            device: DeviceKind::Cpu,
        }
    }

    /// Refuses what can be refused before any file is read.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the setting.
    pub fn check(&self) -> Result<()> {
        if self.limit == Some(0) {
            return Err(Error::invalid("--limit", "must be at least 1"));
        }
        self.cut.check()
    }

    /// Measures every point of every curve. Writes nothing; [`Swept::write`] does.
    ///
    /// # Errors
    /// As [`Sweep::check`] and [`Source::open`]; [`Error::Data`] for images that are missing or do not fit,
    /// [`Error::Runtime`] when the device fails.
    pub fn run(&self, watch: Watch<'_>) -> Result<Swept> {
        self.check()?;
        let network = self.source.open()?;
        let fit = network.fit.as_ref().map(|fit| (&network.input, fit));
        let test = data::load_some(&self.data, Part::Test, fit, &|count| (0..count.min(self.limit.unwrap_or(count))).collect())?;
        let device = Device::open(self.device)?;
        let (mut curves, mut spectra) = (Vec::new(), Vec::new());
        for &scheme in &self.schemes {
            let factored = network.factor(self.cut.options(&network, scheme)?, watch)?;
            let dense = Policy::Dense;
            check_fit(&factored.emit(dense, &factored.cuts(dense)?, Dtype::F32, false)?, &test)?;
            curves.extend(self.curves(scheme, &factored, &device, &test, watch)?);
            let layers =
                factored.layers().iter().zip(factored.factorings()).filter_map(|(l, f)| Some((l.name.clone(), f.first()?.sigma())));
            spectra.push(SchemeSpectra { scheme, layers: layers.collect() });
        }
        Ok(Swept { curves, spectra, data: test.name.clone(), images: test.len(), device: device.info().clone() })
    }

    /// A curve for each family.
    fn curves(&self, scheme: SchemeChoice, factored: &Factored, device: &Device, test: &Dataset, watch: Watch<'_>) -> Result<Vec<Curve>> {
        let total = self.families.iter().map(|f| f.shares().len()).sum();
        let mut done = 0;
        let mut curves = Vec::new();
        for &family in &self.families {
            let mut points = Vec::new();
            for policy in family.shares().iter().map(|share| family.at(*share)) {
                let cuts = match factored.cuts(policy) {
                    Ok(cuts) => cuts,
                    Err(Error::Unmet { .. }) => break,
                    Err(error) => return Err(error),
                };
                points.push(point(factored, policy, &cuts, device, test)?);
                done += 1;
                watch(Progress::Stage { stage: Stage::Cutting, done, total });
            }
            curves.push(Curve { family, scheme, points });
        }
        watch(Progress::Stage { stage: Stage::Cutting, done: total, total });
        Ok(curves)
    }
}

fn point(factored: &Factored, policy: Policy, cuts: &[Cut], device: &Device, test: &Dataset) -> Result<Point> {
    // Above break-even the recomposed weight is emitted: the curve is about what the cut costs in accuracy.
    let artifact = factored.emit(policy, cuts, Dtype::F32, true)?;
    let options = Options { batch: batch(&artifact, BATCH), forms: Forms::Ruled, keep_factors: true, ..Options::default() };
    let accuracy = evaluate(&mut Session::new(device, &artifact, &options)?, test, |_| ())?;
    let components = |rank: Rank| match rank {
        Rank::One(r) | Rank::Two { output: r, .. } => r,
    };
    // A layer that is left dense keeps all its values.
    let values = factored.factorings().iter().zip(cuts).filter_map(|(found, cut)| {
        let taken = cut.and_then(|(scheme, rank)| Some((found.iter().find(|f| f.scheme() == scheme)?, components(rank))));
        let (factoring, kept) = taken.or_else(|| found.first().map(|f| (f, components(f.full_rank()))))?;
        Some((kept, components(factoring.full_rank())))
    });
    let (kept, total) = values.fold((0, 0), |sum, (kept, full)| (sum.0 + kept, sum.1 + full));
    let d = Description::of(&artifact);
    Ok(Point { policy, kept, total, macs: d.macs, params: d.params, top1: accuracy.percent(), correct: accuracy.correct })
}
