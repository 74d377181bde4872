//! `thinferc train`: trains a network of the zoo or a checkpoint, with progress, checkpoints and a summary.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use thinfer::Artifact;
use thinfer::tools::print;
use thinfer_compiler::data::{self, DataSpec, Part};
use thinfer_compiler::import::{self, Checkpoint, Choice, Ends};
use thinfer_compiler::train::{
    Distil, EpochRecord, Job, OptimizerKind, Progress, Schedule, StepReport, Summary, TrainConfig, TrainDevice, train,
};
use thinfer_compiler::{Error, Result, zoo};

use crate::method::{MethodName, Settings};
use crate::source::{PixelArguments, note_unknown_pixels};

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

/// Runs the command.
///
/// # Errors
/// As [`train`]; [`Error::Data`] and [`Error::Io`] for the data set.
pub(crate) fn run(args: Args) -> Result<()> {
    let choice = Choice { model: args.model.as_deref(), state_dict: args.state_dict.as_deref(), ..Choice::default() };
    let mut start = args.from.as_deref().map(|path| import::import_with(path, &choice)).transpose()?.map(|(checkpoint, _)| checkpoint);
    if args.pixels.are_given() && start.is_none() {
        return Err(Error::invalid("--range, --channels, --mean, --std", "go with --from"));
    }
    // A file without a word of its pixels is taken by the flags, as when it is compiled; a network from random weights sees
    // images as its data set is usually seen.
    let mut unknown_pixels = None;
    if let (Some(checkpoint), Some(path)) = (&mut start, &args.from) {
        let name = model(&args, Some(checkpoint))?;
        let graph = checkpoint.meta.graph.clone().map_or_else(|| zoo::build(&name), Ok)?;
        args.pixels.mark(&mut checkpoint.meta, graph.input())?;
        let stated = checkpoint.meta.preprocess.as_ref();
        let preprocess = args.pixels.over(stated, graph.input())?;
        let input = Ends::input_of(&graph, &checkpoint.meta, &preprocess)?;
        unknown_pixels = args.pixels.are_unknown(stated, &input).then_some(path);
        checkpoint.meta.preprocess = Some(preprocess);
    }
    let teachers: Vec<Artifact> = args.teacher.iter().map(Artifact::open).collect::<Result<_, _>>()?;
    let config = TrainConfig { distil: distil(&args, &teachers)?, ..config(&args, start.as_ref())? };
    config.validate()?;
    let data = data::load(&args.data, Part::Train)?;
    if let Some(path) = unknown_pixels {
        note_unknown_pixels(path);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // The first request ends the step and saves; the second one ends the process, should that take too long.
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    handler.map_err(|e| Error::invalid("signals", e.to_string()))?;
    let checkpoint_every = Duration::from_secs(args.checkpoint_seconds);
    let (start, run_dir) = (start.as_ref(), &args.output);
    let job = Job { config: &config, start, teachers: &teachers, data: &data, run_dir, resume: args.resume, checkpoint_every };
    let mut shown = Shown::new(config.epochs);
    let summary = train(&job, &mut shown, &stop);
    shown.bar.finish_and_clear();
    show(&summary?)
}

/// What the flags say of teachers; each is known again by its file's name and checksum.
fn distil(args: &Args, teachers: &[Artifact]) -> Result<Option<Distil>> {
    if teachers.is_empty() {
        return Ok(None);
    }
    let Share { weight, temperature } = args.distil.unwrap_or_default();
    let known = |(path, file): (&PathBuf, &Artifact)| format!("{} ({:08x})", path.display(), crc32fast::hash(file.as_bytes()));
    let teachers = args.teacher.iter().zip(teachers).map(known).collect();
    Ok(Some(Distil { teachers, weight, temperature }))
}

/// What teachers count for: `WEIGHT` or `WEIGHT:TEMPERATURE`.
#[derive(Clone, Copy, Debug)]
struct Share {
    weight: f64,
    temperature: f64,
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

/// The architecture that the command line or the checkpoint names.
fn model(args: &Args, start: Option<&Checkpoint>) -> Result<String> {
    let path = args.from.clone().unwrap_or_default();
    if let Some(graph) = start.and_then(|c| c.meta.graph.as_ref()) {
        return match &args.model {
            Some(name) => Err(Error::invalid(format!("--model {name}"), format!("{} brings its own network", path.display()))),
            None => Ok(graph.name.clone()),
        };
    }
    let stated = args.model.clone().or_else(|| start.and_then(|c| c.meta.model.clone().or_else(|| zoo::guess(&c.params))));
    let why = crate::UNNAMED.to_string();
    let name = stated.ok_or(Error::Checkpoint { path, why })?;
    match start {
        Some(checkpoint) => Ok(zoo::build_for(&name, &checkpoint.params)?.name),
        None => Ok(name),
    }
}

fn config(args: &Args, start: Option<&Checkpoint>) -> Result<TrainConfig> {
    if start.is_none() && args.method == MethodName::Finetune {
        return Err(Error::invalid("finetune", "needs a network to go on with: --from FILE.safetensors"));
    }
    let method = args.settings.method(args.method)?;
    let (optimizer, lr) = match args.optimizer {
        // What is trained already is led back, not shaken.
        OptimizerName::Adam if args.method == MethodName::Finetune => (OptimizerKind::Adam, 1e-4),
        OptimizerName::Adam => (OptimizerKind::Adam, 1e-3),
        OptimizerName::Sgd => (OptimizerKind::Sgd, 1e-2),
    };
    let schedule = match args.schedule {
        ScheduleName::Constant => Schedule::Constant,
        ScheduleName::Linear => Schedule::Linear,
        ScheduleName::Cosine => Schedule::Cosine,
        ScheduleName::Plateau => Schedule::Plateau,
    };
    let base = TrainConfig::new(model(args, start)?, args.data.to_string());
    Ok(TrainConfig {
        from: args.from.as_ref().map(|path| path.display().to_string()),
        method,
        augment: args.augment || base.augment && !args.no_augment,
        epochs: args.epochs,
        batch: args.batch,
        optimizer,
        lr: args.lr.unwrap_or(lr),
        schedule,
        warmup: args.warmup,
        weight_decay: args.weight_decay,
        label_smoothing: args.label_smoothing,
        ema: args.ema,
        device: match args.device {
            DeviceName::Cpu => TrainDevice::Cpu,
            DeviceName::Wgpu => TrainDevice::Wgpu,
            DeviceName::Cuda => TrainDevice::Cuda,
        },
        limit: args.limit,
        seed: args.seed,
        ..base
    })
}

/// A line every half minute where standard error is no terminal, so that a log tells that work goes on.
pub(crate) struct Beat(Mutex<Instant>);

impl Beat {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        let Ok(mut last) = self.0.lock() else { return };
        if last.elapsed() >= Duration::from_secs(30) && !std::io::stderr().is_terminal() {
            *last = Instant::now();
            print::note(text());
        }
    }
}

/// A bar where standard error is a terminal, a line an epoch elsewhere.
struct Shown {
    bar: ProgressBar,
    terminal: bool,
    beat: Beat,
    epochs: usize,
}

impl Shown {
    fn new(epochs: usize) -> Self {
        Self { bar: bar(0, ""), terminal: std::io::stderr().is_terminal(), beat: Beat::new(), epochs }
    }
}

/// A progress bar on standard error, hidden where that is no terminal.
pub(crate) fn bar(length: u64, what: &'static str) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:20}] {pos}/{len} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_prefix(what)
}

impl Progress for Shown {
    fn step(&mut self, r: &StepReport) {
        let line =
            || format!("epoch {}/{}  step {} of {}  loss {:.4}  {} left", r.epoch, r.epochs, r.step, r.steps, r.loss, span(r.seconds_left));
        self.beat.tell(line);
        if self.terminal {
            self.bar.set_length(r.steps as u64);
            self.bar.set_position(r.step as u64);
            self.bar.set_prefix(format!("epoch {}/{}", r.epoch, r.epochs));
            self.bar.set_message(format!("loss {:.4}  accuracy {:.2} %  {} left", r.loss, r.accuracy, span(r.seconds_left)));
        }
    }

    fn epoch(&mut self, r: &EpochRecord) {
        let split = match (r.split_loss, r.split_accuracy) {
            (Some(loss), Some(accuracy)) => format!("  held-out loss {loss:.4} accuracy {accuracy:.2} %"),
            _ => String::new(),
        };
        let line = format!(
            "epoch {}/{}  loss {:.4} accuracy {:.2} %{split}  lr {:.2e}  {:.1} s, {:.1} steps/s",
            r.epoch, self.epochs, r.train_loss, r.train_accuracy, r.lr, r.seconds, r.steps_per_second
        );
        self.bar.suspend(|| print::note(&line));
    }
}

/// Seconds as hours, minutes and seconds.
fn span(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
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
