//! `thinferc compile`: a checkpoint into a .thin file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use thinfer::artifact::Dtype;
use thinfer::inspect::Description;
use thinfer::table::{Table, count};
use thinfer_compiler::Result;
use thinfer_compiler::lower::{Factored, Spectra};
use thinfer_compiler::rank::{Cut, Policy};

use crate::source::SourceArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// How each layer's rank is chosen: dense, local:KEEP, global:KEEP, energy:E, macs:F or params:F
    #[arg(long, value_name = "POLICY")]
    ranks: Policy,
    /// Layers that stay dense
    #[arg(long, value_delimiter = ',', value_name = "LAYER,..")]
    skip: Vec<String>,
    /// Whose singular values decide: of the weights with batch norm folded in, or as they were trained
    #[arg(long, value_enum, default_value_t = SpectraName::Folded)]
    spectra: SpectraName,
    /// How weights are stored; sums are f32 either way
    #[arg(long, value_enum, default_value_t = DtypeName::F32)]
    dtype: DtypeName,
    /// Show what was decided for each layer and why
    #[arg(long)]
    explain: bool,
    /// Also write the figures here
    #[arg(long)]
    json: Option<PathBuf>,
    /// The .thin file to write
    #[arg(short, long, value_name = "model.thin")]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SpectraName {
    Folded,
    Raw,
}

impl From<SpectraName> for Spectra {
    fn from(name: SpectraName) -> Self {
        match name {
            SpectraName::Folded => Self::Folded,
            SpectraName::Raw => Self::Raw,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum DtypeName {
    F32,
    F16,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    arguments.ranks.check()?;
    crate::check_output(&arguments.output)?;
    let source = arguments.source.load()?;
    let factored = source.factor(arguments.spectra.into(), &arguments.skip, arguments.ranks == Policy::Dense)?;
    let cuts = factored.cuts(arguments.ranks)?;
    let dtype = match arguments.dtype {
        DtypeName::F32 => Dtype::F32,
        DtypeName::F16 => Dtype::F16,
    };
    let artifact = factored.emit(arguments.ranks, &cuts, dtype, false)?;
    artifact.save(&arguments.output)?;
    let description = Description::of(&artifact);
    if arguments.explain {
        println!("{}", explain(&factored, &cuts));
    }
    print!("{description}");
    println!("\nwrote {}", arguments.output.display());
    crate::write_json(arguments.json.as_deref(), &json!(description))
}

fn explain(factored: &Factored, cuts: &[Cut]) -> Table {
    let mut table = Table::new(["layer", "out × in", "scheme", "full rank", "chosen", "energy lost", "MACs", "of dense", "written as"]);
    let mut choices = factored.choices().into_iter();
    for (layer, cut) in factored.layers().iter().zip(cuts) {
        let (Some(weighted), Some(choice)) = (layer.weighted(), choices.next()) else { continue };
        let (rows, columns) = (weighted.kernel.outputs, weighted.kernel.columns());
        let factoring = cut.and_then(|(scheme, _)| choice.factorings.iter().find(|f| f.scheme() == scheme));
        let lost = factoring.zip(*cut).and_then(|(f, (_, rank))| f.lost(rank).ok());
        let (as_cut, dense) = (choice.candidate(*cut, 0.0), choice.candidate(None, 0.0));
        let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".into());
        let written = match cut {
            Some(_) if as_cut.macs < dense.macs || as_cut.params < dense.params => "factors",
            Some(_) => "dense: factors would cost more",
            None if choice.factorings.is_empty() => "dense: not factored",
            None => "dense",
        };
        table.row([
            layer.name.clone(),
            format!("{rows} × {columns}"),
            or_dash(cut.map(|(scheme, _)| scheme.to_string())),
            or_dash(factoring.map(|f| f.full_rank().to_string())),
            or_dash(cut.map(|(_, rank)| rank.to_string())),
            or_dash(lost.map(|l| format!("{:.3} %", 100.0 * l))),
            count(as_cut.macs),
            count(dense.macs),
            written.into(),
        ]);
    }
    table
}
