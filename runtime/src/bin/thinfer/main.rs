//! `thinfer`: runs, measures and describes `.thin` files on the devices of this machine.

mod bench;
mod data;
mod device;
mod devices;
mod eval;
mod input;
mod inspect;
mod measure;
mod output;
mod run;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use thinfer::Result;
use thinfer::tools::print;

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
    /// Count how many labelled inputs are classified rightly, or compare every output with another network's
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
