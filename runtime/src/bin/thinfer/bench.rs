//! `thinfer bench`: a network, two against each other, or a single layer.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use thinfer::tools::bench::{self, Ceiling, Cold, LayerCheck, LayerSpec, Times};
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::tools::table::{Table, bytes, count};
use thinfer::{Artifact, Device, DeviceClass, Error, Form, Forms, LayerChoice, Options, Pipeline, Result, Session};

use crate::device::DeviceArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    #[arg(required_unless_present = "layer", conflicts_with = "layer")]
    model: Option<PathBuf>,
    /// Another .thin file, run in turn with the first
    #[arg(long, conflicts_with = "layer")]
    against: Option<PathBuf>,
    /// A single layer instead of a model, such as linear:512,512 or conv:3x3,64,64,32x32 (,s2 for a stride)
    #[arg(long, requires = "rank")]
    layer: Option<LayerSpec>,
    /// Ranks at which to factor the layer
    #[arg(long, value_delimiter = ',', conflicts_with = "model")]
    rank: Vec<usize>,
    /// Samples a run
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Counted runs
    #[arg(long, default_value_t = 50)]
    runs: usize,
    /// Also show each layer
    #[arg(long)]
    layers: bool,
    /// Also time each layer that the file holds as factors against its dense form, and fail if one is slower beyond the noise
    #[arg(long, conflicts_with = "layer")]
    check: bool,
    #[command(flatten)]
    device: DeviceArguments,
    /// Also write the figures here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Uncounted runs before the counted ones.
const WARMUP: usize = 5;
/// Turns that a layer and its dense form take.
const CHECK_ROUNDS: usize = 21;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match (&arguments.layer, &arguments.model) {
        (Some(spec), _) => bench_layer(arguments, *spec),
        (None, Some(model)) => bench_models(arguments, model),
        (None, None) => Ok(()),
    }
}

struct Contestant {
    path: PathBuf,
    description: Description,
    /// The share of its ranks that is loaded.
    ranks: f64,
    session: Session,
    cold: Cold,
}

fn bench_models(arguments: &Arguments, model: &Path) -> Result<()> {
    if arguments.runs == 0 {
        return Err(Error::invalid("--runs", "must be at least 1"));
    }
    let forms = if arguments.device.no_tune { Forms::Ruled } else { Forms::Timed };
    let options = arguments.device.options(arguments.batch, forms);
    // Both files are read before anything is measured, so that a bad second one costs no time.
    let paths: Vec<&Path> = std::iter::once(model).chain(arguments.against.as_deref()).collect();
    let artifacts = paths.iter().map(Artifact::open).collect::<Result<Vec<_>>>()?;
    let device = Device::open(arguments.device.device)?;
    let mut contestants = Vec::new();
    for (path, artifact) in paths.iter().zip(&artifacts) {
        // Fewer ranks are asked of the first; the other is what it is run against.
        let (session, ranks) = match contestants.is_empty() {
            true => arguments.device.session(&device, artifact, &options)?,
            false => (Session::new(&device, artifact, &Options { ranks: 1.0, ..options.clone() })?, 1.0),
        };
        let cold = bench::cold(arguments.device.device, path, &Options { ranks, ..options.clone() })?;
        let description = if ranks == 1.0 { Description::of(artifact) } else { Description::of(&artifact.with_ranks(ranks)?) };
        contestants.push(Contestant { path: path.to_path_buf(), description, ranks, session, cold });
    }
    let mut sessions: Vec<&mut Session> = contestants.iter_mut().map(|c| &mut c.session).collect();
    let times = bench::interleaved(&mut sessions, WARMUP, arguments.runs)?;

    print_heading(&device, arguments.batch, arguments.runs)?;
    let mut table = Table::new(["model", "MACs", "parameters", "bytes", "cold ms", "median ms", "p90 ms"]);
    for (c, t) in contestants.iter().zip(&times) {
        let d = &c.description;
        table.row([
            if c.ranks == 1.0 {
                c.path.display().to_string()
            } else {
                format!("{}, {:.0} % of its ranks", c.path.display(), 100.0 * c.ranks)
            },
            count(d.macs),
            count(d.params),
            bytes(d.bytes),
            format!("{:.2}", c.cold.ms()),
            format!("{:.4}", t.p50()),
            format!("{:.4}", t.p90()),
        ]);
    }
    print::text(&table)?;
    let mut figures = Vec::new();
    let ceiling = if arguments.layers { Some(Ceiling::measure(&device)?) } else { None };
    for (c, t) in contestants.iter_mut().zip(&times) {
        let layers = match ceiling {
            Some(ceiling) => Some(Layers {
                times: bench::layers(&mut c.session, arguments.runs)?,
                moved: c.session.move_time()?.map(|time| 1e3 * time.as_secs_f64()),
                ceiling,
            }),
            None => None,
        };
        if let Some(layers) = &layers {
            layers.print(c, t)?;
        }
        figures.push(model_figures(c, t, &device, layers.as_ref()));
    }
    let slower = match arguments.check {
        true => check(&contestants, &artifacts, &mut figures)?,
        false => None,
    };
    let mut figures = figures.into_iter();
    let mut first = figures.next().unwrap_or_default();
    if let (Some(other), [a, b], [mine, theirs]) = (figures.next(), &contestants[..], &times[..]) {
        let speedup = theirs.p50() / mine.p50();
        let ratio = b.description.macs as f64 / a.description.macs as f64;
        let (times, than) = if speedup >= 1.0 { (speedup, "faster") } else { (1.0 / speedup, "slower") };
        let (fewer, macs) = if ratio >= 1.0 { (ratio, "fewer") } else { (1.0 / ratio, "more") };
        let realised = format!(": {:.0} % of the ratio realised", 100.0 * speedup / ratio);
        let realised = if ratio > 1.0 { realised.as_str() } else { "" };
        print::line(format_args!("\n{times:.2}× {than} than {} with {fewer:.2}× {macs} MACs{realised}", b.path.display()))?;
        first["speedup"] = json!(speedup);
        first["mac_ratio"] = json!(ratio);
        first["realised"] = json!(speedup / ratio);
        first["against"] = other;
    }
    crate::output::write_json(arguments.json.as_deref(), &first)?;
    slower.map_or(Ok(()), Err)
}

