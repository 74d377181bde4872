//! The whole way in one run, on a machine with Rust alone: draw a digit set, train a network so that it becomes low-rank
//! (LoRITa), compile it dense and thin, run both on the best device there is, check that device and trainer agree, print
//! the table and write the report.
//!
//! `cargo run --release --example quickstart`

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use thinfer::artifact::Dtype;
use thinfer::tools::bench;
use thinfer::tools::inspect::Description;
use thinfer::tools::table::{Table, bytes, count};
use thinfer::{Artifact, Device, DeviceKind, Forms, Options, Session};
use thinfer_compiler::data::{self, DataSpec, Dataset, Part, default_preprocess};
use thinfer_compiler::eval::{Accuracy, evaluate};
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::report::{Bars, Chart, Series, html_page};
use thinfer_compiler::train::{EpochRecord, Job, Method, Progress, StepReport, Summary, TrainConfig, split, train};
use thinfer_compiler::{Error, Result, files, import, train as trainer, zoo};

const MODEL: &str = "mlp:784-512-512-10";
const FACTORS: usize = 2;
/// Points of held-out accuracy that the thin network may lose.
const MAX_DROP: f64 = 0.5;
const BATCH: usize = 64;

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run(Path::new("target/quickstart")))
}

fn run(dir: &Path) -> Result<()> {
    files::make_dir(dir)?;
    let spec: DataSpec = "glyphs".parse().map_err(|why: String| Error::data("glyphs", why))?;
    let (images, test) = (data::load(&spec, Part::Train)?, data::load(&spec, Part::Test)?);

    println!("1. Train {MODEL} on {} drawn digits with LoRITa, {FACTORS} factors a weight", images.len());
    let config = TrainConfig {
        method: Method::Lorita { factors: FACTORS },
        epochs: 6,
        warmup: 0.5,
        lr: 2e-3,
        weight_decay: 1e-4,
        ..TrainConfig::new(MODEL, spec.to_string())
    };
    let summary = train_anew(&config, &images, &dir.join("run"))?;

    println!("2. Factor every layer and find the fewest singular values that lose at most {MAX_DROP} points on held-out images");
    let (graph, checkpoint) = (zoo::build(MODEL)?, import::load(&summary.model)?);
    let preprocess = default_preprocess(spec.kind);
    let options = lower::Options { source: "quickstart".into(), preprocess: preprocess.clone(), ..lower::Options::default() };
    let factored = Factored::new(&graph, &checkpoint, options, &|_, _, _| ())?;
    let (_, held_out) = split(images.len(), config.holdout, config.seed);
    let held_out = images.subset(&held_out);
    let (thin, curve) = choose_ranks(&factored, &held_out)?;
    let dense = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense)?, Dtype::F32, false)?;
    dense.save(dir.join("dense.thin"))?;
    thin.save(dir.join("thin.thin"))?;

    println!("3. Run both");
    let device = Device::open(DeviceKind::Auto)?;
    let reference = trainer::logits(&graph, &checkpoint.params, &preprocess, &test)?;
    let mut rows = Vec::new();
    for (name, artifact) in [("dense", &dense), ("thin", &thin)] {
        let mut session = Session::new(&device, artifact, &Options { batch: BATCH, ..Options::default() })?;
        let accuracy = evaluate(&mut session, &test, |_| ())?;
        let outputs = session.run_images(&test.images)?;
        rows.push(Row { name, description: Description::of(artifact), session, accuracy, difference: difference(&reference, &outputs) });
    }
    println!("   dense on {} against the trainer: largest difference {:.1e} of the largest logit", device.info(), rows[0].difference);
    if rows[0].difference > 1e-4 {
        return Err(Error::invalid("quickstart", "the device and the trainer disagree"));
    }
    let mut singles = [&dense, &thin].map(|a| Session::new(&device, a, &Options::default()));
    let single = match &mut singles {
        [Ok(a), Ok(b)] => bench::interleaved(&mut [a, b], 20, 300)?,
        _ => return Err(Error::invalid("quickstart", "a session for one image could not be opened")),
    };
    let mut sessions: Vec<&mut Session> = rows.iter_mut().map(|r| &mut r.session).collect();
    let batched = bench::interleaved(&mut sessions, 20, 200)?;

    let table = table(&rows, &single, &batched);
    println!("\n{}, test images that nobody saw before\n\n{table}", device.info());

    let bars = Bars {
        title: format!("Latency on {}", device.info().name),
        y_label: "median ms".into(),
        groups: vec!["1 image".into(), format!("{BATCH} images")],
        series: rows.iter().enumerate().map(|(i, r)| (r.name.to_string(), vec![single[i].p50(), batched[i].p50()])).collect(),
    };
    write_report(dir, &factored, curve, &bars, &table.to_string())
}

/// A network that was run.
struct Row {
    name: &'static str,
    description: Description,
    session: Session,
    accuracy: Accuracy,
    /// From the trainer's logits, as a share of the largest.
    difference: f32,
}

