//! The public API: a device, an artifact, and a session that runs the one on the other.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use crate::artifact::{Artifact, Preprocess};
use crate::bench;
use crate::cpu;
use crate::device::{DeviceClass, DeviceInfo, DeviceKind};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::plan::{Factored, Form, Memory, Plan, Slot, Step, StepKind};
use crate::tune;

/// Something to run on; cheap to clone, and sessions on clones share it.
#[derive(Clone, Debug)]
pub struct Device {
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Cpu,
    #[cfg(feature = "gpu")]
    Gpu(gpu::Gpu),
}

impl Device {
    /// Opens the best device of a kind; `Auto` prefers a real GPU to the CPU, and the CPU to a software adapter.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when a GPU was asked for and there is no adapter, and in a browser, which gives one only to
    /// [`Device::open_async`].
    pub fn open(kind: DeviceKind) -> Result<Self> {
        if cfg!(target_family = "wasm") && kind != DeviceKind::Cpu {
            return Err(Error::NoDevice { wanted: "GPU".into(), why: "a page cannot wait for one: Device::open_async can".into() });
        }
        block_on(Self::open_async(kind))
    }

    /// [`Device::open`] for callers that must not block.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub async fn open_async(kind: DeviceKind) -> Result<Self> {
        match kind {
            DeviceKind::Cpu => Ok(Self::cpu()),
            DeviceKind::Gpu => Self::open_gpu().await,
            DeviceKind::Auto => match Self::open_gpu().await {
                Ok(device) if device.info().class != DeviceClass::Software => Ok(device),
                _ => Ok(Self::cpu()),
            },
        }
    }

    /// The CPU, which is always there.
    pub fn cpu() -> Self {
        Self { inner: Inner::Cpu }
    }

    #[cfg(feature = "gpu")]
    async fn open_gpu() -> Result<Self> {
        Ok(Self { inner: Inner::Gpu(gpu::Gpu::open_async().await?) })
    }

    #[cfg(not(feature = "gpu"))]
    async fn open_gpu() -> Result<Self> {
        Err(Error::NoDevice { wanted: "GPU".into(), why: "this build has no GPU support (feature `gpu`)".into() })
    }

    /// Every device on this machine, the CPU last; in a browser the CPU alone.
    pub fn list() -> Vec<DeviceInfo> {
        #[cfg(feature = "gpu")]
        let gpus = gpu::list();
        #[cfg(not(feature = "gpu"))]
        let gpus = [];
        gpus.into_iter().chain([cpu::info()]).collect()
    }

    /// What it is.
    pub fn info(&self) -> DeviceInfo {
        match &self.inner {
            Inner::Cpu => cpu::info(),
            #[cfg(feature = "gpu")]
            Inner::Gpu(gpu) => gpu.info().clone(),
        }
    }

    /// The GPU behind it.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu(&self) -> Option<&gpu::Gpu> {
        match &self.inner {
            Inner::Cpu => None,
            Inner::Gpu(gpu) => Some(gpu),
        }
    }

    /// Multiply–adds and bytes a second, measured.
    pub(crate) fn peak(&self) -> Result<(f64, f64)> {
        match &self.inner {
            Inner::Cpu => Ok(cpu::peak()),
            #[cfg(feature = "gpu")]
            Inner::Gpu(gpu) => gpu::peak(gpu),
        }
    }

    /// What makes measurements on one device hold on another: its name and driver, and the version of our kernels.
    pub(crate) fn fingerprint(&self) -> String {
        let DeviceInfo { name, backend, driver, .. } = self.info();
        let kernels: String = match &self.inner {
            Inner::Cpu => cpu::level().into(),
            #[cfg(feature = "gpu")]
            Inner::Gpu(gpu) => gpu.kernels(),
        };
        format!("{name} | {backend} | {driver} | {kernels} | thinfer {}", env!("CARGO_PKG_VERSION"))
    }

    /// Whether a thread can wait for what it computes, so that it can be timed: a page cannot wait for its GPU.
    pub(crate) fn can_wait(&self) -> bool {
        cfg!(not(target_family = "wasm")) || matches!(self.inner, Inner::Cpu)
    }

    /// Whether this device can run `layer` in `form`.
    pub(crate) fn supports(&self, form: Form, layer: &Factored) -> bool {
        match (&self.inner, form, &layer.fused) {
            (_, Form::Fused, None) => false,
            #[cfg(feature = "gpu")]
            (Inner::Gpu(gpu), Form::Fused, Some(step)) => gpu::supports_fused(gpu, step),
            _ => true,
        }
    }
}