/// Times every factored layer against its dense form and shows it; the first that is slower as an error.
fn check(contestants: &[Contestant], artifacts: &[Artifact], figures: &mut [Value]) -> Result<Option<Error>> {
    let mut slower = None;
    for ((c, artifact), figures) in contestants.iter().zip(artifacts).zip(figures) {
        let checks = match c.ranks == 1.0 {
            true => bench::against_dense(&c.session, artifact, CHECK_ROUNDS)?,
            false => bench::against_dense(&c.session, &artifact.with_ranks(c.ranks)?, CHECK_ROUNDS)?,
        };
        let mut table = Table::new([c.path.display().to_string().as_str(), "runs as", "µs", "dense µs", "side by side", "noise"]);
        if checks.is_empty() {
            print::line(format_args!("\n{} has no layer in factors to check", c.path.display()))?;
            figures["check"] = json!([]);
            continue;
        }
        for check in &checks {
            let timed = check.form != Form::Dense;
            let or_dash = |text: String| if timed { text } else { "-".into() };
            table.row([
                check.name.clone(),
                if timed { check.form.name() } else { "dense, multiplied back" }.into(),
                or_dash(format!("{:.1}", check.us)),
                or_dash(format!("{:.1}", check.dense_us)),
                or_dash(format!("{:.3}", check.ratio)),
                or_dash(format!("{:.1} %", 100.0 * check.noise)),
            ]);
            if check.is_slower() {
                let why = format!(
                    "layer '{}' takes {:.3} of its dense form's time, the noise is {:.1} %",
                    check.name,
                    check.ratio,
                    100.0 * check.noise
                );
                slower.get_or_insert_with(|| Error::invalid(c.path.display().to_string(), why));
            }
        }
        print::line(format_args!("\n{table}"))?;
        let of = |kind: &dyn Fn(&LayerCheck) -> bool| checks.iter().filter(|c| kind(c)).count();
        let noisy = |c: &LayerCheck| c.form != Form::Dense && c.noise > 0.5 && !c.is_slower();
        print::line(format_args!(
            "of {} layers in factors {} are slower than dense beyond the noise, {} run as dense",
            checks.len(),
            of(&LayerCheck::is_slower),
            of(&|c| c.form == Form::Dense)
        ))?;
        match of(&noisy) {
            0 => {}
            n => print::line(format_args!("{n} could not be judged: the machine was too busy (noise above 50 %)"))?,
        }
        let figure = |c: &LayerCheck| json!({ "name": c.name, "form": c.form.name(), "us": c.us, "dense_us": c.dense_us, "ratio": c.ratio, "noise": c.noise, "slower": c.is_slower() });
        figures["check"] = json!(checks.iter().map(figure).collect::<Vec<_>>());
    }
    Ok(slower)
}

