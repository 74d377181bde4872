//! The public API: a device, an artifact, and a session that runs the one on the other.

mod choice;
mod device;
mod options;
mod order;
mod run;

use std::collections::VecDeque;
use std::time::Duration;

pub use choice::{LayerChoice, Pipeline};
pub use device::Device;
pub use options::{Forms, Options};

use crate::artifact::{Artifact, Input, Output};
use crate::bench;
use crate::cpu;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::plan::{Factored, Memory, Plan, Slot};
use crate::tune;
use choice::layer_choice;
pub(crate) use choice::{check_room, kept_bytes};
use device::Inner;
use order::Order;

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
    input: Input,
    output: Output,
    /// How the declared arrays of input and output lie.
    orders: [Order; 2],
    layers: Vec<LayerChoice>,
    /// The layer of each step.
    step_layers: Vec<usize>,
    /// Where each value lies, if values are kept.
    values: Vec<Slot>,
    /// Samples of the last run, or of its last part.
    last_rows: usize,
    memory: Memory,
    staging: Staging,
    /// Outputs of submitted runs, on the CPU.
    done: VecDeque<Vec<f32>>,
}

/// Buffers for arrays that have to be moved or normalised before they are run.
#[derive(Debug, Default)]
struct Staging {
    /// Inputs of one batch as the executor takes them.
    floats: Vec<f32>,
    /// Pixels of one batch, channel after channel.
    pixels: Vec<u8>,
    /// Outputs of one batch as the executor gives them.
    outputs: Vec<f32>,
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
            let why = format!("is too little: {} takes {ms:.3} ms at {:.0} % of its ranks", artifact.model().name, 100.0 * ranks);
            return Err(Error::invalid(format!("a time budget of {wanted} ms"), why));
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

    /// What a session with these choices runs.
    pub(crate) fn plan(artifact: &Artifact, options: &Options, choices: &[tune::Choice]) -> Result<Plan> {
        let form = |layer: &Factored| choices[layer.layer].form;
        match options.keep_values {
            true => Plan::keeping_values(artifact, options.batch, form),
            false => Plan::new(artifact, options.batch, form),
        }
    }

    /// The same with a choice for every layer.
    pub(crate) fn with(device: &Device, artifact: &Artifact, options: &Options, choices: Vec<tune::Choice>) -> Result<Self> {
        if options.batch > 1 && artifact.input().spec.sample_axis.is_none() {
            let why = format!("{} takes one array {} at a time, without an axis of samples", artifact.model().name, artifact.input().spec);
            return Err(Error::invalid(format!("a batch of {}", options.batch), why));
        }
        let plan = Self::plan(artifact, options, &choices)?;
        check_room(device, artifact, &plan, options.memory)?;
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
        let layers = choices
            .into_iter()
            .enumerate()
            .map(|(i, choice)| layer_choice(artifact, &plan, i, &kernels, device.keeps().1, choice))
            .collect();
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
            input: artifact.input().clone(),
            output: artifact.output().clone(),
            orders: [&artifact.input().spec, &artifact.output().spec].map(Order::new),
            layers,
            step_layers: plan.steps.iter().map(|s| s.layer).collect(),
            values: if options.keep_values { plan.values } else { Vec::new() },
            last_rows: 0,
            memory: plan.memory,
            staging: Staging::default(),
            done: VecDeque::new(),
        })
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

    /// The array that [`Session::run`] takes.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The array that it gives.
    pub fn output(&self) -> &Output {
        &self.output
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

    /// The output of layer `layer` in the last run ([channels, height, width] each sample, one after the other, whatever order of axes was declared; of the last
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
