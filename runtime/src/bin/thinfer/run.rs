//! `thinfer run`: classify inputs.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::print;
use thinfer::{Artifact, Device, Forms, Result};

use crate::DeviceArguments;
use crate::input::Samples;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    model: PathBuf,
    /// A .png image, or an .npy array of one sample or of several along its first axis (u8: pixels; float: the network's input)
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
    for (i, logits) in outputs.chunks_exact(session.output_len()).enumerate() {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let largest = f64::from(logits[order[0]]);
        let total: f64 = logits.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
        let top: Vec<(String, f64, f32)> = order
            .into_iter()
            .take(arguments.top.into())
            .map(|c| {
                let name = artifact.model().classes.get(c).cloned().unwrap_or_else(|| format!("class {c}"));
                (name, (f64::from(logits[c]) - largest).exp() / total, logits[c])
            })
            .collect();
        if let Some(at) = logits.iter().position(|x| !x.is_finite()) {
            print::note(format_args!("note: input {i} has no class: its output {at} is {}", logits[at]));
        }
        let text: Vec<String> = top.iter().map(|(name, p, logit)| format!("{name} {:.1} % ({logit:.3})", 100.0 * p)).collect();
        print::line(format_args!("{i}: {}", text.join(", ")))?;
        let top: Vec<_> = top
            .into_iter()
            .map(|(class, probability, logit)| json!({ "class": class, "probability": probability, "logit": logit }))
            .collect();
        results.push(json!({ "top": top, "output": logits }));
    }
    crate::write_json(arguments.json.as_deref(), &json!({ "adapter": device.info().to_string(), "ranks": ranks, "results": results }))
}
