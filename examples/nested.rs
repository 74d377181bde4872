//! One file at several shares of its ranks beside files compiled one by one: what each answers rightly of all test images
//! (on the CPU), and how long it takes on every device, all in turn. Writes nested.csv and a chart a device.
//!
//! `cargo run --release --example nested -- OUT_DIR SET:DIR DENSE.thin NESTED.thin SHARE,SHARE.. FILE.thin ...`

use std::path::Path;

use thinfer::tools::bench;
use thinfer::tools::inspect::Description;
use thinfer::{Artifact, Device, DeviceKind, Options, Session};
use thinfer_compiler::data::{self, DataSpec, Part};
use thinfer_compiler::eval::{check_fit, evaluate};
use thinfer_compiler::report::{Chart, Series, write_csv};
use thinfer_compiler::{Error, Result, files};

const RUNS: usize = 60;

/// A network, how it is called, and whose curve it is on.
struct Entry {
    label: String,
    curve: &'static str,
    artifact: Artifact,
    top1: f64,
    /// Median milliseconds on each device.
    ms: Vec<f64>,
}

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid("usage", "nested OUT_DIR SET:DIR DENSE.thin NESTED.thin SHARE,SHARE.. FILE.thin ...");
    let [out, data, dense, nested, shares, single @ ..] = &arguments[..] else { return Err(usage()) };
    let spec: DataSpec = data.parse().map_err(|why: String| Error::invalid(data.clone(), why))?;
    let whole = Artifact::open(nested)?;
    let entry = |label: String, curve, artifact| Entry { label, curve, artifact, top1: 0.0, ms: Vec::new() };
    let mut entries = vec![entry(dense.clone(), "dense", Artifact::open(dense)?)];
    for share in shares.split(',') {
        let share: f64 = share.parse().map_err(|_| usage())?;
        entries.push(entry(format!("{nested} at {share}"), "one file", whole.with_ranks(share)?));
    }
    for file in single {
        entries.push(entry(file.clone(), "compiled one by one", Artifact::open(file)?));
    }
    files::make_dir(Path::new(out))?;

    let images = data::load(&spec, Part::Test)?;
    for e in &mut entries {
        check_fit(&e.artifact, &images)?;
        let options = Options { batch: 64, ..Options::default() };
        e.top1 = evaluate(&mut Session::new(&Device::cpu(), &e.artifact, &options)?, &images, |_| ())?.percent();
    }
    let devices: Vec<Device> = [DeviceKind::Cpu, DeviceKind::Gpu].into_iter().filter_map(|kind| Device::open(kind).ok()).collect();
    for device in &devices {
        let sessions = entries.iter().map(|e| Session::new(device, &e.artifact, &Options::default()));
        let mut sessions = sessions.collect::<thinfer::Result<Vec<_>>>()?;
        let times = bench::interleaved(&mut sessions.iter_mut().collect::<Vec<_>>(), 5, RUNS)?;
        entries.iter_mut().zip(times).for_each(|(e, t)| e.ms.push(t.p50()));
    }
    write(Path::new(out), &entries, &devices)
}

fn write(out: &Path, entries: &[Entry], devices: &[Device]) -> Result<()> {
    let names: Vec<String> = devices.iter().map(|d| format!("ms_{}", d.info().backend)).collect();
    let header: Vec<&str> = ["network", "curve", "macs", "top1"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let row = |e: &Entry| {
        let told = [e.label.clone(), e.curve.into(), Description::of(&e.artifact).macs.to_string(), format!("{:.2}", e.top1)];
        told.into_iter().chain(e.ms.iter().map(|ms| format!("{ms:.4}"))).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    for row in std::iter::once(header.iter().map(|h| h.to_string()).collect()).chain(rows.iter().cloned()) {
        println!("{}", row.join("  "));
    }
    write_csv(&out.join("nested.csv"), &header, &rows)?;
    for (at, device) in devices.iter().enumerate() {
        let curve = |name: &str| {
            let mut points: Vec<(f64, f64)> = entries.iter().filter(|e| e.curve == name).map(|e| (e.ms[at], e.top1)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Series { label: name.into(), points, dashed: name == "dense" }
        };
        let chart = Chart {
            title: format!("{} on {}", entries[0].artifact.model().name, device.info()),
            x_label: "median ms, batch 1".into(),
            y_label: "top-1 (%)".into(),
            x_log: false,
            y_log: false,
            series: ["dense", "one file", "compiled one by one"].into_iter().map(curve).collect(),
        };
        chart.write(&out.join(format!("nested-{}.svg", device.info().backend)))?;
    }
    Ok(())
}
