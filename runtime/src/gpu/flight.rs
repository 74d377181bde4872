//! Runs under way: what each brings to the device and takes back.

use crate::error::{Error, Result};
use crate::gpu::device::Gpu;
use crate::gpu::transfer::Staging;
use crate::plan::{Bring, Slot, Take};

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
    /// Staging for `batch` samples of all inputs and outputs, ready to be filled.
    pub(super) fn new(gpu: &Gpu, batch: usize, inputs: &[Slot], outputs: &[Slot]) -> Self {
        let bytes = |slots: &[Slot]| staged(slots, batch).map(|(_, _, bytes)| bytes).sum();
        let upload = Staging::new(gpu, "upload", wgpu::MapMode::Write, bytes(inputs));
        let readback = Staging::new(gpu, "readback", wgpu::MapMode::Read, bytes(outputs));
        upload.map();
        Self { upload, readback, under_way: None, used_by: None }
    }

    /// Puts `rows` samples of each input into the mapped staging, as `bring` lays them into `lying`.
    pub(super) fn fill(&self, gpu: &Gpu, slots: &[Slot], rows: usize, bring: &mut impl Bring, lying: &mut [f32]) -> Result<()> {
        let mut view = self.upload.buffer().get_mapped_range_mut(..).map_err(|e| gpu.caused(&e))?;
        for (number, (slot, offset, bytes)) in staged(slots, rows).enumerate() {
            let lying = &mut lying[..bytes as usize / 4];
            bring(number, slot, lying);
            view.slice(offset as usize..(offset + bytes) as usize).copy_from_slice(bytemuck::cast_slice(lying));
        }
        drop(view);
        self.upload.buffer().unmap();
        Ok(())
    }

    /// Reads the mapped results of `rows` samples.
    pub(super) fn take(&self, gpu: &Gpu, slots: &[Slot], rows: usize, take: &mut impl Take, lying: &mut [f32]) -> Result<()> {
        let all = staged(slots, rows).map(|(_, _, bytes)| bytes).sum::<u64>();
        let view = self.readback.buffer().get_mapped_range(..all).map_err(|e| gpu.caused(&e))?;
        for (number, (slot, offset, bytes)) in staged(slots, rows).enumerate() {
            let lying = &mut lying[..bytes as usize / 4];
            // Copied as bytes: nobody promises that what is mapped is aligned for floats.
            bytemuck::cast_slice_mut(lying).copy_from_slice(&view[offset as usize..(offset + bytes) as usize]);
            take(number, slot, lying);
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
