//! Runs a plan on a device. Buffers, bind groups and pipelines are made once; a run records one compute pass and submits it.

use std::sync::Arc;
use std::time::Duration;

use thinfer_shaders::Kernel;

use crate::artifact::Artifact;
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::gpu::buffers::empty;
use crate::gpu::device::Gpu;
use crate::gpu::in_flight::{IN_FLIGHT, InFlight, Ring, staged};
use crate::gpu::launch::{Context, Dispatch};
use crate::gpu::memory::{Memory, most_bytes};
use crate::gpu::ops::{dispatch, ending, estimated};
use crate::gpu::pipeline::{Epilogue, Pipeline};
use crate::gpu::pipelines::prepare;
use crate::gpu::profile::Timestamps;
use crate::plan::{Fill, Plan, Read, Slot, Step};

/// How long a timing waits for other sessions' runs on the device, where its session has a timeout.
const OTHERS: Duration = Duration::from_secs(10);

/// Which kernel a step of a plan takes, by its index; `None` leaves it to the estimate.
pub(crate) type Pick<'a> = &'a dyn Fn(usize) -> Option<&'static Kernel>;

/// A plan with its weights on a device.
#[derive(Debug)]
pub(crate) struct Executor {
    gpu: Gpu,
    batch: usize,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    activations: Vec<Memory>,
    /// Those of them that hold constants.
    constants: Vec<usize>,
    /// Rows of the run, read by every kernel.
    run: wgpu::Buffer,
    /// What `run` holds.
    rows: usize,
    /// The launch of each step.
    steps: Vec<Dispatch>,
    /// Scratch between the caller's arrays and staging: the samples of one input or output in the device's layout.
    laid_out: Vec<f32>,
    in_flight: [InFlight; IN_FLIGHT],
    ring: Ring,
    timestamps: Option<Timestamps>,
    /// The timeout of a run.
    patience: Option<Duration>,
    /// Whether a run failed half-way, so that the state of the staging buffers is unknown.
    failed: bool,
}

impl Executor {
    /// As [`Executor::with`], the kernels by the estimate.
    #[cfg(test)]
    pub(crate) fn new(gpu: &Gpu, artifact: &Artifact, plan: &Plan) -> Result<Self> {
        Self::with(gpu, artifact, plan, &|_| None)
    }

    /// Packs the weights and makes every buffer, bind group and pipeline for runs of up to `plan.batch` rows.
    ///
    /// # Errors
    /// [`Error::Limit`] where a layer needs more than the device allows, [`Error::Gpu`] where the device refuses.
    pub(crate) fn with(gpu: &Gpu, artifact: &Artifact, plan: &Plan, pick: Pick<'_>) -> Result<Self> {
        gpu.check()?;
        // Error scopes separate this session's faults from those of others on the device. In a browser a scope must be
        // awaited, so there the device's own handler catches every fault.
        #[cfg(not(target_family = "wasm"))]
        let built = gpu.scoped(|| Self::build(gpu, artifact, plan, pick)).and_then(|built| built);
        #[cfg(target_family = "wasm")]
        let built = Self::build(gpu, artifact, plan, pick);
        gpu.check()?;
        built
    }

