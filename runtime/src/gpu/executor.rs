//! Runs a plan on a device: everything is made once, a run records one compute pass and submits it.

use std::sync::Arc;
use std::time::Duration;

use thinfer_shaders::Kernel;

use crate::artifact::Artifact;
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::gpu::buffers::empty;
use crate::gpu::device::Gpu;
use crate::gpu::flight::{FLIGHTS, Flight, Turns};
use crate::gpu::memory::{Memory, most_bytes};
use crate::gpu::ops::{Context, Dispatch, dispatch, ending, estimated};
use crate::gpu::pipelines::{Epilogue, Pipeline, prepare};
use crate::gpu::profile::Timestamps;
use crate::plan::{Plan, Slot, Step};

/// How long the runs of other sessions on the device may hold up a timing of one that has an end to its patience.
const OTHERS: Duration = Duration::from_secs(10);

/// Which kernel a step of a plan takes, by its index; `None` leaves it to the estimate.
pub(crate) type Pick<'a> = &'a dyn Fn(usize) -> Option<&'static Kernel>;

/// A plan with its weights on a device.
#[derive(Debug)]
pub(crate) struct Executor {
    gpu: Gpu,
    batch: usize,
    input: Slot,
    output: Slot,
    activations: Vec<Memory>,
    /// Rows of the run, read by every kernel.
    run: wgpu::Buffer,
    /// What `run` holds.
    rows: usize,
    /// The launch of each step.
    steps: Vec<Dispatch>,
    /// Samples as they lie on the device, on their way there or back.
    staged: Vec<f32>,
    flights: [Flight; FLIGHTS],
    turns: Turns,
    timestamps: Option<Timestamps>,
    /// How long a run may take.
    patience: Option<Duration>,
    /// A run failed half-way: staging is in no known state.
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
        // Scopes tell our own faults from other sessions' on this device. A browser's must be awaited: there, faults end
        // with the device.
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
        let run = empty(gpu, "run", wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST, 16);
        let mut steps = Vec::with_capacity(plan.steps.len());
        let kernel = |(i, step): (usize, &Step)| pick(i).map_or_else(|| estimated(gpu, plan.batch, step), Ok);
        let kernels = plan.steps.iter().enumerate().map(kernel).collect::<Result<Vec<_>>>()?;
        let mut wanted: Vec<(&'static Kernel, Epilogue)> = Vec::new();
        for (kernel, ending) in kernels.iter().copied().zip(plan.steps.iter().map(|s| ending(gpu, artifact, s))) {
            if !wanted.iter().any(|w| (w.0.name, w.1) == (kernel.name, ending)) {
                wanted.push((kernel, ending));
            }
        }
        prepare(gpu, &wanted);
        for (step, kernel) in plan.steps.iter().zip(kernels) {
            let ending = ending(gpu, artifact, step);
            let context = Context { gpu, layer: &step.name, batch: plan.batch, activations: &activations, run: &run, ending };
            // Before a factored weight is multiplied back, which takes its time.
            let largest = step.kind.matrix_lens(1, 1).into_iter().max().unwrap_or(0);
            context.holds(largest.saturating_mul(4))?;
            steps.push(dispatch(&context, artifact, step, kernel)?);
        }
        let flights = std::array::from_fn(|_| Flight::new(gpu, plan.batch, plan.input, plan.output));
        let staged = vec![0.0; plan.batch * plan.input.stride().max(plan.output.stride())];
        let timestamps = Timestamps::new(gpu, steps.len());
        let (batch, input, output, gpu) = (plan.batch, plan.input, plan.output, gpu.clone());
        Ok(Self {
            gpu,
            batch,
            input,
            output,
            activations,
            run,
            rows: 0,
            steps,
            staged,
            flights,
            turns: Turns::default(),
            timestamps,
            patience: None,
            failed: false,
        })
    }

    /// The same, whose runs are given up after `patience`.
    pub(crate) fn giving_up_after(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }

    /// Runs `rows` samples: `input` is [rows, input length], `output` [rows, output length], both without padding.
    /// Blocks until the result is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sizes that do not fit the plan, or while another run is under way; [`Error::Gpu`] for whatever
    /// the device reports; after that the executor cannot be used any more.
    pub(crate) fn run(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        self.check_output(rows, output)?;
        self.check_idle()?;
        self.submit(input, rows)?;
        self.wait(output)?;
        Ok(())
    }

    /// Starts a run of `rows` samples and returns at once, unless the device is still busy with what this run's staging
    /// held before.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`Error::Invalid`] where two runs are under way.
    pub(crate) fn submit(&mut self, input: &[f32], rows: usize) -> Result<()> {
        self.gpu.check_may_block()?;
        self.check_input(input, rows)?;
        let at = self.turns.next()?;
        self.failed = true;
        self.flights[at].upload.block(&self.gpu, self.flights[at].used_by.clone(), self.patience)?;
        self.start(at, input, rows)?;
        self.failed = false;
        Ok(())
    }

