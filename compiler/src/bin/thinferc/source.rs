//! What compile, sweep and inspect start from: a checkpoint, its architecture and its preprocessing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use thinfer::artifact::{Channels, Input, InputKind, Preprocess};
use thinfer::tools::print;
use thinfer_compiler::data::{self, DataSpec, Dataset, Part};
use thinfer_compiler::eval::check_takes;
use thinfer_compiler::factor::Factors;
use thinfer_compiler::graph::Graph;
use thinfer_compiler::import::{self, Checkpoint, Choice, Ends, InputShape, Meta, Rewrite};
use thinfer_compiler::lower::{Factored, Images, Options, Thinned};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::rng::{Purpose, keyed, permutation};
use thinfer_compiler::{Error, Result, zoo};

/// A checkpoint and how to read it.
#[derive(Args)]
pub(crate) struct SourceArguments {
    /// The checkpoint: safetensors or what torch.save wrote (.pth, .pt, .ckpt, .pth.tar) with PyTorch's names, dense or with layers
    /// as factors, or an ONNX file, which brings its own architecture
    #[arg(value_name = "FILE.safetensors|FILE.pth|FILE.onnx")]
    pub(crate) file: PathBuf,
    /// Architecture, where the file does not say it: fcn6|8|10, mlp:IN-HIDDEN-..-OUT, resnet8|14|20|32|44|56|110, resnet18|34|50, resnet18-cifar, vgg11|13|16|19, vit-tiny|small|base, vit-lL-hH or vit:KEY=VALUE,..
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Where the file has several networks: the keys that lead to this one's tensors, or what their names begin with, such as ema or checkpoint.model_ema
    #[arg(long, value_name = "KEY")]
    state_dict: Option<String>,
    /// The shape of an input whose axes an ONNX file leaves free, all its axes; once for each such input. Only a first axis, that of samples, may stay free
    #[arg(long, value_name = "NAME=1,3,640,640")]
    shape: Vec<InputShape>,
    #[command(flatten)]
    pixels: PixelArguments,
}

/// How pixels become the network's input, in place of what the file says, if it says anything.
#[derive(Args, Debug)]
pub(crate) struct PixelArguments {
    /// What a pixel of 255 is before mean and deviation, instead of what the file says: 255 for networks that take pixels as they are [default: 1]
    #[arg(long, value_name = "HIGH")]
    range: Option<f32>,
    /// The colours of the network's three channels, in their order, instead of what the file says: images are red first and are
    /// turned for a network that wants blue first. Also says that its input is an image, where nothing in it tells [default: rgb]
    #[arg(long, value_enum, value_name = "ORDER")]
    channels: Option<ChannelsName>,
    /// Mean of each channel in the network's order, of pixels from 0 to --range, instead of what the file says
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "R,G,B")]
    mean: Vec<f32>,
    /// Deviation of each channel in the network's order, of pixels from 0 to --range, instead of what the file says
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "R,G,B")]
    std: Vec<f32>,
}

impl PixelArguments {
    /// Whether any is given.
    pub(crate) fn are_given(&self) -> bool {
        self.range.is_some() || !self.mean.is_empty() || !self.std.is_empty() || self.channels.is_some()
    }

    /// Whether neither they nor what the file has `stated` says how images of several channels were normalised, as nearly all
    /// are.
    pub(crate) fn are_unknown(&self, stated: Option<&Preprocess>, input: &Input) -> bool {
        let given = self.range.is_some() || !self.mean.is_empty() || !self.std.is_empty();
        input.kind == InputKind::Image && input.channels() > 1 && stated.is_none() && !given
    }

    /// Notes in `meta` that the network, whose input is `shape`, takes images, if --channels says so.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a network that takes no three channels.
    pub(crate) fn mark(&self, meta: &mut Meta, shape: &[usize]) -> Result<()> {
        let Some(name) = self.channels else { return Ok(()) };
        if !matches!(shape, [3, _, _]) {
            let flag = format!("--channels {}", if matches!(name, ChannelsName::Rgb) { "rgb" } else { "bgr" });
            return Err(Error::invalid(flag, format!("says which of three channels is which; the network takes {shape:?}")));
        }
        if let Some(first) = meta.ends.as_mut().and_then(|ends| ends.inputs.first_mut()) {
            first.kind = InputKind::Image;
        }
        Ok(())
    }

