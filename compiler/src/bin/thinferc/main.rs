//! `thinferc`: trains networks so that they become low-rank, cuts them into factors and writes `.thin` files.

mod clock;
mod compile;
mod cut;
mod eval;
mod init;
mod inspect;
mod method;
mod report;
mod source;
mod sweep;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use thinfer::tools::print;
use thinfer_compiler::{Error, Result};

/// Makes trained networks thin: trains, factors, chooses ranks and writes .thin files.
#[derive(Parser)]
#[command(name = "thinferc", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Of a checkpoint without a word of its network.
const UNNAMED: &str = "does not say which architecture it holds; give --model NAME (thinferc compile --help lists them), or export the network as ONNX, which brings its own";

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
        Command::Train(a) => train::run(a),
        Command::Compile(a) => compile::run(&a),
        Command::Eval(a) => eval::run(&a),
        Command::Sweep(a) => sweep::run(&a),
        Command::Inspect(a) => inspect::run(&a),
        Command::Report(a) => report::run(&a),
    })
}

/// Writes `figures` to `path`, if one was asked for.
fn write_json(path: Option<&Path>, figures: &serde_json::Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    thinfer_compiler::files::write_atomic(path, format!("{figures:#}\n").as_bytes())
}

/// Refuses to write a .thin file over what is none: a checkpoint whose name was given twice would be lost.
fn check_replaced(path: &Path) -> Result<()> {
    match thinfer_compiler::files::first_bytes(path) {
        Some(start) if &start != b"THIN" => {
            Err(Error::invalid(path.display().to_string(), "is there already and is no .thin file: it stays, choose another name"))
        }
        _ => Ok(()),
    }
}

/// Refuses a file of figures that cannot be written, or that is `read` by the same command.
fn check_figures(read: &Path, json: Option<&Path>) -> Result<()> {
    let Some(json) = json else { return Ok(()) };
    check_outputs(&[read], &[json])?;
    Ok(print::check_figures(json)?)
}

/// Refuses outputs that cannot be written, and such as would be written over each other or over one of the files `read`,
/// before any work is done for them.
fn check_outputs(read: &[&Path], outputs: &[&Path]) -> Result<()> {
    for (at, path) in outputs.iter().enumerate() {
        print::check_output(path)?;
        let is_among = |others: &[&Path]| others.iter().any(|other| place(other) == place(path));
        if is_among(read) {
            return Err(Error::invalid(path.display().to_string(), "is what is read: choose another name"));
        }
        if is_among(&outputs[..at]) {
            return Err(Error::invalid(path.display().to_string(), "would be written twice: choose another name for one of the two"));
        }
    }
    Ok(())
}

/// Where a file is or will be, however its path is spelled.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let to_be = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(to_be).unwrap_or_else(|| path.into())
}

/// Refuses a folder to write to that is a file.
fn check_folder(path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Error::invalid(path.display().to_string(), "is a file; a folder is needed"));
    }
    Ok(())
}
