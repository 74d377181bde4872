//! `thinferc compile`: a checkpoint into a .thin file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use thinfer::artifact::{Dtype, Meaning};
use thinfer::tools::print;
use thinfer_compiler::data::DataSpec;
use thinfer_compiler::job::{Compile, Times};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::{Result, import};

use crate::clock::ClockArguments;
use crate::cut::{CutArguments, SchemeName};
use crate::explain;
use crate::output;
use crate::source::SourceArguments;
use crate::watch::Watcher;

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

impl From<DtypeName> for Dtype {
    fn from(name: DtypeName) -> Self {
        match name {
            DtypeName::F32 => Self::F32,
            DtypeName::F16 => Self::F16,
        }
    }
}

impl Arguments {
    fn job(&self) -> Compile {
        Compile {
            scheme: self.scheme.into(),
            cut: self.cut.settings(),
            clock: self.clock.clock(),
            holdout: self.holdout.clone(),
            dtype: self.dtype.into(),
            scores: self.scores.map(Into::into),
            emit_factors: self.emit_factors.is_some(),
            ..Compile::new(self.source.source(), self.ranks)
        }
    }

    /// Refuses files that cannot be written, or that would take the place of something else.
    fn check_files(&self, job: &Compile) -> Result<()> {
        let read: Vec<&Path> = [Some(job.source.file.as_path()), job.clock.table.as_deref()].into_iter().flatten().collect();
        let outputs = [Some(self.output.as_path()), self.emit_factors.as_deref(), self.json.as_deref()];
        output::check_outputs(&read, &outputs.into_iter().flatten().collect::<Vec<_>>())?;
        self.json.as_deref().map_or(Ok(()), print::check_figures)?;
        output::check_replaced(&self.output)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let job = arguments.job();
    job.check()?;
    arguments.check_files(&job)?;
    let watcher = Watcher::new();
    let mut compiled = job.run(&|progress| watcher.tell(progress))?;
    drop(watcher);
    compiled.artifact.save(&arguments.output)?;
    if let (Some(path), Some(checkpoint)) = (&arguments.emit_factors, &compiled.factors) {
        import::save(path, checkpoint)?;
    }
    if arguments.explain {
        explain::layers(&compiled)?;
        compiled.measure()?;
    }
    if let Some(times) = &compiled.times {
        if arguments.explain {
            print::line(explain::times(times))?;
        }
        show(times)?;
    }
    print::text(compiled.description())?;
    compiled.notes.iter().for_each(print::note);
    print::line(format_args!("\nwrote {}", arguments.output.display()))?;
    if let Some(path) = &arguments.emit_factors {
        print::line(format_args!("wrote {}", path.display()))?;
    }
    output::write_json(arguments.json.as_deref(), &compiled.figures())
}

/// What a run takes.
fn show(times: &Times) -> Result<()> {
    let (predicted, whole) = (times.predicted_ms, times.dense_ms);
    print::line(format_args!(
        "predicted {predicted:.3} ms of dense {whole:.3} ms ({:.1} %) on {}, batch {}",
        100.0 * predicted / whole,
        times.table.adapter,
        times.table.batch
    ))?;
    if let Some(measured) = &times.measured {
        let (ms, dense_ms) = (measured.ms, measured.dense_ms);
        print::line(format_args!("measured {ms:.3} ms of dense {dense_ms:.3} ms ({:.1} %)", 100.0 * ms / dense_ms))?;
    }
    Ok(print::line("")?)
}
