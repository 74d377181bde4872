//! A small runtime for compressed networks: it opens a `.thin` file and runs its two-stage low-rank layers with WGSL
//! kernels through wgpu, or on the CPU where there is no adapter.

pub mod artifact;
mod device;
mod error;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub mod plan;

pub use device::{DeviceClass, DeviceInfo, DeviceKind};
pub use error::{Error, Result};
