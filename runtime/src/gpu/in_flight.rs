//! Runs in flight: the staging buffers of each, and the ring in which they follow each other.

use crate::error::{Error, Result};
use crate::gpu::device::Gpu;
use crate::gpu::transfer::Staging;
use crate::plan::{Fill, Read, Slot};

/// How many runs may be in flight: one computes while the next one's inputs are uploaded and the last one's outputs are read.
pub(super) const IN_FLIGHT: usize = 2;

/// A run and its staging buffers.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) upload: Staging,
    pub(super) readback: Staging,
    /// Samples of the run, and what to wait for.
    pub(super) under_way: Option<(usize, wgpu::SubmissionIndex)>,
    /// The last submission that used the staging.
    pub(super) used_by: Option<wgpu::SubmissionIndex>,
}

impl InFlight {
    /// Staging for `batch` samples of all inputs and outputs, ready to be filled.
    pub(super) fn new(gpu: &Gpu, batch: usize, inputs: &[Slot], outputs: &[Slot]) -> Self {
        let bytes = |slots: &[Slot]| staged(slots, batch).map(|(_, _, bytes)| bytes).sum();
        let upload = Staging::new(gpu, "upload", wgpu::MapMode::Write, bytes(inputs));
        let readback = Staging::new(gpu, "readback", wgpu::MapMode::Read, bytes(outputs));
        upload.map();
        Self { upload, readback, under_way: None, used_by: None }
    }

    /// Puts `rows` samples of each input into the mapped staging, as `fill` writes them into the scratch `laid_out`.
    pub(super) fn fill(&self, gpu: &Gpu, slots: &[Slot], rows: usize, fill: &mut impl Fill, laid_out: &mut [f32]) -> Result<()> {
        let mut view = self.upload.buffer().get_mapped_range_mut(..).map_err(|e| gpu.caused(&e))?;
        for (number, (slot, offset, bytes)) in staged(slots, rows).enumerate() {
            let laid_out = &mut laid_out[..bytes as usize / 4];
            fill(number, slot, laid_out);
            view.slice(offset as usize..(offset + bytes) as usize).copy_from_slice(bytemuck::cast_slice(laid_out));
        }
        drop(view);
        self.upload.buffer().unmap();
        Ok(())
    }

    /// Reads the mapped results of `rows` samples.
    pub(super) fn read(&self, gpu: &Gpu, slots: &[Slot], rows: usize, read: &mut impl Read, laid_out: &mut [f32]) -> Result<()> {
        let all = staged(slots, rows).map(|(_, _, bytes)| bytes).sum::<u64>();
        let view = self.readback.buffer().get_mapped_range(..all).map_err(|e| gpu.caused(&e))?;
        for (number, (slot, offset, bytes)) in staged(slots, rows).enumerate() {
            let laid_out = &mut laid_out[..bytes as usize / 4];
            // Copied as bytes: a mapped range need not be aligned for floats.
            bytemuck::cast_slice_mut(laid_out).copy_from_slice(&view[offset as usize..(offset + bytes) as usize]);
            read(number, slot, laid_out);
        }
        drop(view);
        self.readback.buffer().unmap();
        Ok(())
    }
}

/// Where `rows` samples of each of `slots` stand in one staging buffer: slot, offset and length in bytes.
pub(super) fn staged(slots: &[Slot], rows: usize) -> impl Iterator<Item = (Slot, u64, u64)> {
    let mut offset = 0;
    slots.iter().map(move |slot| {
        let bytes = (rows * slot.stride() * 4) as u64;
        offset += bytes;
        (*slot, offset - bytes, bytes)
    })
}

/// The ring of [`IN_FLIGHT`] runs: which one starts next, and which one is waited for.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Index of the oldest run.
    first: usize,
    under_way: usize,
}

impl Ring {
    /// Index of the next run to start.
    pub(super) fn next(&self) -> Result<usize> {
        if self.under_way == IN_FLIGHT {
            return Err(Error::invalid("submit", format!("{IN_FLIGHT} runs are under way: wait for one first")));
        }
        Ok((self.first + self.under_way) % IN_FLIGHT)
    }

    /// The next run was submitted.
    pub(super) fn started(&mut self) {
        self.under_way += 1;
    }

    /// Index of the oldest run, which is waited for first.
    pub(super) fn oldest(&self) -> Result<usize> {
        if self.under_way == 0 {
            return Err(Error::invalid("wait", "no run is under way"));
        }
        Ok(self.first)
    }

    /// The oldest run's result was read.
    pub(super) fn ended(&mut self) {
        (self.first, self.under_way) = ((self.first + 1) % IN_FLIGHT, self.under_way - 1);
    }

    /// Whether no run is under way.
    pub(super) fn idle(&self) -> bool {
        self.under_way == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first() {
        let mut ring = Ring::default();
        assert!(ring.oldest().is_err() && ring.idle());
        for round in 0..5 {
            assert_eq!(ring.next().unwrap(), round % IN_FLIGHT);
            ring.started();
            assert_eq!(ring.next().unwrap(), (round + 1) % IN_FLIGHT);
            ring.started();
            assert!(ring.next().is_err());
            assert_eq!(ring.oldest().unwrap(), round % IN_FLIGHT);
            ring.ended();
            ring.ended();
            ring.started();
            ring.ended();
        }
    }
}
