//! Runs a plan on a device: everything is made once, a run records one compute pass and submits it.

use std::time::{Duration, Instant};

use thinfer_shaders::Kernel;

use crate::artifact::Artifact;
use crate::error::{Error, Result};
use crate::gpu::buffers::empty;
use crate::gpu::device::Gpu;
use crate::gpu::memory::{Memory, most_bytes};
use crate::gpu::ops::{Context, Dispatch, dispatch};
use crate::gpu::profile::Timestamps;
use crate::gpu::transfer::Staging;
use crate::plan::{Plan, Slot, Step};

/// Which variant a step takes; `None` leaves it to the estimate.
pub(crate) type Pick<'a> = &'a dyn Fn(&Step) -> Option<&'static Kernel>;

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
        Self::with(gpu, artifact, plan, &|_| None)
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
        let allows = most_bytes(gpu);
        let mut activations = Vec::with_capacity(plan.memory.buffers.len());
        for &len in &plan.memory.buffers {
            let needs = len as u64 * 4;
            if needs > allows {
                let what = "bytes in one buffer".into();
                let device = gpu.info().name.clone();
                return Err(Error::Limit { layer: "activations".into(), what, needs, allows, device });
            }
            activations.push(Memory::empty(gpu, "activations", needs));
        }
        let run = empty(gpu, "run", wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST, 16);
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let context = Context { gpu, layer: &step.name, batch: plan.batch, activations: &activations, run: &run };
            steps.push(dispatch(&context, artifact, step, pick(step))?);
        }
        let bytes = |slot: Slot| (slot.stride() * plan.batch * 4) as u64;
        let upload = Staging::new(gpu, "upload", wgpu::MapMode::Write, bytes(plan.input));
        let readback = Staging::new(gpu, "readback", wgpu::MapMode::Read, bytes(plan.output));
        upload.map();
        let staged = vec![0.0; plan.batch * plan.input.stride().max(plan.output.stride())];
        let timestamps = Timestamps::new(gpu, steps.len());
        let (batch, input, output, gpu) = (plan.batch, plan.input, plan.output, gpu.clone());
        Ok(Self { gpu, batch, input, output, activations, run, rows: 0, steps, staged, upload, readback, timestamps, failed: false })
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
        let len = rows * self.input.stride();
        let input = if is_plain(self.input) {
            input
        } else {
            self.input.fill(input, &mut self.staged[..len]);
            &self.staged[..len]
        };
        view.slice(..len * 4).copy_from_slice(bytemuck::cast_slice(input));
        drop(view);
        self.upload.buffer().unmap();

        self.set_rows(rows);
        let bytes = |slot: Slot| (rows * slot.stride() * 4) as u64;
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.activations[self.input.buffer].load(&mut encoder, self.upload.buffer(), bytes(self.input));
        self.record(&mut encoder, 1);
        self.activations[self.output.buffer].store(&mut encoder, self.readback.buffer(), bytes(self.output));
        let submission = self.gpu.queue().submit([encoder.finish()]);
        self.upload.map();
        self.readback.map();
        Ok(submission)
    }

    /// Reads the mapped result.
    fn receive(&mut self, rows: usize, output: &mut [f32]) -> Result<()> {
        let len = rows * self.output.stride();
        let view = self.readback.buffer().get_mapped_range(..(len * 4) as u64).map_err(|e| self.gpu.error(e.to_string()))?;
        // Copied as bytes: nobody promises that what is mapped is aligned for floats.
        if is_plain(self.output) {
            bytemuck::cast_slice_mut(output).copy_from_slice(&view);
        } else {
            bytemuck::cast_slice_mut(&mut self.staged[..len]).copy_from_slice(&view);
            self.output.take(&self.staged[..len], output);
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
            step.record(&mut pass, self.rows);
        }
        timestamps.resolve(&mut encoder);
        self.gpu.queue().submit([encoder.finish()]);
        timestamps.read(&self.gpu).map(Some)
    }

    /// Fills every activation buffer with NaN, so that whoever reads what was never written is found out.
    pub(crate) fn poison(&mut self) {
        for memory in &self.activations {
            memory.write(&self.gpu, &vec![f32::NAN; (memory.bytes() / 4) as usize]);
        }
    }

    /// The kernels of each step.
    pub(crate) fn kernels(&self) -> Vec<Vec<&'static str>> {
        self.steps.iter().map(|d| vec![d.variant()]).collect()
    }
}

/// Whether samples lie on the device as they do on the host.
fn is_plain(slot: Slot) -> bool {
    slot.is_vector() && slot.len() == slot.stride()
}
