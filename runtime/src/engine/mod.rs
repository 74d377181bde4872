//! A planned network on a device: what sessions run and what tuning times.

mod choice;
mod device;
mod executor;
mod options;

use std::time::Duration;

pub use choice::LayerChoice;
pub(crate) use choice::{Choice, check_memory, resident_bytes};
pub use device::Device;
pub use options::{Forms, Options};

use crate::artifact::Artifact;
use crate::cpu;
use crate::device::Pipeline;
use crate::error::{Error, Result};
#[cfg(feature = "wgpu")]
use crate::gpu;
use crate::noise::noise;
use crate::plan::{Factored, Fill, Memory, Plan, Read, Slot, StepKind};
use choice::layer_choice;
use device::Inner;
use executor::Executor;

/// A network on a device: weights packed, buffers allocated, kernels chosen. Inputs and outputs are passed in the executor's
/// layout.
#[derive(Debug)]
pub(crate) struct Engine {
    device: Device,
    executor: Executor,
    batch: usize,
    layers: Vec<LayerChoice>,
    /// The layer of each step.
    step_layers: Vec<usize>,
    /// Steps that move a value from one layout to the other.
    moves: Vec<usize>,
    /// Where each value lies, if values are kept.
    values: Vec<Slot>,
    /// Where each input is put.
    inputs: Vec<Slot>,
    /// Samples of the last run.
    last_rows: usize,
    memory: Memory,
}

