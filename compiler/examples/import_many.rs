//! Imports, compiles (dense) and runs many ONNX files in one process: the other half of `tests/onnx/random_graphs.py`.
//!
//! Standard input has one file a line, fields with tabs between them: the path of the ONNX file, where its outputs go, and for each
//! input its name, its type (`f32`, `i64` or `i32`) and the path of its elements, little-endian without a header. All outputs are
//! written as f32, one after the other. Standard output has a line for each, the word first:
//! `right` with the number of elements that were written, `refused` with the reason, `panicked` with the message and its place.

use std::fs;
use std::io::{self, BufRead, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;

use thinfer::artifact::Dtype;
use thinfer::{Array, ArrayView, Device, Forms, Options, Session};
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
        let fields: Vec<&str> = line.split('\t').collect();
        let [model, output, ref inputs @ ..] = fields[..] else {
            return Err(io::Error::other("a line has a model, a place for its outputs, and its inputs"));
        };
        let said = match panic::catch_unwind(AssertUnwindSafe(|| run(&device, Path::new(model), Path::new(output), inputs))) {
            Ok(Ok(len)) => format!("right {len}"),
            Ok(Err(why)) => format!("refused {why}"),
            Err(_) => format!("panicked {}", LAST.lock().map(|l| l.clone()).unwrap_or_default()),
        };
        writeln!(out, "{}", said.replace(['\n', '\r'], " "))?;
        out.flush()?;
    }
    Ok(())
}

/// Elements of the outputs, all samples together.
fn run(device: &Device, model: &Path, output: &Path, inputs: &[&str]) -> Outcome<usize> {
    let (checkpoint, _) = import::import(model)?;
    let graph = checkpoint.meta.graph.clone().ok_or("the file brings no graph")?;
    let options = lower::Options { dense_only: true, ..lower::Options::default() };
    let factored = Factored::new(&graph, &checkpoint, options, &|_, _, _| ())?;
    let artifact = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense)?, Dtype::F32, false)?;
    let options = Options { forms: Forms::Ruled, cache: None, ..Options::default() };
    let mut session = Session::new(device, &artifact, &options)?;
    // What nobody wrote must not be read.
    session.poison();
    let (inputs, []) = inputs.as_chunks() else { return Err("an input has a name, a type and a path".into()) };
    let arrays = inputs.iter().map(|[name, kind, path]| Ok((*name, array(kind, path)?))).collect::<Outcome<Vec<(&str, Array)>>>()?;
    let got: Vec<f32> = match &arrays[..] {
        [(_, Array::F32(one))] if session.outputs().len() == 1 => session.run(one)?,
        _ => {
            let views: Vec<(&str, ArrayView<'_>)> = arrays.iter().map(|(name, array)| (*name, array.into())).collect();
            session.run(&views)?.iter().flat_map(|given| given.data.to_f32()).collect()
        }
    };
    fs::write(output, got.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
    Ok(got.len())
}

/// The elements of an input.
fn array(kind: &str, path: &str) -> Outcome<Array> {
    let bytes = fs::read(path)?;
    Ok(match kind {
        "f32" => Array::F32(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        "i64" => Array::I64(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
        "i32" => Array::I32(bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()),
        other => return Err(format!("an input of type {other}").into()),
    })
}
