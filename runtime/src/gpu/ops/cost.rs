//! What a variant is expected to cost, so that one can be chosen without timing it. Units are multiply–adds; only the order
//! of the estimates matters.

use crate::gpu::device::Gpu;

/// How a device works through workgroups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    /// Workgroups at a time.
    groups: u64,
    /// Invocations of a workgroup at a time.
    lanes: u64,
    /// The price of loading a float.
    load: u64,
}

/// Tasks that an op gives to each of its workgroups, one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    /// Tasks of a workgroup.
    pub(super) tasks: u64,
    /// vec4s of inputs that each of them sums over.
    pub(super) length: u64,
    /// Rows of a task.
    pub(super) tm: u64,
    /// vec4s of outputs of a task.
    pub(super) tn: u64,
}

impl Machine {
    /// A GPU: enough workgroups in flight to hide its memory, all lanes at once, loads served by caches and coalescing.
    pub(super) const GPU: Self = Self { groups: 256, lanes: 64, load: 1 };

    /// A software adapter on so many cores: a workgroup a core, eight lanes at a time. lavapipe loads each float of each
    /// lane by itself: twelve times the price of a multiply–add, fitted to all dense tiles at 512³ within a tenth.
    pub(super) const fn software(cores: u64) -> Self {
        Self { groups: cores, lanes: 8, load: 12 }
    }

    /// What is known of `gpu`.
    pub(super) fn of(gpu: &Gpu) -> Self {
        if gpu.is_software() { Self::software(gpu.cores()) } else { Self::GPU }
    }

    /// The time of `workgroups` that go through `stages` one after the other.
    pub(super) fn time(self, workgroups: u64, stages: &[Stage]) -> u64 {
        // Each vec4 of inputs: 4·tn weights and tm inputs to load, 4 floats each, and 16·tm·tn multiply–adds.
        let task = |s: &Stage| self.load * (16 * s.tn + 4 * s.tm) + 16 * s.tm * s.tn;
        let group = stages
            .iter()
            .fold(0u64, |sum, s| sum.saturating_add(s.tasks.div_ceil(self.lanes).saturating_mul(s.length).saturating_mul(task(s))));
        workgroups.div_ceil(self.groups).saturating_mul(group)
    }
}
