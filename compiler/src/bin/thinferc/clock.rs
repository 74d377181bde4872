//! What compile is told about time: a table of a device's times, or where to measure one.

use std::path::PathBuf;

use clap::Args;
use thinfer::DeviceKind;
use thinfer_compiler::job::Clock;

/// Whose time counts.
#[derive(Args)]
pub(crate) struct ClockArguments {
    /// The times of a device, from `thinfer measure` there: for latency:F, and for accuracy:POINTS to find the fastest network
    /// instead of the smallest
    #[arg(long, value_name = "T.json")]
    latency_table: Option<PathBuf>,
    /// For latency:F without a table: the device to measure, gpu or cpu [default: auto]; what was measured is kept
    #[arg(long, value_name = "gpu|cpu")]
    device: Option<DeviceKind>,
    /// For latency:F: samples a run [default: the table's, else 1]
    #[arg(long)]
    batch: Option<usize>,
}

impl ClockArguments {
    pub(crate) fn clock(&self) -> Clock {
        Clock { table: self.latency_table.clone(), device: self.device, batch: self.batch }
    }
}
