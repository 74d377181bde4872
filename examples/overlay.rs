//! Lays the sweeps of several networks over each other: accuracy against values kept, and the spectra of the first two
//! layers, as CSV files from `thinferc sweep` have them.
//!
//! `cargo run --release --example overlay -- OUT_DIR LABEL=SWEEP_DIR ...`

use std::path::Path;

use thinfer_compiler::report::{Chart, Csv, Series};
use thinfer_compiler::{Error, Result, files};

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid("usage", "overlay OUT_DIR LABEL=SWEEP_DIR ...");
    let (out, sweeps) = arguments.split_first().ok_or_else(usage)?;
    let sweeps: Vec<(&str, &Path)> =
        sweeps.iter().map(|s| s.split_once('=').map(|(label, dir)| (label, Path::new(dir)))).collect::<Option<_>>().ok_or_else(usage)?;
    files::make_dir(Path::new(out))?;
    for policy in ["local", "global", "energy", "macs"] {
        for (file, column, scale, x_label) in
            [("", "share_kept", 100.0, "singular values kept (%)"), ("-macs", "macs", 1e-6, "MMACs an image")]
        {
            let mut series = Vec::new();
            for (label, dir) in &sweeps {
                series.extend(curves(label, &Csv::read(&dir.join("sweep.csv"))?, policy, (column, scale)));
            }
            // How many values a budget of MACs leaves says nothing.
            if series.is_empty() || (policy, column) == ("macs", "share_kept") {
                continue;
            }
            let chart = Chart {
                title: format!(
                    "Accuracy against {}, {policy}",
                    if file.is_empty() { "singular values kept" } else { "multiply–accumulates" }
                ),
                x_label: x_label.into(),
                y_label: "top-1 (%)".into(),
                x_log: false,
                y_log: false,
                series,
            };
            chart.write(&Path::new(out).join(format!("{policy}{}.svg", if policy == "macs" { "" } else { file })))?;
        }
    }
    let mut spectra = Vec::new();
    for (label, dir) in &sweeps {
        let csv = Csv::read(&dir.join("spectra.csv"))?;
        let mut layers: Vec<&str> = csv.column("layer").collect();
        layers.dedup();
        for (i, layer) in layers.into_iter().take(2).enumerate() {
            let of_layer = csv.column("layer").zip(csv.column("sigma")).filter(|(name, _)| *name == layer);
            let sigma: Vec<f64> = of_layer.filter_map(|(_, sigma)| sigma.parse().ok()).collect();
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

/// The curves of one policy in a sweep, one a scheme: `column` × `scale` against top-1.
fn curves(label: &str, csv: &Csv, policy: &str, (column, scale): (&str, f64)) -> Vec<Series> {
    let schemes: Vec<&str> = csv.column("scheme").collect();
    let mut found: Vec<(&str, Series)> = Vec::new();
    for (i, (x, y)) in csv.column(column).zip(csv.column("top1")).enumerate() {
        let (Ok(x), Ok(y)) = (x.parse::<f64>(), y.parse()) else { continue };
        if csv.column("policy").nth(i) != Some(policy) {
            continue;
        }
        let scheme = schemes.get(i).copied().unwrap_or_default();
        let at = found.iter().position(|(s, _)| *s == scheme).unwrap_or(found.len());
        if at == found.len() {
            found.push((scheme, Series { label: label.into(), points: Vec::new(), dashed: false }));
        }
        found[at].1.points.push((x * scale, y));
    }
    if found.len() > 1 {
        found.iter_mut().for_each(|(scheme, series)| series.label = format!("{label}, {scheme}"));
    }
    found.into_iter().map(|(_, series)| series).collect()
}