    fn build(gpu: &Gpu, artifact: &Artifact, plan: &Plan, pick: Pick<'_>) -> Result<Self> {
        let allows = most_bytes(gpu);
        let mut activations = Vec::with_capacity(plan.memory.buffers.len());
        for &len in &plan.memory.buffers {
            let needs = len as u64 * 4;
            if needs > allows {
                let what = "bytes in one buffer".into();
                let device = gpu.info().name.clone();
                return Err(Error::Limit { part: "a value between layers".into(), what, needs, allows, device });
            }
            activations.push(Memory::empty(gpu, "activations", needs));
        }
        for &(tensor, slot) in &plan.constants {
            let mut laid_out = vec![0.0; slot.stride()];
            slot.fill(&artifact.tensor(tensor), &mut laid_out);
            activations[slot.buffer].write(gpu, bytemuck::cast_slice(&laid_out));
        }
        let run = empty(gpu, "run", wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST, 16);
        let mut steps = Vec::with_capacity(plan.steps.len());
        let kernel = |(i, step): (usize, &Step)| pick(i).map_or_else(|| estimated(gpu, plan.batch, step), Ok);
        let kernels = plan.steps.iter().enumerate().map(kernel).collect::<Result<Vec<_>>>()?;
        let mut wanted: Vec<(&'static Kernel, Epilogue)> = Vec::new();
        for (kernel, ending) in kernels.iter().copied().zip(plan.steps.iter().map(|s| ending(gpu, artifact, s))) {
            if !wanted.iter().any(|w| w.0.name == kernel.name && w.1 == ending) {
                wanted.push((kernel, ending));
            }
        }
        prepare(gpu, &wanted);
        for (step, kernel) in plan.steps.iter().zip(kernels) {
            let ending = ending(gpu, artifact, step);
            let context = Context { gpu, layer: &step.name, batch: plan.batch, activations: &activations, run: &run, ending };
            // Checked before a factored weight is multiplied back, which is slow.
            let largest = step.kind.matrix_lens(1, 1).into_iter().max().unwrap_or(0);
            context.holds(largest.saturating_mul(4))?;
            steps.push(dispatch(&context, artifact, step, kernel)?);
        }
        let in_flight = std::array::from_fn(|_| InFlight::new(gpu, plan.batch, &plan.inputs, &plan.outputs));
        let widest = plan.inputs.iter().chain(&plan.outputs).map(Slot::stride).max().unwrap_or(0);
        let laid_out = vec![0.0; plan.batch * widest];
        let timestamps = Timestamps::new(gpu, steps.len());
        Ok(Self {
            gpu: gpu.clone(),
            batch: plan.batch,
            inputs: plan.inputs.clone(),
            outputs: plan.outputs.clone(),
            activations,
            constants: plan.constants.iter().map(|(_, slot)| slot.buffer).collect(),
            run,
            rows: 0,
            steps,
            laid_out,
            in_flight,
            ring: Ring::default(),
            timestamps,
            patience: None,
            failed: false,
        })
    }

    /// Sets the timeout of its runs.
    pub(crate) fn giving_up_after(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }

    /// Runs `rows` samples. `fill` is called with the number and slot of each input and writes its samples in that layout;
    /// `read` reads those of each output in the same way. Blocks until the result is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no samples or more than the plan's, or while another run is under way; [`Error::Gpu`] for whatever
    /// the device reports; after that the executor cannot be used any more.
    pub(crate) fn run(&mut self, rows: usize, fill: impl Fill, read: impl Read) -> Result<()> {
        self.check_rows(rows)?;
        self.check_idle()?;
        self.submit(rows, fill)?;
        self.wait(read)?;
        Ok(())
    }

    /// Starts a run of `rows` samples and returns at once; blocks only while the device still uses the staging buffers of
    /// this run.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`Error::Invalid`] where two runs are under way.
    pub(crate) fn submit(&mut self, rows: usize, fill: impl Fill) -> Result<()> {
        self.gpu.check_may_block()?;
        self.check_rows(rows)?;
        let at = self.ring.next()?;
        self.failed = true;
        self.in_flight[at].upload.block(&self.gpu, self.in_flight[at].used_by.clone(), self.patience)?;
        self.start(at, rows, fill)?;
        self.failed = false;
        Ok(())
    }

    /// Samples of the oldest run under way.
    ///
    /// # Errors
    /// [`Error::Invalid`] without one.
    pub(crate) fn under_way(&self) -> Result<usize> {
        let at = self.ring.oldest()?;
        Ok(self.in_flight[at].under_way.as_ref().map_or(0, |u| u.0))
    }

    /// Blocks until the oldest run under way is done, and takes its result.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`Error::Invalid`] where none is under way.
    pub(crate) fn wait(&mut self, mut read: impl Read) -> Result<()> {
        let rows = self.under_way()?;
        self.check_rows(rows)?;
        let at = self.ring.oldest()?;
        self.failed = true;
        let submission = self.in_flight[at].under_way.take().map(|u| u.1);
        self.in_flight[at].readback.block(&self.gpu, submission, self.patience)?;
        self.in_flight[at].read(&self.gpu, &self.outputs, rows, &mut read, &mut self.laid_out)?;
        self.ring.ended();
        self.failed = false;
        Ok(())
    }

    /// As [`Executor::run`] without blocking.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub(crate) async fn run_async(&mut self, rows: usize, fill: impl Fill, mut read: impl Read) -> Result<()> {
        self.check_rows(rows)?;
        self.check_idle()?;
        let at = self.ring.next()?;
        // Stays set for good if this future is dropped before it is done.
        self.failed = true;
        self.in_flight[at].upload.ready(&self.gpu, self.patience).await?;
        self.start(at, rows, fill)?;
        self.in_flight[at].readback.ready(&self.gpu, self.patience).await?;
        self.in_flight[at].under_way = None;
        self.in_flight[at].read(&self.gpu, &self.outputs, rows, &mut read, &mut self.laid_out)?;
        self.ring.ended();
        self.failed = false;
        Ok(())
    }

    /// [`Executor::run`] of a network of one input and one output, whose samples stand one after the other without padding.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`Error::Invalid`] for sizes that do not fit.
    #[cfg(test)]
    pub(crate) fn run_one(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        for (len, slot) in [(input.len(), self.inputs[0]), (output.len(), self.outputs[0])] {
            if len != rows * slot.len() {
                return Err(Error::invalid("array", format!("{len} values are not {rows} rows of {}", slot.len())));
            }
        }
        self.run(rows, |_, slot, buffer| slot.fill(input, buffer), |_, slot, buffer| slot.read(buffer, output))
    }

