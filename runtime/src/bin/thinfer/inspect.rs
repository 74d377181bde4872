//! `thinfer inspect`: what a file holds, and what a device makes of it.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::tools::table::Table;
use thinfer::{Artifact, Device, DeviceKind, Form, LayerChoice, Options, Result, Session};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    model: PathBuf,
    /// Also show the form in which each layer runs on this device (auto, gpu or cpu), and whether factors are multiplied back
    #[arg(long)]
    device: Option<DeviceKind>,
    /// With --device: samples a run
    #[arg(long, default_value_t = 1, requires = "device")]
    batch: usize,
    /// Also write the figures here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let artifact = Artifact::open(&arguments.model)?;
    let description = Description::of(&artifact);
    print::text(&description)?;
    let mut figures = json!(description);
    if let Some(kind) = arguments.device {
        let device = Device::open(kind)?;
        let session = Session::new(&device, &artifact, &Options { batch: arguments.batch, ..Options::default() })?;
        print::line(format_args!("\non {}, batch {}:\n\n{}", device.info(), arguments.batch, forms(session.layers())))?;
        figures["adapter"] = json!(device.info().name);
        for (layer, choice) in figures["layers"].as_array_mut().into_iter().flatten().zip(session.layers()) {
            layer["form"] = json!(choice.form.name());
            layer["multiplied_back"] = json!(is_multiplied_back(choice));
        }
    }
    crate::output::write_json(arguments.json.as_deref(), &figures)
}

fn is_multiplied_back(choice: &LayerChoice) -> bool {
    choice.rank.is_some() && choice.form == Form::Dense
}

/// The form of each layer with a weight, and what tuning measured.
fn forms(layers: &[LayerChoice]) -> Table {
    let mut table = Table::new(["layer", "rank", "runs as", "dense µs", "two-stage µs", "fused µs"]);
    for l in layers.iter().filter(|l| l.macs > 0) {
        let us = |form| l.measured_us.iter().find(|m| m.0 == form).map_or("-".into(), |m| format!("{:.1}", m.1));
        table.row([
            l.name.clone(),
            l.rank.map_or("-".into(), |r| l.input_rank.map_or_else(|| r.to_string(), |q| format!("{q}, {r}"))),
            if is_multiplied_back(l) { "dense, multiplied back" } else { l.form.name() }.into(),
            us(Form::Dense),
            us(Form::TwoStage),
            us(Form::Fused),
        ]);
    }
    table
}