/// What `--layers` measures.
struct Layers {
    /// `None` where the device has no timestamps.
    times: Option<Vec<Times>>,
    /// Milliseconds that moves between layouts take together.
    moved: Option<f64>,
    ceiling: Ceiling,
}

impl Layers {
    /// Layer `i`'s median, its rate, the least that the device allows and the share of it that is reached.
    fn figures(&self, c: &Contestant, i: usize) -> Option<(f64, f64, f64, f64)> {
        let (layer, batch) = (&c.session.layers()[i], c.session.batch());
        let ms = self.times.as_ref()?[i].p50();
        let floor = self.ceiling.floor_ms(layer, batch);
        Some((ms, 2e-6 * layer.macs as f64 * batch as f64 / ms, floor, floor / ms))
    }

    /// The least that the device allows all layers together, and the share of it that a whole run of `ms` reaches.
    fn whole(&self, c: &Contestant, ms: f64) -> (f64, f64) {
        let floor: f64 = c.session.layers().iter().map(|l| self.ceiling.floor_ms(l, c.session.batch())).sum();
        (floor, floor / ms)
    }

    fn print(&self, c: &Contestant, run: &Times) -> Result<()> {
        print::line(format_args!("\n{}", c.path.display()))?;
        let mut table = Table::new([
            "layer",
            "in",
            "out",
            "rank",
            "runs as",
            "kernels",
            "MACs",
            "median ms",
            "p90 ms",
            "GFLOP/s",
            "floor ms",
            "reached",
            "tuning measured (µs)",
        ]);
        for (i, l) in c.session.layers().iter().enumerate() {
            let none = || "no timestamps".to_string();
            let figures = self.figures(c, i);
            let [median, rate, floor, reached] = figures.map_or_else(
                || [none(), none(), none(), none()],
                |(ms, rate, floor, reached)| {
                    [format!("{ms:.4}"), format!("{rate:.1}"), format!("{floor:.4}"), format!("{:.0} %", 100.0 * reached)]
                },
            );
            let tuned: Vec<String> = l.measured_us.iter().map(|(f, us)| format!("{} {us:.1}", f.name())).collect();
            table.row([
                l.name.clone(),
                l.inputs.to_string(),
                l.outputs.to_string(),
                l.rank.map_or("-".into(), |r| r.to_string()),
                if l.rank.is_some() && l.form == Form::Dense { "dense, multiplied back" } else { l.form.name() }.into(),
                l.kernels.join(" + "),
                count(l.macs),
                median,
                self.times.as_ref().map_or_else(none, |t| format!("{:.4}", t[i].p90())),
                rate,
                floor,
                reached,
                tuned.join(", "),
            ]);
        }
        print::text(&table)?;
        match c.session.layers().iter().map(|l| l.moves).sum::<usize>() {
            0 => print::line("no value changes its layout between layers")?,
            n => {
                let moved = self.moved.map_or(String::new(), |ms| format!(", {ms:.4} ms of a run, in the times above"));
                print::line(format_args!("{n} moves of values from one layout to the other{moved}"))?;
            }
        }
        let (Ceiling { gflops, gbytes }, memory) = (self.ceiling, c.session.memory());
        print::line(format_args!(
            "the device allows {gflops:.1} GFLOP/s and {gbytes:.1} GB/s from memory; a floor is whichever takes longer. What stays in its caches may be faster"
        ))?;
        let (floor, reached) = self.whole(c, run.p50());
        print::line(format_args!("the floors of all layers {floor:.4} ms, a run {:.4} ms: {:.0} % reached", run.p50(), 100.0 * reached))?;
        print::line(format_args!(
            "values take {}, {} if each had its own place, {} at least",
            bytes(memory.bytes()),
            bytes(memory.naive_bytes),
            bytes(memory.bound_bytes)
        ))?;
        let Cold { device, open, session, first, pipelines } = &c.cold;
        print::line(format_args!(
            "cold: device {device:.1} ms, file {open:.1}, session {session:.1}, first run {first:.1}; {} pipelines",
            pipelines.len()
        ))?;
        for p in pipelines {
            print::line(format_args!("  {} {:?}: {} steps, made in {:.1} ms", p.kernel, p.constants, p.steps, p.made_ms))?;
        }
        Ok(())
    }
}

