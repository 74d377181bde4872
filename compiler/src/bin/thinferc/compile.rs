//! `thinferc compile`: a checkpoint into a .thin file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use thinfer::artifact::{Artifact, Dtype, Meaning};
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::tools::table::{Table, count};
use thinfer_compiler::data::{self, Augment, DataSpec, Part};
use thinfer_compiler::eval::check_fit;
use thinfer_compiler::import;
use thinfer_compiler::judge::Judge;
use thinfer_compiler::lower::{Factored, Options, fused};
use thinfer_compiler::rank::{Cut, JUDGEMENTS, Policy};
use thinfer_compiler::{Error, Result};

use crate::clock::{self, ClockArguments, Measured};
use crate::cut::{CutArguments, SchemeName, SpectraName};
use crate::source::{Source, SourceArguments, note_unknown_pixels};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// How each layer's rank is chosen: dense, local:KEEP, global:KEEP, energy:E, macs:F, params:F (F: share of the dense
    /// figure), latency:F (the least error within F of the dense network's time on a device), accuracy:POINTS (the cheapest
    /// network that loses at most so many) or keep (layers that the file holds as
    /// factors, such as a run's factors.safetensors, stay so, uncut; under any other policy they are multiplied out first)
    #[arg(long, value_name = "POLICY")]
    ranks: Policy,
    /// How a convolution is taken apart: k×k then 1×1 (channel), k×1 then 1×k (spatial), 1×1, k×k, 1×1 (tucker2), or for
    /// each layer whichever suits the policy
    #[arg(long, value_enum, default_value_t = SchemeName::Auto)]
    scheme: SchemeName,
    #[command(flatten)]
    cut: CutArguments,
    #[command(flatten)]
    clock: ClockArguments,
    /// For accuracy:POINTS: a set whose test images decide, of which no accuracy is then to be reported; else disagreement with the dense network on shifted
    /// training images is judged, which the network has seen
    #[arg(long, value_name = "SET:DIR")]
    holdout: Option<DataSpec>,
    /// How weights are stored; sums are f32 either way
    #[arg(long, value_enum, default_value_t = DtypeName::F32)]
    dtype: DtypeName,
    /// Also write the cut network as a checkpoint with layers as factors and batch norm unfolded, to be trained on: train
    /// --from FILE --method finetune, then compile its factors.safetensors with --ranks keep
    #[arg(long, value_name = "FILE.safetensors")]
    emit_factors: Option<PathBuf>,
    /// What the outputs are, where the end of the network does not tell it: logits (scores of classes whose softmax are
    /// probabilities), probabilities, log-probabilities or independent (a probability for each class), or none (no scores of
    /// classes). A network of the zoo, one that names its classes and one whose output is called logits give logits
    #[arg(long, value_enum, value_name = "KIND")]
    scores: Option<ScoresName>,
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

/// Nodes that a rewrite is shown with.
const SHOWN: usize = 4;
/// Training images to judge a drop on.
const JUDGED_IMAGES: usize = 2000;

#[derive(Clone, Copy, ValueEnum)]
enum ScoresName {
    Logits,
    Probabilities,
    LogProbabilities,
    Independent,
    None,
}

