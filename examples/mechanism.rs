//! What training did to the weights themselves: how fast singular values fall and how much energy the largest hold, mean
//! over a network's kernels, and what a method measured of itself after each epoch.
//!
//! `cargo run --release --example mechanism -- OUT_DIR LABEL=RUN_DIR ...` writes spectra.svg, energy.svg, mechanism.csv
//! and, if a run has such figures, gauge.svg. RUN_DIR is what `thinferc train` wrote.

use std::path::Path;

use serde_json::Value;
use thinfer_compiler::factor::Spectrum;
use thinfer_compiler::report::{Chart, Series, write_csv};
use thinfer_compiler::{Error, Result, files, import};

/// Components a curve shows, as shares of all, in steps of 1 / STEPS.
const STEPS: usize = 16;

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid("usage", "mechanism OUT_DIR LABEL=RUN_DIR ...");
    let (out, runs) = arguments.split_first().filter(|(_, runs)| !runs.is_empty()).ok_or_else(usage)?;
    let out = Path::new(out);
    files::make_dir(out)?;
    let (mut falls, mut energies, mut gauges, mut rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut gauge_name = String::new();
    for argument in runs {
        let (label, dir) = argument.split_once('=').ok_or_else(usage)?;
        let (fall, energy) = curves(&Path::new(dir).join("model.safetensors"))?;
        rows.extend(
            fall.iter().zip(&energy).map(|((share, s), (_, e))| vec![label.into(), share.to_string(), s.to_string(), e.to_string()]),
        );
        falls.push(Series { label: label.into(), points: fall, dashed: false });
        energies.push(Series { label: label.into(), points: energy, dashed: false });
        let (name, points) = gauge(&Path::new(dir).join("run.json"))?;
        if !points.is_empty() {
            gauge_name = name;
            gauges.push(Series { label: label.into(), points, dashed: false });
        }
    }
    write_csv(&out.join("mechanism.csv"), &["run", "share_of_components", "sigma_over_largest", "energy_held"], &rows)?;
    let chart = |title: &str, x: &str, y: &str, y_log, series| Chart {
        title: title.into(),
        x_label: x.into(),
        y_label: y.into(),
        x_log: false,
        y_log,
        series,
    };
    let components = "component, % of a kernel's rank";
    chart("Singular values of the kernels", components, "σ / largest σ, geometric mean", true, falls).write(&out.join("spectra.svg"))?;
    chart("Energy that the largest hold", components, "energy held (%)", false, energies).write(&out.join("energy.svg"))?;
    if !gauges.is_empty() {
        chart("After each epoch", "epoch", &gauge_name, false, gauges).write(&out.join("gauge.svg"))?;
    }
    Ok(())
}

/// Points of two curves over the share of components in percent.
type Curves = (Vec<(f64, f64)>, Vec<(f64, f64)>);

/// Mean over the kernels [out, in, k, k] of a checkpoint, the first left out: σ_k / σ_1 (geometric mean) and the share of
/// Σσ² that the k largest hold, in percent, k running over shares of the full rank.
fn curves(path: &Path) -> Result<Curves> {
    let checkpoint = import::load(path)?;
    let mut spectra = Vec::new();
    for (name, tensor) in &checkpoint.params {
        if let [outputs, inputs, height, width] = *tensor.shape()
            && height * width > 1
            && inputs > 4
        {
            spectra.push(Spectrum::new(name, tensor.data(), outputs, inputs * height * width)?);
        }
    }
    if spectra.is_empty() {
        return Err(Error::invalid(path.display().to_string(), "holds no convolution with a kernel but the first"));
    }
    let mean = |of: &dyn Fn(&Spectrum, usize) -> f64, step: usize| {
        let values = spectra.iter().map(|s| of(s, (s.sigma().len() * step).div_ceil(STEPS).max(1)));
        values.sum::<f64>() / spectra.len() as f64
    };
    let fall = |s: &Spectrum, k: usize| (s.sigma()[k - 1] / s.sigma()[0]).max(1e-8).ln();
    let energy = |s: &Spectrum, k: usize| 100.0 * s.energy(k);
    let share = |step: usize| 100.0 * step as f64 / STEPS as f64;
    let fall = (1..=STEPS).map(|step| (share(step), mean(&fall, step).exp())).collect();
    let energy = (1..=STEPS).map(|step| (share(step), mean(&energy, step))).collect();
    Ok((fall, energy))
}

/// What a run's method measured of itself after each epoch, and its name; no points if it measures nothing.
fn gauge(path: &Path) -> Result<(String, Vec<(f64, f64)>)> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let report: Value = serde_json::from_str(&text).map_err(|e| Error::invalid(path.display().to_string(), e.to_string()))?;
    let epochs = report["epochs"].as_array().into_iter().flatten();
    let points = epochs.clone().filter_map(|e| Some((e["epoch"].as_f64()?, e["gauge"]["value"].as_f64()?))).collect();
    let name = epochs.clone().find_map(|e| e["gauge"]["name"].as_str()).unwrap_or_default();
    Ok((name.into(), points))
}
