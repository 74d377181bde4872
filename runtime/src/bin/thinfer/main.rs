//! `thinfer`: runs, measures and describes `.thin` files on the devices of this machine.

mod bench;
mod devices;
mod eval;
mod input;
mod inspect;
mod measure;
mod run;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::{Artifact, Device, DeviceKind, Error, Forms, Options, Result, Session};

/// Runs compressed networks (.thin files) on any GPU, or on the CPU.
#[derive(Parser)]
#[command(name = "thinfer", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what a network makes of one input or several: classes, or arrays
    Run(run::Arguments),
    /// Count how many labelled inputs are classified rightly
    Eval(eval::Arguments),
    /// Measure a network, two against each other, or a single layer
    Bench(bench::Arguments),
    /// Show what a file holds, layer by layer
    Inspect(inspect::Arguments),
    /// Time every form that a network's layers may be given on this device, for thinferc compile --latency-table
    Measure(measure::Arguments),
    /// List what there is to run on
    Devices(devices::Arguments),
}

/// Where and how to run.
#[derive(Args)]
struct DeviceArguments {
    /// auto (a real GPU if there is one, else the CPU), gpu (software adapters too) or cpu
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Never multiply a factored layer back to its dense form, even where dense is faster
    #[arg(long)]
    keep_factors: bool,
    /// Load only this share (0 to 1) of each factored layer's ranks, the most important ones
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", allow_negative_numbers = true)]
    ranks: f64,
    /// Load the largest share of the ranks, in steps of 5 %, with which a run takes at most so long on this device
    #[arg(long, value_name = "MS", conflicts_with = "ranks", allow_negative_numbers = true)]
    time_budget: Option<f64>,
    /// Choose each layer's form by rule instead of timing them on this device
    #[arg(long)]
    no_tune: bool,
}

impl DeviceArguments {
    /// How a session is set up for runs of `batch` samples.
    fn options(&self, batch: usize, forms: Forms) -> Options {
        Options { batch, forms, ranks: self.ranks, keep_factors: self.keep_factors, ..Options::default() }
    }

    /// A session of as many ranks as were asked for, or as the time allows; and what share that is.
    fn session(&self, device: &Device, artifact: &Artifact, options: &Options) -> Result<(Session, f64)> {
        let thin = || Description::of(artifact).layers.iter().any(|l| l.rank.is_some());
        if (self.ranks < 1.0 || self.time_budget.is_some()) && !thin() {
            print::note(format_args!("note: {} has no layer in factors, so there are no ranks to leave out", artifact.model().name));
        }
        let Some(ms) = self.time_budget else { return Ok((Session::new(device, artifact, options)?, self.ranks)) };
        let budget = Duration::try_from_secs_f64(ms / 1e3).ok().filter(|b| !b.is_zero());
        let budget = budget.ok_or_else(|| Error::invalid(format!("--time-budget {ms}"), "is no positive number of milliseconds"))?;
        let (session, ranks) = Session::within(device, artifact, options, budget)?;
        print::note(format_args!("{:.0} % of the ranks fit in {ms} ms", 100.0 * ranks));
        Ok((session, ranks))
    }
}

impl Command {
    /// The file of figures that it is to write.
    fn figures(&self) -> Option<&Path> {
        match self {
            Self::Run(a) => a.json.as_deref(),
            Self::Eval(a) => a.json.as_deref(),
            Self::Bench(a) => a.json.as_deref(),
            Self::Inspect(a) => a.json.as_deref(),
            Self::Measure(a) => Some(&a.output),
            Self::Devices(a) => a.json.as_deref(),
        }
    }

    fn run(&self) -> Result<()> {
        // Before any work is done for it.
        self.figures().map_or(Ok(()), print::check_figures)?;
        match self {
            Self::Run(a) => run::run(a),
            Self::Eval(a) => eval::run(a),
            Self::Bench(a) => bench::run(a),
            Self::Inspect(a) => inspect::run(a),
            Self::Measure(a) => measure::run(a),
            Self::Devices(a) => devices::run(a),
        }
    }
}

fn main() -> ExitCode {
    print::ended(Cli::parse().command.run())
}

/// Writes `figures` to `path`, if one was asked for.
fn write_json(path: Option<&Path>, figures: &serde_json::Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = format!("{figures:#}\n");
    thinfer::artifact::write_atomic(path, text.as_bytes()).map_err(Error::io(path))
}
