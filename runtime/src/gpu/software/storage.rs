//! Whether a device keeps values and weights in textures.

use crate::device::{DeviceClass, DeviceInfo};
use crate::error::{Error, Result};

/// How a device keeps values and weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In storage buffers.
    Buffers,
    /// In storage textures of RGBA32F, for kernels that work by subgroups of [`LANES`]. lavapipe gathers texels by vector
    /// loads, and loads from a buffer lane by lane in a loop.
    Textures,
}

/// Lanes of a subgroup of the kernels that take textures.
pub(in crate::gpu) const LANES: u32 = 8;

impl Storage {
    /// What `adapter`, called `info`, keeps them in: `wanted`, else textures where it is a software adapter that can.
    ///
    /// # Errors
    /// [`Error::NoDevice`] where textures are wanted and it cannot.
    pub(in crate::gpu) fn choose(adapter: &wgpu::Adapter, info: &DeviceInfo, wanted: Option<Self>) -> Result<Self> {
        let lanes = (adapter.get_info().subgroup_min_size, adapter.get_info().subgroup_max_size);
        let textures = lanes == (LANES, LANES) && adapter.features().contains(wgpu::Features::SUBGROUP);
        match wanted {
            Some(Self::Textures) if !textures => {
                let why = format!("{} has no subgroups of {LANES} lanes", info.name);
                Err(Error::NoDevice { wanted: "GPU that keeps values in textures".into(), why })
            }
            Some(storage) => Ok(storage),
            None if textures && info.class == DeviceClass::Software => Ok(Self::Textures),
            None => Ok(Self::Buffers),
        }
    }

    /// What the kernels of such a device need beyond WebGPU.
    pub(in crate::gpu) fn features(self) -> wgpu::Features {
        if self == Self::Textures { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() }
    }
}