/// How the form of each factored layer is chosen. A form that the device cannot run becomes two-stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forms {
    /// Each layer's forms, and on a GPU its kernels, are timed when the session opens, and the fastest are taken; what was
    /// timed is kept in [`Options::cache`]. As [`Forms::Ruled`] on a browser's GPU, which cannot be timed.
    #[default]
    Timed,
    /// A written-down rule for the class of device decides: quick to open, the same every time.
    Ruled,
    /// All alike.
    All(Form),
    /// One for each layer of the model, such as an earlier session chose; [`Form::Dense`] for a layer that it leaves out.
    Each(Vec<Form>),
}

/// How a session is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The most samples that go through the device at once; larger inputs are cut, smaller ones cost what they need.
    pub batch: usize,
    /// How the form of each factored layer is chosen.
    pub forms: Forms,
    /// The share (0…1) of each factored layer's components that is loaded, the most important ones: the same file made
    /// thinner ([`Artifact::with_ranks`]).
    pub ranks: f64,
    /// Never multiply a factored layer back to its dense form, even where dense is faster.
    pub keep_factors: bool,
    /// Give every value a buffer of its own, so that [`Session::value`] can be asked after a run; on the CPU only.
    pub keep_values: bool,
    /// The most bytes that weights, values and staging may take on the device together; a network that needs more is refused
    /// before anything is made. `None`: whatever the device gives.
    pub memory: Option<u64>,
    /// How long a run may take on a GPU before it is given up, and the session with it. `None` waits for ever.
    pub patience: Option<Duration>,
    /// The folder where the choices of [`Forms::Timed`] are kept between sessions, so that the next one opens at once and
    /// chooses the same; `None` times anew and keeps nothing. By default a folder of the user's, as the system has it.
    pub cache: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 1,
            forms: Forms::Timed,
            ranks: 1.0,
            keep_factors: false,
            keep_values: false,
            memory: None,
            patience: None,
            cache: tune::user_folder(),
        }
    }
}

/// What a session made of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerChoice {
    /// The layer's name.
    pub name: String,
    /// Features or channels in.
    pub inputs: usize,
    /// Features or channels out.
    pub outputs: usize,
    /// Components of its factors, or Tucker's output rank; `None` for a layer stored dense or without a weight.
    pub rank: Option<usize>,
    /// Tucker's input rank.
    pub input_rank: Option<usize>,
    /// The form in which it runs.
    pub form: Form,
    /// Multiply–accumulates for one sample in that form.
    pub macs: u64,
    /// Bytes of its weights on the device.
    pub weight_bytes: u64,
    /// Bytes that a run of the whole batch moves at least: what its steps read and write, and their weights once.
    pub bytes: u64,
    /// The kernels that it is run with, in their order.
    pub kernels: Vec<&'static str>,
    /// What tuning measured for each form, microseconds a run of the whole batch; empty without tuning.
    pub measured_us: Vec<(Form, f64)>,
}

/// A pipeline that a session runs kernels by.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The kernel's variant.
    pub kernel: &'static str,
    /// The numbers of the activation and of the kind of residual that are compiled into it, and 1 for weights in f16.
    pub constants: [u32; 3],
    /// Steps that it runs.
    pub steps: usize,
    /// Milliseconds that it took to make. Some drivers compile it only when it first runs.
    pub made_ms: f64,
}

