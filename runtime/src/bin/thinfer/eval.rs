//! `thinfer eval`: accuracy on labelled samples, and agreement with another network.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use thinfer::tools::agreement::{self, Comparison};
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::{Artifact, Device, Error, Forms, Outputs, Result, Session};

use crate::data::{Data, read_labels};
use crate::device::DeviceArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    model: PathBuf,
    /// An .npy array of the shape that the network declares, samples along its sample axis (u8: pixels, red first; else the network's input), an .npz file of arrays by the names of the inputs, or a folder of images (.jpg, .png), with a folder in it for each class if they have labels
    #[arg(long)]
    inputs: PathBuf,
    /// An .npy array of as many class indices. Without it labels are an .npz file's array 'labels', or the folders of a folder of images, sorted by name
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Also compare every output with that of this .thin file, such as the dense network: for networks without classes, and instead of labels
    #[arg(long, value_name = "DENSE.thin")]
    against: Option<PathBuf>,
    /// Only the first N samples; no more images are decoded
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
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
    let dense = arguments.against.as_deref().map(Artifact::open).transpose()?;
    let mut comparison = dense.as_ref().map(|dense| Comparison::new(artifact.outputs(), dense.outputs())).transpose()?;
    let data = Data::open(&arguments.inputs, &artifact, arguments.limit.map(|n| n as usize))?;
    let labels = arguments.labels(&artifact, &data, dense.is_some())?;
    let device = Device::open(arguments.device.device)?;
    // No more samples go through at once than there are.
    let batch = data.batch(arguments.batch);
    let options = arguments.device.options(batch, Forms::Ruled);
    let (mut session, ranks) = arguments.device.session(&device, &artifact, &options)?;
    // The other network is judged by as it is stored.
    let whole = thinfer::Options { ranks: 1.0, ..options.clone() };
    let mut other = dense.as_ref().map(|dense| Session::new(&device, dense, &whole)).transpose()?;
    let mut correct = 0;
    for start in (0..data.count).step_by(batch.max(1)) {
        let range = start..(start + batch.max(1)).min(data.count);
        let part = data.part(range.clone())?;
        let outputs = part.run(&mut session)?;
        if let (Some(comparison), Some(other)) = (&mut comparison, &mut other) {
            comparison.add(&outputs, &part.run(other)?);
        }
        if let Some(labels) = &labels {
            correct += right(&artifact, &outputs, &labels[range]);
        }
    }
    let d = Description::of(&artifact.with_ranks(ranks)?);
    let count = data.count;
    let mut figures = json!({ "count": count, "adapter": device.info().to_string(), "ranks": ranks, "macs": d.macs, "dense_macs": d.dense_macs, "params": d.params, "bytes": d.bytes });
    if labels.is_some() {
        let top1 = 100.0 * correct as f64 / count as f64;
        print::line(format_args!("{top1:.2} % ({correct} of {count}) on {}", device.info()))?;
        (figures["top1"], figures["correct"]) = (json!(top1), json!(correct));
    }
    if let (Some(comparison), Some(dense), Some(path)) = (comparison, &dense, &arguments.against) {
        let agreements = comparison.agreements();
        print::line(format_args!("against {}, {count} samples on {}\n", path.display(), device.info()))?;
        print::text(agreement::table(&agreements))?;
        figures["agreement"] = json!(agreements);
        figures["against"] = of_other(dense);
    }
    crate::output::write_json(arguments.json.as_deref(), &figures)
}

/// What is told of the other network.
fn of_other(artifact: &Artifact) -> Value {
    let d = Description::of(artifact);
    json!({ "macs": d.macs, "dense_macs": d.dense_macs, "params": d.params, "bytes": d.bytes })
}

/// How many samples' largest element of the first output is their label's.
fn right(artifact: &Artifact, outputs: &Outputs, labels: &[usize]) -> usize {
    let Some(first) = outputs.iter().next().map(|first| first.data.to_f32()) else { return 0 };
    let scores = artifact.output().spec.by_sample(&first);
    scores.chunks_exact(artifact.output_len().max(1)).zip(labels).filter(|(scores, label)| thinfer::top1(scores) == Some(**label)).count()
}

impl Arguments {
    /// The class of each sample, if the network has classes and the data have labels; else they must be `compared`.
    fn labels(&self, artifact: &Artifact, data: &Data, compared: bool) -> Result<Option<Vec<usize>>> {
        let output = &artifact.output().spec;
        let model = || self.model.display().to_string();
        let read = self.labels.as_deref().map(read_labels).transpose()?;
        let is_line = output.is_line();
        if !is_line && (read.is_some() || !compared) {
            return Err(Error::invalid(
                model(),
                format!("gives {output}; classes are judged by numbers along one axis, other outputs --against DENSE.thin"),
            ));
        }
        let (Some(found), true) = (read.as_ref().or(data.labels.as_ref()), is_line) else {
            let why = "is needed, or labels: --labels, or a folder of images with a folder for each class";
            return if compared { Ok(None) } else { Err(Error::invalid("--against", why)) };
        };
        let place = self.labels.as_ref().unwrap_or(&self.inputs).display().to_string();
        let fail = |why: String| Error::invalid(&place, why);
        let classes = artifact.output_len();
        if found.len() < data.count || (self.limit.is_none() && found.len() > data.count) {
            return Err(fail(format!("holds {} labels for {} inputs", found.len(), data.count)));
        }
        let by_name = by_name(&data.classes, &artifact.model().classes).filter(|_| read.is_none());
        if read.is_none() && by_name.is_none() && !data.classes.is_empty() && data.classes.len() != classes {
            return Err(fail(format!("has {} folders of classes, the network {classes} outputs", data.classes.len())));
        }
        let label = |&v: &i64| {
            let label = usize::try_from(v).ok();
            let label = label.and_then(|l| by_name.as_ref().map_or(Some(l), |numbers| numbers.get(l).copied()));
            label.filter(|&l| l < classes).ok_or_else(|| fail(format!("holds label {v}; the network has {classes} classes")))
        };
        found.iter().take(data.count).map(label).collect::<Result<_>>().map(Some)
    }
}

/// The number of each folder's class among those of the network, if it names them all.
fn by_name(folders: &[String], classes: &[String]) -> Option<Vec<usize>> {
    let numbers: Option<Vec<usize>> = folders.iter().map(|folder| classes.iter().position(|class| class == folder)).collect();
    numbers.filter(|numbers| !numbers.is_empty())
}