    fn check_idle(&self) -> Result<()> {
        if self.ring.idle() { Ok(()) } else { Err(Error::invalid("run", "submitted runs are under way: wait for them first")) }
    }

    fn check_rows(&self, rows: usize) -> Result<()> {
        self.gpu.check()?;
        if self.failed {
            return Err(self.gpu.error("an earlier run failed"));
        }
        if rows == 0 || rows > self.batch {
            return Err(Error::invalid("rows", format!("{rows} of a session for 1 to {}", self.batch)));
        }
        Ok(())
    }

    /// Uploads, records and submits, then maps both staging buffers again.
    fn start(&mut self, at: usize, rows: usize, mut fill: impl Fill) -> Result<()> {
        self.in_flight[at].fill(&self.gpu, &self.inputs, rows, &mut fill, &mut self.laid_out)?;
        self.set_rows(rows);
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (slot, offset, bytes) in staged(&self.inputs, rows) {
            self.activations[slot.buffer].load(&mut encoder, self.in_flight[at].upload.buffer(), offset, bytes);
        }
        self.record(&mut encoder, 1);
        for (slot, offset, bytes) in staged(&self.outputs, rows) {
            self.activations[slot.buffer].store(&mut encoder, self.in_flight[at].readback.buffer(), offset, bytes);
        }
        let submission = self.gpu.queue().submit([encoder.finish()]);
        let run = &mut self.in_flight[at];
        run.upload.map();
        run.readback.map();
        run.used_by = Some(submission.clone());
        run.under_way = Some((rows, submission));
        self.ring.started();
        Ok(())
    }

    fn set_rows(&mut self, rows: usize) {
        if self.rows != rows {
            self.gpu.queue().write_buffer(&self.run, 0, bytemuck::bytes_of(&[rows as u32, 0, 0, 0]));
            self.rows = rows;
        }
    }

    /// Records the network `repeats` times in one pass: one pass for each layer is several times as slow on some devices.
    fn record(&self, encoder: &mut wgpu::CommandEncoder, repeats: usize) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for _ in 0..repeats {
            for dispatch in &self.steps {
                dispatch.record(&mut pass, self.rows);
            }
        }
    }

    /// Wall time of `repeats` runs of the whole batch in one submit, transfers left out.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub(crate) fn time(&mut self, repeats: usize) -> Result<Duration> {
        self.set_rows(self.batch);
        // Other sessions' runs may finish first; with a timeout this wait is bounded.
        self.gpu.wait(self.patience.map(|patience| patience.max(OTHERS)))?;
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.record(&mut encoder, repeats);
        let commands = encoder.finish();
        let start = Instant::now();
        self.gpu.queue().submit([commands]);
        let repeats = u32::try_from(repeats).unwrap_or(u32::MAX);
        self.gpu.wait(self.patience.map(|patience| patience.saturating_mul(repeats)))?;
        Ok(start.elapsed())
    }

    /// The time of each step at the whole batch, by the device's own clock; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub(crate) fn layer_times(&mut self) -> Result<Option<Vec<Duration>>> {
        self.set_rows(self.batch);
        let Some(timestamps) = &self.timestamps else { return Ok(None) };
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (i, step) in (0u32..).zip(&self.steps) {
            let mut pass = encoder.begin_compute_pass(&timestamps.around(i));
            step.record(&mut pass, self.rows);
        }
        timestamps.resolve(&mut encoder);
        let submission = self.gpu.queue().submit([encoder.finish()]);
        timestamps.read(&self.gpu, submission, self.patience).map(Some)
    }

    /// Fills every activation buffer but those of constants with NaN, so that a read of an element that was never written shows in the result.
    pub(crate) fn poison(&mut self) {
        for (_, memory) in self.activations.iter().enumerate().filter(|(at, _)| !self.constants.contains(at)) {
            memory.write(&self.gpu, bytemuck::cast_slice(&vec![f32::NAN; (memory.bytes() / 4) as usize]));
        }
    }

    /// The pipelines of all steps, each once.
    pub(crate) fn pipelines(&self) -> Vec<crate::device::Pipeline> {
        let mut all: Vec<(&Arc<Pipeline>, usize)> = Vec::new();
        for step in &self.steps {
            match all.iter_mut().find(|p| Arc::ptr_eq(p.0, step.pipeline())) {
                Some(known) => known.1 += 1,
                None => all.push((step.pipeline(), 1)),
            }
        }
        let describe = |(p, steps): (&Arc<Pipeline>, usize)| crate::device::Pipeline {
            kernel: p.kernel.name,
            constants: [p.epilogue.activation, p.epilogue.residual, p.epilogue.half.into()],
            steps,
            made_ms: p.made.as_secs_f64() * 1e3,
        };
        all.into_iter().map(describe).collect()
    }

    /// The kernels of each step.
    pub(crate) fn kernels(&self) -> Vec<Vec<&'static str>> {
        self.steps.iter().map(|d| vec![d.variant()]).collect()
    }
}
