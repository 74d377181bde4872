//! Imports, compiles (dense) and runs many ONNX files in one process: the other half of `tests/onnx/random_graphs.py`.
//!
//! Standard input has one file a line, three paths with tabs between them: the ONNX file, its input and where its output goes,
//! both as little-endian f32 without a header. Standard output has a line for each, the word first:
//! `right` with the number of elements that were written, `refused` with the reason, `panicked` with the message and its place.

use std::fs;
use std::io::{self, BufRead, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;

use thinfer::artifact::Dtype;
use thinfer::{Device, Forms, Options, Session};
use thinfer_compiler::import;
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;

/// Where the last panic was, and what it said.
static LAST: Mutex<String> = Mutex::new(String::new());

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> io::Result<()> {
    panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = LAST.lock() {
            *last = info.to_string();
        }
    }));
    let device = Device::cpu();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut paths = line.split('\t').map(Path::new);
        let (Some(model), Some(input), Some(output)) = (paths.next(), paths.next(), paths.next()) else {
            return Err(io::Error::other("a line has three paths with tabs between them"));
        };
        let said = match panic::catch_unwind(AssertUnwindSafe(|| run(&device, model, input, output))) {
            Ok(Ok(len)) => format!("right {len}"),
            Ok(Err(why)) => format!("refused {why}"),
            Err(_) => format!("panicked {}", LAST.lock().map(|l| l.clone()).unwrap_or_default()),
        };
        writeln!(out, "{}", said.replace(['\n', '\r'], " "))?;
        out.flush()?;
    }
    Ok(())
}

/// Elements of the output, all samples together.
fn run(device: &Device, model: &Path, input: &Path, output: &Path) -> Outcome<usize> {
    let (checkpoint, _) = import::import(model)?;
    let graph = checkpoint.meta.graph.clone().ok_or("the file brings no graph")?;
    let options = lower::Options { dense_only: true, ..lower::Options::default() };
    let factored = Factored::new(&graph, &checkpoint, options, &|_, _, _| ())?;
    let artifact = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense)?, Dtype::F32, false)?;
    let options = Options { forms: Forms::Ruled, cache: None, ..Options::default() };
    let mut session = Session::new(device, &artifact, &options)?;
    // What nobody wrote must not be read.
    session.poison();
    let input: Vec<f32> = fs::read(input)?.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let got = session.run(&input)?;
    fs::write(output, got.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
    Ok(got.len())
}