impl From<ScoresName> for Meaning {
    fn from(name: ScoresName) -> Self {
        match name {
            ScoresName::Logits => Self::Logits,
            ScoresName::Probabilities => Self::Probabilities,
            ScoresName::LogProbabilities => Self::LogProbabilities,
            ScoresName::Independent => Self::Independent,
            ScoresName::None => Self::Values,
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
    refuse_idle(arguments)?;
    let read = [Some(arguments.source.file.as_path()), arguments.clock.latency_table.as_deref()];
    let outputs = [Some(arguments.output.as_path()), arguments.emit_factors.as_deref(), arguments.json.as_deref()];
    crate::check_outputs(&read.into_iter().flatten().collect::<Vec<_>>(), &outputs.into_iter().flatten().collect::<Vec<_>>())?;
    arguments.json.as_deref().map_or(Ok(()), print::check_figures)?;
    crate::check_replaced(&arguments.output)?;
    let given = arguments.clock.read(arguments.ranks)?;
    let source = arguments.source.load()?;
    // Batch norm that is unfolded for a trainer has the statistics of images as training shows them.
    let shown = match (&arguments.emit_factors, &arguments.cut.calibrate) {
        (Some(_), Some(spec)) => {
            let chosen = source.training_images(&spec.data, 0, arguments.cut.images())?;
            Some(source.inputs(&Augment::of(spec.data.kind).map_or_else(|| chosen.clone(), |how| how.all(&chosen, 0)))?)
        }
        _ => None,
    };
    let keep = arguments.ranks == Policy::Keep;
    let dtype = match arguments.dtype {
        DtypeName::F32 => Dtype::F32,
        DtypeName::F16 => Dtype::F16,
    };
    // Times are measured, or found not to fit, before any layer is taken apart.
    let timed = match (&given, arguments.ranks) {
        (None, Policy::Latency(_)) | (Some(_), _) => {
            let folded = source.factor(Options { dense_only: true, ..Options::default() })?;
            let dense = folded.emit(Policy::Dense, &folded.cuts(Policy::Dense)?, dtype, false)?;
            Some((arguments.clock.table(given, &dense, dtype)?, dense))
        }
        _ => None,
    };
    let options = Options {
        dense_only: keep || arguments.ranks == Policy::Dense,
        scores: arguments.scores.map(Into::into),
        kept: if keep { source.held.clone() } else { BTreeMap::new() },
        ..arguments.cut.options(&source, arguments.scheme.into())?
    };
    let factored = source.factor(options)?;
    let timing = timed.as_ref().map(|(table, _)| factored.timing(table)).transpose()?;
    let cuts = match arguments.ranks {
        Policy::Accuracy(points) => {
            let judge = judge(arguments, &source, &factored)?;
            if let Some(images) = judged_on(arguments) {
                print::note(format_args!("ranks are decided by {images}"));
            }
            if let Some(spec) = &arguments.holdout {
                print::note(format_args!(
                    "note: these decide the ranks, so an accuracy that is later measured on the test images of {} flatters",
                    spec.set()
                ));
            }
            let mut tried = 0;
            factored.cheapest(points, dtype, timing.as_ref(), |artifact| {
                let drop = judge.drop(artifact)?;
                let d = Description::of(artifact);
                tried += 1;
                print::note(format_args!(
                    "{tried} of at most {JUDGEMENTS}: at {:.1} % of the dense MACs {drop:.2} points lost",
                    100.0 * d.macs as f64 / d.dense_macs as f64
                ));
                Ok(drop)
            })?
        }
        Policy::Latency(share) => match &timing {
            Some(timing) => factored.within(share, timing)?,
            None => factored.cuts(arguments.ranks)?,
        },
        policy => factored.cuts(policy)?,
    };
    let mut thinned = factored.thin(arguments.ranks, &cuts, false)?;
    if let Some(images) = judged_on(arguments) {
        thinned = thinned.judged_on(&images);
    }
    if let Some((table, _)) = &timed {
        thinned = thinned.chosen_for(&table.adapter, table.batch);
    }
    let (artifact, denormals) = thinned.artifact_and_denormals(dtype)?;
    let factors = arguments
        .emit_factors
        .as_deref()
        .map(|path| Ok::<_, Error>((path, source.with(&thinned, arguments.ranks, shown.as_ref())?)))
        .transpose()?;
    artifact.save(&arguments.output)?;
    if let Some((path, checkpoint)) = &factors {
        import::save(path, checkpoint)?;
    }
    let description = Description::of(&artifact);
    if arguments.explain {
        if let Some(table) = rewrites(&source, &factored) {
            print::line(table)?;
        }
        print::line(explain(&factored, arguments.ranks, &cuts))?;
    }
    let mut figures = json!(description);
    if let (Some((table, dense)), Some(timing)) = (&timed, &timing) {
        let measured = if arguments.explain { Measured::new(table, &artifact, dense)? } else { None };
        if arguments.explain {
            print::line(clock::explain(&factored, timing, &cuts, measured.as_ref()))?;
        }
        let weighted = factored.layers().iter().zip(&cuts).filter(|(l, _)| l.weighted().is_some()).map(|(_, cut)| *cut);
        let (predicted, whole) = (1e-3 * timing.total_us(&weighted.collect::<Vec<_>>()), 1e-3 * timing.dense_us());
        print::line(format_args!(
            "predicted {predicted:.3} ms of dense {whole:.3} ms ({:.1} %) on {}, batch {}",
            100.0 * predicted / whole,
            table.adapter,
            table.batch
        ))?;
        figures["predicted_ms"] = json!(predicted);
        figures["predicted_dense_ms"] = json!(whole);
        figures["adapter"] = json!(table.adapter);
        figures["batch"] = json!(table.batch);
        if let Some(Measured { ms, dense_ms, .. }) = measured {
            print::line(format_args!("measured {ms:.3} ms of dense {dense_ms:.3} ms ({:.1} %)", 100.0 * ms / dense_ms))?;
            figures["measured_ms"] = json!(ms);
            figures["measured_dense_ms"] = json!(dense_ms);
        }
        print::line("")?;
    }
    print::text(&description)?;
    if source.says_nothing_of_pixels {
        note_unknown_pixels(&arguments.source.file);
    }
    if denormals > 0 {
        let values = if denormals == 1 { "1 denormal value is" } else { &format!("{denormals} denormal values are") };
        print::note(format_args!("note: {values} written as zero: below {:.1e} they would only cost time", f32::MIN_POSITIVE));
    }
    note_unknown_scores(arguments, &artifact);
    print::line(format_args!("\nwrote {}", arguments.output.display()))?;
    if let Some((path, _)) = factors {
        print::line(format_args!("wrote {}", path.display()))?;
    }
    crate::write_json(arguments.json.as_deref(), &figures)
}

/// Tells that nothing says what a line of numbers is that the network gives.
fn note_unknown_scores(arguments: &Arguments, artifact: &Artifact) {
    let (output, count) = (artifact.output(), artifact.output_len());
    if arguments.scores.is_none() && output.meaning == Meaning::Values && output.spec.is_line() && count > 1 {
        print::note(format_args!(
            "note: nothing says what the {count} numbers of '{}' are, so thinfer run shows them as an array; --scores logits says that they are scores of classes",
            output.spec.name
        ));
    }
}

/// Refuses what says how to cut beside a policy that cuts nothing, and what judges beside one that asks for no judgement.
fn refuse_idle(arguments: &Arguments) -> Result<()> {
    let (policy, cut) = (arguments.ranks, &arguments.cut);
    // Batch norm that is unfolded from a dense network takes its statistics from images, too.
    let unfolds = policy == Policy::Dense && arguments.emit_factors.is_some();
    let given = [
        ("--scheme", arguments.scheme != SchemeName::Auto),
        ("--calibrate", cut.calibrate.is_some() && !unfolds),
        ("--energy-gain", cut.energy_gain),
        ("--spectra", cut.spectra != SpectraName::Folded),
        ("--skip", !cut.skip.is_empty() && policy != Policy::Keep),
    ];
    let cuts_nothing = matches!(policy, Policy::Dense | Policy::Keep);
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given && cuts_nothing) {
        return Err(Error::invalid(*flag, format!("says how to cut; --ranks {policy} cuts nothing")));
    }
    if arguments.holdout.is_some() && !matches!(policy, Policy::Accuracy(_)) {
        return Err(Error::invalid("--holdout", format!("judges for --ranks accuracy:POINTS; --ranks {policy} asks for no judgement")));
    }
    Ok(())
}

/// The images that decide under accuracy:POINTS, without their folder: an artifact must not tell where its maker keeps files.
fn judged_on(arguments: &Arguments) -> Option<String> {
    match (arguments.ranks, &arguments.holdout, &arguments.cut.calibrate) {
        (Policy::Accuracy(_), Some(spec), _) => Some(format!("test images of {}", spec.set())),
        (Policy::Accuracy(_), None, Some(spec)) => Some(format!("shifted training images of {}", spec.data.set())),
        _ => None,
    }
}

/// What says how much a cut loses: a held-out set if there is one, else training images that were not calibrated with.
fn judge(arguments: &Arguments, source: &Source, factored: &Factored) -> Result<Judge> {
    let dense = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense)?, Dtype::F32, false)?;
    match (&arguments.holdout, &arguments.cut.calibrate) {
        (Some(spec), _) => {
            let held_out = data::load(spec, Part::Test)?;
            check_fit(&dense, &held_out)?;
            Judge::by_accuracy(&dense, held_out)
        }
        (None, Some(spec)) => {
            Judge::by_disagreement(&dense, &source.training_images(&spec.data, arguments.cut.images(), JUDGED_IMAGES)?, 0)
        }
        (None, None) => {
            let why = "needs images to judge by: --calibrate SET:DIR (training images) or --holdout SET:DIR";
            Err(Error::invalid(format!("--ranks {}", arguments.ranks), why))
        }
    }
}

