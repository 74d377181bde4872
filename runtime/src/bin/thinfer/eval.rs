//! `thinfer eval`: accuracy on labelled arrays.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::tools::inspect::Description;
use thinfer::tools::npy::NpyData;
use thinfer::tools::print;
use thinfer::{Artifact, Device, Error, Forms, Result};

use crate::device::DeviceArguments;
use crate::input::{Samples, read_array};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    model: PathBuf,
    /// An .npy array of the shape that the network declares, samples along its sample axis (u8: pixels, red first; else the network's input)
    #[arg(long)]
    inputs: PathBuf,
    /// An .npy array of as many class indices
    #[arg(long)]
    labels: PathBuf,
    /// Samples that go through the device at once
    #[arg(long, default_value_t = 64)]
    batch: usize,
    #[command(flatten)]
    device: DeviceArguments,
    /// Also write the figures here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let artifact = Artifact::open(&arguments.model)?;
    let samples = Samples::read(&arguments.inputs, artifact.input())?;
    let output = &artifact.output().spec;
    if !output.is_line() {
        let why = format!("gives {output}; classes are judged by numbers along one axis");
        return Err(Error::invalid(arguments.model.display().to_string(), why));
    }
    let labels = read_labels(arguments, artifact.output_len())?;
    let device = Device::open(arguments.device.device)?;
    // No more samples go through at once than there are.
    let batch = if output.sample_axis.is_some() { arguments.batch.min(labels.len().max(1)) } else { 1 };
    let options = arguments.device.options(batch, Forms::Ruled);
    let (mut session, ranks) = arguments.device.session(&device, &artifact, &options)?;
    let given = session.run(&[(artifact.input().spec.name.as_str(), samples.view())])?;
    let outputs = given.iter().next().map(|first| first.data.to_f32()).unwrap_or_default();
    let outputs = output.by_sample(&outputs);
    let count = outputs.len() / session.output_len();
    if count != labels.len() {
        return Err(Error::invalid(arguments.labels.display().to_string(), format!("holds {} labels for {count} inputs", labels.len())));
    }
    let correct =
        outputs.chunks_exact(session.output_len()).zip(&labels).filter(|(logits, label)| thinfer::top1(logits) == Some(**label)).count();
    let top1 = 100.0 * correct as f64 / count as f64;
    let d = Description::of(&artifact.with_ranks(ranks)?);
    print::line(format_args!("{top1:.2} % ({correct} of {count}) on {}", device.info()))?;
    let figures = json!({ "top1": top1, "correct": correct, "count": count, "adapter": device.info().to_string(), "ranks": ranks, "macs": d.macs, "dense_macs": d.dense_macs, "params": d.params, "bytes": d.bytes });
    crate::output::write_json(arguments.json.as_deref(), &figures)
}

fn read_labels(arguments: &Arguments, classes: usize) -> Result<Vec<usize>> {
    let fail = |why: String| Error::invalid(arguments.labels.display().to_string(), why);
    let array = read_array(&arguments.labels)?;
    let values: Vec<i64> = match array.data {
        NpyData::U8(v) => v.into_iter().map(i64::from).collect(),
        NpyData::I64(v) => v,
        NpyData::F32(_) => return Err(fail("holds floats; labels are integers".into())),
    };
    let label = |v: i64| {
        usize::try_from(v).ok().filter(|&l| l < classes).ok_or_else(|| fail(format!("holds label {v}; the network has {classes} classes")))
    };
    values.into_iter().map(label).collect()
}
