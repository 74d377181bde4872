//! `thinfer run`: what a network makes of inputs.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::artifact::{Meaning, TensorSpec};
use thinfer::tools::print;
use thinfer::{Artifact, Device, Forms, Result};

use crate::DeviceArguments;
use crate::input::Samples;

/// Numbers that an output which is no class scores is shown with.
const SHOWN: usize = 8;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    model: PathBuf,
    /// A .png image, or an .npy array of the shape that the network declares (inspect shows it): samples along its sample axis, or one sample without it (u8: pixels, red first; else the network's input)
    #[arg(long)]
    input: PathBuf,
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
    let artifact = Artifact::open(&arguments.model)?;
    let samples = Samples::read(&arguments.input, &artifact)?;
    let device = Device::open(arguments.device.device)?;
    // One run does not repay timing the forms first.
    let options = arguments.device.options(1, Forms::Ruled);
    let (mut session, ranks) = arguments.device.session(&device, &artifact, &options)?;
    let outputs = samples.run(&mut session)?;
    let mut results = Vec::new();
    let (spec, meaning) = (&artifact.output().spec, artifact.output().meaning);
    for (i, output) in spec.by_sample(&outputs).chunks_exact(session.output_len()).enumerate() {
        let Some(probabilities) = meaning.probabilities(output) else {
            print::line(format_args!("{i}: {}", summary(spec, output)))?;
            results.push(json!({ "output": output }));
            continue;
        };
        if let Some(at) = output.iter().position(|x| !(x.is_finite() || meaning == Meaning::LogProbabilities && *x == f32::NEG_INFINITY)) {
            print::note(format_args!("note: input {i} has no class: its output {at} is {}", output[at]));
        }
        let mut order: Vec<usize> = (0..output.len()).collect();
        order.sort_by(|&a, &b| output[b].total_cmp(&output[a]));
        order.truncate(arguments.top.into());
        let name = |c: usize| artifact.model().classes.get(c).cloned().unwrap_or_else(|| format!("class {c}"));
        let text = |&c: &usize| {
            let logit = if meaning == Meaning::Logits { format!(" ({:.3})", output[c]) } else { String::new() };
            format!("{} {:.1} %{logit}", name(c), 100.0 * probabilities[c])
        };
        print::line(format_args!("{i}: {}", order.iter().map(text).collect::<Vec<_>>().join(", ")))?;
        let top = |&c: &usize| json!({ "class": name(c), "probability": probabilities[c], "logit": meaning.logit(output[c]) });
        results.push(json!({ "top": order.iter().map(top).collect::<Vec<_>>(), "output": output }));
    }
    crate::write_json(arguments.json.as_deref(), &json!({ "adapter": device.info().to_string(), "ranks": ranks, "results": results }))
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
