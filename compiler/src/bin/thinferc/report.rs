//! `thinferc report`: one self-contained page of what other commands left behind.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use thinfer::Artifact;
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::tools::table::{Table, bytes, count};
use thinfer_compiler::factor::Spectrum;
use thinfer_compiler::report::{Bars, Chart, Csv, Section, Series, html_report};
use thinfer_compiler::{Error, Result, files, import, job};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folders that train or sweep wrote, .thin files, and the JSON files of eval, bench and measure
    #[arg(required = true, value_name = "RUN_DIR|FILE.thin|FIGURES.json")]
    sources: Vec<PathBuf>,
    /// The page to write
    #[arg(short, long, value_name = "report.html")]
    output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let sources: Vec<&Path> = arguments.sources.iter().map(PathBuf::as_path).collect();
    crate::output::check_outputs(&sources, &[&arguments.output])?;
    if files::first_bytes(&arguments.output).is_some_and(|start| start[0] != b'<') {
        let why = "is there already and is no page: it stays, choose another name";
        return Err(Error::invalid(arguments.output.display().to_string(), why));
    }
    let (mut sections, mut measured) = (Vec::new(), Vec::new());
    for path in &arguments.sources {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match extension {
            _ if path.join("run.json").is_file() => sections.push(trained(path)?),
            _ if path.join("sweep.csv").is_file() => sections.push(swept(path)?),
            _ if path.is_dir() => return Err(Error::invalid(path.display().to_string(), "holds neither run.json nor sweep.csv")),
            "thin" => sections.push(compiled(path)?),
            _ => match json(path)? {
                figures if figures.get("latency_table").is_some() => sections.push(timed(path)?),
                figures => measured.push((path.clone(), figures)),
            },
        }
    }
    if !measured.is_empty() {
        sections.insert(0, measurements(&measured)?);
    }
    files::write_atomic(&arguments.output, html_report("thinfer report", &sections).as_bytes())?;
    let parts = if sections.len() == 1 { "part" } else { "parts" };
    Ok(print::line(format_args!("wrote {}: {} {parts}", arguments.output.display(), sections.len()))?)
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|e| Error::invalid(path.display().to_string(), format!("is no JSON: {e}")))
}

/// The last part of a path, which is what people call it.
fn short(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.into(), |name| name.to_string_lossy().into_owned())
}

fn line_chart(title: String, axes: [&str; 2], y_log: bool, series: Vec<Series>) -> Result<Option<String>> {
    let series: Vec<Series> = series.into_iter().filter(|s| !s.points.is_empty()).collect();
    if series.is_empty() {
        return Ok(None);
    }
    Chart { title, x_label: axes[0].into(), y_label: axes[1].into(), x_log: false, y_log, series }.svg().map(Some)
}

/// A folder of `thinferc train`: curves by epoch, and the spectra of what was trained.
fn trained(dir: &Path) -> Result<Section> {
    let report = json(&dir.join("run.json"))?;
    let epochs = report["epochs"].as_array().cloned().unwrap_or_default();
    let mut table = Table::new(["epoch", "loss", "accuracy, %", "held-out loss", "held-out accuracy, %", "learning rate", "seconds"]);
    let shown = |v: &Value| v.as_f64().map_or_else(|| "-".into(), |v| format!("{v:.4}"));
    for e in &epochs {
        let cell = |key: &str| shown(&e[key]);
        let first = e["epoch"].to_string();
        table.row([
            first,
            cell("train_loss"),
            cell("train_accuracy"),
            cell("split_loss"),
            cell("split_accuracy"),
            cell("lr"),
            cell("seconds"),
        ]);
    }
    let curve = |label: &str, of: &dyn Fn(&Value) -> Option<f64>| Series {
        label: label.into(),
        points: epochs.iter().filter_map(|e| Some((e["epoch"].as_f64()?, of(e)?))).collect(),
        dashed: false,
    };
    let key = |key: &'static str| move |e: &Value| e[key].as_f64();
    let gauge = epochs.iter().find_map(|e| e["gauge"]["name"].as_str()).unwrap_or_default().to_string();
    let charts = [
        line_chart(
            "Loss".into(),
            ["epoch", "loss"],
            false,
            vec![curve("training", &key("train_loss")), curve("held out", &key("split_loss"))],
        )?,
        line_chart(
            "Accuracy".into(),
            ["epoch", "%"],
            false,
            vec![curve("training", &key("train_accuracy")), curve("held out", &key("split_accuracy"))],
        )?,
        line_chart(gauge.clone(), ["epoch", &gauge], false, vec![curve(&gauge, &|e| e["gauge"]["value"].as_f64())])?,
        spectra(&dir.join("model.safetensors"))?,
    ];
    let known = |key: &str| report[key].as_str().unwrap_or("unknown").to_string();
    let setting = |key: &str| report["config"][key].as_str().unwrap_or_default().to_string();
    let text = format!(
        "{} on {}, {}, seed {}\n{} of {} parameters trained, {} MACs a step, {} ms a step\n\n{table}",
        setting("model"),
        setting("data"),
        known("method"),
        report["config"]["seed"],
        report["trained_params"],
        report["dense_params"],
        report["macs_per_step"],
        shown(&report["ms_per_step"]),
    );
    Ok(Section { heading: format!("Training: {}", dir.display()), text, figures: charts.into_iter().flatten().collect() })
}

