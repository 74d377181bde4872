//! The device's own clock, read before and after each step.

use std::time::Duration;

use crate::error::Result;
use crate::gpu::buffers::empty;
use crate::gpu::device::Gpu;
use crate::gpu::transfer::Staging;

/// A pair of timestamps a step.
#[derive(Debug)]
pub(super) struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readback: Staging,
}

impl Timestamps {
    /// `None` where the device has no timestamps, or too few for the steps, and in a browser, which cannot block on them.
    pub(super) fn new(gpu: &Gpu, steps: usize) -> Option<Self> {
        let count = u32::try_from(2 * steps).ok().filter(|&n| n > 0 && n <= wgpu::QUERY_SET_MAX_QUERIES)?;
        if gpu.check_may_block().is_err() || !gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let queries = gpu.device().create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count });
        let bytes = u64::from(count) * 8;
        let resolved = empty(gpu, "timestamps", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC, bytes);
        let readback = Staging::new(gpu, "timestamps", wgpu::MapMode::Read, resolved.size());
        Some(Self { queries, resolved, readback })
    }

    /// A pass for step `index`. Timestamps stand at the ends of passes: not every device has them inside.
    pub(super) fn around(&self, index: u32) -> wgpu::ComputePassDescriptor<'_> {
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(2 * index),
            end_of_pass_write_index: Some(2 * index + 1),
        };
        wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) }
    }

    /// Records the copy of the timestamps to the host.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..self.queries.count(), &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, self.readback.buffer(), 0, self.resolved.size());
    }

    /// The time of each step, once `submission` is done.
    ///
    /// # Errors
    /// [`crate::Error::Gpu`].
    pub(super) fn read(&self, gpu: &Gpu, submission: wgpu::SubmissionIndex, patience: Option<Duration>) -> Result<Vec<Duration>> {
        self.readback.map();
        self.readback.block(gpu, Some(submission), patience)?;
        let view = self.readback.buffer().get_mapped_range(..).map_err(|e| gpu.caused(&e))?;
        let period = f64::from(gpu.queue().get_timestamp_period());
        let tick = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        let times = view
            .chunks_exact(16)
            .take(self.queries.count() as usize / 2)
            .map(|pair| Duration::from_nanos((tick(&pair[8..]).saturating_sub(tick(&pair[..8])) as f64 * period) as u64))
            .collect();
        drop(view);
        self.readback.buffer().unmap();
        Ok(times)
    }
}
