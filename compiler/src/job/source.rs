//! What jobs start from: a checkpoint or an ONNX file, its architecture and its preprocessing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thinfer::artifact::{Input, InputKind, Preprocess};

use super::pixels::Pixels;
use super::progress::{Note, Progress, Stage, Watch};
use crate::data::{self, DataSpec, Dataset, Part};
use crate::error::{Error, Result};
use crate::eval::check_takes;
use crate::factor::Factors;
use crate::graph::Graph;
use crate::import::{self, Checkpoint, Choice, Ends, InputShape, Meta, Rewrite};
use crate::lower::{Factored, Images, Options, Thinned};
use crate::rank::Policy;
use crate::rng::{Purpose, keyed, permutation};
use crate::zoo;

/// The message for a checkpoint that does not name its network.
const UNNAMED: &str = "does not say which architecture it holds; give --model NAME (thinferc compile --help lists them), or export the network as ONNX, which brings its own";

/// A checkpoint or an ONNX file, and how to read it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The file: safetensors or what `torch.save` wrote, dense or with layers as factors, or ONNX.
    pub file: PathBuf,
    /// The architecture, by one of [`crate::zoo`]'s names, where the file does not tell it.
    pub model: Option<String>,
    /// Where the file has several networks: the keys that lead to this one's tensors, or what their names begin with.
    pub state_dict: Option<String>,
    /// Shapes of inputs whose axes an ONNX file leaves free.
    pub shapes: Vec<InputShape>,
    /// How pixels become the network's input, in place of what the file says.
    pub pixels: Pixels,
}

impl Source {
    /// `file`, with nothing stated beside it.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    /// Reads the file and checks that its tensors are those of its architecture.
    ///
    /// # Errors
    /// As [`import::import_with`]; [`Error::Checkpoint`] for tensors that do not fit, [`Error::Invalid`] for settings that
    /// the network does not take.
    pub fn open(&self) -> Result<Network> {
        let (mut checkpoint, graph, rewrites) = self.read()?;
        let unfit = |error: Error| Error::Checkpoint { path: self.file.clone(), why: error.to_string() };
        let held = import::held(&graph, &checkpoint.params).map_err(unfit)?;
        if !held.is_empty() {
            checkpoint.params = import::composed(&graph, &checkpoint.params).map_err(unfit)?;
        }
        zoo::check(&graph, &checkpoint.params).map_err(unfit)?;
        let (input, unknown_pixels) = self.see(&mut checkpoint.meta, &graph)?;
        Ok(Network { graph, checkpoint, held, input, rewrites, unknown_pixels, name: file_name(&self.file) })
    }

    /// The file's tensors as they are, layers as factors too, as training starts from them; the network's name; and what to tell of
    /// its pixels, whose preprocessing stands in the checkpoint.
    ///
    /// # Errors
    /// As [`Source::open`], but tensors that do not fit are left to the trainer.
    pub(super) fn start(&self) -> Result<(Checkpoint, String, Option<Note>)> {
        let (mut checkpoint, graph, _) = self.read()?;
        let (input, unknown_pixels) = self.see(&mut checkpoint.meta, &graph)?;
        checkpoint.meta.preprocess = Some(input.preprocess);
        Ok((checkpoint, graph.name, unknown_pixels))
    }

    fn read(&self) -> Result<(Checkpoint, Graph, Vec<Rewrite>)> {
        let choice = Choice { model: self.model.as_deref(), state_dict: self.state_dict.as_deref(), shapes: &self.shapes };
        let (checkpoint, rewrites) = import::import_with(&self.file, &choice)?;
        let graph = self.graph(&checkpoint)?;
        Ok((checkpoint, graph, rewrites))
    }

    /// The network that the file brings, or that its name or its tensors tell.
    fn graph(&self, checkpoint: &Checkpoint) -> Result<Graph> {
        match (&checkpoint.meta.graph, &self.model) {
            (Some(_), Some(name)) => {
                return Err(Error::invalid(format!("--model {name}"), format!("{} brings its own network", self.file.display())));
            }
            (Some(graph), None) => return Ok(graph.clone()),
            (None, _) => {}
        }
        let model = self.model.clone().or(checkpoint.meta.model.clone()).or_else(|| zoo::guess(&checkpoint.params));
        let model = model.ok_or(Error::Checkpoint { path: self.file.clone(), why: UNNAMED.into() })?;
        zoo::build_for(&model, &checkpoint.params)
    }