impl Engine {
    /// The plan of a network with these choices.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn plan(artifact: &Artifact, options: &Options, choices: &[Choice]) -> Result<Plan> {
        let form = |layer: &Factored| choices[layer.layer].form;
        match options.keep_values {
            true => Plan::keeping_values(artifact, options.batch, form),
            false => Plan::new(artifact, options.batch, form),
        }
    }

    /// `artifact` on `device`, with a choice for every layer.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options that make no sense, [`Error::Limit`] for a network that the device cannot hold,
    /// [`Error::Gpu`] when the device fails.
    pub(crate) fn new(device: &Device, artifact: &Artifact, options: &Options, choices: Vec<Choice>) -> Result<Self> {
        if options.batch > 1 && !artifact.takes_samples() {
            let why = format!("{} takes one array {} at a time, without an axis of samples", artifact.model().name, artifact.input().spec);
            return Err(Error::invalid(format!("a batch of {}", options.batch), why));
        }
        let plan = Self::plan(artifact, options, &choices)?;
        check_memory(device, artifact, &plan, options.memory)?;
        let executor = match &device.inner {
            Inner::Cpu => Executor::Cpu(Box::new(cpu::Executor::new(artifact, &plan))),
            #[cfg(feature = "wgpu")]
            Inner::Gpu(_) if options.keep_values => return Err(Error::invalid("keep_values", "is for the CPU only")),
            #[cfg(feature = "wgpu")]
            Inner::Gpu(gpu) => {
                // A layer's steps are consecutive, so a step's index within its layer is the index of its kernel.
                let pick = |at: usize| {
                    let layer = plan.steps[at].layer;
                    let first = plan.steps.iter().position(|s| s.layer == layer)?;
                    choices[layer].kernels.get(at - first).copied().flatten().and_then(thinfer_shaders::kernel)
                };
                let executor = gpu::Executor::with(gpu, artifact, &plan, &pick)?;
                Executor::Gpu(Box::new(executor.giving_up_after(options.patience)))
            }
        };
        let kernels = executor.kernels();
        let layers = choices
            .into_iter()
            .enumerate()
            .map(|(i, choice)| layer_choice(artifact, &plan, i, &kernels, device.keeps().1, choice))
            .collect();
        let moves = (0..plan.steps.len()).filter(|&at| plan.steps[at].kind == StepKind::Move).collect();
        Ok(Self {
            device: device.clone(),
            executor,
            batch: options.batch,
            layers,
            step_layers: plan.steps.iter().map(|s| s.layer).collect(),
            moves,
            values: if options.keep_values { plan.values } else { Vec::new() },
            inputs: plan.inputs,
            last_rows: 0,
            memory: plan.memory,
        })
    }

    /// What it runs on.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The most samples of a run.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// How each layer runs.
    pub(crate) fn layers(&self) -> &[LayerChoice] {
        &self.layers
    }

    /// The pipelines that its steps are run by, each once; none on the CPU.
    pub(crate) fn pipelines(&self) -> Vec<Pipeline> {
        self.executor.pipelines()
    }

    /// The activation buffers.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Runs `rows` samples, at most a batch. `fill` is called with the number and slot of each input and writes its samples
    /// in that layout; `read` reads those of each output in the same way.
    ///
    /// # Errors
    /// [`Error::Invalid`] while a submitted run is under way; [`Error::Gpu`] when the device fails.
    pub(crate) fn run(&mut self, rows: usize, fill: impl Fill, read: impl Read) -> Result<()> {
        self.last_rows = rows;
        self.executor.run(rows, fill, read)
    }

    /// [`Engine::run`] for callers that must not block.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub(crate) async fn run_async(&mut self, rows: usize, fill: impl Fill, read: impl Read) -> Result<()> {
        self.last_rows = rows;
        self.executor.run_async(rows, fill, read).await
    }

    /// Starts a run and returns at once. On the CPU the run is done by then, `read` has been called, and `true` is returned.
    ///
    /// # Errors
    /// As [`Engine::run`], and [`Error::Invalid`] while two runs are under way.
    pub(crate) fn submit(&mut self, rows: usize, fill: impl Fill, read: impl Read) -> Result<bool> {
        self.last_rows = rows;
        self.executor.submit(rows, fill, read)
    }

    /// Samples of the oldest run that was submitted, on a GPU; `None` on the CPU, where none is ever under way.
    ///
    /// # Errors
    /// [`Error::Invalid`] without one.
    pub(crate) fn under_way(&self) -> Result<Option<usize>> {
        self.executor.under_way()
    }

    /// Waits for that run.
    ///
    /// # Errors
    /// As [`Engine::run`]; [`Error::Invalid`] where none is under way.
    pub(crate) fn wait(&mut self, read: impl Read) -> Result<()> {
        self.executor.wait(read)
    }

    /// Runs a full batch of noise, from upload to readback.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub(crate) fn run_noise(&mut self, noise: &Noise) -> Result<()> {
        self.run(self.batch, |number, slot, buffer| slot.fill(&noise.0[number], buffer), |_, _, _| ())
    }

    /// Noise for every input of a full batch.
    pub(crate) fn noise(&self) -> Noise {
        Noise(self.inputs.iter().map(|slot| noise(self.batch * slot.len())).collect())
    }

    /// Wall time of `repeats` runs of a full batch back to back, without upload and readback: for tuning.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails.
    pub(crate) fn time(&mut self, repeats: usize) -> Result<Duration> {
        self.executor.time(self.batch, repeats)
    }

    /// Time of each layer in one run of a full batch, and of all moves between layouts, which their layers' times include; `None`
    /// where the device has no timestamps.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails.
    pub(crate) fn layer_times(&mut self) -> Result<Option<(Vec<Duration>, Duration)>> {
        let Some(steps) = self.executor.step_times(self.batch)? else { return Ok(None) };
        let mut layers = vec![Duration::ZERO; self.layers.len()];
        for (&layer, &time) in self.step_layers.iter().zip(&steps) {
            layers[layer] += time;
        }
        Ok(Some((layers, self.moves.iter().map(|&at| steps[at]).sum())))
    }

    /// Value `value` of the model in the last run, sample after sample without padding; `None` where values are not kept.
    pub(crate) fn value(&self, value: usize) -> Option<Vec<f32>> {
        self.executor.value(*self.values.get(value)?, self.last_rows)
    }

    /// Whether the padding of every kept value is zero, as the last run left it.
    #[cfg(test)]
    pub(crate) fn padding_is_zero(&self) -> bool {
        self.values.iter().all(|&slot| self.executor.padding_is_zero(slot, self.last_rows))
    }

    /// Fills every activation buffer with NaN, so that whatever a run fails to write shows in its result: for tests.
    pub(crate) fn poison(&mut self) {
        self.executor.poison();
    }
}

/// Inputs for runs that are only timed.
#[derive(Debug)]
pub(crate) struct Noise(Vec<Vec<f32>>);
