//! Runs a plan on a device: everything is made once, a run records one compute pass and submits it.

use std::time::{Duration, Instant};

use thinfer_shaders::Kernel;

use crate::artifact::Artifact;
use crate::error::{Error, Result};
use crate::gpu::buffers::{PANEL, empty, pack_bias, pack_transposed};
use crate::gpu::device::Gpu;
use crate::gpu::ops::low_rank::Factors;
use crate::gpu::ops::{Context, Dispatch, linear, low_rank};
use crate::gpu::profile::Timestamps;
use crate::gpu::transfer::Staging;
use crate::plan::{LinearStep, Plan, Slot, Step, StepKind, matrix};

/// Which variant a step takes for the kernel of that name; `None` leaves it to the heuristic.
pub(crate) type Pick<'a> = &'a dyn Fn(&Step, &str) -> Option<&'static Kernel>;

/// A plan with its weights on a device.
#[derive(Debug)]
pub(crate) struct Executor {
    gpu: Gpu,
    batch: usize,
    input: Slot,
    output: Slot,
    activations: Vec<wgpu::Buffer>,
    /// Rows of the run, read by every kernel.
    run: wgpu::Buffer,
    /// What `run` holds.
    rows: usize,
    /// The launches of each step.
    steps: Vec<Vec<Dispatch>>,
    upload: Staging,
    readback: Staging,
    timestamps: Option<Timestamps>,
    /// A run failed half-way: staging is in no known state.
    failed: bool,
}

impl Executor {
    /// Packs the weights and makes every buffer, bind group and pipeline for runs of up to `plan.batch` rows.
    ///
    /// # Errors
    /// [`Error::Limit`] where a layer needs more than the device allows, [`Error::Gpu`] where the device refuses.
    pub(crate) fn new(gpu: &Gpu, artifact: &Artifact, plan: &Plan) -> Result<Self> {
        Self::with(gpu, artifact, plan, &|_, _| None)
    }

