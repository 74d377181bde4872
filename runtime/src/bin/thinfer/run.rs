//! `thinfer run`: what a network makes of inputs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use thinfer::artifact::{Meaning, Output, TensorSpec, write_atomic};
use thinfer::tools::samples::Samples;
use thinfer::tools::{npy, print};
use thinfer::{ArrayView, Artifact, Device, Error, Forms, NamedArray, Outputs, Result};

use crate::device::DeviceArguments;
use crate::input::{read_all, read_images};

/// Numbers that an output which is no class scores is shown with.
const SHOWN: usize = 8;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    model: PathBuf,
    /// Images (.jpg, .png), one a sample, for a network of one input
    #[arg(value_name = "IMAGE", conflicts_with = "input")]
    images: Vec<PathBuf>,
    /// A .jpg or .png image, or an .npy array of the shape that the network declares (inspect shows it): samples along its sample axis, or one sample without it (u8: pixels, red first; else the network's input). Of a network with several inputs NAME=FILE, once for each
    #[arg(long, value_name = "[NAME=]FILE", required_unless_present = "images")]
    input: Vec<String>,
    /// Also write each output as an .npy array of its declared type and shape into this folder: 0.npy, 1.npy, …, in the network's order
    #[arg(long, value_name = "DIR")]
    outputs: Option<PathBuf>,
    /// How many classes to show for each input
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    #[command(flatten)]
    device: DeviceArguments,
    /// Also write the outputs here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    arguments.outputs.as_deref().map_or(Ok(()), check_folder)?;
    let artifact = Artifact::open(&arguments.model)?;
    let samples = match &arguments.images[..] {
        [] => read_all(&arguments.input, &artifact)?,
        images => read_images(images, &artifact)?,
    };
    let device = Device::open(arguments.device.device)?;
    // One run does not repay timing the forms first.
    let options = arguments.device.options(1, Forms::Ruled);
    let (mut session, ranks) = arguments.device.session(&device, &artifact, &options)?;
    let inputs: Vec<(&str, ArrayView<'_>)> = samples.iter().map(|(name, samples): &(&str, Samples)| (*name, samples.view())).collect();
    let outputs = session.run(&inputs)?;
    let results = shown(&artifact, &outputs, arguments.top.into())?;
    if let Some(folder) = &arguments.outputs {
        write(folder, &outputs)?;
    }
    crate::output::write_json(
        arguments.json.as_deref(),
        &json!({ "adapter": device.info().to_string(), "ranks": ranks, "results": results }),
    )
}

/// Refuses a folder for outputs that is a file, or whose own folder does not exist, before any work is done for it.
fn check_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if folder.exists() {
        return Err(Error::invalid(folder.display().to_string(), "is no folder"));
    }
    print::check_output(folder)
}

/// Writes every output; each file is whole or not there.
fn write(folder: &Path, outputs: &Outputs) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    for (number, NamedArray { shape, data, .. }) in outputs.iter().enumerate() {
        let path = folder.join(format!("{number}.npy"));
        write_atomic(&path, &npy::write_array(shape, data)).map_err(Error::io(&path))?;
    }
    Ok(())
}

/// Shows what every sample gave, a line an output, and as JSON.
fn shown(artifact: &Artifact, outputs: &Outputs, top: usize) -> Result<Vec<Value>> {
    let mut results: Vec<Value> = Vec::new();
    let arrays = artifact.outputs().iter().zip(outputs).enumerate();
    for (number, (output, array)) in arrays {
        let values = array.data.to_f32();
        let len: usize = output.spec.sample_shape().iter().product();
        for (i, sample) in output.spec.by_sample(&values).chunks_exact(len.max(1)).enumerate() {
            let (line, result) = described(artifact, output, sample, i, top);
            print::line(format_args!("{i}: {line}"))?;
            match (number, results.get_mut(i)) {
                (0, _) => results.push(result),
                (_, Some(known)) => known["outputs"][&output.spec.name] = result["output"].clone(),
                (_, None) => {}
            }
        }
    }
    Ok(results)
}

/// What an output of sample `i` is, in a line and as JSON.
fn described(artifact: &Artifact, output: &Output, sample: &[f32], i: usize, top: usize) -> (String, Value) {
    let meaning = output.meaning;
    let Some(probabilities) = meaning.probabilities(sample) else {
        return (summary(&output.spec, sample), json!({ "output": sample }));
    };
    if let Some(at) = sample.iter().position(|x| !(x.is_finite() || meaning == Meaning::LogProbabilities && *x == f32::NEG_INFINITY)) {
        print::note(format_args!("note: input {i} has no class: its output {at} is {}", sample[at]));
    }
    let mut order: Vec<usize> = (0..sample.len()).collect();
    order.sort_by(|&a, &b| sample[b].total_cmp(&sample[a]));
    order.truncate(top);
    let name = |c: usize| artifact.model().classes.get(c).cloned().unwrap_or_else(|| format!("class {c}"));
    let text = |&c: &usize| {
        let logit = if meaning == Meaning::Logits { format!(" ({:.3})", sample[c]) } else { String::new() };
        format!("{} {:.1} %{logit}", name(c), 100.0 * probabilities[c])
    };
    let line = order.iter().map(text).collect::<Vec<_>>().join(", ");
    let json_of = |&c: &usize| json!({ "class": name(c), "probability": probabilities[c], "logit": meaning.logit(sample[c]) });
    (line, json!({ "top": order.iter().map(json_of).collect::<Vec<_>>(), "output": sample }))
}

/// An output that is no scores of classes, in a line: its shape, its range and where it is largest, and how it begins.
fn summary(spec: &TensorSpec, output: &[f32]) -> String {
    let shape = spec.sample_shape();
    let begin: Vec<String> = output.iter().take(SHOWN).map(|x| format!("{x:.4}")).collect();
    let begin = format!("{}{}", begin.join(", "), if output.len() > SHOWN { ", …" } else { "" });
    if output.len() <= SHOWN {
        return format!("'{}' {shape:?}: {begin}", spec.name);
    }
    let not_finite = output.iter().filter(|x| !x.is_finite()).count();
    let finite = || output.iter().copied().enumerate().filter(|(_, x)| x.is_finite());
    let least = finite().map(|(_, x)| x).fold(f32::INFINITY, f32::min);
    let Some((mut at, most)) = finite().reduce(|a, b| if b.1 > a.1 { b } else { a }) else {
        return format!("'{}' {shape:?}: no value is finite; {begin}", spec.name);
    };
    let mean = finite().map(|(_, x)| f64::from(x)).sum::<f64>() / (output.len() - not_finite) as f64;
    let mut place: Vec<usize> = Vec::with_capacity(shape.len());
    for &d in shape.iter().rev() {
        place.insert(0, at % d);
        at /= d;
    }
    let odd = if not_finite > 0 { format!("; {not_finite} not finite") } else { String::new() };
    format!("'{}' {shape:?}: {least:.4} to {most:.4} at {place:?}, mean {mean:.4}{odd}; {begin}", spec.name)
}
