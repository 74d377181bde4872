//! Times single layers over a grid of shapes and ranks: dense, in two stages, fused, and what tuning and the rule make of
//! them. Writes every row as CSV, the speed-ups against rank and a map of which form wins where as SVG, and prints how much
//! slower than the fastest form the choices are (their regret), beside the noise of the timings.
//!
//! `cargo run --release --example grid -- OUT_DIR [cpu|gpu] [linear|conv|all]`

use std::path::Path;

use thinfer::tools::bench::{LayerSpec, Times, layer_artifact};
use thinfer::tools::table::Table;
use thinfer::{Device, DeviceKind, Form, Forms, Options, Session};
use thinfer_compiler::report::{Cell, Cells, Chart, Series, write_csv};
use thinfer_compiler::{Error, Result, files};

/// Ranks in percent of the most that a layer has.
const RANKS: [usize; 5] = [4, 10, 20, 35, 50];
const RUNS: usize = 9;
/// What one timing should last at least.
const SECONDS: f64 = 2e-3;

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

/// A layer, the samples of a run, and the kind that it is summed up under.
type Case = (LayerSpec, usize, &'static str);

fn cases(wanted: &str) -> std::result::Result<Vec<Case>, String> {
    let mut all = Vec::new();
    for size in [256, 512, 1024, 2048] {
        for rows in [1, 16, 256] {
            all.push((format!("linear:{size},{size}").parse()?, rows, "linear"));
        }
    }
    for (side, channels) in [(32, 64), (32, 128), (16, 64), (16, 128), (16, 256), (8, 128), (8, 256), (8, 512)] {
        all.push((format!("conv:3x3,{channels},{channels},{side}x{side}").parse()?, 1, "conv"));
    }
    all.retain(|c: &Case| wanted == "all" || wanted == c.2);
    Ok(all)
}

/// Milliseconds of one layer at one rank.
struct Row {
    case: Case,
    percent: usize,
    rank: usize,
    /// How many times fewer multiply–accumulates than dense.
    ratio: f64,
    dense: f64,
    two_stage: f64,
    /// `None` where the device cannot fuse that rank.
    fused: Option<f64>,
    tuned: f64,
    tuned_form: Form,
    ruled: f64,
    /// Half of what lies between the quartiles of one form's timings, as a share of their median; mean over the forms.
    noise: f64,
}

impl Row {
    fn best(&self) -> f64 {
        [Some(self.dense), Some(self.two_stage), self.fused].into_iter().flatten().fold(f64::INFINITY, f64::min)
    }

    /// The fastest form: the place of its name in [`FORMS`].
    fn winner(&self) -> usize {
        [Some(self.dense), Some(self.two_stage), self.fused].iter().position(|ms| *ms == Some(self.best())).unwrap_or(0)
    }
}

const FORMS: [&str; 3] = ["dense", "two-stage", "fused"];

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid("usage", "grid OUT_DIR [cpu|gpu] [linear|conv|all]");
    let (out, rest) = arguments.split_first().ok_or_else(usage)?;
    let kind: DeviceKind = rest.first().map_or(Ok(DeviceKind::Auto), |k| k.parse()).map_err(|_| usage())?;
    let wanted = rest.get(1).map_or("all", String::as_str);
    let cases = cases(wanted).map_err(|why| Error::invalid("grid", why))?;
    if cases.is_empty() {
        return Err(usage());
    }
    files::make_dir(Path::new(out))?;
    let device = Device::open(kind)?;
    let mut rows = Vec::new();
    for case in cases {
        for percent in RANKS {
            rows.push(race(&device, case, percent)?);
        }
        println!("{} × {}", case.0, case.1);
    }
    let name = |suffix: &str| Path::new(out).join(format!("grid-{wanted}{suffix}"));
    write(&name(".csv"), &rows)?;
    let chart = Chart {
        title: format!("Single layers on {}", device.info()),
        x_label: "rank (% of the most)".into(),
        y_label: "times faster than dense (geometric mean)".into(),
        x_log: true,
        y_log: true,
        series: curves(&rows),
    };
    chart.write(&name(".svg"))?;
    map(&rows, &device).write(&name("-map.svg"))?;
    summarise(&rows);
    Ok(())
}

