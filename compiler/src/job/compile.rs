//! From a trained network to an artifact.

use std::collections::BTreeMap;

use thinfer::artifact::{Artifact, Dtype, Meaning};
use thinfer::tools::latency::LatencyTable;

use super::clock::Clock;
use super::compiled::{Compiled, Times};
use super::cut::CutSettings;
use super::layers;
use super::progress::{Note, Watch};
use super::ranks::Ranks;
use super::source::{Network, Source};
use crate::data::{Augment, DataSpec, SampleSource};
use crate::error::{Error, Result};
use crate::import::Rewrite;
use crate::lower::{Factored, Images, Options, SchemeChoice, Spectra, fused};
use crate::rank::{Cut, Policy, Timing};

/// Turns a trained network into an artifact.
///
/// ```
/// use thinfer_compiler::job::{Compile, Source};
/// # use thinfer_compiler::{graph, import, zoo};
/// # fn main() -> thinfer_compiler::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let file = dir.path().join("mlp.safetensors");
/// # let params = graph::init(&zoo::build("mlp:784-64-10")?, 0);
/// # import::save(&file, &import::Checkpoint { params, ..Default::default() })?;
/// // The least error with half of the multiply–accumulates, for what the layers see of 100 images.
/// let mut job = Compile::new(Source::new(&file), "macs:0.5".parse().unwrap());
/// job.cut.calibrate = Some("glyphs:100".parse().unwrap());
/// let compiled = job.run(&|_| ())?;
/// for layer in &compiled.layers {
///     println!("{}: {}", layer.name, layer.written);
/// }
/// compiled.artifact.save(dir.path().join("mlp.thin"))?;
/// # assert!(compiled.description().macs * 2 <= compiled.description().dense_macs);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Compile {
    /// The network.
    pub source: Source,
    /// How each layer's rank is chosen.
    pub policy: Policy,
    /// How a convolution is taken apart.
    pub scheme: SchemeChoice,
    /// How layers are taken apart, whatever their ranks.
    pub cut: CutSettings,
    /// For `latency:F`, and where time decides under `accuracy:POINTS`: the device whose times decide.
    pub clock: Clock,
    /// For `accuracy:POINTS`: a set whose test images decide. Without it disagreement with the dense network on shifted
    /// training images of `cut.calibrate` is judged.
    pub holdout: Option<DataSpec>,
    /// How weights are stored.
    pub dtype: Dtype,
    /// The meaning of the outputs, where the network itself does not state it.
    pub scores: Option<Meaning>,
    /// Also give the cut network as a checkpoint to be trained on: layers as factors, batch norm unfolded.
    pub emit_factors: bool,
}

impl Compile {
    /// `source` cut as `policy` says, with nothing else asked for: weights as f32, no images, whichever scheme suits.
    pub fn new(source: Source, policy: Policy) -> Self {
        Self {
            source,
            policy,
            scheme: SchemeChoice::Auto,
            cut: CutSettings::default(),
            clock: Clock::default(),
            holdout: None,
            dtype: Dtype::F32,
            scores: None,
            emit_factors: false,
        }
    }

    /// Refuses what can be refused before any file is read: a policy out of range, settings that it has no use for, images
    /// that it lacks.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the setting.
    pub fn check(&self) -> Result<()> {
        self.policy.check()?;
        self.check_use()?;
        self.cut.check()?;
        self.clock.check(self.policy)?;
        self.ranks().check()
    }

