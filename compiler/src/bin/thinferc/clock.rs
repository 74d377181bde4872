//! What compile is told about time: a table of a device's times, or where to measure one.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use thinfer::artifact::{Artifact, Dtype};
use thinfer::tools::latency::{self, LatencyTable};
use thinfer::tools::table::Table;
use thinfer::tools::{bench, print};
use thinfer::{Device, DeviceKind, Session};
use thinfer_compiler::lower::Factored;
use thinfer_compiler::rank::{Cut, Policy, Timed, Timing};
use thinfer_compiler::{Error, Result};

/// Whose time counts.
#[derive(Args)]
pub(crate) struct ClockArguments {
    /// The times of a device, from `thinfer measure` there: for latency:F, and for accuracy:POINTS to find the fastest network
    /// instead of the smallest
    #[arg(long, value_name = "T.json")]
    pub(crate) latency_table: Option<PathBuf>,
    /// For latency:F without a table: the device to measure, gpu or cpu [default: auto]; what was measured is kept
    #[arg(long, value_name = "gpu|cpu")]
    device: Option<DeviceKind>,
    /// For latency:F: samples a run [default: the table's, else 1]
    #[arg(long)]
    batch: Option<usize>,
}

/// No longer table is read.
const MOST_BYTES: u64 = 256 << 20;
/// About how long to measure.
const SECONDS: f64 = 45.0;
/// Runs that a layer is timed by.
const RUNS: usize = 25;

/// What every version of a table begins with.
#[derive(Deserialize)]
struct Head {
    latency_table: u32,
}