/// A network on a device, ready to run: weights packed, buffers allocated, kernels chosen.
#[derive(Debug)]
pub struct Session {
    device: Device,
    executor: Executor,
    batch: usize,
    input_len: usize,
    output_len: usize,
    /// Channels, height and width of an image; a flat input is one row.
    image: [usize; 3],
    preprocess: Preprocess,
    layers: Vec<LayerChoice>,
    /// The layer of each step.
    step_layers: Vec<usize>,
    /// Where each value lies, if values are kept.
    values: Vec<Slot>,
    /// Samples of the last run, or of its last part.
    last_rows: usize,
    memory: Memory,
    /// Normalised images of one batch.
    staging: Vec<f32>,
    /// Outputs of submitted runs, on the CPU.
    done: VecDeque<Vec<f32>>,
}

/// Shares of the ranks that [`Session::within`] chooses from.
const SHARES: usize = 20;
/// Runs that it times each by.
const BUDGET_RUNS: usize = 15;

#[derive(Debug)]
enum Executor {
    Cpu(Box<cpu::Executor>),
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::Executor>),
}

impl Session {
    /// Prepares `artifact` on `device`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options that make no sense, [`Error::Limit`] for a network that the device cannot hold,
    /// [`Error::Gpu`] when the device fails.
    pub fn new(device: &Device, artifact: &Artifact, options: &Options) -> Result<Self> {
        if options.ranks == 1.0 {
            return Self::with(device, artifact, options, tune::choose(device, artifact, options)?);
        }
        let artifact = artifact.with_ranks(options.ranks)?;
        Self::with(device, &artifact, options, tune::choose(device, &artifact, options)?)
    }

    /// A session with the largest share of `artifact`'s ranks, in steps of 5 %, whose run of a full batch takes at most
    /// `budget` in the median on this device, and that share. [`Options::ranks`] is the most that is tried.
    ///
    /// # Errors
    /// [`Error::Invalid`] when even the smallest share takes longer, which says how long; else as [`Session::new`] and
    /// [`Session::run`].
    pub fn within(device: &Device, artifact: &Artifact, options: &Options, budget: Duration) -> Result<(Self, f64)> {
        let open = |step: usize| -> Result<(Self, f64, f64)> {
            let ranks = options.ranks * step as f64 / SHARES as f64;
            let mut session = Self::new(device, artifact, &Options { ranks, ..options.clone() })?;
            let ms = bench::interleaved(&mut [&mut session], 2, BUDGET_RUNS)?[0].p50();
            Ok((session, ranks, ms))
        };
        let wanted = budget.as_secs_f64() * 1e3;
        let (whole, ranks, ms) = open(SHARES)?;
        if ms <= wanted {
            return Ok((whole, ranks));
        }
        let (least, ranks, ms) = open(1)?;
        if ms > wanted {
            let why = format!("the least that {} takes is {ms:.3} ms, at {:.0} % of its ranks", artifact.model().name, 100.0 * ranks);
            return Err(Error::invalid(format!("--time-budget {wanted}"), why));
        }
        let (mut best, mut fits, mut not) = ((least, ranks), 1, SHARES);
        while not - fits > 1 {
            let middle = usize::midpoint(fits, not);
            let (session, ranks, ms) = open(middle)?;
            if ms <= wanted {
                (best, fits) = ((session, ranks), middle);
            } else {
                not = middle;
            }
        }
        Ok(best)
    }

