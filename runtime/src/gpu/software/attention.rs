//! Attention by subgroups of 8 lanes.

use thinfer_shaders::Kernel;

use super::storage::LANES;
use crate::gpu::device::Gpu;
use crate::gpu::launch::Candidate;

/// What could run heads of `size4` whole vec4s.
pub(in crate::gpu) fn candidates(gpu: &Gpu, size4: u64) -> Vec<Candidate> {
    let one = |kernel: &'static Kernel| {
        // A part of a head computes all scores; what all lanes load is handed around for each block of queries.
        let (owned, queries) = (channels4(kernel), u64::from(kernel.define("BQ").unwrap_or(1)));
        Candidate { kernel, time: size4.div_ceil(owned) * (size4 + owned) * (64 + 128 / queries) / 64 }
    };
    gpu.variants("attention_lanes").map(one).collect()
}

/// vec4s of a head that a workgroup owns.
pub(in crate::gpu) fn channels4(kernel: &Kernel) -> u64 {
    u64::from(kernel.define("TN").unwrap_or(1)) * u64::from(LANES)
}

/// Keys of a tile.
pub(in crate::gpu) fn keys(kernel: &Kernel) -> u32 {
    LANES * kernel.define("KN").unwrap_or(1)
}
