//! `thinferc inspect`: what a checkpoint or a .thin file holds.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use thinfer::Artifact;
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::tools::table::{Table, count};
use thinfer_compiler::Result;
use thinfer_compiler::job::LayerSpectrum;
use thinfer_compiler::rank::energy_rank;

use crate::cut::SpectraName;
use crate::output;
use crate::source::SourceArguments;
use crate::watch::Watcher;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The file: a .thin file, or a checkpoint
    #[command(flatten)]
    source: SourceArguments,
    /// For a checkpoint: its spectra with batch norm folded in, or as they were trained
    #[arg(long, value_enum, default_value_t = SpectraName::Folded)]
    spectra: SpectraName,
    /// Also write the figures here
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    output::check_figures(&arguments.source.file, arguments.json.as_deref())?;
    if arguments.source.file.extension().is_some_and(|e| e == "thin") {
        let description = Description::of(&Artifact::open(&arguments.source.file)?);
        print::text(&description)?;
        return output::write_json(arguments.json.as_deref(), &json!(description));
    }
    inspect_checkpoint(arguments)
}

/// Shares of the energy whose ranks are shown.
const ENERGIES: [f64; 3] = [0.5, 0.9, 0.99];

fn inspect_checkpoint(arguments: &Arguments) -> Result<()> {
    let network = arguments.source.source().open()?;
    let watcher = Watcher::new();
    let layers = network.layers(arguments.spectra.into(), &|progress| watcher.tell(progress))?;
    drop(watcher);
    let (macs, params): (u64, u64) = (layers.iter().map(|l| l.macs).sum(), layers.iter().map(|l| l.params).sum());
    print::line(format_args!(
        "{}: {:?} → {:?}, {} MACs, {} parameters",
        network.graph.name,
        network.input.value_shape,
        network.graph.output_shape()?,
        count(macs),
        count(params)
    ))?;
    if !network.held.is_empty() {
        print::line(format_args!("{} layers are held as factors; what follows is of their products", network.held.len()))?;
    }
    // What the file does not say is left out.
    let meta = &network.checkpoint.meta;
    let said = [("trained by", &meta.method), ("on", &meta.data)];
    let said: String = said.iter().filter_map(|(by, what)| Some(format!("{by} {}; ", what.as_ref()?))).collect();
    let fit = network.fit.map(|fit| format!(", images of other sizes {fit}")).unwrap_or_default();
    print::line(format_args!("{said}input = {}{fit}\n", network.preprocess()))?;
    print::text(table(&layers))?;
    let layers: Vec<Value> = layers.iter().map(figures).collect();
    let figures = json!({ "model": network.graph.name, "macs": macs, "dense_macs": macs, "params": params, "layers": layers });
    output::write_json(arguments.json.as_deref(), &figures)
}

/// The fewest singular values that hold each of [`ENERGIES`].
fn ranks(layer: &LayerSpectrum) -> [usize; 3] {
    ENERGIES.map(|e| energy_rank(&layer.sigma, e))
}

fn held(layer: &LayerSpectrum) -> Option<String> {
    layer.held.map(|(scheme, rank)| format!("{scheme} {rank}"))
}

fn table(layers: &[LayerSpectrum]) -> Table {
    let mut table = Table::new([
        "layer",
        "held as",
        "in",
        "out",
        "MACs",
        "parameters",
        "full rank",
        "50 % energy",
        "90 %",
        "99 %",
        "largest σ",
        "smallest σ",
    ]);
    for layer in layers {
        let (first, last) = (layer.sigma.first().copied().unwrap_or(0.0), layer.sigma.last().copied().unwrap_or(0.0));
        let ranks = ranks(layer);
        table.row([
            layer.name.clone(),
            held(layer).unwrap_or_else(|| "dense".into()),
            layer.inputs.to_string(),
            layer.outputs.to_string(),
            count(layer.macs),
            count(layer.params),
            layer.sigma.len().to_string(),
            ranks[0].to_string(),
            ranks[1].to_string(),
            ranks[2].to_string(),
            format!("{first:.4}"),
            format!("{last:.2e}"),
        ]);
    }
    table
}

fn figures(layer: &LayerSpectrum) -> Value {
    let ranks = ranks(layer);
    json!({
        "name": layer.name, "held": held(layer), "shape": [layer.inputs, layer.outputs], "macs": layer.macs, "params": layer.params,
        "full_rank": layer.sigma.len(), "rank_50": ranks[0], "rank_90": ranks[1], "rank_99": ranks[2], "sigma": layer.sigma,
    })
}
