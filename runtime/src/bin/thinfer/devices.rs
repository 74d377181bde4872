//! `thinfer devices`: what there is to run on.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::tools::print;
use thinfer::tools::table::Table;
use thinfer::{Device, Result};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Also write the list here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let devices = Device::list();
    let mut table = Table::new(["device", "backend", "class", "driver"]);
    for d in &devices {
        table.row([d.name.clone(), d.backend.clone(), d.class.name().into(), d.driver.clone()]);
    }
    print::text(&table)?;
    let list: Vec<_> =
        devices.iter().map(|d| json!({ "adapter": d.name, "backend": d.backend, "class": d.class.name(), "driver": d.driver })).collect();
    crate::output::write_json(arguments.json.as_deref(), &json!({ "devices": list }))
}
