//! What compile, sweep and inspect start from: a checkpoint, its architecture and its preprocessing.

use std::path::{Path, PathBuf};

use clap::Args;
use thinfer::artifact::Preprocess;
use thinfer_compiler::factor::Scheme;
use thinfer_compiler::graph::Graph;
use thinfer_compiler::import::{self, Checkpoint};
use thinfer_compiler::lower::{Factored, Options, SchemeChoice, Spectra};
use thinfer_compiler::{Error, Result, zoo};

/// A checkpoint and how to read it.
#[derive(Args)]
pub(crate) struct SourceArguments {
    /// The checkpoint (safetensors, PyTorch's names)
    #[arg(value_name = "FILE.safetensors")]
    pub(crate) file: PathBuf,
    /// Architecture, where the file does not say it: fcn6|8|10, mlp:IN-HIDDEN-..-OUT, resnet20|32|44|56|110, resnet18|34|50, resnet18-cifar or vgg11|13|16|19
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Mean of each channel after pixel/255, where the file does not say it
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "R,G,B")]
    mean: Vec<f32>,
    /// Deviation of each channel after pixel/255, where the file does not say it
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "R,G,B")]
    std: Vec<f32>,
}

/// A checkpoint that fits its architecture.
pub(crate) struct Source {
    pub(crate) graph: Graph,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) preprocess: Preprocess,
    name: String,
}

impl SourceArguments {
    /// Loads and checks everything that the arguments name.
    pub(crate) fn load(&self) -> Result<Source> {
        let checkpoint = import::load(&self.file)?;
        let model = self.model.clone().or(checkpoint.meta.model.clone()).or_else(|| zoo::guess(&checkpoint.params));
        let why = "does not say which architecture it holds; give --model NAME".to_string();
        let model = model.ok_or(Error::Checkpoint { path: self.file.clone(), why })?;
        let graph = zoo::build_for(&model, &checkpoint.params)?;
        zoo::check(&graph, &checkpoint.params).map_err(|error| Error::Checkpoint { path: self.file.clone(), why: error.to_string() })?;
        let mut preprocess = checkpoint.meta.preprocess.clone().unwrap_or_default();
        if !self.mean.is_empty() {
            preprocess.mean.clone_from(&self.mean);
        }
        if !self.std.is_empty() {
            preprocess.std.clone_from(&self.std);
        }
        let channels = if graph.input.len() == 3 { graph.input[0] } else { 1 };
        preprocess.check(channels).map_err(|why| Error::invalid("--mean, --std", why))?;
        Ok(Source { graph, checkpoint, preprocess, name: file_name(&self.file) })
    }
}

impl Source {
    /// Folds and decomposes the network by the channel scheme, for its weights alone.
    pub(crate) fn factor(&self, spectra: Spectra, skip: &[String], dense_only: bool) -> Result<Factored> {
        self.factor_as(Options {
            spectra,
            skip: skip.to_vec(),
            dense_only,
            scheme: SchemeChoice::Only(Scheme::Channel),
            ..Options::default()
        })
    }

    /// Folds and decomposes the network as `options` say, which need not name the source and its preprocessing.
    pub(crate) fn factor_as(&self, options: Options) -> Result<Factored> {
        let options = Options { source: self.name.clone(), preprocess: self.preprocess.clone(), ..options };
        Factored::new(&self.graph, &self.checkpoint, options, &|_, _, _| ())
    }
}

/// The last part of a path: what an artifact says of its source must not tell where its maker keeps files.
fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