/// Times all forms of a layer in turn.
fn race(device: &Device, case: Case, percent: usize) -> Result<Row> {
    let (spec, batch, _) = case;
    let most = spec.outputs.min(spec.conv.map_or(1, |(w, _)| (w.kernel[0] * w.kernel[1]) as usize) * spec.inputs);
    let rank = (most * percent / 100).max(1);
    let (dense, factored) = (layer_artifact(spec, None)?, layer_artifact(spec, Some(rank))?);
    let options = |forms, keep_factors| Options { batch, forms, keep_factors, cache: None, ..Options::default() };
    let mut racers = Vec::new();
    for (artifact, forms, keep) in [
        (&dense, Forms::All(Form::Dense), false),
        (&factored, Forms::All(Form::TwoStage), true),
        (&factored, Forms::All(Form::Fused), true),
        (&factored, Forms::Timed, false),
        (&factored, Forms::Ruled, false),
    ] {
        let mut session = Session::new(device, artifact, &options(forms, keep))?;
        session.time(1)?;
        let once = session.time(2)?.as_secs_f64() / 2.0;
        let repeats = ((SECONDS / once.max(1e-9)) as usize).clamp(1, 2000);
        racers.push((session, repeats, Vec::with_capacity(RUNS)));
    }
    for _ in 0..RUNS {
        for (session, repeats, times) in &mut racers {
            times.push(session.time(*repeats)?.as_secs_f64() * 1e3 / *repeats as f64);
        }
    }
    let form = |i: usize| racers[i].0.layers()[0].form;
    let ms = |i: usize| Times::new(racers[i].2.clone()).p50();
    let macs = |i: usize| racers[i].0.layers()[0].macs as f64;
    let spread = |times: &[f64]| {
        let times = Times::new(times.to_vec());
        (times.quantile(0.75) - times.quantile(0.25)) / 2.0 / times.p50()
    };
    let noise = racers.iter().map(|racer| spread(&racer.2)).sum::<f64>() / racers.len() as f64;
    Ok(Row {
        case,
        percent,
        rank,
        ratio: macs(0) / macs(1),
        dense: ms(0),
        two_stage: ms(1),
        fused: (form(2) == Form::Fused).then(|| ms(2)),
        tuned: ms(3),
        tuned_form: form(3),
        ruled: ms(4),
        noise,
    })
}

/// Which form wins where, and by how much it beats dense.
fn map(rows: &[Row], device: &Device) -> Cells {
    let mut found: Vec<(String, Vec<Option<Cell>>)> = Vec::new();
    for row in rows {
        let name = format!("{} × {}", row.case.0, row.case.1);
        if found.last().is_none_or(|(last, _)| *last != name) {
            found.push((name, Vec::new()));
        }
        if let Some((_, cells)) = found.last_mut() {
            cells.push(Some((row.winner(), format!("{:.2}×", row.dense / row.best()))));
        }
    }
    Cells {
        title: format!("The fastest form of a layer, and how much faster than dense, on {}", device.info()),
        columns: RANKS.map(|rank| format!("rank {rank} %")).to_vec(),
        kinds: FORMS.map(str::to_string).to_vec(),
        rows: found,
    }
}

fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let header = [
        "layer",
        "rows",
        "rank",
        "percent",
        "mac_ratio",
        "dense_ms",
        "two_stage_ms",
        "fused_ms",
        "tuned_ms",
        "tuned_form",
        "ruled_ms",
        "noise",
    ];
    let ms = |v: f64| format!("{v:.5}");
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            let fused = r.fused.map_or(String::new(), ms);
            let (spec, batch, _) = r.case;
            let counts = [batch, r.rank, r.percent].map(|n| n.to_string());
            let times = [
                format!("{:.3}", r.ratio),
                ms(r.dense),
                ms(r.two_stage),
                fused,
                ms(r.tuned),
                r.tuned_form.name().into(),
                ms(r.ruled),
                format!("{:.4}", r.noise),
            ];
            std::iter::once(spec.to_string()).chain(counts).chain(times).collect()
        })
        .collect();
    write_csv(path, &header, &lines)
}

fn geometric(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v.ln(), count + 1));
    (sum / f64::from(count)).exp()
}

fn curves(rows: &[Row]) -> Vec<Series> {
    let mut series = Vec::new();
    for kind in ["linear", "conv"] {
        let mut curve = |label: &str, dashed: bool, speedup: &dyn Fn(&Row) -> Option<f64>| {
            let at = |percent: usize| rows.iter().filter(move |r| r.percent == percent && r.case.2 == kind).filter_map(speedup);
            let points: Vec<(f64, f64)> = RANKS.iter().map(|&p| (p as f64, geometric(at(p)))).filter(|p| p.1.is_finite()).collect();
            if !points.is_empty() {
                series.push(Series { label: format!("{kind}: {label}"), points, dashed });
            }
        };
        curve("multiply–accumulates", true, &|r| Some(r.ratio));
        curve("two-stage", false, &|r| Some(r.dense / r.two_stage));
        curve("fused", false, &|r| r.fused.map(|ms| r.dense / ms));
        curve("tuned", false, &|r| Some(r.dense / r.tuned));
    }
    series
}

fn summarise(rows: &[Row]) {
    let mut table =
        Table::new(["layers", "rank", "MAC ratio", "two-stage", "fused", "tuned", "tuned regret", "worst", "rule's regret", "worst"]);
    for kind in ["linear", "conv"] {
        for percent in RANKS {
            let these = || rows.iter().filter(|r| r.percent == percent && r.case.2 == kind);
            if these().next().is_none() {
                continue;
            }
            let regret = |chosen: fn(&Row) -> f64| {
                let over = || these().map(|r| chosen(r) / r.best().min(chosen(r)));
                let share = |v: f64| format!("{:.0} %", 100.0 * (v - 1.0));
                [share(geometric(over())), share(over().fold(1.0, f64::max))]
            };
            let times = |v: f64| if v.is_finite() { format!("{v:.2}×") } else { "none".into() };
            let ([tuned, worst_tuned], [ruled, worst_ruled]) = (regret(|r| r.tuned), regret(|r| r.ruled));
            table.row([
                kind.to_string(),
                format!("{percent} %"),
                times(geometric(these().map(|r| r.ratio))),
                times(geometric(these().map(|r| r.dense / r.two_stage))),
                times(geometric(these().filter_map(|r| r.fused.map(|ms| r.dense / ms)))),
                times(geometric(these().map(|r| r.dense / r.tuned))),
                tuned,
                worst_tuned,
                ruled,
                worst_ruled,
            ]);
        }
    }
    print!("{table}");
    let mut noise: Vec<f64> = rows.iter().map(|r| 100.0 * r.noise).collect();
    noise.sort_by(f64::total_cmp);
    let within = |chosen: fn(&Row) -> f64, share: f64| 100 * rows.iter().filter(|r| chosen(r) <= share * r.best()).count() / rows.len();
    println!(
        "noise of a timing: ±{:.1} % in half of the cells, ±{:.1} % in nine of ten",
        noise[noise.len() / 2],
        noise[noise.len() * 9 / 10]
    );
    println!(
        "tuned within 10 % of the fastest form in {} % of {} cells, by rule in {} %",
        within(|r| r.tuned, 1.1),
        rows.len(),
        within(|r| r.ruled, 1.1)
    );
}