/// What made the layers of what an imported file holds; `None` for a network of the zoo.
fn rewrites(source: &Source, factored: &Factored) -> Option<Table> {
    source.checkpoint.meta.graph.as_ref()?;
    let mut table = Table::new(["rewritten", "times", "nodes"]);
    let mut row = |rule: &str, nodes: &[String]| {
        let more = if nodes.len() > SHOWN { format!(" and {} more", nodes.len() - SHOWN) } else { String::new() };
        table.row([rule.into(), nodes.len().to_string(), format!("{}{more}", nodes[..nodes.len().min(SHOWN)].join(", "))]);
    };
    source.rewrites.iter().for_each(|r| row(&r.rule, &r.nodes));
    for (rule, nodes) in fused(&source.graph, factored.layers()) {
        row(rule, &nodes);
    }
    Some(table)
}

fn explain(factored: &Factored, policy: Policy, cuts: &[Cut]) -> Table {
    let keep = policy == Policy::Keep;
    let mut table = Table::new(["layer", "out × in", "scheme", "full rank", "chosen", "energy lost", "MACs", "of dense", "written as"]);
    let weighted = factored.layers().iter().zip(cuts).filter_map(|(layer, cut)| Some((layer, layer.weighted()?, cut)));
    for ((layer, weighted, cut), choice) in weighted.zip(factored.choices()) {
        let (rows, columns) = (weighted.kernel.outputs, weighted.kernel.columns());
        let factoring = cut.and_then(|(scheme, _)| choice.factorings.iter().find(|f| f.scheme() == scheme));
        let (as_cut, dense) = (choice.candidate(*cut, 0.0), choice.candidate(None, 0.0));
        let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".into());
        let pays = as_cut.macs < dense.macs || as_cut.params < dense.params;
        // What is written dense loses nothing.
        let lost = match cut {
            Some(_) if keep || !pays => Some(0.0),
            Some((_, rank)) => factoring.and_then(|f| f.lost(*rank).ok()),
            None => None,
        };
        let written = match cut {
            Some(_) if pays => "factors",
            Some(_) if keep => "factors, though they cost more",
            Some(_) => "dense: factors would cost more",
            None if keep => "dense, as the file has it",
            None if choice.factorings.is_empty() => "dense: not factored",
            None => "dense",
        };
        table.row([
            layer.name.clone(),
            format!("{rows} × {columns}"),
            or_dash(cut.map(|(scheme, _)| scheme.to_string())),
            or_dash(cut.map(|(scheme, _)| scheme.full_rank(&weighted.kernel).to_string())),
            or_dash(cut.map(|(_, rank)| rank.to_string())),
            or_dash(lost.map(|l| format!("{:.3} %", 100.0 * l))),
            count(as_cut.macs),
            count(dense.macs),
            written.into(),
        ]);
    }
    table
}
