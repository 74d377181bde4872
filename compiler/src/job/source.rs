//! What jobs start from: a checkpoint or an ONNX file, its architecture and its preprocessing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thinfer::artifact::{Fit, Input, InputKind, Preprocess};
use thinfer::tools::npy::{self, Npy};
use thinfer::tools::npz;
use thinfer::tools::samples::{Elements, Samples};

use super::fit::Fitting;
use super::pixels::Pixels;
use super::progress::{Note, Progress, Stage, Watch};
use crate::data::{self, CalibrationSpec, Dataset, Part, SampleSource};
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
    /// How images of other sizes are brought to the network's; without it they are refused.
    pub fit: Option<Fitting>,
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
        let number = checkpoint.meta.ends.as_ref().map_or(0, Ends::of_pixels);
        let fit = self.fit.map(|fit| fit.of(number, &input)).transpose()?;
        Ok(Network { graph, checkpoint, held, input, fit, rewrites, unknown_pixels, name: file_name(&self.file) })
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
        let unnamed = || match &zoo::alike(&checkpoint.params)[..] {
            [] => UNNAMED.to_string(),
            several => format!("its tensors are those of {}; say which by --model", several.join(" and of ")),
        };
        let model = model.ok_or_else(|| Error::Checkpoint { path: self.file.clone(), why: unnamed() })?;
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
    /// How images of other sizes are brought to that array's.
    pub fit: Option<Fit>,
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
        let options = Options { source: self.name.clone(), preprocess: self.preprocess().clone(), fit: self.fit, ..options };
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

    /// Training images that fit the network, chosen by key: `wanted` of them after leaving out the first `skip`
    /// of the choice, so that two calls can have different ones. Of images in files no others are decoded.
    ///
    /// # Errors
    /// [`Error::Data`] for images that do not fit or are too few, or data that are no images; as [`data::load`].
    pub(super) fn training_images(&self, source: &SampleSource, skip: usize, wanted: usize) -> Result<Dataset> {
        let fit = self.fit.as_ref().map(|fit| (&self.input, fit));
        let choose = |count: usize| chosen(count, skip, wanted);
        let data = match source {
            SampleSource::Set(spec) => data::load_some(spec, Part::Train, fit, &choose)?,
            SampleSource::Path(path) if path.is_dir() => data::load_folder(path, fit, &choose)?,
            SampleSource::Path(path) => {
                let why = "is no folder; images are needed here: SET:DIR, or a folder of images";
                return Err(Error::data(path.display().to_string(), why));
            }
        };
        if data.is_empty() {
            return Err(Error::data(&data.name, format!("has no more than {skip} images, {} are needed", skip + wanted)));
        }
        check_takes(&self.input, &data)?;
        Ok(data)
    }

    /// `wanted` samples to calibrate with, as the network's input, chosen by key.
    ///
    /// # Errors
    /// As [`Network::training_images`]; [`Error::Data`] for a file of arrays that does not fit.
    pub(super) fn calibration(&self, spec: &CalibrationSpec, wanted: usize) -> Result<Images> {
        match &spec.data {
            SampleSource::Path(path) if !path.is_dir() => {
                self.graph.check_single("--calibrate")?;
                let samples = self.read_samples(path).map_err(|why| Error::data(path.display().to_string(), why))?;
                Images::new(self.graph.input(), some_of(&samples, chosen(samples.count, 0, wanted)).to_values(&self.input))
            }
            source => self.inputs(&self.training_images(source, 0, wanted)?),
        }
    }

    /// The samples in a file of arrays. An .npz file holds them by the name of the network's input, or alone.
    fn read_samples(&self, path: &Path) -> Result<Samples, String> {
        let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let array: Npy = match ending.as_str() {
            "npy" => npy::parse(&bytes)?,
            "npz" => {
                let mut arrays = npz::parse(&bytes)?;
                let name = &self.input.spec.name;
                let at = arrays.iter().position(|(n, _)| n == name).or_else(|| (arrays.len() == 1).then_some(0));
                let names = || arrays.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ");
                let at = at.ok_or_else(|| format!("holds no array '{name}', the network's input, but {}", names()))?;
                arrays.swap_remove(at).1
            }
            _ => return Err("is neither an .npy or .npz file nor a folder of images".into()),
        };
        Samples::each(array, &self.input)
    }

    /// `data` as the network's input.
    ///
    /// # Errors
    /// As [`Images::new`].
    pub(super) fn inputs(&self, data: &Dataset) -> Result<Images> {
        Images::new(self.graph.input(), self.input.from_pixels(&data.images))
    }
}

/// The indices of `wanted` of `count` samples after leaving out the first `skip` of the choice, which is made by key.
fn chosen(count: usize, skip: usize, wanted: usize) -> Vec<usize> {
    permutation(&mut keyed(0, Purpose::Split, &[]), count).into_iter().skip(skip).take(wanted).collect()
}

/// The samples at `indices`.
fn some_of(samples: &Samples, indices: Vec<usize>) -> Samples {
    fn of<T: Copy>(all: &[T], count: usize, indices: &[usize]) -> Vec<T> {
        let len = all.len() / count.max(1);
        indices.iter().flat_map(|&i| &all[i * len..(i + 1) * len]).copied().collect()
    }
    let elements = match &samples.elements {
        Elements::Pixels(pixels) => Elements::Pixels(of(pixels, samples.count, &indices)),
        Elements::Values(values) => Elements::Values(of(values, samples.count, &indices)),
    };
    Samples { elements, count: indices.len() }
}

/// The last part of a path.
fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