/// The singular values of a checkpoint's matrices and kernels, at most eight of them; nothing where there is no checkpoint.
fn spectra(path: &Path) -> Result<Option<String>> {
    if !path.is_file() {
        return Ok(None);
    }
    let mut series = Vec::new();
    for (name, tensor) in import::load(path)?.params.iter().filter(|(_, t)| t.shape().len() > 1) {
        let rows = tensor.shape()[0];
        let spectrum = Spectrum::new(name, tensor.data(), rows, tensor.data().len() / rows.max(1))?;
        let largest = spectrum.sigma().first().copied().unwrap_or(1.0);
        let points = (1..).zip(spectrum.sigma()).map(|(k, s)| (f64::from(k), (s / largest).max(1e-8))).collect();
        series.push(Series { label: name.trim_end_matches(".weight").into(), points, dashed: false });
    }
    let step = series.len().div_ceil(8).max(1);
    line_chart("Singular values".into(), ["component", "σ / largest σ"], true, series.into_iter().step_by(step).collect())
}

/// A folder of `thinferc sweep`.
fn swept(dir: &Path) -> Result<Section> {
    let path = dir.join("sweep.csv");
    let csv = Csv::read(&path)?;
    let column = |name: &str| csv.place(name).ok_or_else(|| Error::invalid(path.display().to_string(), format!("has no column '{name}'")));
    let top1 = column("top1")?;
    let label_of = ["policy", "scheme"].map(|name| column(name).ok());
    let label = |row: &[String]| label_of.iter().flatten().map(|&at| row[at].as_str()).collect::<Vec<_>>().join(", ");
    let mut figures = Vec::new();
    for (name, title, x_label, scale) in [
        ("share_kept", "Accuracy against values kept", "singular values kept (%)", 100.0),
        ("macs", "Accuracy against MACs", "MMACs an image", 1e-6),
    ] {
        let at = column(name)?;
        let mut series: Vec<Series> = Vec::new();
        for row in &csv.rows {
            let (Ok(x), Ok(y)) = (row[at].parse::<f64>(), row[top1].parse::<f64>()) else { continue };
            let label = label(row);
            let known = series.iter().position(|s| s.label == label).unwrap_or_else(|| {
                series.push(Series { label, points: Vec::new(), dashed: false });
                series.len() - 1
            });
            series[known].points.push((x * scale, y));
        }
        figures.extend(line_chart(title.into(), [x_label, "top-1 (%)"], false, series)?);
    }
    let mut table = Table::new(csv.header.iter().map(String::as_str));
    csv.rows.iter().for_each(|row| table.row(row.iter().cloned()));
    Ok(Section { heading: format!("Sweep: {}", dir.display()), text: table.to_string(), figures })
}

/// A `.thin` file: what it holds, and the rank of each layer beside what it was before.
fn compiled(path: &Path) -> Result<Section> {
    let description = Description::of(&Artifact::open(path)?);
    let cut: Vec<_> = description.layers.iter().filter(|l| l.rank.is_some()).collect();
    let of = |value: &dyn Fn(&thinfer::tools::inspect::LayerDescription) -> f64| cut.iter().map(|l| value(l)).collect::<Vec<f64>>();
    let mut figures = Vec::new();
    if !cut.is_empty() {
        let ranks = Bars {
            title: "Ranks".into(),
            y_label: "components".into(),
            groups: cut.iter().map(|l| l.name.clone()).collect(),
            series: vec![
                ("kept".into(), of(&|l| l.rank.map_or(f64::NAN, |r| r as f64))),
                ("before the cut".into(), of(&|l| l.full_rank.map_or(f64::NAN, f64::from))),
            ],
        };
        figures.push(ranks.svg()?);
    }
    Ok(Section { heading: format!("Compiled: {}", path.display()), text: description.to_string(), figures })
}

