//! A small runtime for compressed networks: it opens a `.thin` file and runs its two-stage low-rank layers with WGSL
//! kernels through wgpu, or on the CPU where there is no adapter.

pub mod artifact;
mod clock;
#[cfg(test)]
mod conformance;
mod cpu;
mod device;
mod engine;
mod error;
#[cfg(feature = "wgpu")]
pub(crate) mod gpu;
mod hash;
mod lock;
mod noise;
pub mod plan;
#[cfg(any(test, feature = "reference"))]
pub mod reference;
mod scores;
mod session;
mod times;
#[cfg(any(test, feature = "tools"))]
pub mod tools;
mod tune;
mod wait;

pub use artifact::Artifact;
pub use device::{DeviceClass, DeviceInfo, DeviceKind, Pipeline};
pub use engine::{Device, Forms, LayerChoice, Options};
pub use error::{Error, Result};
pub use plan::Form;
pub use scores::top1;
pub use session::{Array, ArrayView, NamedArray, Outputs, RunInputs, Session};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// And those of the page on embedding.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;