fn model_figures(c: &Contestant, times: &Times, device: &Device, measured: Option<&Layers>) -> Value {
    let (d, info, memory, cold) = (&c.description, device.info(), c.session.memory(), &c.cold);
    let layer = |(i, l): (usize, &LayerChoice)| {
        let tuned: serde_json::Map<String, Value> = l.measured_us.iter().map(|(f, us)| (f.name().to_string(), json!(us))).collect();
        let figures = measured.and_then(|m| m.figures(c, i));
        json!({
            "name": l.name, "inputs": l.inputs, "outputs": l.outputs, "rank": l.rank, "form": l.form.name(), "kernels": l.kernels,
            "macs": l.macs, "moves": l.moves, "bytes": l.bytes, "weight_bytes": l.weight_bytes, "ms_p50": figures.map(|f| f.0), "gflops": figures.map(|f| f.1),
            "floor_ms": figures.map(|f| f.2), "reached": figures.map(|f| f.3), "measured_us": tuned,
        })
    };
    let layers: Vec<Value> = c.session.layers().iter().enumerate().map(layer).collect();
    let pipeline = |p: &Pipeline| json!({ "kernel": p.kernel, "constants": p.constants, "steps": p.steps, "made_ms": p.made_ms });
    json!({
        "model": c.path.display().to_string(), "ranks": c.ranks, "macs": d.macs, "dense_macs": d.dense_macs, "params": d.params, "bytes": d.bytes,
        "ms_p50": times.p50(), "ms_p90": times.p90(), "ms_min": times.quantile(0.0), "runs": times.count(), "batch": c.session.batch(),
        "ms_cold": cold.ms(), "ms_device": cold.device, "ms_open": cold.open, "ms_session": cold.session, "ms_first": cold.first,
        "pipelines": cold.pipelines.iter().map(pipeline).collect::<Vec<_>>(),
        "adapter": info.name, "backend": info.backend, "software": info.class == DeviceClass::Software, "layers": layers,
        "floor_ms": measured.map(|m| m.whole(c, times.p50()).0), "reached": measured.map(|m| m.whole(c, times.p50()).1), "peak_gflops": measured.map(|m| m.ceiling.gflops), "peak_gbytes": measured.map(|m| m.ceiling.gbytes),
        "weight_bytes": c.session.layers().iter().map(|l| l.weight_bytes).sum::<u64>(), "activation_bytes": memory.bytes(), "activation_bytes_naive": memory.naive_bytes, "activation_bytes_bound": memory.bound_bytes,
    })
}

fn bench_layer(arguments: &Arguments, spec: LayerSpec) -> Result<()> {
    let device = Device::open(arguments.device.device)?;
    let forms = bench::race_layer(&device, spec, &arguments.rank, arguments.batch, arguments.runs)?;
    print_heading(&device, arguments.batch, arguments.runs)?;
    let dense = &forms[0];
    let (dense_ms, dense_macs) = (dense.times.p50(), dense.macs);
    let mut table = Table::new([
        spec.to_string(),
        "rank".into(),
        "MACs".into(),
        "median ms".into(),
        "p90 ms".into(),
        "GFLOP/s".into(),
        "speed-up".into(),
        "MAC ratio".into(),
        "realised".into(),
    ]);
    let mut figures = Vec::new();
    for f in &forms {
        let (speedup, ratio) = (dense_ms / f.times.p50(), dense_macs as f64 / f.macs as f64);
        let gflops = 2e-6 * f.macs as f64 * arguments.batch as f64 / f.times.p50();
        table.row([
            f.form.name().to_string(),
            f.rank.map_or("-".into(), |r| r.to_string()),
            count(f.macs),
            format!("{:.4}", f.times.p50()),
            format!("{:.4}", f.times.p90()),
            format!("{gflops:.1}"),
            format!("{speedup:.2}"),
            format!("{ratio:.2}"),
            format!("{:.0} %", 100.0 * speedup / ratio),
        ]);
        figures.push(json!({ "form": f.form.name(), "rank": f.rank, "macs": f.macs, "ms_min": f.times.quantile(0.0), "ms_p50": f.times.p50(), "ms_p90": f.times.p90(), "speedup": speedup, "mac_ratio": ratio }));
    }
    print::text(&table)?;
    let info = device.info();
    let figures = json!({ "layer": spec.to_string(), "batch": arguments.batch, "adapter": info.name, "backend": info.backend, "software": info.class == DeviceClass::Software, "forms": figures });
    crate::output::write_json(arguments.json.as_deref(), &figures)
}

fn print_heading(device: &Device, batch: usize, runs: usize) -> Result<()> {
    print::line(format_args!("{}, batch {batch}, median of {runs} interleaved runs\n", device.info()))
}
