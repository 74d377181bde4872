//! `thinferc train`: trains a network of the zoo or a checkpoint, with progress, checkpoints and a summary.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use thinfer::tools::print;
use thinfer_compiler::data::DataSpec;
use thinfer_compiler::job::{Share, Source, Train, usual_lr};
use thinfer_compiler::train::{OptimizerKind, Schedule, Summary, TrainConfig, TrainDevice};
use thinfer_compiler::{Error, Result};

use crate::method::{MethodName, Settings};
use crate::source::PixelArguments;
use crate::watch::Watcher;

/// Train a network so that it becomes low-rank, or plainly
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Architecture, where --from does not say it: fcn6|8|10, mlp:IN-HIDDEN-..-OUT, resnet8|14|20|32|44|56|110, resnet18-cifar or vgg11|13|16|19 (the last two also with :classes=N)
    #[arg(long, value_name = "NAME", required_unless_present = "from")]
    model: Option<String>,
    /// Start from this checkpoint, dense or in factors, instead of random weights; lorita and elrt factor it
    #[arg(long, value_name = "FILE.safetensors|FILE.pth|FILE.onnx")]
    from: Option<PathBuf>,
    /// Where that file has several networks: the keys that lead to this one's tensors, or what their names begin with
    #[arg(long, value_name = "KEY", requires = "from")]
    state_dict: Option<String>,
    #[command(flatten)]
    pixels: PixelArguments,
    /// Training data: mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or glyphs
    #[arg(long, value_name = "SET[:DIR]")]
    data: DataSpec,
    /// How weights are trained
    #[arg(long, value_enum)]
    method: MethodName,
    /// Folder for the trained network, run.json and checkpoints
    #[arg(short, long, value_name = "RUN_DIR")]
    output: PathBuf,
    /// Go on with the interrupted run in RUN_DIR, bit for bit; takes the same settings as the start
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    settings: Settings,
    /// Passes over the training images
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Images a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Optimiser, with PyTorch's defaults; sgd has momentum 0.9
    #[arg(long, value_enum, default_value_t = OptimizerName::Adam)]
    optimizer: OptimizerName,
    /// Learning rate [default: 0.01 for sgd; for adam 0.001, or 0.0001 to finetune]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// What the learning rate does after warm-up
    #[arg(long, value_enum, default_value_t = ScheduleName::Linear)]
    schedule: ScheduleName,
    /// Epochs of rising learning rate at the start; may be a fraction
    #[arg(long, value_name = "EPOCHS", default_value_t = 0.0, allow_negative_numbers = true)]
    warmup: f64,
    /// L2 decay on every trained tensor, as PyTorch's weight_decay
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    weight_decay: f64,
    /// Share of the target that is spread over all classes
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    label_smoothing: f64,
    /// A compiled network whose answers are learned from beside the labels; may be given several times
    #[arg(long, value_name = "FILE.thin")]
    teacher: Vec<PathBuf>,
    /// The teachers' share of the loss and, behind a colon, the temperature of their answers [default: 0.5:4]
    #[arg(long, value_name = "WEIGHT[:T]", requires = "teacher")]
    distil: Option<Share>,
    /// Judge and write a moving average of the weights that keeps this share of itself at each step, such as 0.999
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    ema: Option<f64>,
    /// Shift and mirror training images at random [default: for cifar10 and cifar100]
    #[arg(long, overrides_with = "no_augment")]
    augment: bool,
    /// Take training images as they are
    #[arg(long, overrides_with = "augment")]
    no_augment: bool,
    /// Only the first N training images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Decides initial weights, held-out images, order and augmentation
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to train; wgpu and cuda must be built in (cargo features of that name), and repeat no bits
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// Seconds between checkpoints within an epoch
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    checkpoint_seconds: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OptimizerName {
    Adam,
    Sgd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScheduleName {
    Constant,
    Linear,
    Cosine,
    Plateau,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeviceName {
    Cpu,
    Wgpu,
    Cuda,
}

impl From<OptimizerName> for OptimizerKind {
    fn from(name: OptimizerName) -> Self {
        match name {
            OptimizerName::Adam => Self::Adam,
            OptimizerName::Sgd => Self::Sgd,
        }
    }
}

impl From<ScheduleName> for Schedule {
    fn from(name: ScheduleName) -> Self {
        match name {
            ScheduleName::Constant => Self::Constant,
            ScheduleName::Linear => Self::Linear,
            ScheduleName::Cosine => Self::Cosine,
            ScheduleName::Plateau => Self::Plateau,
        }
    }
}

impl From<DeviceName> for TrainDevice {
    fn from(name: DeviceName) -> Self {
        match name {
            DeviceName::Cpu => Self::Cpu,
            DeviceName::Wgpu => Self::Wgpu,
            DeviceName::Cuda => Self::Cuda,
        }
    }
}

impl Args {
    fn job(&self) -> Result<Train> {
        let from = self.source()?;
        let usual = match from {
            Some(source) => Train::from(source, &self.data, &self.output),
            None => Train::new(self.model.clone().unwrap_or_default(), &self.data, &self.output),
        };
        Ok(Train {
            config: self.config(usual.config)?,
            teachers: self.teacher.clone(),
            share: self.distil.unwrap_or_default(),
            resume: self.resume,
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            ..usual
        })
    }

    /// What the run starts from, if not from random weights.
    fn source(&self) -> Result<Option<Source>> {
        let pixels = self.pixels.pixels();
        let Some(file) = self.from.clone() else {
            return match pixels.are_given() {
                true => Err(Error::invalid("--range, --channels, --mean, --std", "go with --from")),
                false => Ok(None),
            };
        };
        Ok(Some(Source { file, model: self.model.clone(), state_dict: self.state_dict.clone(), pixels, ..Source::default() }))
    }

    fn config(&self, usual: TrainConfig) -> Result<TrainConfig> {
        let (method, optimizer) = (self.settings.method(self.method)?, self.optimizer.into());
        Ok(TrainConfig {
            lr: self.lr.unwrap_or_else(|| usual_lr(optimizer, &method)),
            method,
            augment: self.augment || usual.augment && !self.no_augment,
            epochs: self.epochs,
            batch: self.batch,
            optimizer,
            schedule: self.schedule.into(),
            warmup: self.warmup,
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            ema: self.ema,
            device: self.device.into(),
            limit: self.limit,
            seed: self.seed,
            ..usual
        })
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let watcher = Watcher::of_epochs(args.epochs);
    let watch = |progress: thinfer_compiler::job::Progress<'_>| watcher.tell(progress);
    let run = args.job()?.prepare(&watch)?;
    let summary = run.run(&watch, &*stop()?);
    drop(watcher);
    show(&summary?)
}

/// Becomes true when the user asks to stop. The first request ends the step and saves; the second one ends the process, should
/// that take too long.
fn stop() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    handler.map_err(|e| Error::invalid("signals", e.to_string()))?;
    Ok(stop)
}

fn show(s: &Summary) -> Result<()> {
    if let Some(last) = s.epochs.last() {
        print::line(format_args!("training accuracy   {:.2} %", last.train_accuracy))?;
        if let Some(accuracy) = last.split_accuracy {
            print::line(format_args!("held-out accuracy   {accuracy:.2} % (of training images that were held out)"))?;
        }
    }
    print::line(format_args!("a step              {:.2} ms, {:.1} M multiply-accumulates", s.ms_per_step, s.macs_per_step as f64 / 1e6))?;
    let share = s.epochs.iter().map(|e| e.method_share * e.seconds).sum::<f32>() / s.epochs.iter().map(|e| e.seconds).sum::<f32>();
    if share >= 1e-4 {
        print::line(format_args!("the method's share  {:.2} % of the steps' time (its decompositions)", 100.0 * share))?;
    }
    print::line(format_args!("parameters          {} trained, {} as a dense network", s.trained_params, s.dense_params))?;
    print::line(format_args!("wrote               {}", s.model.display()))?;
    let factors = s.model.with_file_name("factors.safetensors");
    if factors.is_file() {
        print::line(format_args!("wrote               {} (for compile --ranks keep)", factors.display()))?;
    }
    Ok(())
}
