//! ONNX files: read, folded, rewritten and turned into a graph with its parameters, named as in the file.

mod array;
mod body;
mod branch;
#[cfg(test)]
mod conformance;
mod convert;
mod dims;
mod elem;
mod eval;
mod external;
#[cfg(test)]
mod families;
mod fold;
#[cfg(test)]
mod hostile;
mod legacy;
mod model;
mod names;
mod node;
mod proto;
mod rules;
mod scope;
#[cfg(test)]
mod several;
mod sizes;
mod view;

use std::borrow::Cow;
use std::path::Path;

use super::{Checkpoint, InputShape, Meta, Rewrite};
use crate::error::{Error, Result};
use model::Model;
use thinfer::artifact::{InputKind, Preprocess};

/// Reads an ONNX file, with the axes that it leaves free as `shapes` say, as a checkpoint that brings its own graph, and says which
/// rewrites made it.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] for a file that is damaged or contradicts itself; [`Error::Unsupported`] listing
/// every node that has no place in a graph, with the reason.
pub(super) fn load(path: &Path, shapes: &[InputShape]) -> Result<(Checkpoint, Vec<Rewrite>)> {
    read(path, std::fs::read(path).map_err(Error::io(path))?, shapes)
}

/// The same of a file's bytes.
fn read(path: &Path, bytes: Vec<u8>, shapes: &[InputShape]) -> Result<(Checkpoint, Vec<Rewrite>)> {
    let fail = |why: String| Error::Checkpoint { path: path.into(), why };
    let mut model = Model::read(bytes, path.parent().unwrap_or(Path::new(""))).map_err(fail)?;
    for shape in shapes {
        model.fix(&shape.name, &shape.shape).map_err(|why| Error::invalid(format!("--shape {shape}"), why))?;
    }
    let unsupported = |nodes: Vec<String>| Error::Unsupported { path: path.into(), ends: Vec::new(), nodes };
    legacy::modernise(&mut model).map_err(unsupported)?;
    let folded = fold::constants(&mut model).map_err(fail)?;
    let mut rewrites: Vec<Rewrite> = Vec::new();
    let mut note = |rule: Cow<'static, str>, nodes: Vec<String>| {
        if !nodes.is_empty() {
            rewrites.push(Rewrite { rule, nodes });
        }
    };
    note("constants folded".into(), folded.nodes);
    note("branches chosen by a constant".into(), folded.branches);
    rules::apply(&mut model);
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let refuse = |faults: convert::Faults| Error::Unsupported { path: path.into(), ends: faults.ends, nodes: faults.nodes };
    let converted = convert::attempts::convert(&model, &name).map_err(refuse)?;
    converted.notes.into_iter().for_each(|(rule, nodes)| note(rule, nodes));
    // A network that declares integers scales them itself.
    let inputs = &converted.ends.inputs;
    let pixels = inputs.iter().find(|i| i.kind == InputKind::Image).or(inputs.first());
    let preprocess = pixels.and_then(|i| i.spec.element.range()).map(|_| Preprocess::none());
    let meta = Meta { model: Some(name), graph: Some(converted.graph), ends: Some(converted.ends), preprocess, ..Meta::default() };
    Ok((Checkpoint { params: converted.params, meta }, rewrites))
}
