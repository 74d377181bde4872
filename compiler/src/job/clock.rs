//! Latency: a table of a device's times, read or measured and cached, and the measured times of a finished network.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thinfer::artifact::{Artifact, Dtype};
use thinfer::tools::bench;
use thinfer::tools::latency::{self, LatencyTable};
use thinfer::{Device, DeviceKind, Session};

use super::progress::{Note, Progress, Stage, Watch};
use crate::error::{Error, Result};
use crate::rank::Policy;

/// The most bytes of a table that is read.
const MOST_BYTES: u64 = 256 << 20;
/// About how long to measure.
const SECONDS: f64 = 45.0;
/// Runs that a layer is timed by.
const RUNS: usize = 25;

/// The device whose times decide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clock {
    /// A file with the times of a device, as `thinfer measure` writes it: for `latency:F`, and for `accuracy:POINTS` to find
    /// the fastest network instead of the smallest.
    pub table: Option<PathBuf>,
    /// For `latency:F` without a table: the device to measure; what was measured is kept.
    pub device: Option<DeviceKind>,
    /// For `latency:F`: samples a run; without it the table's, else 1.
    pub batch: Option<usize>,
}

/// What every version of a table begins with.
#[derive(Deserialize)]
struct Head {
    latency_table: u32,
}

impl Clock {
    /// Refuses settings of times beside a policy that uses none.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the setting.
    pub fn check(&self, policy: Policy) -> Result<()> {
        let (by_time, judged) = (matches!(policy, Policy::Latency(_)), matches!(policy, Policy::Accuracy(_)));
        let settings = [
            ("--latency-table", self.table.is_some(), by_time || judged),
            ("--device", self.device.is_some(), by_time || (judged && self.table.is_some())),
            ("--batch", self.batch.is_some(), by_time || (judged && self.table.is_some())),
        ];
        if let Some((flag, ..)) = settings.iter().find(|(_, set, used)| *set && !used) {
            return Err(Error::invalid(
                *flag,
                format!("is for --ranks latency:F, and with a --latency-table for accuracy:POINTS, not for --ranks {policy}"),
            ));
        }
        if self.batch == Some(0) {
            return Err(Error::invalid("--batch", "must be at least 1"));
        }
        Ok(())
    }

    /// Reads the table, if there is one.
    pub(super) fn read(&self) -> Result<Option<LatencyTable>> {
        let Some(path) = &self.table else { return Ok(None) };
        let (table, at) = (read_table(path)?, path.display().to_string());
        if let Some(batch) = self.batch.filter(|b| *b != table.batch) {
            return Err(Error::invalid(at, format!("was measured with batch {}, wanted is {batch}", table.batch)));
        }
        let other = match self.device {
            Some(DeviceKind::Cpu) => !table.is_of_cpu(),
            Some(DeviceKind::Gpu) => table.is_of_cpu(),
            _ => false,
        };
        if other {
            return Err(Error::invalid(at, format!("was measured on {} ({}), not on the device asked for", table.adapter, table.backend)));
        }
        Ok(Some(table))
    }

    /// The times of the dense network `dense`: `table`, if it fits, or what this machine's device takes, measured or kept
    /// from an earlier measurement.
    pub(super) fn times(&self, table: Option<LatencyTable>, dense: &Artifact, dtype: Dtype, watch: Watch<'_>) -> Result<LatencyTable> {
        if let (Some(table), Some(path)) = (table, &self.table) {
            table.fits(&path.display().to_string(), dense, dtype)?;
            return Ok(table);
        }
        let device = Device::open(self.device.unwrap_or_default())?;
        let batch = self.batch.unwrap_or(1);
        let kept = thinfer::Options::default().cache.map(|folder| folder.join(latency::cache_name(&device, dense, batch)));
        if let Some(path) = &kept {
            // A cached table that cannot be used is measured anew.
            if let Ok(table) = read_table(path)
                && table.is_of(&device)
                && table.batch == batch
                && table.fits("", dense, dtype).is_ok()
            {
                watch(Progress::Note(&Note::KeptTimes { adapter: table.adapter.clone(), path: path.clone() }));
                return Ok(table);
            }
        }
        watch(Progress::Note(&Note::Timing { device: device.info().to_string(), seconds: SECONDS }));
        let stage = Stage::Timing(&device.info().name);
        let table = latency::measure(&device, dense, batch, SECONDS, &mut |done, total| watch(Progress::Stage { stage, done, total }))?;
        if let (Some(path), Ok(text)) = (kept, serde_json::to_vec(&table)) {
            // Not being able to cache is no error.
            let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
            let _ = folder.and_then(|()| thinfer::artifact::write_atomic(&path, &text));
        }
        Ok(table)
    }
}

/// Reads and checks a table of a device's times.
///
/// # Errors
/// [`Error::Io`]; [`Error::Invalid`] for a file that is no table, or one of a later version.
pub fn read_table(path: &Path) -> Result<LatencyTable> {
    let at = path.display().to_string();
    let length = fs::metadata(path).map_err(Error::io(path))?.len();
    if length > MOST_BYTES {
        return Err(Error::invalid(at, format!("has {length} bytes; no latency table is so long")));
    }
    let text = fs::read(path).map_err(Error::io(path))?;
    let wrong = |e: serde_json::Error| {
        Error::invalid(&at, if e.is_eof() { format!("is no whole latency table: {e}") } else { format!("is no latency table: {e}") })
    };
    let head: Head = serde_json::from_slice(&text).map_err(wrong)?;
    if head.latency_table != latency::VERSION {
        return Err(Error::invalid(at, latency::newer(head.latency_table)));
    }
    let table: LatencyTable = serde_json::from_slice(&text).map_err(wrong)?;
    table.check(&at)?;
    Ok(table)
}

/// What a run and its layers take on a device, measured, milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// A run of the network.
    pub ms: f64,
    /// A run of the dense network, in turn with it.
    pub dense_ms: f64,
    /// Each layer, where the device has a clock for it.
    pub layers: Option<Vec<f64>>,
}

impl Measured {
    /// Runs `artifact` and `dense` in turn on the device of `table`; `None` where this machine has no such device.
    pub(super) fn new(table: &LatencyTable, artifact: &Artifact, dense: &Artifact) -> Result<Option<Self>> {
        let kind = if table.is_of_cpu() { DeviceKind::Cpu } else { DeviceKind::Gpu };
        let Some(device) = Device::open(kind).ok().filter(|d| table.is_of(d)) else { return Ok(None) };
        let options = thinfer::Options { batch: table.batch, ..thinfer::Options::default() };
        let (mut thin, mut whole) = (Session::new(&device, artifact, &options)?, Session::new(&device, dense, &options)?);
        let times = bench::interleaved(&mut [&mut thin, &mut whole], 5, RUNS)?;
        let mut layers = bench::layers(&mut thin, RUNS)?.map(|l| l.iter().map(bench::Times::p50).collect::<Vec<f64>>());
        // The device's clock includes overhead around each step, which the table subtracts.
        for (layer, ms) in layers.iter_mut().flatten().enumerate() {
            *ms += 1e-3 * table.dispatch_us * thin.layers()[layer].kernels.len().max(1) as f64;
        }
        Ok(Some(Self { ms: times[0].p50(), dense_ms: times[1].p50(), layers }))
    }
}