/// Trains in `run_dir`, from which an earlier run is removed.
fn train_anew(config: &TrainConfig, images: &Dataset, run_dir: &Path) -> Result<Summary> {
    if run_dir.exists() {
        std::fs::remove_dir_all(run_dir).map_err(Error::io(run_dir))?;
    }
    let checkpoint_every = Duration::from_secs(60);
    let job = Job { config, start: None, teachers: &[], data: images, run_dir, resume: false, checkpoint_every };
    let start = Instant::now();
    let summary = train(&job, &mut Lines, &AtomicBool::new(false))?;
    println!("   {:.1} s, {:.1} ms a step", start.elapsed().as_secs_f64(), summary.ms_per_step);
    Ok(summary)
}

/// The networks side by side, the first the one that others are compared with.
fn table(rows: &[Row], single: &[bench::Times], batched: &[bench::Times]) -> Table {
    let mut table = Table::new([
        "",
        "accuracy",
        "bytes",
        "parameters",
        "MACs",
        "median ms, 1 image",
        &format!("{BATCH} images"),
        "speed-up, 1",
        &format!("{BATCH}"),
    ]);
    for (i, Row { name, description: d, accuracy, .. }) in rows.iter().enumerate() {
        table.row([
            name.to_string(),
            format!("{:.2} %", accuracy.percent()),
            bytes(d.bytes),
            count(d.params),
            count(d.macs),
            format!("{:.4}", single[i].p50()),
            format!("{:.4}", batched[i].p50()),
            format!("{:.2}×", single[0].p50() / single[i].p50()),
            format!("{:.2}×", batched[0].p50() / batched[i].p50()),
        ]);
    }
    table
}

/// The thinnest network within the allowed drop, judged on `held_out`, and accuracy against the share kept.
fn choose_ranks(factored: &Factored, held_out: &Dataset) -> Result<(Artifact, Vec<(f64, f64)>)> {
    let mut best: Option<(Artifact, f64)> = None;
    let mut curve = Vec::new();
    for keep in [1.0, 0.5, 0.35, 0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02] {
        let policy = Policy::Global(keep);
        let artifact = factored.emit(policy, &factored.cuts(policy)?, Dtype::F32, true)?;
        let mut session = Session::new(&Device::cpu(), &artifact, &Options { batch: BATCH, forms: Forms::Ruled, ..Options::default() })?;
        let percent = evaluate(&mut session, held_out, |_| ())?.percent();
        curve.push((100.0 * keep, percent));
        let full = curve[0].1;
        if best.is_none() || percent >= full - MAX_DROP {
            best = Some((artifact, keep));
        }
    }
    let (artifact, keep) = best.ok_or_else(|| Error::invalid("quickstart", "no rank was tried"))?;
    let d = Description::of(&artifact);
    println!("   global:{keep}: {} of {} MACs", count(d.macs), count(d.dense_macs));
    Ok((artifact, curve))
}

/// The largest difference of two sets of logits, as a share of the largest logit.
fn difference(reference: &[f32], other: &[f32]) -> f32 {
    let largest = reference.iter().fold(0f32, |m, x| m.max(x.abs()));
    reference.iter().zip(other).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

fn write_report(dir: &Path, factored: &Factored, curve: Vec<(f64, f64)>, bars: &Bars, table: &str) -> Result<()> {
    let spectrum = |i: usize| {
        let (layer, factoring) = (&factored.layers()[i], factored.factorings()[i].first()?);
        let sigma = factoring.sigma();
        let first = sigma.first().copied().filter(|s| *s > 0.0)?;
        let points = sigma.iter().enumerate().map(|(k, s)| ((k + 1) as f64, s / first)).filter(|(_, s)| *s > 1e-6).collect();
        Some(Series { label: layer.name.clone(), points, dashed: false })
    };
    let figures = [
        (
            "spectra.svg",
            Chart {
                title: "Singular values after LoRITa".into(),
                x_label: "component".into(),
                y_label: "σ / largest σ".into(),
                x_log: false,
                y_log: true,
                series: (0..factored.layers().len()).filter_map(spectrum).collect(),
            }
            .svg()?,
        ),
        (
            "accuracy.svg",
            Chart {
                title: "Held-out accuracy against singular values kept".into(),
                x_label: "singular values kept (%)".into(),
                y_label: "accuracy (%)".into(),
                x_log: true,
                y_log: false,
                series: vec![Series { label: "global".into(), points: curve, dashed: false }],
            }
            .svg()?,
        ),
        ("latency.svg", bars.svg()?),
    ];
    for (name, svg) in &figures {
        files::write_atomic(&dir.join(name), svg.as_bytes())?;
    }
    let svgs: Vec<&str> = figures.iter().map(|(_, svg)| svg.as_str()).collect();
    let page = html_page("thinfer quickstart", table, &svgs);
    files::write_atomic(&dir.join("report.html"), page.as_bytes())?;
    println!("\nwrote {0}/report.html, {0}/*.svg, {0}/dense.thin and {0}/thin.thin", dir.display());
    Ok(())
}

/// A line an epoch.
struct Lines;

impl Progress for Lines {
    fn step(&mut self, _: &StepReport) {}

    fn epoch(&mut self, r: &EpochRecord) {
        println!("   epoch {}: loss {:.3}, held-out accuracy {:.2} %", r.epoch, r.train_loss, r.split_accuracy.unwrap_or(f32::NAN));
    }
}
