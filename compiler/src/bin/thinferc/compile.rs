//! `thinferc compile`: a checkpoint into a .thin file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use thinfer::artifact::Dtype;
use thinfer::inspect::Description;
use thinfer::table::{Table, count};
use thinfer_compiler::Result;
use thinfer_compiler::lower::{Factored, Spectra};
use thinfer_compiler::rank::{Policy, break_even};

use crate::source::SourceArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// How each layer's rank is chosen: dense, local:KEEP, global:KEEP or energy:E
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
    let ranks = factored.ranks(arguments.ranks)?;
    let dtype = match arguments.dtype {
        DtypeName::F32 => Dtype::F32,
        DtypeName::F16 => Dtype::F16,
    };
    let artifact = factored.emit(arguments.ranks, &ranks, dtype, false)?;
    artifact.save(&arguments.output)?;
    let description = Description::of(&artifact);
    if arguments.explain {
        println!("{}", explain(&factored, &ranks));
    }
    print!("{description}");
    println!("\nwrote {}", arguments.output.display());
    crate::write_json(arguments.json.as_deref(), &json!(description))
}

fn explain(factored: &Factored, ranks: &[Option<usize>]) -> Table {
    let mut table = Table::new([
        "layer",
        "out × in",
        "full rank",
        "chosen",
        "relative error",
        "factors pay up to",
        "MACs of factors",
        "of dense",
        "written as",
    ]);
    for ((layer, svd), rank) in factored.layers().iter().zip(factored.svds()).zip(ranks) {
        let Some(weighted) = layer.weighted() else { continue };
        let (rows, columns, positions) = (weighted.kernel.outputs, weighted.kernel.columns(), weighted.positions());
        let limit = break_even(rows, columns);
        let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".into());
        let written = match rank {
            Some(r) if *r <= limit => "factors",
            Some(_) => "dense: factors would cost more",
            None if svd.is_none() => "dense: not factored",
            None => "dense",
        };
        table.row([
            layer.name.clone(),
            format!("{rows} × {columns}"),
            or_dash(svd.as_ref().map(|s| s.full_rank().to_string())),
            or_dash(rank.map(|r| r.to_string())),
            or_dash(svd.as_ref().zip(*rank).map(|(s, r)| format!("{:.4}", s.relative_error(r)))),
            limit.to_string(),
            or_dash(rank.map(|r| count((r * (rows + columns) * positions) as u64))),
            count(weighted.dense_macs()),
            written.into(),
        ]);
    }
    table
}
