//! Runs under way: what each brings to the device and takes back.

use crate::error::{Error, Result};
use crate::gpu::device::Gpu;
use crate::gpu::transfer::Staging;
use crate::plan::Slot;

/// How many runs may be under way: one computes while the next one's input is brought and the last one's output taken.
pub(super) const FLIGHTS: usize = 2;

/// The staging of one run.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) upload: Staging,
    pub(super) readback: Staging,
    /// Samples of the run, and what to wait for.
    pub(super) under_way: Option<(usize, wgpu::SubmissionIndex)>,
    /// The last submission that used the staging.
    pub(super) used_by: Option<wgpu::SubmissionIndex>,
}

impl Flight {
    /// Staging for `batch` samples, ready to be filled.
    pub(super) fn new(gpu: &Gpu, batch: usize, input: Slot, output: Slot) -> Self {
        let bytes = |slot: Slot| (slot.stride() * batch * 4) as u64;
        let upload = Staging::new(gpu, "upload", wgpu::MapMode::Write, bytes(input));
        let readback = Staging::new(gpu, "readback", wgpu::MapMode::Read, bytes(output));
        upload.map();
        Self { upload, readback, under_way: None, used_by: None }
    }

    /// Puts `input`, `rows` samples, into the mapped staging; `staged` holds them as they lie on the device.
    pub(super) fn fill(&self, gpu: &Gpu, slot: Slot, input: &[f32], rows: usize, staged: &mut [f32]) -> Result<()> {
        let mut view = self.upload.buffer().get_mapped_range_mut(..).map_err(|e| gpu.caused(&e))?;
        let len = rows * slot.stride();
        let input = if is_plain(slot) {
            input
        } else {
            slot.fill(input, &mut staged[..len]);
            &staged[..len]
        };
        view.slice(..len * 4).copy_from_slice(bytemuck::cast_slice(input));
        drop(view);
        self.upload.buffer().unmap();
        Ok(())
    }

    /// Reads the mapped result of `rows` samples.
    pub(super) fn take(&self, gpu: &Gpu, slot: Slot, rows: usize, output: &mut [f32], staged: &mut [f32]) -> Result<()> {
        let len = rows * slot.stride();
        let view = self.readback.buffer().get_mapped_range(..(len * 4) as u64).map_err(|e| gpu.caused(&e))?;
        // Copied as bytes: nobody promises that what is mapped is aligned for floats.
        if is_plain(slot) {
            bytemuck::cast_slice_mut(output).copy_from_slice(&view);
        } else {
            bytemuck::cast_slice_mut(&mut staged[..len]).copy_from_slice(&view);
            slot.take(&staged[..len], output);
        }
        drop(view);
        self.readback.buffer().unmap();
        Ok(())
    }
}

/// Which flight is whose turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The oldest one under way.
    first: usize,
    under_way: usize,
}

impl Turns {
    /// The flight of the next run.
    pub(super) fn next(&self) -> Result<usize> {
        if self.under_way == FLIGHTS {
            return Err(Error::invalid("submit", format!("{FLIGHTS} runs are under way: wait for one first")));
        }
        Ok((self.first + self.under_way) % FLIGHTS)
    }

    /// That run is submitted.
    pub(super) fn started(&mut self) {
        self.under_way += 1;
    }

    /// The flight of the oldest run.
    pub(super) fn oldest(&self) -> Result<usize> {
        if self.under_way == 0 {
            return Err(Error::invalid("wait", "no run is under way"));
        }
        Ok(self.first)
    }

    /// That run's result is taken.
    pub(super) fn ended(&mut self) {
        (self.first, self.under_way) = ((self.first + 1) % FLIGHTS, self.under_way - 1);
    }

    /// Whether no run is under way.
    pub(super) fn idle(&self) -> bool {
        self.under_way == 0
    }
}

/// Whether samples lie on the device as they do on the host.
fn is_plain(slot: Slot) -> bool {
    slot.is_vector() && slot.len() == slot.stride()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first() {
        let mut turns = Turns::default();
        assert!(turns.oldest().is_err() && turns.idle());
        for round in 0..5 {
            assert_eq!(turns.next().unwrap(), round % FLIGHTS);
            turns.started();
            assert_eq!(turns.next().unwrap(), (round + 1) % FLIGHTS);
            turns.started();
            assert!(turns.next().is_err());
            assert_eq!(turns.oldest().unwrap(), round % FLIGHTS);
            turns.ended();
            turns.ended();
            turns.started();
            turns.ended();
        }
    }
}
