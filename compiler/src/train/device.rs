//! Where training runs. GPUs are optional features, because their back-ends take long to build.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What steps run on; composing and judging factors by their singular values stays on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainDevice {
    /// The CPU, by Burn's `flex`: the only one on which equal runs give equal bits.
    #[default]
    Cpu,
    /// The default adapter of wgpu; feature `wgpu`.
    Wgpu,
    /// The first CUDA device; feature `cuda`.
    Cuda,
}

impl TrainDevice {
    /// Whether it is the CPU.
    pub(super) fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }

    /// The device, without autodiff.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the feature that this build lacks.
    pub(super) fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => Err(missing("wgpu")),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => Err(missing("cuda")),
        }
    }
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
fn missing(feature: &str) -> Error {
    let how = format!("is not built in; cargo install --path compiler --features {feature} builds it");
    Error::invalid(format!("--device {feature}"), how)
}
