//! Devices that sessions run on.

use crate::cpu;
use crate::device::{DeviceClass, DeviceInfo, DeviceKind};
use crate::error::{Error, Result};
#[cfg(feature = "wgpu")]
use crate::gpu;
use crate::plan::{Factored, Form};
use crate::wait::block_on;

/// A CPU or GPU to run on. Cheap to clone; sessions on clones share the device.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) inner: Inner,
}

#[derive(Clone, Debug)]
pub(super) enum Inner {
    Cpu,
    #[cfg(feature = "wgpu")]
    Gpu(gpu::Gpu),
}

impl Device {
    /// Opens the best device of a kind; `Auto` prefers a real GPU to the CPU, and the CPU to a software adapter.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when a GPU was asked for and there is no adapter, and in a browser, which gives one only to
    /// [`Device::open_async`].
    pub fn open(kind: DeviceKind) -> Result<Self> {
        if cfg!(target_family = "wasm") && kind != DeviceKind::Cpu {
            return Err(Error::NoDevice { wanted: "GPU".into(), why: "a page cannot wait for one: Device::open_async can".into() });
        }
        block_on(Self::open_async(kind))
    }

    /// [`Device::open`] for callers that must not block.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub async fn open_async(kind: DeviceKind) -> Result<Self> {
        match kind {
            DeviceKind::Cpu => Ok(Self::cpu()),
            DeviceKind::Gpu => Self::open_gpu().await,
            DeviceKind::Auto => match Self::open_gpu().await {
                Ok(device) if device.info().class != DeviceClass::Software => Ok(device),
                _ => Ok(Self::cpu()),
            },
        }
    }

    /// The CPU, which is always there.
    pub fn cpu() -> Self {
        Self { inner: Inner::Cpu }
    }

    #[cfg(feature = "wgpu")]
    async fn open_gpu() -> Result<Self> {
        Ok(Self { inner: Inner::Gpu(gpu::Gpu::open_async().await?) })
    }

    #[cfg(not(feature = "wgpu"))]
    async fn open_gpu() -> Result<Self> {
        Err(Error::NoDevice { wanted: "GPU".into(), why: "this build has no GPU support (feature `gpu`)".into() })
    }

    /// Every device on this machine, the CPU last; in a browser the CPU alone.
    pub fn list() -> Vec<DeviceInfo> {
        #[cfg(feature = "wgpu")]
        let gpus = gpu::list();
        #[cfg(not(feature = "wgpu"))]
        let gpus = [];
        gpus.into_iter().chain([cpu::info()]).collect()
    }

    /// What it is.
    pub fn info(&self) -> DeviceInfo {
        match &self.inner {
            Inner::Cpu => cpu::info(),
            #[cfg(feature = "wgpu")]
            Inner::Gpu(gpu) => gpu.info().clone(),
        }
    }

    /// The GPU behind it.
    #[cfg(feature = "wgpu")]
    pub(crate) fn gpu(&self) -> Option<&gpu::Gpu> {
        match &self.inner {
            Inner::Cpu => None,
            Inner::Gpu(gpu) => Some(gpu),
        }
    }

    /// Whether it is a GPU, and whether weights that are stored in f16 stay so on it: on the CPU they are widened when the session opens.
    pub(crate) fn keeps(&self) -> (bool, bool) {
        match &self.inner {
            Inner::Cpu => (false, false),
            #[cfg(feature = "wgpu")]
            Inner::Gpu(gpu) => (true, gpu.halves()),
        }
    }

    /// Multiply–adds and bytes a second, measured.
    #[cfg(any(test, feature = "tools"))]
    pub(crate) fn peak(&self) -> Result<(f64, f64)> {
        match &self.inner {
            Inner::Cpu => Ok(cpu::peak()),
            #[cfg(feature = "wgpu")]
            Inner::Gpu(gpu) => gpu::peak(gpu),
        }
    }

    /// Identifies devices on which the same measurements hold: name, driver, kernels and the version of this crate.
    pub(crate) fn fingerprint(&self) -> String {
        let DeviceInfo { name, backend, driver, .. } = self.info();
        let kernels: String = match &self.inner {
            Inner::Cpu => format!("{}{}", cpu::level(), cpu::cores()),
            #[cfg(feature = "wgpu")]
            Inner::Gpu(gpu) => gpu.kernels(),
        };
        format!("{name} | {backend} | {driver} | {kernels} | thinfer {}", env!("CARGO_PKG_VERSION"))
    }

    /// Whether a thread can block on its results, which timing needs; a browser page cannot block on its GPU.
    pub(crate) fn can_wait(&self) -> bool {
        cfg!(not(target_family = "wasm")) || matches!(self.inner, Inner::Cpu)
    }

    /// Whether this device can run `layer` in `form`.
    pub(crate) fn supports(&self, form: Form, layer: &Factored) -> bool {
        match (&self.inner, form, &layer.fused) {
            (_, Form::Fused, None) => false,
            #[cfg(feature = "wgpu")]
            (Inner::Gpu(gpu), Form::Fused, Some(step)) => gpu::supports_fused(gpu, step),
            _ => true,
        }
    }
}