    fn ranks(&self) -> Ranks<'_> {
        Ranks { policy: self.policy, dtype: self.dtype, holdout: self.holdout.as_ref(), cut: &self.cut }
    }

    /// Refuses settings of cuts beside a policy that cuts nothing, and a set to judge by beside a policy that judges nothing.
    fn check_use(&self) -> Result<()> {
        let (policy, cut) = (self.policy, &self.cut);
        // Batch norm that is unfolded from a dense network takes its statistics from images, too.
        let unfolds = policy == Policy::Dense && self.emit_factors;
        let settings = [
            ("--scheme", self.scheme != SchemeChoice::Auto),
            ("--calibrate", cut.calibrate.is_some() && !unfolds),
            ("--energy-gain", cut.energy_gain),
            ("--spectra", cut.spectra != Spectra::Folded),
            ("--skip", !cut.skip.is_empty() && policy != Policy::Keep),
        ];
        let cuts_nothing = matches!(policy, Policy::Dense | Policy::Keep);
        if let Some((flag, _)) = settings.iter().find(|(_, set)| *set && cuts_nothing) {
            return Err(Error::invalid(*flag, format!("says how to cut; --ranks {policy} cuts nothing")));
        }
        if self.holdout.is_some() && !matches!(policy, Policy::Accuracy(_)) {
            return Err(Error::invalid("--holdout", format!("judges for --ranks accuracy:POINTS; --ranks {policy} asks for no judgement")));
        }
        Ok(())
    }

    /// Reads the network, takes its layers apart, chooses their ranks and puts the artifact together. Writes nothing but
    /// the cache of measured times.
    ///
    /// # Errors
    /// As [`Compile::check`] and [`Source::open`]; [`Error::Data`] for images that are missing or do not fit,
    /// [`Error::Invalid`] for names that no layer has, [`Error::Unmet`] for a budget that nothing meets,
    /// [`Error::Runtime`] when a device fails.
    pub fn run(&self, watch: Watch<'_>) -> Result<Compiled> {
        self.check()?;
        let table = self.clock.read()?;
        let network = self.source.open()?;
        let shown = self.shown(&network)?;
        // Times are measured, or found not to fit, before any layer is taken apart.
        let timed = self.timed(table, &network, watch)?;
        let factored = network.factor(self.options(&network)?, watch)?;
        let timing = timed.as_ref().map(|(table, _)| factored.timing(table)).transpose()?;
        let cuts = self.ranks().choose(&network, &factored, timing.as_ref(), watch)?;

        let mut thinned = factored.thin(self.policy, &cuts, false)?;
        if let Some(images) = self.ranks().judged_on() {
            thinned = thinned.judged_on(&images);
        }
        if let Some((table, _)) = &timed {
            thinned = thinned.chosen_for(&table.adapter, table.batch);
        }
        let (artifact, denormals) = thinned.artifact_and_denormals(self.dtype)?;
        let factors = self.emit_factors.then(|| network.cut_as(&thinned, self.policy, shown.as_ref())).transpose()?;
        Ok(Compiled {
            notes: self.notes(&network, &artifact, denormals),
            artifact,
            factors,
            layers: layers::report(&factored, self.policy, &cuts),
            rewrites: rewrites(&network, &factored),
            times: timed.zip(timing).map(|((table, dense), timing)| times(table, dense, &factored, &timing, &cuts)),
            denormals,
        })
    }

    /// Batch norm that is unfolded for a trainer has the statistics of images as training shows them.
    fn shown(&self, network: &Network) -> Result<Option<Images>> {
        let Some(spec) = self.cut.calibrate.as_ref().filter(|_| self.emit_factors) else { return Ok(None) };
        let SampleSource::Set(set) = &spec.data else { return network.calibration(spec, self.cut.images()).map(Some) };
        let chosen = network.training_images(&spec.data, 0, self.cut.images())?;
        let augmented = Augment::of(set.kind).map(|how| how.all(&chosen, 0));
        network.inputs(augmented.as_ref().unwrap_or(&chosen)).map(Some)
    }

    /// The times that decide, and the dense network that they are of; `None` where time does not count.
    fn timed(&self, table: Option<LatencyTable>, network: &Network, watch: Watch<'_>) -> Result<Option<(LatencyTable, Artifact)>> {
        if table.is_none() && !matches!(self.policy, Policy::Latency(_)) {
            return Ok(None);
        }
        let folded = network.factor(Options { dense_only: true, ..Options::default() }, watch)?;
        let dense = folded.emit(Policy::Dense, &folded.cuts(Policy::Dense)?, self.dtype, false)?;
        Ok(Some((self.clock.times(table, &dense, self.dtype, watch)?, dense)))
    }

    /// How the network is folded and factored; loads the images.
    fn options(&self, network: &Network) -> Result<Options> {
        let keep = self.policy == Policy::Keep;
        Ok(Options {
            dense_only: keep || self.policy == Policy::Dense,
            scores: self.scores,
            kept: if keep { network.held.clone() } else { BTreeMap::new() },
            ..self.cut.options(network, self.scheme)?
        })
    }

    /// Notes on the result for the user.
    fn notes(&self, network: &Network, artifact: &Artifact, denormals: usize) -> Vec<Note> {
        let (output, count) = (artifact.output(), artifact.output_len());
        let is_unknown = self.scores.is_none() && output.meaning == Meaning::Values && output.spec.is_line() && count > 1;
        let denormals = (denormals > 0).then_some(Note::Denormals { count: denormals });
        let scores = is_unknown.then(|| Note::UnknownScores { output: output.spec.name.clone(), count });
        network.unknown_pixels.iter().cloned().chain(denormals).chain(scores).collect()
    }
}

/// How an imported file's nodes became layers; `None` for a network of the zoo.
fn rewrites(network: &Network, factored: &Factored) -> Option<Vec<Rewrite>> {
    network.checkpoint.meta.graph.as_ref()?;
    let fused = fused(&network.graph, factored.layers()).into_iter().map(|(rule, nodes)| Rewrite { rule: rule.into(), nodes });
    Some(network.rewrites.iter().cloned().chain(fused).collect())
}

fn times(table: LatencyTable, dense: Artifact, factored: &Factored, timing: &Timing, cuts: &[Cut]) -> Times {
    let weighted: Vec<Cut> = factored.layers().iter().zip(cuts).filter(|(l, _)| l.weighted().is_some()).map(|(_, cut)| *cut).collect();
    Times {
        table,
        predicted_ms: 1e-3 * timing.total_us(&weighted),
        dense_ms: 1e-3 * timing.dense_us(),
        layers: layers::timed(factored, timing, cuts),
        measured: None,
        dense,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused_before_a_file_is_read() {
        let job = |policy: &str| Compile::new(Source::new("nowhere"), policy.parse().unwrap());
        let calibrate = Some("glyphs".parse().unwrap());
        type Change = fn(&mut Compile);
        let with = |policy: &str, change: Change| {
            let mut job = job(policy);
            change(&mut job);
            job.check().unwrap_err().to_string()
        };
        assert!(job("macs:0.5").check().is_ok());
        assert!(with("macs:2", |_| ()).contains("--ranks macs:2"));
        assert!(with("dense", |j| j.scheme = SchemeChoice::Only(crate::factor::Scheme::Spatial)).contains("--scheme: says how to cut"));
        assert!(with("macs:0.5", |j| j.holdout = Some("glyphs".parse().unwrap())).contains("--holdout: judges for"));
        assert!(with("macs:0.5", |j| j.clock.batch = Some(2)).contains("--batch: is for --ranks latency:F"));
        assert!(with("accuracy:1", |_| ()).contains("--ranks accuracy:1: needs images to judge by"));
        let both = Compile { cut: CutSettings { calibrate, energy_gain: true, ..CutSettings::default() }, ..job("macs:0.5") };
        assert!(both.check().unwrap_err().to_string().contains("--energy-gain"));
    }
}