    /// `stated` with what is given in its place, for a network whose input is `shape`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for values that no image can be normalised by.
    pub(crate) fn over(&self, stated: Option<&Preprocess>, shape: &[usize]) -> Result<Preprocess> {
        let mut preprocess = stated.cloned().unwrap_or_default();
        // One without the other is a slip, unless the file states the other.
        let (mean, std) = (&self.mean, &self.std);
        for (flag, given, other, missing) in [
            ("--mean", !mean.is_empty(), "--std", std.is_empty() && preprocess.std.is_empty()),
            ("--std", !std.is_empty(), "--mean", mean.is_empty() && preprocess.mean.is_empty()),
        ] {
            if given && missing {
                return Err(Error::invalid(flag, format!("needs {other} beside it: the file states none")));
            }
        }
        if let Some(channels) = self.channels {
            preprocess.channels = channels.into();
        }
        if let Some(range) = self.range {
            if !(range.is_finite() && range > 0.0) {
                return Err(Error::invalid("--range", format!("is {range}; it must be positive")));
            }
            preprocess.scale = range / 255.0;
        }
        let most = preprocess.scale * 255.0;
        if let Some(beyond) = self.mean.iter().find(|mean| **mean > most) {
            let why = format!("{beyond} is beyond pixels from 0 to {most}; --range 255 takes them as they are");
            return Err(Error::invalid("--mean", why));
        }
        if !self.mean.is_empty() {
            preprocess.mean.clone_from(&self.mean);
        }
        if !self.std.is_empty() {
            preprocess.std.clone_from(&self.std);
        }
        let channels = if shape.len() == 3 { shape[0] } else { 1 };
        preprocess.check(channels).map_err(|why| Error::invalid("--mean, --std", why))?;
        Ok(preprocess)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelsName {
    Rgb,
    Bgr,
}

impl From<ChannelsName> for Channels {
    fn from(name: ChannelsName) -> Self {
        match name {
            ChannelsName::Rgb => Self::Rgb,
            ChannelsName::Bgr => Self::Bgr,
        }
    }
}

/// A checkpoint that fits its architecture.
pub(crate) struct Source {
    pub(crate) graph: Graph,
    /// Dense: factors multiplied out.
    pub(crate) checkpoint: Checkpoint,
    /// Layers that the file holds as factors, by name.
    pub(crate) held: BTreeMap<String, Factors>,
    pub(crate) preprocess: Preprocess,
    /// The array that the network takes.
    pub(crate) input: Input,
    /// What made the graph of an imported file.
    pub(crate) rewrites: Vec<Rewrite>,
    /// Neither the file nor a flag says how images of several channels were normalised, as nearly all are.
    pub(crate) says_nothing_of_pixels: bool,
    name: String,
}

impl SourceArguments {
    fn choice(&self) -> Choice<'_> {
        Choice { model: self.model.as_deref(), state_dict: self.state_dict.as_deref(), shapes: &self.shape }
    }

    /// Loads and checks everything that the arguments name.
    pub(crate) fn load(&self) -> Result<Source> {
        let (mut checkpoint, rewrites) = import::import_with(&self.file, &self.choice())?;
        let graph = self.graph(&checkpoint)?;
        let unfit = |error: Error| Error::Checkpoint { path: self.file.clone(), why: error.to_string() };
        let held = import::held(&graph, &checkpoint.params).map_err(unfit)?;
        if !held.is_empty() {
            checkpoint.params = import::composed(&graph, &checkpoint.params).map_err(unfit)?;
        }
        zoo::check(&graph, &checkpoint.params).map_err(unfit)?;
        self.pixels.mark(&mut checkpoint.meta, graph.input())?;
        let preprocess = self.pixels.over(checkpoint.meta.preprocess.as_ref(), graph.input())?;
        let input = Ends::input_of(&graph, &checkpoint.meta, &preprocess)?;
        let says_nothing_of_pixels = self.pixels.are_unknown(checkpoint.meta.preprocess.as_ref(), &input);
        Ok(Source { graph, checkpoint, held, preprocess, input, rewrites, says_nothing_of_pixels, name: file_name(&self.file) })
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
        let why = crate::UNNAMED.to_string();
        let model = model.ok_or(Error::Checkpoint { path: self.file.clone(), why })?;
        zoo::build_for(&model, &checkpoint.params)
    }
}

impl Source {
    /// Folds and decomposes the network as `options` say, which need not name the source and its preprocessing; shows
    /// how far it is.
    pub(crate) fn factor(&self, options: Options) -> Result<Factored> {
        let options = Options { source: self.name.clone(), preprocess: self.preprocess.clone(), ..options };
        let bar = crate::train::bar(0, "");
        let beat = crate::train::Beat::new();
        let factored = Factored::new(&self.graph, &self.checkpoint, options, &|what, done, total| {
            beat.tell(|| format!("{what}: {done} of {total}"));
            bar.set_prefix(what.to_string());
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        factored
    }

    /// This checkpoint cut as `thinned` is, with what it says of itself; `images` such as training will show.
    pub(crate) fn with(&self, thinned: &Thinned<'_>, policy: Policy, images: Option<&Images>) -> Result<Checkpoint> {
        let known = self.checkpoint.meta.method.iter().cloned();
        let meta = Meta {
            model: Some(self.graph.name.clone()),
            preprocess: Some(self.preprocess.clone()),
            method: Some(known.chain([format!("cut {policy}")]).collect::<Vec<_>>().join(", ")),
            ..self.checkpoint.meta.clone()
        };
        Ok(Checkpoint { params: thinned.factors(&self.checkpoint.params, images)?, meta })
    }

    /// Training images of `spec` that fit the network, chosen by key: `wanted` of them after leaving out the first `skip`
    /// of the choice, so that two calls can have different ones.
    pub(crate) fn training_images(&self, spec: &DataSpec, skip: usize, wanted: usize) -> Result<Dataset> {
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
    pub(crate) fn inputs(&self, data: &Dataset) -> Result<Images> {
        Images::new(self.graph.input(), self.input.from_pixels(&data.images))
    }
}

/// Tells that `file` leaves open how its pixels were normalised.
pub(crate) fn note_unknown_pixels(file: &Path) {
    print::note(format_args!(
        "note: {} does not say how its pixels were normalised, so they are only divided by 255; --mean and --std say it",
        file.display()
    ));
}

/// The last part of a path: what an artifact says of its source must not tell where its maker keeps files.
fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
