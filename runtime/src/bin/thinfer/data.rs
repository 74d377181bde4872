//! Samples to judge a network by: an .npy or .npz file, or a folder of images, which are decoded as they are needed.

use std::ops::Range;
use std::path::Path;

use thinfer::artifact::{Fit, Input};
use thinfer::tools::folder::Folder;
use thinfer::tools::npy::{Npy, NpyData};
use thinfer::tools::samples::Samples;
use thinfer::tools::{images, npz};
use thinfer::{ArrayView, Artifact, Error, Outputs, Result, Session};

use crate::input::{needed, read_array};

/// The array of an .npz file that holds labels, where no input has that name.
const LABELS: &str = "labels";

/// Samples by the names of a network's inputs, and labels, where the data have them.
pub(crate) struct Data {
    source: Source,
    /// How many samples.
    pub(crate) count: usize,
    pub(crate) labels: Option<Vec<i64>>,
    /// Names of the classes, of a folder that has a folder for each.
    pub(crate) classes: Vec<String>,
    /// Whether several samples may go through at once.
    at_once: bool,
}

enum Source {
    Arrays(Vec<(Input, Samples)>),
    Images { folder: Folder, input: Box<Input>, fit: Option<Fit> },
}

impl Data {
    /// Opens `path` for `artifact`; at most `limit` samples of it count.
    pub(crate) fn open(path: &Path, artifact: &Artifact, limit: Option<usize>) -> Result<Self> {
        let mut data = if path.is_dir() {
            Self::of_folder(path, artifact)?
        } else if path.extension().is_some_and(|e| e == "npz") {
            let bytes = std::fs::read(path).map_err(Error::io(path))?;
            let arrays = npz::parse(&bytes).map_err(|why| Error::invalid(path.display().to_string(), why))?;
            Self::of_arrays(path, arrays, artifact)?
        } else if images::is_image(path) {
            return Err(Error::invalid(path.display().to_string(), "is one image; a folder of images is needed, or .npy or .npz arrays"));
        } else {
            Self::of_arrays(path, vec![(String::new(), read_array(path)?)], artifact)?
        };
        data.count = data.count.min(limit.unwrap_or(usize::MAX));
        if let Some(labels) = &mut data.labels {
            labels.truncate(data.count);
        }
        Ok(data)
    }

    fn of_folder(path: &Path, artifact: &Artifact) -> Result<Self> {
        let needed = needed(artifact);
        let [number] = needed[..] else {
            let why = "is a folder of images, and the network has several inputs: give an .npz file of arrays by their names";
            return Err(Error::invalid(path.display().to_string(), why));
        };
        let folder = Folder::list(path)?;
        let input = artifact.inputs()[number].clone();
        let labels = (!folder.classes.is_empty()).then(|| folder.labels.iter().map(|&l| l as i64).collect());
        Ok(Self {
            count: folder.files.len(),
            labels,
            classes: folder.classes.clone(),
            at_once: input.spec.sample_axis == Some(0),
            source: Source::Images { folder, fit: artifact.sections().fit(number).copied(), input: Box::new(input) },
        })
    }

    /// Arrays by name; one alone is that of the one input, whatever it is called.
    fn of_arrays(path: &Path, mut arrays: Vec<(String, Npy)>, artifact: &Artifact) -> Result<Self> {
        let fail = |why: String| Error::invalid(path.display().to_string(), why);
        let (inputs, needed) = (artifact.inputs(), needed(artifact));
        let is_input = |name: &str| inputs.iter().any(|i| i.spec.name == name);
        let labels = arrays.iter().position(|(name, _)| name == LABELS && !is_input(name)).map(|at| arrays.remove(at).1);
        let labels = labels.map(|array| whole(array).map_err(|why| fail(format!("array '{LABELS}' {why}")))).transpose()?;
        if let ([number], [(name, _)]) = (&needed[..], &mut arrays[..]) {
            name.clone_from(&inputs[*number].spec.name);
        }
        let mut samples = Vec::new();
        for (name, array) in arrays {
            let Some(input) = inputs.iter().find(|i| i.spec.name == name) else {
                let names: Vec<&str> = inputs.iter().map(|i| i.spec.name.as_str()).collect();
                return Err(fail(format!("holds the array '{name}', and the network's inputs are called {}", names.join(", "))));
            };
            let read = Samples::each(array, input).map_err(|why| fail(format!("the array for '{name}' {why}")))?;
            samples.push((input.clone(), read));
        }
        if let Some(&missing) = needed.iter().find(|&&n| samples.iter().all(|(i, _)| i.spec.name != inputs[n].spec.name)) {
            return Err(fail(format!("holds no array for {}", inputs[missing].spec)));
        }
        let count = samples.iter().map(|(_, s)| s.count).max().unwrap_or(1);
        // An array that is declared without samples may be the same for all of them.
        let shared = |input: &Input, samples: &Samples| samples.count == 1 && input.spec.sample_axis.is_none();
        if let Some((input, found)) = samples.iter().find(|(i, s)| s.count != count && !shared(i, s)) {
            return Err(fail(format!("holds {} samples for '{}' and {count} for another input", found.count, input.spec.name)));
        }
        let at_once = samples.iter().all(|(i, s)| i.spec.sample_axis == Some(0) || (count > 1 && shared(i, s)));
        Ok(Self { source: Source::Arrays(samples), count, labels, classes: Vec::new(), at_once })
    }

    /// As many samples as go through at once of `wanted`.
    pub(crate) fn batch(&self, wanted: usize) -> usize {
        if self.at_once { wanted.min(self.count.max(1)) } else { wanted.min(1) }
    }

    /// Reads some of the samples, at most as many as may go through at once.
    pub(crate) fn part(&self, range: Range<usize>) -> Result<Part<'_>> {
        Ok(match &self.source {
            Source::Arrays(arrays) => Part::Arrays { arrays, range },
            Source::Images { folder, input, fit } => {
                let planes = images::read_all(&folder.files[range], input, fit.as_ref())?;
                Part::Images { name: &input.spec.name, pixels: input.from_planes(&planes).into_owned() }
            }
        })
    }
}

/// Some samples that are read.
pub(crate) enum Part<'a> {
    Arrays { arrays: &'a [(Input, Samples)], range: Range<usize> },
    Images { name: &'a str, pixels: Vec<u8> },
}

impl Part<'_> {
    /// Runs them, from states of zeros.
    pub(crate) fn run(&self, session: &mut Session) -> Result<Outputs> {
        session.reset();
        let inputs: Vec<(&str, ArrayView<'_>)> = match self {
            Self::Images { name, pixels } => vec![(*name, pixels.into())],
            Self::Arrays { arrays, range } => {
                let view = |samples: &'_ Samples| if samples.count == 1 { 0..1 } else { range.clone() }.clone();
                arrays.iter().map(|(input, samples)| (input.spec.name.as_str(), samples.part(view(samples)))).collect()
            }
        };
        session.run(&inputs)
    }
}

/// Labels from an .npy file.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<i64>> {
    whole(read_array(path)?).map_err(|why| Error::invalid(path.display().to_string(), why))
}

fn whole(array: Npy) -> std::result::Result<Vec<i64>, String> {
    match array.data {
        NpyData::U8(v) => Ok(v.into_iter().map(i64::from).collect()),
        NpyData::I64(v) => Ok(v),
        NpyData::F32(_) => Err("holds floats; labels are integers".into()),
    }
}
