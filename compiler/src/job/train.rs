//! Training, from names of files and sets: what the run starts from, its images, and its teachers.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use thinfer::Artifact;

use super::progress::{Note, Progress, Watch};
use super::source::Source;
use crate::data::{self, DataSpec, Dataset, Part};
use crate::error::{Error, Result};
use crate::import::Checkpoint;
use crate::train::{self, Distil, EpochRecord, Job, Method, OptimizerKind, StepReport, Summary, TrainConfig};

/// Seconds between checkpoints within an epoch.
const CHECKPOINT_SECONDS: u64 = 30;

/// Trains a network of the zoo or a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// Everything that decides the numbers of the run. With `from`, its `model` is told by that file; its `from` and `distil` are
    /// told by the fields beside it.
    pub config: TrainConfig,
    /// Start from this checkpoint, dense or in factors, instead of random weights.
    pub from: Option<Source>,
    /// Teachers: `.thin` files whose outputs are learned from beside the labels.
    pub teachers: Vec<PathBuf>,
    /// The weight of the teachers in the loss.
    pub share: Share,
    /// The folder that everything is written to.
    pub run_dir: PathBuf,
    /// Go on with the run in `run_dir` instead of starting one; takes the same settings as the start.
    pub resume: bool,
    /// Time between checkpoints within an epoch.
    pub checkpoint_every: Duration,
}

/// The weight of teachers in the loss. It parses from `WEIGHT` or `WEIGHT:TEMPERATURE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Their share, above 0 and at most 1.
    pub weight: f64,
    /// The temperature of their answers.
    pub temperature: f64,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 0.5, temperature: 4.0 }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |part: &str| part.parse().map_err(|_| format!("'{text}' is no weight, or weight:temperature, such as 0.5:4"));
        match text.split_once(':') {
            Some((weight, temperature)) => Ok(Self { weight: number(weight)?, temperature: number(temperature)? }),
            None => Ok(Self { weight: number(text)?, ..Self::default() }),
        }
    }
}

/// The learning rate that suits an optimiser and a method.
pub fn usual_lr(optimizer: OptimizerKind, method: &Method) -> f64 {
    match optimizer {
        // A trained network needs a small learning rate.
        OptimizerKind::Adam if matches!(method, Method::Finetune) => 1e-4,
        OptimizerKind::Adam => 1e-3,
        OptimizerKind::Sgd => 1e-2,
    }
}

/// A run with everything loaded that it needs.
#[derive(Debug)]
pub struct Prepared {
    config: TrainConfig,
    start: Option<Checkpoint>,
    teachers: Vec<Artifact>,
    data: Dataset,
    run_dir: PathBuf,
    resume: bool,
    checkpoint_every: Duration,
}