impl ClockArguments {
    /// Refuses what says whose time counts beside a policy that asks for none, and reads the table, if one is given, before
    /// anything else is done.
    pub(crate) fn read(&self, policy: Policy) -> Result<Option<LatencyTable>> {
        let (by_time, judged) = (matches!(policy, Policy::Latency(_)), matches!(policy, Policy::Accuracy(_)));
        let given = [
            ("--latency-table", self.latency_table.is_some(), by_time || judged),
            ("--device", self.device.is_some(), by_time || (judged && self.latency_table.is_some())),
            ("--batch", self.batch.is_some(), by_time || (judged && self.latency_table.is_some())),
        ];
        if let Some((flag, ..)) = given.iter().find(|(_, given, used)| *given && !used) {
            return Err(Error::invalid(
                *flag,
                format!("is for --ranks latency:F, and with a --latency-table for accuracy:POINTS, not for --ranks {policy}"),
            ));
        }
        if self.batch == Some(0) {
            return Err(Error::invalid("--batch", "must be at least 1"));
        }
        let Some(path) = &self.latency_table else { return Ok(None) };
        let (table, at) = (read(path)?, path.display().to_string());
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
    pub(crate) fn table(&self, table: Option<LatencyTable>, dense: &Artifact, dtype: Dtype) -> Result<LatencyTable> {
        if let (Some(table), Some(path)) = (table, &self.latency_table) {
            table.fits(&path.display().to_string(), dense, dtype)?;
            return Ok(table);
        }
        let device = Device::open(self.device.unwrap_or_default())?;
        let batch = self.batch.unwrap_or(1);
        let kept = thinfer::Options::default().cache.map(|folder| folder.join(latency::cache_name(&device, dense, batch)));
        if let Some(path) = &kept {
            // Whatever is wrong with it, it is measured anew.
            if let Ok(table) = read(path)
                && table.is_of(&device)
                && table.batch == batch
                && table.fits("", dense, dtype).is_ok()
            {
                print::note(format_args!("times of {} from {}", table.adapter, path.display()));
                return Ok(table);
            }
        }
        print::note(format_args!("timing every form of every layer on {}, about {SECONDS} s", device.info()));
        let bar = crate::train::bar(0, "");
        bar.set_prefix(format!("timing layers on {}", device.info().name));
        let measured = latency::measure(&device, dense, batch, SECONDS, &mut |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        let table = measured?;
        if let (Some(path), Ok(text)) = (kept, serde_json::to_vec(&table)) {
            // A cache is no reason to fail.
            let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
            let _ = folder.and_then(|()| thinfer::artifact::write_atomic(&path, &text));
        }
        Ok(table)
    }
}

/// Reads and checks a table.
pub(crate) fn read(path: &Path) -> Result<LatencyTable> {
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

/// What a run and its layers take on the device of the table, measured, milliseconds; `None` where this machine has no such
/// device.
pub(crate) struct Measured {
    pub(crate) ms: f64,
    pub(crate) dense_ms: f64,
    layers: Option<Vec<f64>>,
}

impl Measured {
    /// Runs `artifact` and `dense` in turn.
    pub(crate) fn new(table: &LatencyTable, artifact: &Artifact, dense: &Artifact) -> Result<Option<Self>> {
        let kind = if table.is_of_cpu() { DeviceKind::Cpu } else { DeviceKind::Gpu };
        let Some(device) = Device::open(kind).ok().filter(|d| table.is_of(d)) else { return Ok(None) };
        let options = thinfer::Options { batch: table.batch, ..thinfer::Options::default() };
        let (mut thin, mut whole) = (Session::new(&device, artifact, &options)?, Session::new(&device, dense, &options)?);
        let times = bench::interleaved(&mut [&mut thin, &mut whole], 5, RUNS)?;
        let mut layers = bench::layers(&mut thin, RUNS)?.map(|l| l.iter().map(bench::Times::p50).collect::<Vec<f64>>());
        // The device's clock counts around each step what the table takes off again.
        for (layer, ms) in layers.iter_mut().flatten().enumerate() {
            *ms += 1e-3 * table.dispatch_us * thin.layers()[layer].kernels.len().max(1) as f64;
        }
        Ok(Some(Self { ms: times[0].p50(), dense_ms: times[1].p50(), layers }))
    }
}

/// For each layer with a weight the candidates that nothing beats in both time and error, and why the chosen one won.
pub(crate) fn explain(factored: &Factored, timing: &Timing, cuts: &[Cut], measured: Option<&Measured>) -> Table {
    let mut table = Table::new(["layer", "candidate", "run as", "energy lost", "predicted µs", "measured µs", "why"]);
    let layers = factored.layers().iter().enumerate().filter(|(_, l)| l.weighted().is_some());
    for (at, (layer, folded)) in layers.enumerate() {
        let Some(won) = timing.find(at, cuts.get(layer).copied().flatten()) else { continue };
        let all = &timing.layers[at];
        let is_linear = folded.weighted().is_some_and(|w| w.window.is_none());
        let mut shown = best(all);
        if !shown.iter().any(|c| c.cut == won.cut) {
            shown.push(won);
        }
        if !shown.iter().any(|c| c.cut.is_none()) {
            shown.extend(all.first());
        }
        shown.sort_by(|a, b| a.us.total_cmp(&b.us));
        let place = shown.iter().position(|c| c.cut == won.cut).unwrap_or(0);
        for (i, c) in shown.iter().enumerate() {
            let is_won = i == place;
            let ms = measured.filter(|_| is_won).and_then(|m| m.layers.as_ref()?.get(layer).copied());
            table.row([
                if i == 0 { format!("{}, {} timed", folded.name, all.len()) } else { String::new() },
                c.cut.map_or("dense".into(), |(scheme, rank)| format!("{} {rank}", if is_linear { "low-rank" } else { scheme.label() })),
                c.form.clone(),
                format!("{:.3} %", 100.0 * c.error),
                format!("{:.1}", c.us),
                ms.map_or("-".into(), |ms| format!("{:.1}", 1e3 * ms)),
                if is_won { why(&shown, place) } else { String::new() },
            ]);
        }
    }
    table
}

/// Those that no other is both faster and better than.
fn best(all: &[Timed]) -> Vec<&Timed> {
    let mut sorted: Vec<&Timed> = all.iter().collect();
    sorted.sort_by(|a, b| a.us.total_cmp(&b.us).then(a.error.total_cmp(&b.error)));
    let mut kept: Vec<&Timed> = Vec::new();
    for c in sorted {
        if kept.last().is_none_or(|last| c.error < last.error) {
            kept.push(c);
        }
    }
    kept
}

/// Why `shown[place]` was taken and not its neighbours, which rise in time.
fn why(shown: &[&Timed], place: usize) -> String {
    let won = shown[place];
    if won.cut.is_none() && place == 0 {
        return "won: no cut is faster than dense".into();
    }
    let mut text = String::from("won");
    if let Some(faster) = place.checked_sub(1).map(|i| shown[i]) {
        let _ = write!(text, ": {:.1} µs less would lose {:.3} % more", won.us - faster.us, 100.0 * (faster.error - won.error));
    }
    match shown.get(place + 1) {
        Some(slower) if slower.error < won.error => {
            let _ = write!(text, "; {:.3} % less lost would take {:.1} µs more", 100.0 * (won.error - slower.error), slower.us - won.us);
        }
        _ => {}
    }
    text
}
