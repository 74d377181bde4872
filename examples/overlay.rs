//! Lays the sweeps of several networks over each other: accuracy against values kept, and the spectra of the first two
//! layers, as CSV files from `thinferc sweep` have them.
//!
//! `cargo run --release --example overlay -- OUT_DIR LABEL=SWEEP_DIR ...`

use std::path::Path;

use thinfer_compiler::report::{Chart, Series};
use thinfer_compiler::{Error, Result, files};

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid("usage", "overlay OUT_DIR LABEL=SWEEP_DIR ...");
    let (out, sweeps) = arguments.split_first().ok_or_else(usage)?;
    let sweeps: Vec<(&str, &Path)> =
        sweeps.iter().map(|s| s.split_once('=').map(|(label, dir)| (label, Path::new(dir)))).collect::<Option<_>>().ok_or_else(usage)?;
    files::make_dir(Path::new(out))?;
    for policy in ["local", "global"] {
        let curve = |&(label, dir): &(&str, &Path)| {
            let rows = read(&dir.join("sweep.csv"))?;
            let points =
                rows.iter().filter(|r| r[0] == policy).filter_map(|r| Some((100.0 * r[3].parse::<f64>().ok()?, r[7].parse().ok()?)));
            Ok(Series { label: label.into(), points: points.collect(), dashed: false })
        };
        let chart = Chart {
            title: format!("Accuracy against singular values kept, {policy}"),
            x_label: "singular values kept (%)".into(),
            y_label: "top-1 (%)".into(),
            x_log: false,
            y_log: false,
            series: sweeps.iter().map(curve).collect::<Result<_>>()?,
        };
        chart.write(&Path::new(out).join(format!("{policy}.svg")))?;
    }
    let mut spectra = Vec::new();
    for (label, dir) in &sweeps {
        let rows = read(&dir.join("spectra.csv"))?;
        let mut layers: Vec<&String> = rows.iter().map(|r| &r[0]).collect();
        layers.dedup();
        for (i, layer) in layers.into_iter().take(2).enumerate() {
            let sigma: Vec<f64> = rows.iter().filter(|r| r[0] == *layer).filter_map(|r| r[2].parse().ok()).collect();
            let largest = sigma.first().copied().unwrap_or(1.0);
            let points = sigma.iter().enumerate().map(|(k, s)| ((k + 1) as f64, (s / largest).max(1e-8))).collect();
            spectra.push(Series { label: format!("{label}, layer {}", i + 1), points, dashed: i == 1 });
        }
    }
    let chart = Chart {
        title: "Singular values of the first two layers".into(),
        x_label: "component".into(),
        y_label: "σ / largest σ".into(),
        x_log: false,
        y_log: true,
        series: spectra,
    };
    chart.write(&Path::new(out).join("spectra.svg"))
}

/// The rows of a CSV file of ours, whose cells hold no commas, without its header.
fn read(path: &Path) -> Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    Ok(text.lines().skip(1).map(|line| line.split(',').map(str::to_string).collect()).collect())
}
