//! `thinferc inspect`: what a checkpoint or a .thin file holds.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thinfer::Artifact;
use thinfer::inspect::Description;
use thinfer::print;
use thinfer::table::{Table, count};
use thinfer_compiler::Result;
use thinfer_compiler::factor::Scheme;
use thinfer_compiler::lower::{Options, SchemeChoice, Spectra};
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
    inspect_checkpoint(arguments, arguments.spectra.into())
}

/// Shares of the energy whose ranks are shown.
const ENERGIES: [f64; 3] = [0.5, 0.9, 0.99];

fn inspect_checkpoint(arguments: &Arguments, spectra: Spectra) -> Result<()> {
    let network = arguments.source.source().open()?;
    let watcher = Watcher::new();
    let options = Options { spectra, scheme: SchemeChoice::Only(Scheme::Channel), ..Options::default() };
    let factored = network.factor(options, &|progress| watcher.tell(progress))?;
    drop(watcher);
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
    let (mut figures, mut macs, mut params) = (Vec::new(), 0, 0);
    for (layer, factorings) in factored.layers().iter().zip(factored.factorings()) {
        let (Some(factoring), Some(weighted)) = (factorings.first(), layer.weighted()) else { continue };
        let kernel = weighted.kernel;
        let sigma = factoring.sigma();
        let ranks = ENERGIES.map(|e| energy_rank(&sigma, e));
        let (layer_macs, layer_params) = (weighted.dense_macs(), weighted.dense_params());
        let (first, last) = (sigma.first().copied().unwrap_or(0.0), sigma.last().copied().unwrap_or(0.0));
        let held = network.held.get(&layer.name).map(|f| format!("{} {}", f.scheme, f.rank));
        table.row([
            layer.name.clone(),
            held.clone().unwrap_or_else(|| "dense".into()),
            kernel.columns().to_string(),
            kernel.outputs.to_string(),
            count(layer_macs),
            count(layer_params),
            sigma.len().to_string(),
            ranks[0].to_string(),
            ranks[1].to_string(),
            ranks[2].to_string(),
            format!("{first:.4}"),
            format!("{last:.2e}"),
        ]);
        figures.push(json!({ "name": layer.name, "held": held, "shape": [kernel.columns(), kernel.outputs], "macs": layer_macs, "params": layer_params, "full_rank": sigma.len(), "rank_50": ranks[0], "rank_90": ranks[1], "rank_99": ranks[2], "sigma": sigma }));
        macs += layer_macs;
        params += layer_params;
    }
    let meta = &network.checkpoint.meta;
    print::line(format_args!(
        "{}: {:?} → {:?}, {} MACs, {} parameters",
        network.graph.name,
        network.graph.input,
        network.graph.output_shape()?,
        count(macs),
        count(params)
    ))?;
    if !network.held.is_empty() {
        print::line(format_args!("{} layers are held as factors; what follows is of their products", network.held.len()))?;
    }
    // What the file does not say is left out.
    let said = [("trained by", &meta.method), ("on", &meta.data)];
    let said: String = said.iter().filter_map(|(by, what)| Some(format!("{by} {}; ", what.as_ref()?))).collect();
    print::line(format_args!("{said}input = {}\n", network.preprocess()))?;
    print::text(&table)?;
    let figures = json!({ "model": network.graph.name, "macs": macs, "dense_macs": macs, "params": params, "layers": figures });
    output::write_json(arguments.json.as_deref(), &figures)
}
