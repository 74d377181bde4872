//! The wgpu executor: adapters and devices, pipelines, packed weights, recording and reading back.

mod buffers;
#[cfg(test)]
mod conformance;
mod device;
mod executor;
mod factors;
#[cfg(test)]
mod faults;
mod in_flight;
mod launch;
mod memory;
mod ops;
#[cfg(any(test, feature = "tools"))]
mod peak;
mod pipeline;
mod pipelines;
mod profile;
mod shape;
mod software;
mod transfer;

pub(crate) use device::{Gpu, list};
pub(crate) use executor::Executor;
pub(crate) use ops::{candidates, pipelines_of, supports_fused};
#[cfg(any(test, feature = "tools"))]
pub(crate) use peak::measure as peak;
