//! `thinferc eval`: the accuracy of a .thin file on a test set.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::{Artifact, Device, DeviceClass, DeviceKind, Forms, Options, Session};
use thinfer_compiler::data::{self, DataSpec, Part};
use thinfer_compiler::eval::{batch, check_fit, evaluate};
use thinfer_compiler::job::{Progress, Stage};
use thinfer_compiler::{Error, Result};

use crate::output;
use crate::watch::Watcher;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    #[arg(value_name = "model.thin")]
    model: PathBuf,
    /// Its test images are judged: mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or glyphs
    #[arg(long, value_name = "SET[:DIR]")]
    data: DataSpec,
    /// auto (a real GPU if there is one, else the CPU), gpu (software adapters too) or cpu
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Images that go through the device at once
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Only the first N test images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Never multiply a factored layer back to its dense form
    #[arg(long)]
    keep_factors: bool,
    /// Also write the figures here
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.limit == Some(0) {
        return Err(Error::invalid("--limit", "must be at least 1"));
    }
    output::check_figures(&arguments.model, arguments.json.as_deref())?;
    let artifact = Artifact::open(&arguments.model)?;
    let fit = artifact.sections().fit(0).map(|fit| (artifact.input(), fit));
    let data = data::load_some(&arguments.data, Part::Test, fit, &|count| (0..count.min(arguments.limit.unwrap_or(count))).collect())?;
    check_fit(&artifact, &data)?;
    let device = Device::open(arguments.device)?;
    let batch = batch(&artifact, arguments.batch);
    let options = Options { batch, forms: Forms::Ruled, keep_factors: arguments.keep_factors, ..Options::default() };
    let mut session = Session::new(&device, &artifact, &options)?;
    let (watcher, total) = (Watcher::new(), data.len());
    let start = Instant::now();
    let accuracy = evaluate(&mut session, &data, |done| watcher.tell(Progress::Stage { stage: Stage::Evaluating, done, total }))?;
    let seconds = start.elapsed().as_secs_f64();
    drop(watcher);
    print::line(format_args!("{accuracy} on {}, {}, batch {}, {seconds:.1} s", data.name, device.info(), batch))?;
    let (d, info) = (Description::of(&artifact), device.info());
    let figures = json!({
        "model": arguments.model.display().to_string(), "data": data.name, "top1": accuracy.percent(), "correct": accuracy.correct, "count": accuracy.count, "macs": d.macs, "dense_macs": d.dense_macs,
        "params": d.params, "dense_params": d.dense_params, "bytes": d.bytes, "batch": batch, "seconds": seconds,
        "adapter": info.name, "backend": info.backend, "software": info.class == DeviceClass::Software,
    });
    output::write_json(arguments.json.as_deref(), &figures)
}
