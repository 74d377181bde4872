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

use clap::{Args, Parser, Subcommand};
use thinfer::print;
use thinfer::{DeviceKind, Error, Result};

/// Runs compressed networks (.thin files) on any GPU, or on the CPU.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Classify one input or several
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
    /// Choose each layer's form by rule instead of timing them on this device
    #[arg(long)]
    no_tune: bool,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(a) => run::run(&a),
        Command::Eval(a) => eval::run(&a),
        Command::Bench(a) => bench::run(&a),
        Command::Inspect(a) => inspect::run(&a),
        Command::Measure(a) => measure::run(&a),
        Command::Devices(a) => devices::run(&a),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::note(format_args!("error: {error}"));
            ExitCode::from(1)
        }
    }
}

/// Writes `figures` to `path`, if one was asked for.
fn write_json(path: Option<&Path>, figures: &serde_json::Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = format!("{figures:#}\n");
    thinfer::artifact::write_atomic(path, text.as_bytes()).map_err(Error::io(path))
}
