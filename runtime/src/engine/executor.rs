//! The executor of a device, whichever it is.

use std::time::Duration;

use crate::cpu;
use crate::device::Pipeline;
use crate::error::Result;
#[cfg(feature = "wgpu")]
use crate::gpu;
use crate::plan::{Fill, Read, Slot};

#[derive(Debug)]
pub(super) enum Executor {
    Cpu(Box<cpu::Executor>),
    #[cfg(feature = "wgpu")]
    Gpu(Box<gpu::Executor>),
}

impl Executor {
    pub(super) fn run(&mut self, rows: usize, fill: impl Fill, read: impl Read) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.run(rows, fill, read),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.run(rows, fill, read)?,
        }
        Ok(())
    }

    pub(super) async fn run_async(&mut self, rows: usize, fill: impl Fill, read: impl Read) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.run(rows, fill, read),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.run_async(rows, fill, read).await?,
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, rows: usize, fill: impl Fill, read: impl Read) -> Result<bool> {
        match self {
            Self::Cpu(cpu) => {
                cpu.run(rows, fill, read);
                Ok(true)
            }
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.submit(rows, fill).map(|()| false),
        }
    }

    pub(super) fn under_way(&self) -> Result<Option<usize>> {
        match self {
            Self::Cpu(_) => Ok(None),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.under_way().map(Some),
        }
    }

    pub(super) fn wait(&mut self, read: impl Read) -> Result<()> {
        match self {
            Self::Cpu(_) => {
                let _ = read;
                Ok(())
            }
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.wait(read),
        }
    }

    pub(super) fn time(&mut self, batch: usize, repeats: usize) -> Result<Duration> {
        match self {
            Self::Cpu(cpu) => Ok(cpu.time(batch, repeats)),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.time(repeats),
        }
    }

    pub(super) fn step_times(&mut self, batch: usize) -> Result<Option<Vec<Duration>>> {
        match self {
            Self::Cpu(cpu) => Ok(Some(cpu.step_times(batch))),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.layer_times(),
        }
    }

    pub(super) fn kernels(&self) -> Vec<Vec<&'static str>> {
        match self {
            Self::Cpu(cpu) => cpu.kernels(),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.kernels(),
        }
    }

    pub(super) fn pipelines(&self) -> Vec<Pipeline> {
        match self {
            Self::Cpu(_) => Vec::new(),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.pipelines(),
        }
    }

    pub(super) fn value(&self, slot: Slot, rows: usize) -> Option<Vec<f32>> {
        match self {
            Self::Cpu(cpu) => Some(cpu.value(slot, rows)),
            #[cfg(feature = "wgpu")]
            Self::Gpu(_) => None,
        }
    }

    #[cfg(test)]
    pub(super) fn padding_is_zero(&self, slot: Slot, rows: usize) -> bool {
        match self {
            Self::Cpu(cpu) => cpu.padding_is_zero(slot, rows),
            #[cfg(feature = "wgpu")]
            Self::Gpu(_) => true,
        }
    }

    pub(super) fn poison(&mut self) {
        match self {
            Self::Cpu(cpu) => cpu.poison(),
            #[cfg(feature = "wgpu")]
            Self::Gpu(gpu) => gpu.poison(),
        }
    }
}
