//! `thinfer measure`: this device's times of a network's layers, in every form that they may be given.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::tools::{latency, print};
use thinfer::{Artifact, Device, DeviceKind, Error, Result};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file; only its layers' sizes matter, not the form that it stores them in
    model: PathBuf,
    /// Samples a run
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// auto (a real GPU if there is one, else the CPU), gpu (software adapters too) or cpu
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// About how long to measure: fewer ranks are tried where there is not the time for more
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", allow_negative_numbers = true)]
    seconds: f64,
    /// The table to write
    #[arg(short, long, value_name = "table.json")]
    pub(crate) output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let output = &arguments.output;
    if arguments.seconds.is_nan() || arguments.seconds <= 0.0 {
        return Err(Error::invalid("--seconds", format!("is {}; it must be positive", arguments.seconds)));
    }
    let artifact = Artifact::open(&arguments.model)?;
    let device = Device::open(arguments.device)?;
    let mut told = 0;
    let table = latency::measure(&device, &artifact, arguments.batch, arguments.seconds, &mut |_, _| {
        told += 1;
        if told % 10 == 0 {
            print::note(format_args!("{told} networks timed"));
        }
    })?;
    crate::output::write_json(Some(output), &json!(table))?;
    print::line(&table)?;
    print::line(format_args!("wrote {}", output.display()))
}