    /// The same with a choice for every layer.
    pub(crate) fn with(device: &Device, artifact: &Artifact, options: &Options, choices: Vec<tune::Choice>) -> Result<Self> {
        let form = |layer: &Factored| choices[layer.layer].form;
        let plan = if options.keep_values {
            Plan::keeping_values(artifact, options.batch, form)?
        } else {
            Plan::new(artifact, options.batch, form)?
        };
        // On the CPU weights are widened when the session opens.
        let halves = match &device.inner {
            Inner::Cpu => false,
            #[cfg(feature = "gpu")]
            Inner::Gpu(gpu) => gpu.halves(),
        };
        if let Some(allows) = options.memory {
            let needs = device_bytes(artifact, &plan, halves);
            if needs > allows {
                let (part, what, device) = ("the session".into(), "bytes of memory".into(), "its budget".into());
                return Err(Error::Limit { part, what, needs, allows, device });
            }
        }
        let executor = match &device.inner {
            Inner::Cpu => Executor::Cpu(Box::new(cpu::Executor::new(artifact, &plan))),
            #[cfg(feature = "gpu")]
            Inner::Gpu(_) if options.keep_values => return Err(Error::invalid("keep_values", "is for the CPU only")),
            #[cfg(feature = "gpu")]
            Inner::Gpu(gpu) => {
                // A layer's steps follow each other: the kernel of a step stands where it stands among them.
                let pick = |at: usize| {
                    let layer = plan.steps[at].layer;
                    let first = plan.steps.iter().position(|s| s.layer == layer)?;
                    choices[layer].kernels.get(at - first).copied().flatten().and_then(thinfer_shaders::kernel)
                };
                let executor = gpu::Executor::with(gpu, artifact, &plan, &pick)?;
                Executor::Gpu(Box::new(executor.giving_up_after(options.patience)))
            }
        };
        let kernels = match &executor {
            Executor::Cpu(cpu) => cpu.kernels(),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.kernels(),
        };
        let layers =
            choices.into_iter().enumerate().map(|(i, choice)| layer_choice(artifact, &plan, i, &kernels, halves, choice)).collect();
        let image = match artifact.shapes()[0][..] {
            [channels, height, width] => [channels, height, width],
            ref shape => [1, 1, shape.iter().product()],
        };
        Ok(Self {
            device: device.clone(),
            executor,
            batch: options.batch,
            input_len: artifact.input_len(),
            output_len: artifact.output_len(),
            image,
            preprocess: artifact.model().preprocess.clone(),
            layers,
            step_layers: plan.steps.iter().map(|s| s.layer).collect(),
            values: if options.keep_values { plan.values } else { Vec::new() },
            last_rows: 0,
            memory: plan.memory,
            staging: Vec::new(),
            done: VecDeque::new(),
        })
    }