    /// Samples of the oldest run under way.
    ///
    /// # Errors
    /// [`Error::Invalid`] without one.
    pub(crate) fn under_way(&self) -> Result<usize> {
        let at = self.turns.oldest()?;
        Ok(self.flights[at].under_way.as_ref().map_or(0, |u| u.0))
    }

    /// Blocks until the oldest run under way is done, and takes its result.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`Error::Invalid`] where none is under way.
    pub(crate) fn wait(&mut self, output: &mut [f32]) -> Result<()> {
        let rows = self.under_way()?;
        self.check_output(rows, output)?;
        let at = self.turns.oldest()?;
        self.failed = true;
        let submission = self.flights[at].under_way.take().map(|u| u.1);
        self.flights[at].readback.block(&self.gpu, submission, self.patience)?;
        self.flights[at].take(&self.gpu, self.output, rows, output, &mut self.staged)?;
        self.turns.ended();
        self.failed = false;
        Ok(())
    }

    /// As [`Executor::run`] without blocking.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub(crate) async fn run_async(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        self.check_output(rows, output)?;
        self.check_idle()?;
        self.check_input(input, rows)?;
        let at = self.turns.next()?;
        // Until the end is reached, and for good if this future is dropped before.
        self.failed = true;
        self.flights[at].upload.ready(&self.gpu, self.patience).await?;
        self.start(at, input, rows)?;
        self.flights[at].readback.ready(&self.gpu, self.patience).await?;
        self.flights[at].under_way = None;
        self.flights[at].take(&self.gpu, self.output, rows, output, &mut self.staged)?;
        self.turns.ended();
        self.failed = false;
        Ok(())
    }

    fn check_idle(&self) -> Result<()> {
        if self.turns.idle() { Ok(()) } else { Err(Error::invalid("run", "submitted runs are under way: wait for them first")) }
    }

    fn check_input(&self, input: &[f32], rows: usize) -> Result<()> {
        self.check_size("input", input.len(), rows, self.input)
    }

    fn check_output(&self, rows: usize, output: &[f32]) -> Result<()> {
        self.check_size("output", output.len(), rows, self.output)
    }

    fn check_size(&self, what: &str, len: usize, rows: usize, slot: Slot) -> Result<()> {
        self.gpu.check()?;
        if self.failed {
            return Err(self.gpu.error("an earlier run failed"));
        }
        if rows == 0 || rows > self.batch {
            return Err(Error::invalid("rows", format!("{rows} of a session for 1 to {}", self.batch)));
        }
        if Some(len) != rows.checked_mul(slot.len()) {
            return Err(Error::invalid(what, format!("{len} values are not {rows} rows of {}", slot.len())));
        }
        Ok(())
    }

    /// Uploads, records and submits; asks for both stagings back.
    fn start(&mut self, at: usize, input: &[f32], rows: usize) -> Result<()> {
        self.flights[at].fill(&self.gpu, self.input, input, rows, &mut self.staged)?;
        self.set_rows(rows);
        let bytes = |slot: Slot| (rows * slot.stride() * 4) as u64;
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.activations[self.input.buffer].load(&mut encoder, self.flights[at].upload.buffer(), bytes(self.input));
        self.record(&mut encoder, 1);
        self.activations[self.output.buffer].store(&mut encoder, self.flights[at].readback.buffer(), bytes(self.output));
        let submission = self.gpu.queue().submit([encoder.finish()]);
        let flight = &mut self.flights[at];
        flight.upload.map();
        flight.readback.map();
        flight.used_by = Some(submission.clone());
        flight.under_way = Some((rows, submission));
        self.turns.started();
        Ok(())
    }

    fn set_rows(&mut self, rows: usize) {
        if self.rows != rows {
            self.gpu.queue().write_buffer(&self.run, 0, bytemuck::bytes_of(&[rows as u32, 0, 0, 0]));
            self.rows = rows;
        }
    }

    /// Records the network `repeats` times in one pass: a pass a layer costs a multiple on some devices.
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
        // What other sessions have under way may take its time, but not for ever where there is an end to patience.
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

    /// Fills every activation buffer with NaN, so that whoever reads what was never written is found out.
    pub(crate) fn poison(&mut self) {
        for memory in &self.activations {
            memory.write(&self.gpu, bytemuck::cast_slice(&vec![f32::NAN; (memory.bytes() / 4) as usize]));
        }
    }

    /// The pipelines of all steps, each once.
    pub(crate) fn pipelines(&self) -> Vec<crate::session::Pipeline> {
        let mut all: Vec<(&Arc<Pipeline>, usize)> = Vec::new();
        for step in &self.steps {
            match all.iter_mut().find(|p| Arc::ptr_eq(p.0, step.pipeline())) {
                Some(known) => known.1 += 1,
                None => all.push((step.pipeline(), 1)),
            }
        }
        let describe = |(p, steps): (&Arc<Pipeline>, usize)| crate::session::Pipeline {
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