    /// The array that `graph` takes and how pixels become it: the settings applied to what `meta` says of them, where they also
    /// note that it is an image. And what to tell if nothing says how images of several channels were normalised, as nearly
    /// all are.
    fn see(&self, meta: &mut Meta, graph: &Graph) -> Result<(Input, Option<Note>)> {
        let shape = &graph.inputs[meta.ends.as_ref().map_or(0, Ends::of_pixels)];
        self.pixels.mark(meta, shape)?;
        let stated = meta.preprocess.as_ref();
        let input = Ends::input_of(graph, meta, &self.pixels.over(stated, shape)?)?;
        let is_unknown = input.kind == InputKind::Image && input.channels() > 1 && stated.is_none() && !self.pixels.normalise();
        Ok((input, is_unknown.then(|| Note::UnknownPixels { file: self.file.clone() })))
    }
}

/// A network with its trained parameters, which fit it.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it computes.
    pub graph: Graph,
    /// Its tensors, dense: factors are multiplied out. And what the file says of them.
    pub checkpoint: Checkpoint,
    /// Layers that the file holds as factors, by name.
    pub held: BTreeMap<String, Factors>,
    /// The array that it takes, of several the first image, or the first; and how pixels become it.
    pub input: Input,
    /// How the nodes of an ONNX file became the graph; empty for a network of the zoo.
    pub rewrites: Vec<Rewrite>,
    /// A note for the user where neither the file nor a setting says how images of several channels were normalised.
    pub unknown_pixels: Option<Note>,
    /// The file's name without its folder: what an artifact says of its source must not tell where its maker keeps files.
    pub name: String,
}

impl Network {
    /// How pixels become its input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.input.preprocess
    }

    /// Folds and decomposes it as `options` say, which need not name the source and its preprocessing.
    ///
    /// # Errors
    /// As [`Factored::new`].
    pub fn factor(&self, options: Options, watch: Watch<'_>) -> Result<Factored> {
        let options = Options { source: self.name.clone(), preprocess: self.preprocess().clone(), ..options };
        Factored::new(&self.graph, &self.checkpoint, options, &|what, done, total| {
            let stage = if what == "calibrating" { Stage::Calibrating } else { Stage::Factoring };
            watch(Progress::Stage { stage, done, total });
        })
    }

    /// Its checkpoint cut as `thinned` is, with what it says of itself; `images` such as training will show.
    ///
    /// # Errors
    /// As [`Thinned::factors`].
    pub(super) fn cut_as(&self, thinned: &Thinned<'_>, policy: Policy, images: Option<&Images>) -> Result<Checkpoint> {
        let known = self.checkpoint.meta.method.iter().cloned();
        let meta = Meta {
            model: Some(self.graph.name.clone()),
            preprocess: Some(self.preprocess().clone()),
            method: Some(known.chain([format!("cut {policy}")]).collect::<Vec<_>>().join(", ")),
            ..self.checkpoint.meta.clone()
        };
        Ok(Checkpoint { params: thinned.factors(&self.checkpoint.params, images)?, meta })
    }

    /// Training images of `spec` that fit the network, chosen by key: `wanted` of them after leaving out the first `skip`
    /// of the choice, so that two calls can have different ones.
    ///
    /// # Errors
    /// [`Error::Data`] for images that do not fit or are too few; as [`data::load`].
    pub(super) fn training_images(&self, spec: &DataSpec, skip: usize, wanted: usize) -> Result<Dataset> {
        let data = data::load(spec, Part::Train)?;
        check_takes(&self.input, &data)?;
        let order = permutation(&mut keyed(0, Purpose::Split, &[]), data.len());
        let chosen: Vec<usize> = order.into_iter().skip(skip).take(wanted).collect();
        if chosen.is_empty() {
            return Err(Error::data(&data.name, format!("has {} images, {} are needed", data.len(), skip + wanted)));
        }
        Ok(data.subset(&chosen))
    }

    /// `data` as the network's input.
    ///
    /// # Errors
    /// As [`Images::new`].
    pub(super) fn inputs(&self, data: &Dataset) -> Result<Images> {
        Images::new(self.graph.input(), self.input.from_pixels(&data.images))
    }
}

/// The last part of a path.
fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