    /// Runs any number of samples, one after the other in `input`, and returns their outputs, one after the other.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `input` is no whole number of samples, or while a submitted run is under way; [`Error::Gpu`]
    /// when the device fails.
    pub fn run(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.samples(input.len(), "input")? * self.output_len];
        self.run_into(input, &mut output)?;
        Ok(output)
    }

    /// [`Session::run`] into a buffer of the caller's, of as many outputs as there are samples: on the CPU a run after the
    /// first allocates nothing.
    ///
    /// # Errors
    /// As [`Session::run`], and [`Error::Invalid`] when `output` has another length.
    pub fn run_into(&mut self, input: &[f32], output: &mut [f32]) -> Result<()> {
        let wanted = self.samples(input.len(), "input")? * self.output_len;
        if output.len() != wanted {
            return Err(Error::invalid("output", format!("has room for {} values, {wanted} are computed", output.len())));
        }
        for (input, output) in input.chunks(self.batch * self.input_len).zip(output.chunks_mut(self.batch * self.output_len)) {
            self.last_rows = input.len() / self.input_len;
            self.executor.run(input, self.last_rows, output)?;
        }
        Ok(())
    }

    /// Starts a run of up to a batch of samples and returns at once, so that a loop over frames overlaps bringing the next
    /// one with computing this one: two runs may be under way. On the CPU the run is done before this returns.
    ///
    /// ```no_run
    /// # fn frames() -> impl Iterator<Item = Vec<f32>> { std::iter::empty() }
    /// # fn show(_: &[f32]) {}
    /// # fn watch(session: &mut thinfer::Session) -> thinfer::Result<()> {
    /// let mut under_way = 0;
    /// for frame in frames() {
    ///     session.submit(&frame)?;
    ///     under_way += 1;
    ///     if under_way == 2 {
    ///         show(&session.wait()?);
    ///         under_way -= 1;
    ///     }
    /// }
    /// for _ in 0..under_way {
    ///     show(&session.wait()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] when `input` is no whole number of samples, or none, or more than a batch, and when two runs are
    /// under way; [`Error::Gpu`] when the device fails.
    pub fn submit(&mut self, input: &[f32]) -> Result<()> {
        let rows = self.samples(input.len(), "input")?;
        if rows == 0 || rows > self.batch {
            return Err(Error::invalid("input", format!("{rows} samples for a session of 1 to {}", self.batch)));
        }
        match &mut self.executor {
            Executor::Cpu(cpu) => {
                if self.done.len() == 2 {
                    return Err(Error::invalid("submit", "2 runs are under way: wait for one first"));
                }
                let mut output = vec![0.0; rows * self.output_len];
                cpu.run(input, rows, &mut output);
                self.done.push_back(output);
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.submit(input, rows)?,
        }
        self.last_rows = rows;
        Ok(())
    }

    /// Waits for the oldest run that was submitted and returns its output, as [`Session::run`] does.
    ///
    /// # Errors
    /// [`Error::Invalid`] when none is under way; [`Error::Gpu`] when the device fails.
    pub fn wait(&mut self) -> Result<Vec<f32>> {
        match &mut self.executor {
            Executor::Cpu(_) => self.done.pop_front().ok_or_else(|| Error::invalid("wait", "no run is under way")),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => {
                let mut output = vec![0.0; gpu.under_way()? * self.output_len];
                gpu.wait(&mut output)?;
                Ok(output)
            }
        }
    }

    /// [`Session::run`] for callers that must not block, the only way on a browser's GPU.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_async(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.samples(input.len(), "input")? * self.output_len];
        for (input, output) in input.chunks(self.batch * self.input_len).zip(output.chunks_mut(self.batch * self.output_len)) {
            self.last_rows = input.len() / self.input_len;
            self.executor.run_async(input, self.last_rows, output).await?;
        }
        Ok(output)
    }

    /// Runs any number of 8-bit images, channel after channel each, normalised as the artifact says.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_images(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.samples(pixels.len(), "images")? * self.output_len];
        let mut staging = std::mem::take(&mut self.staging);
        for (pixels, output) in pixels.chunks(self.batch * self.input_len).zip(output.chunks_mut(self.batch * self.output_len)) {
            staging.resize(pixels.len(), 0.0);
            self.preprocess.apply(self.image, pixels, &mut staging);
            self.last_rows = pixels.len() / self.input_len;
            self.executor.run(&staging, self.last_rows, output)?;
        }
        self.staging = staging;
        Ok(output)
    }

    /// [`Session::run_images`] for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_images_async(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        self.samples(pixels.len(), "images")?;
        let mut input = vec![0.0; pixels.len()];
        self.preprocess.apply(self.image, pixels, &mut input);
        self.run_async(&input).await
    }

    fn samples(&self, len: usize, what: &str) -> Result<usize> {
        if len.is_multiple_of(self.input_len) {
            return Ok(len / self.input_len);
        }
        Err(Error::invalid(what, format!("{len} values are no whole number of samples of {} values", self.input_len)))
    }

    /// What it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The most samples that go through the device at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Values of one sample's input.
    pub fn input_len(&self) -> usize {
        self.input_len
    }

    /// Values of one sample's output.
    pub fn output_len(&self) -> usize {
        self.output_len
    }

    /// What was made of each layer.
    pub fn layers(&self) -> &[LayerChoice] {
        &self.layers
    }

    /// The pipelines that its steps are run by, each once; none on the CPU.
    pub fn pipelines(&self) -> Vec<Pipeline> {
        match &self.executor {
            Executor::Cpu(_) => Vec::new(),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.pipelines(),
        }
    }

    /// The activation buffers.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Wall time of `repeats` runs of a full batch back to back, without upload and readback: for tuning.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails.
    pub fn time(&mut self, repeats: usize) -> Result<Duration> {
        match &mut self.executor {
            Executor::Cpu(cpu) => Ok(cpu.time(self.batch, repeats)),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.time(repeats),
        }
    }

    /// Time of each layer in one run of a full batch; `None` where the device has no timestamps.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails.
    pub fn layer_times(&mut self) -> Result<Option<Vec<Duration>>> {
        let steps = match &mut self.executor {
            Executor::Cpu(cpu) => Some(cpu.step_times(self.batch)),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.layer_times()?,
        };
        Ok(steps.map(|steps| {
            let mut layers = vec![Duration::ZERO; self.layers.len()];
            for (&layer, time) in self.step_layers.iter().zip(steps) {
                layers[layer] += time;
            }
            layers
        }))
    }

    /// The output of layer `layer` in the last run ([channels, height, width] each sample, one after the other; of the last
    /// part, where the input was more than a batch). `None` without [`Options::keep_values`], or for a layer that there
    /// is not.
    pub fn value(&self, layer: usize) -> Option<Vec<f32>> {
        let slot = self.values.get(layer.checked_add(1)?)?;
        match &self.executor {
            Executor::Cpu(cpu) => Some(cpu.value(*slot, self.last_rows)),
            #[cfg(feature = "gpu")]
            Executor::Gpu(_) => None,
        }
    }

    /// Whether the padding of every kept value is zero, as the last run left it.
    #[cfg(test)]
    pub(crate) fn padding_is_zero(&self) -> bool {
        match &self.executor {
            Executor::Cpu(cpu) => self.values.iter().all(|&slot| cpu.padding_is_zero(slot, self.last_rows)),
            #[cfg(feature = "gpu")]
            Executor::Gpu(_) => true,
        }
    }

    /// Fills every activation buffer with NaN, so that whatever a run fails to write shows in its result: for tests.
    pub fn poison(&mut self) {
        match &mut self.executor {
            Executor::Cpu(cpu) => cpu.poison(),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.poison(),
        }
    }
}

