//! `thinferc`: trains networks so that they become low-rank, cuts them into factors and writes `.thin` files.

mod clock;
mod compile;
mod cut;
mod eval;
mod explain;
mod init;
mod inspect;
mod method;
mod output;
mod report;
mod source;
mod sweep;
mod train;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use thinfer::tools::print;

/// Makes trained networks thin: trains, factors, chooses ranks and writes .thin files.
#[derive(Parser)]
#[command(name = "thinferc", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a checkpoint of random weights
    Init(init::Arguments),
    /// Train a network so that it becomes low-rank, or plainly
    Train(train::Args),
    /// Turn a checkpoint into a .thin file
    Compile(compile::Arguments),
    /// Count how many test images a .thin file classifies rightly
    Eval(eval::Arguments),
    /// Accuracy against singular values kept, as CSV and SVG
    Sweep(sweep::Arguments),
    /// Show what a checkpoint or a .thin file holds, layer by layer
    Inspect(inspect::Arguments),
    /// One page with the figures of runs, sweeps, .thin files and measurements
    Report(report::Arguments),
}

fn main() -> ExitCode {
    print::ended(match Cli::parse().command {
        Command::Init(a) => init::run(&a),
        Command::Train(a) => train::run(&a),
        Command::Compile(a) => compile::run(&a),
        Command::Eval(a) => eval::run(&a),
        Command::Sweep(a) => sweep::run(&a),
        Command::Inspect(a) => inspect::run(&a),
        Command::Report(a) => report::run(&a),
    })
}