impl Train {
    /// A run of the zoo's `model`, from random weights, on the training images of `data`, with the defaults of [`TrainConfig::new`].
    pub fn new(model: impl Into<String>, data: &DataSpec, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            config: TrainConfig::new(model, data.to_string()),
            from: None,
            teachers: Vec::new(),
            share: Share::default(),
            run_dir: run_dir.into(),
            resume: false,
            checkpoint_every: Duration::from_secs(CHECKPOINT_SECONDS),
        }
    }

    /// A run that goes on from `source`, else as [`Train::new`].
    pub fn from(source: Source, data: &DataSpec, run_dir: impl Into<PathBuf>) -> Self {
        Self { from: Some(source), ..Self::new("", data, run_dir) }
    }

    /// Refuses what can be refused before any file is read.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the setting.
    pub fn check(&self) -> Result<()> {
        if self.from.is_none() && matches!(self.config.method, Method::Finetune) {
            return Err(Error::invalid("finetune", "needs a network to go on with: --from FILE.safetensors"));
        }
        self.config.validate()
    }

    /// Loads the checkpoint, the teachers and the images.
    ///
    /// # Errors
    /// As [`Train::check`]; as reading a [`Source`], [`Artifact::open`] and [`data::load`].
    pub fn prepare(&self, watch: Watch<'_>) -> Result<Prepared> {
        self.check()?;
        let mut config = TrainConfig { from: self.from.as_ref().map(|s| s.file.display().to_string()), ..self.config.clone() };
        let (mut start, mut note) = (None, None::<Note>);
        if let Some(source) = &self.from {
            let (checkpoint, model, unknown) = source.start()?;
            (start, note, config.model) = (Some(checkpoint), unknown, model);
        }
        let teachers = self.teachers.iter().map(Artifact::open).collect::<Result<Vec<_>, _>>()?;
        config.distil = self.distil(&teachers);
        config.validate()?;
        let spec: DataSpec = config.data.parse().map_err(|why| Error::data(&config.data, why))?;
        let data = data::load(&spec, Part::Train)?;
        if let Some(note) = &note {
            watch(Progress::Note(note));
        }
        let Self { run_dir, resume, checkpoint_every, .. } = self;
        Ok(Prepared { config, start, teachers, data, run_dir: run_dir.clone(), resume: *resume, checkpoint_every: *checkpoint_every })
    }

    /// The run's record of its teachers: each file's name and checksum.
    fn distil(&self, teachers: &[Artifact]) -> Option<Distil> {
        let known = |(path, file): (&PathBuf, &Artifact)| format!("{} ({:08x})", path.display(), crc32fast::hash(file.as_bytes()));
        let Share { weight, temperature } = self.share;
        (!teachers.is_empty()).then(|| Distil { teachers: self.teachers.iter().zip(teachers).map(known).collect(), weight, temperature })
    }

    /// [`Train::prepare`] and [`Prepared::run`].
    ///
    /// # Errors
    /// As those.
    pub fn run(&self, watch: Watch<'_>, stop: &AtomicBool) -> Result<Summary> {
        self.prepare(watch)?.run(watch, stop)
    }
}

impl Prepared {
    /// Everything that decides the numbers of the run.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Trains. When `stop` becomes true the run saves its state and ends after the step under way.
    ///
    /// # Errors
    /// As [`train::train`].
    pub fn run(&self, watch: Watch<'_>, stop: &AtomicBool) -> Result<Summary> {
        let job = Job {
            config: &self.config,
            start: self.start.as_ref(),
            teachers: &self.teachers,
            data: &self.data,
            run_dir: &self.run_dir,
            resume: self.resume,
            checkpoint_every: self.checkpoint_every,
        };
        train::train(&job, &mut Told(watch), stop)
    }
}

/// Passes on the events of a run.
struct Told<'a>(Watch<'a>);

impl train::Progress for Told<'_> {
    fn step(&mut self, report: &StepReport) {
        (self.0)(Progress::Step(report));
    }

    fn epoch(&mut self, record: &EpochRecord) {
        (self.0)(Progress::Epoch(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_may_have_a_temperature() {
        assert_eq!("0.3".parse(), Ok(Share { weight: 0.3, temperature: 4.0 }));
        assert_eq!("0.3:2".parse(), Ok(Share { weight: 0.3, temperature: 2.0 }));
        assert!(["", "much", "0.5:hot", "0.5:4:3"].iter().all(|text| text.parse::<Share>().is_err()));
    }

    #[test]
    fn what_cannot_be_trained_is_refused_before_a_file_is_read() {
        let data = "mnist:nowhere".parse().unwrap();
        let mut job = Train::new("fcn6", &data, "nowhere");
        job.config.method = Method::Finetune;
        assert!(job.run(&|_| (), &AtomicBool::new(false)).unwrap_err().to_string().starts_with("finetune: needs a network"));
        job.config.method = Method::Dense;
        job.config.epochs = 0;
        assert!(job.run(&|_| (), &AtomicBool::new(false)).unwrap_err().to_string().starts_with("epochs"));
    }
}