/// What became of layer `index`.
/// Bytes of a step's weights.
fn step_bytes(artifact: &Artifact, step: &Step, halves: bool) -> u64 {
    step.kind.macs(1) * if halves && step.kind.is_half(artifact) { 2 } else { 4 }
}

/// Bytes of everything that a session keeps on its device but for rounding: weights, values, and what brings and takes them.
fn device_bytes(artifact: &Artifact, plan: &Plan, halves: bool) -> u64 {
    let weights: u64 = plan.steps.iter().map(|step| step_bytes(artifact, step, halves)).sum();
    let staging = 8 * (plan.batch * (plan.input.stride() + plan.output.stride())) as u64;
    weights + plan.memory.bytes() + staging
}

fn layer_choice(
    artifact: &Artifact,
    plan: &Plan,
    index: usize,
    kernels: &[Vec<&'static str>],
    halves: bool,
    choice: tune::Choice,
) -> LayerChoice {
    let layer = &artifact.model().layers[index];
    let steps: Vec<_> = plan.steps.iter().zip(kernels).filter(|(s, _)| s.layer == index).collect();
    let (input, output) = (steps.first().map_or_else(Slot::default, |s| s.0.input), plan.values[index + 1]);
    let flat = matches!(steps.first().map(|s| &s.0.kind), Some(StepKind::Linear(_)));
    let weight = crate::plan::weight(&layer.op);
    let weight_bytes = steps.iter().map(|s| step_bytes(artifact, s.0, halves)).sum();
    LayerChoice {
        name: layer.name.clone(),
        inputs: if flat { input.len() } else { input.channels },
        outputs: output.channels,
        rank: weight.and_then(|w| w.rank(artifact)),
        input_rank: weight.and_then(|w| w.input_rank(artifact)),
        form: plan.forms[index],
        macs: weight.map_or(0, |_| steps.iter().map(|s| s.0.macs()).sum()),
        weight_bytes,
        bytes: steps.iter().map(|s| 4 * s.0.values() * plan.batch as u64).sum::<u64>() + weight_bytes,
        kernels: steps.iter().flat_map(|s| s.1.iter().copied()).collect(),
        measured_us: choice.measured_us,
    }
}

impl Executor {
    fn run(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.run(input, rows, output),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.run(input, rows, output)?,
        }
        Ok(())
    }

    async fn run_async(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.run(input, rows, output),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.run_async(input, rows, output).await?,
        }
        Ok(())
    }
}

/// Waits for a future of ours; without a GPU none of them ever waits, so polling once is enough.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    #[cfg(feature = "gpu")]
    return pollster::block_on(future);
    #[cfg(not(feature = "gpu"))]
    {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
        }
    }
}
