//! What several whole-house tests need.

use thinfer::{Device, DeviceKind};

/// The CPU, and the GPU where there is one; without one a test says so, or fails if THINFER_REQUIRE_GPU=1.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::open(DeviceKind::Gpu) {
        Ok(gpu) => devices.push(gpu),
        Err(e) if std::env::var_os("THINFER_REQUIRE_GPU").is_some_and(|v| v == "1") => panic!("{e}"),
        Err(e) => println!("skipped on the GPU: {e}"),
    }
    devices
}

/// Largest difference as a share of the largest logit.
pub(crate) fn difference(reference: &[f32], other: &[f32]) -> f32 {
    assert_eq!(reference.len(), other.len());
    let largest = reference.iter().fold(0f32, |m, x| m.max(x.abs()));
    reference.iter().zip(other).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}