    /// As [`Executor::new`] with chosen variants.
    ///
    /// # Errors
    /// As [`Executor::new`].
    pub(crate) fn with(gpu: &Gpu, artifact: &Artifact, plan: &Plan, pick: Pick<'_>) -> Result<Self> {
        gpu.check()?;
        // Scopes tell our own faults from other sessions' on this device. A browser's must be awaited: there, faults end
        // with the device.
        #[cfg(not(target_family = "wasm"))]
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation].map(|f| gpu.device().push_error_scope(f));
        let built = Self::build(gpu, artifact, plan, pick);
        #[cfg(not(target_family = "wasm"))]
        for scope in scopes.into_iter().rev() {
            if let Some(e) = pollster::block_on(scope.pop()) {
                return Err(built.err().unwrap_or_else(|| gpu.error(e.to_string())));
            }
        }
        gpu.check()?;
        built
    }

    fn build(gpu: &Gpu, artifact: &Artifact, plan: &Plan, pick: Pick<'_>) -> Result<Self> {
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let limits = gpu.limits();
        let mut activations = Vec::with_capacity(plan.memory.buffers.len());
        for &len in &plan.memory.buffers {
            let needs = len as u64 * 4;
            if needs > limits.max_buffer_size {
                let what = "bytes in one buffer".into();
                let device = gpu.info().name.clone();
                return Err(Error::Limit { layer: "activations".into(), what, needs, allows: limits.max_buffer_size, device });
            }
            activations.push(empty(gpu, "activations", storage, needs));
        }
        let run = empty(gpu, "run", wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST, 16);
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let context = Context { gpu, layer: &step.name, batch: plan.batch, activations: &activations, run: &run };
            steps.push(match &step.kind {
                StepKind::Linear(layer) => linear_step(&context, artifact, step, layer, pick)?,
                other => return Err(Error::invalid(&step.name, format!("has a step '{}', which is not on the GPU yet", other.name()))),
            });
        }
        let bytes = |slot: Slot| (slot.stride() * plan.batch * 4) as u64;
        let upload = Staging::new(gpu, "upload", wgpu::MapMode::Write, bytes(plan.input));
        let readback = Staging::new(gpu, "readback", wgpu::MapMode::Read, bytes(plan.output));
        upload.map();
        let timestamps = Timestamps::new(gpu, steps.len());
        let (batch, input, output, gpu) = (plan.batch, plan.input, plan.output, gpu.clone());
        Ok(Self { gpu, batch, input, output, activations, run, rows: 0, steps, upload, readback, timestamps, failed: false })
    }

    /// Runs `rows` samples: `input` is [rows, input length], `output` [rows, output length], both without padding.
    /// Blocks until the result is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sizes that do not fit the plan, [`Error::Gpu`] for whatever the device reports; after that
    /// the executor cannot be used any more.
    pub(crate) fn run(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        self.check(input, rows, output)?;
        self.failed = true;
        self.upload.block(&self.gpu, None)?;
        let submission = self.submit(input, rows)?;
        self.readback.block(&self.gpu, Some(submission))?;
        self.receive(rows, output)?;
        self.failed = false;
        Ok(())
    }

    /// As [`Executor::run`] without blocking.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub(crate) async fn run_async(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        self.check(input, rows, output)?;
        // Until the end is reached, and for good if this future is dropped before.
        self.failed = true;
        self.upload.ready(&self.gpu).await?;
        self.submit(input, rows)?;
        self.readback.ready(&self.gpu).await?;
        self.receive(rows, output)?;
        self.failed = false;
        Ok(())
    }

    fn check(&self, input: &[f32], rows: usize, output: &[f32]) -> Result<()> {
        self.gpu.check()?;
        if self.failed {
            return Err(self.gpu.error("an earlier run failed"));
        }
        if rows == 0 || rows > self.batch {
            return Err(Error::invalid("rows", format!("{rows} of a session for 1 to {}", self.batch)));
        }
        for (what, len, slot) in [("input", input.len(), self.input), ("output", output.len(), self.output)] {
            if Some(len) != rows.checked_mul(slot.len()) {
                return Err(Error::invalid(what, format!("{len} values are not {rows} rows of {}", slot.len())));
            }
        }
        Ok(())
    }

    /// Uploads, records and submits; asks for both stagings back.
    fn submit(&mut self, input: &[f32], rows: usize) -> Result<wgpu::SubmissionIndex> {
        let mut view = self.upload.buffer().get_mapped_range_mut(..).map_err(|e| self.gpu.error(e.to_string()))?;
        let (slot, stride) = (self.input, self.input.stride());
        if slot.is_vector() && slot.len() == stride {
            view.slice(..rows * stride * 4).copy_from_slice(bytemuck::cast_slice(input));
        } else {
            let mut padded = vec![0.0f32; stride];
            for (r, row) in input.chunks_exact(slot.len()).enumerate() {
                slot.fill(row, &mut padded);
                view.slice(r * stride * 4..(r + 1) * stride * 4).copy_from_slice(bytemuck::cast_slice(&padded));
            }
        }
        drop(view);
        self.upload.buffer().unmap();

        self.set_rows(rows);
        let bytes = |slot: Slot| (rows * slot.stride() * 4) as u64;
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(self.upload.buffer(), 0, &self.activations[self.input.buffer], 0, bytes(self.input));
        self.record(&mut encoder, 1);
        encoder.copy_buffer_to_buffer(&self.activations[self.output.buffer], 0, self.readback.buffer(), 0, bytes(self.output));
        let submission = self.gpu.queue().submit([encoder.finish()]);
        self.upload.map();
        self.readback.map();
        Ok(submission)
    }

    /// Reads the mapped result.
    fn receive(&self, rows: usize, output: &mut [f32]) -> Result<()> {
        let (slot, stride) = (self.output, self.output.stride());
        let view = self.readback.buffer().get_mapped_range(..(rows * stride * 4) as u64).map_err(|e| self.gpu.error(e.to_string()))?;
        let mut padded = vec![0.0f32; stride];
        for (to, from) in output.chunks_exact_mut(slot.len()).zip(view.chunks_exact(stride * 4)) {
            bytemuck::cast_slice_mut(&mut padded).copy_from_slice(from);
            slot.take(&padded, to);
        }
        drop(view);
        self.readback.buffer().unmap();
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
            for dispatch in self.steps.iter().flatten() {
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
        self.gpu.wait()?;
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.record(&mut encoder, repeats);
        let commands = encoder.finish();
        let start = Instant::now();
        self.gpu.queue().submit([commands]);
        self.gpu.wait()?;
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
            for dispatch in step {
                dispatch.record(&mut pass, self.rows);
            }
        }
        timestamps.resolve(&mut encoder);
        self.gpu.queue().submit([encoder.finish()]);
        timestamps.read(&self.gpu).map(Some)
    }

    /// Fills every activation and scratch buffer with NaN, so that whoever reads what was never written is found out.
    pub(crate) fn poison(&mut self) {
        for buffer in &self.activations {
            let nan = vec![f32::NAN; (buffer.size() / 4) as usize];
            self.gpu.queue().write_buffer(buffer, 0, bytemuck::cast_slice(&nan));
        }
    }

    /// The kernels of each step.
    pub(crate) fn kernels(&self) -> Vec<Vec<&'static str>> {
        self.steps.iter().map(|s| s.iter().map(Dispatch::variant).collect()).collect()
    }
}

/// The launch of a fully connected step.
fn linear_step(context: &Context<'_>, artifact: &Artifact, step: &Step, layer: &LinearStep, pick: Pick<'_>) -> Result<Vec<Dispatch>> {
    let bias = layer.bias.map(|id| artifact.tensor(id));
    let bias = pack_bias(bias.as_deref(), layer.outputs);
    let (input, output, activation) = (flat(step.input), step.output, layer.activation);
    let first = step.input.permute_columns(matrix(artifact, &layer.matrix));
    let Some(second) = &layer.second else {
        let weight = pack_transposed(&first, layer.outputs, input.len(), PANEL);
        return Ok(vec![linear::dispatch(context, pick(step, "linear"), (input, output), weight, bias, activation)?]);
    };
    let turned = matrix(artifact, second);
    let u: Vec<f32> = (0..layer.rank * layer.outputs).map(|i| turned[i % layer.outputs * layer.rank + i / layer.outputs]).collect();
    let factors = Factors { rank: layer.rank, v: &first, u: &u };
    Ok(vec![low_rank::dispatch(context, pick(step, "low_rank"), (input, output), factors, bias, activation)?])
}

/// `slot` as one vector a sample, padding included.
fn flat(slot: Slot) -> Slot {
    Slot { buffer: slot.buffer, channels: slot.stride(), height: 1, width: 1 }
}
