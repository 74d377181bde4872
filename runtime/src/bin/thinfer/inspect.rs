//! `thinfer inspect`: what a file holds.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::inspect::Description;
use thinfer::print;
use thinfer::{Artifact, Result};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The .thin file
    model: PathBuf,
    /// Also write the figures here
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let description = Description::of(&Artifact::open(&arguments.model)?);
    print::text(&description)?;
    crate::write_json(arguments.json.as_deref(), &json!(description))
}