/// What a device takes for each layer of a network.
fn timed(path: &Path) -> Result<Section> {
    let table = job::read_table(path)?;
    let of = |value: &dyn Fn(usize) -> Option<f64>| (0..table.layers.len()).map(|i| value(i).unwrap_or(f64::NAN)).collect::<Vec<f64>>();
    let dense = |i: usize| table.fastest(i, "dense", None, None).map(|c| table.cost_us(c));
    let least = |i: usize| table.layers[i].candidates.iter().map(|c| table.cost_us(c)).reduce(f64::min);
    let times = Bars {
        title: format!("Layers of {} on {}", table.model, table.adapter),
        y_label: "µs".into(),
        groups: table.layers.iter().map(|l| l.name.clone()).collect(),
        series: vec![("dense".into(), of(&dense)), ("fastest measured".into(), of(&least))],
    };
    Ok(Section { heading: format!("Layer times: {}", path.display()), text: table.to_string(), figures: vec![times.svg()?] })
}

/// What `eval` and `bench` measured, in one table, and accuracy against time and MACs where both are known of a file.
fn measurements(measured: &[(PathBuf, Value)]) -> Result<Section> {
    let mut rows: Vec<(String, Value)> = Vec::new();
    for (path, figures) in measured {
        let mut take =
            |figures: &Value| rows.push((figures["model"].as_str().map_or_else(|| short(&path.to_string_lossy()), short), figures.clone()));
        if figures.get("ms_p50").is_none() && figures.get("top1").is_none() {
            let why = "holds no figures of eval, bench or measure (no 'top1', no 'ms_p50'); of a compiled network, give the .thin file";
            return Err(Error::invalid(path.display().to_string(), why));
        }
        take(figures);
        figures.get("against").into_iter().for_each(take);
    }
    let mut table = Table::new(["file", "adapter", "batch", "MACs", "bytes", "top-1, %", "median ms", "p90 ms", "cold ms", "faster"]);
    for (name, f) in &rows {
        let number = |key: &str, digits: usize| f[key].as_f64().map_or_else(|| "-".into(), |v| format!("{v:.digits$}"));
        table.row([
            name.clone(),
            f["adapter"].as_str().unwrap_or("-").to_string() + if f["software"] == true { " (software)" } else { "" },
            f["batch"].to_string(),
            f["macs"].as_u64().map_or_else(|| "-".into(), count),
            f["bytes"].as_u64().map_or_else(|| "-".into(), bytes),
            number("top1", 2),
            number("ms_p50", 4),
            number("ms_p90", 4),
            number("ms_cold", 2),
            f["speedup"].as_f64().map_or_else(|| "-".into(), |v| format!("{v:.2}×")),
        ]);
    }
    let timed: Vec<_> = rows.iter().filter(|(_, f)| f["ms_p50"].is_f64()).collect();
    let mut figures = Vec::new();
    if !timed.is_empty() {
        let mut adapters: Vec<&str> = Vec::new();
        let named = timed.iter().filter_map(|(_, f)| f["adapter"].as_str());
        for name in named {
            if !adapters.contains(&name) {
                adapters.push(name);
            }
        }
        let mut groups: Vec<String> = timed.iter().map(|(name, _)| name.clone()).collect();
        groups.sort();
        groups.dedup();
        let time = |adapter: &str, group: &String| {
            timed
                .iter()
                .find(|(name, f)| name == group && f["adapter"] == adapter)
                .and_then(|(_, f)| f["ms_p50"].as_f64())
                .unwrap_or(f64::NAN)
        };
        let series = adapters.iter().map(|a| (a.to_string(), groups.iter().map(|g| time(a, g)).collect())).collect();
        figures.push(Bars { title: "Median time of a run".into(), y_label: "ms".into(), groups, series }.svg()?);
    }
    let accuracy = |name: &String| rows.iter().find(|(n, f)| n == name && f["top1"].is_f64()).and_then(|(_, f)| f["top1"].as_f64());
    for (key, title, axis, scale) in
        [("ms_p50", "Accuracy against time", "median ms", 1.0), ("macs", "Accuracy against MACs", "MMACs an image", 1e-6)]
    {
        let mut series: Vec<Series> = Vec::new();
        for (name, f) in &rows {
            let (Some(x), Some(y)) = (f[key].as_f64(), accuracy(name)) else { continue };
            let label = if key == "macs" { "all" } else { f["adapter"].as_str().unwrap_or("-") };
            match series.iter_mut().find(|s| s.label == label) {
                Some(known) => known.points.push((x * scale, y)),
                None => series.push(Series { label: label.into(), points: vec![(x * scale, y)], dashed: false }),
            }
        }
        series.iter_mut().for_each(|s| s.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        figures.extend(line_chart(title.into(), [axis, "top-1 (%)"], false, series)?);
    }
    Ok(Section { heading: "Measured".into(), text: table.to_string(), figures })
}
