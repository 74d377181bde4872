//! Accuracy as it ships: the artifact itself, run by a session.

use thinfer::artifact::{Input, InputKind};
use thinfer::{Artifact, Session};

use crate::data::Dataset;
use crate::error::{Error, Result};

/// Images classified rightly, of all that were judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accuracy {
    /// Images whose largest output is their label's.
    pub correct: usize,
    /// Images judged.
    pub count: usize,
}

impl Accuracy {
    /// In percent; 0 of no images.
    pub fn percent(self) -> f64 {
        100.0 * self.correct as f64 / self.count.max(1) as f64
    }
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} % ({} of {})", self.percent(), self.correct, self.count)
    }
}

/// Runs every image of `data`, which must fit ([`check_fit`]), and counts the right answers; `progress` is told how many
/// images are done.
///
/// # Errors
/// [`Error::Runtime`] when the images are no whole number of samples or the device fails.
pub fn evaluate(session: &mut Session, data: &Dataset, mut progress: impl FnMut(usize)) -> Result<Accuracy> {
    let mut correct = 0;
    let chunk = session.batch().max(256.min(data.len().max(1)));
    for (part, (pixels, labels)) in data.images.chunks(chunk * data.image_len()).zip(data.labels.chunks(chunk)).enumerate() {
        let outputs = outputs(session, pixels)?;
        let right = outputs.chunks_exact(session.output_len()).zip(labels).filter(|(o, l)| thinfer::top1(o) == Some(usize::from(**l)));
        correct += right.count();
        progress(part * chunk + labels.len());
    }
    Ok(Accuracy { correct, count: data.len() })
}

/// What the network makes of images that it takes, channel after channel each, red first: sample after sample, whatever order its
/// arrays are declared in.
///
/// # Errors
/// As [`evaluate`].
pub fn outputs(session: &mut Session, images: &[u8]) -> Result<Vec<f32>> {
    let pixels = session.input().from_planes(images);
    let outputs = if session.input().spec.sample_axis.is_some() {
        session.run_images(&pixels)?
    } else {
        // One at a time.
        let len = session.input_len().max(1);
        pixels.chunks(len).map(|image| session.run_images(image)).collect::<thinfer::Result<Vec<_>>>()?.concat()
    };
    Ok(session.output().spec.by_sample(&outputs).into_owned())
}

/// At most `wanted` samples at once, as many as the arrays of `artifact` may hold.
pub fn batch(artifact: &Artifact, wanted: usize) -> usize {
    if artifact.input().spec.sample_axis.is_some() { wanted } else { wanted.min(1) }
}

/// Refuses images that are none that `input` takes.
///
/// # Errors
/// [`Error::Data`] that names both shapes.
pub fn check_takes(input: &Input, data: &Dataset) -> Result<()> {
    if input.takes_image(data.shape) {
        return Ok(());
    }
    let (len, one) = (data.image_len(), input.spec.sample_shape());
    let why = format!("images of shape {:?} ({len} values) do not fit the network's input {}", data.shape, input.spec);
    let why = format!("{why}: samples of {one:?} ({} values)", one.iter().product::<usize>());
    let hint = match input.kind {
        InputKind::Features if input.value_shape.iter().map(|&d| d as usize).eq(data.shape) => "; --channels says that it is an image",
        _ => "",
    };
    Err(Error::data(&data.name, format!("{why}{hint}")))
}

/// Refuses data whose images or classes the network does not take; to be asked before a device is opened.
///
/// # Errors
/// [`Error::Data`] that says what does not fit.
pub fn check_fit(artifact: &Artifact, data: &Dataset) -> Result<()> {
    check_takes(artifact.input(), data)?;
    if data.classes.len() != artifact.output_len() {
        return Err(Error::data(&data.name, format!("has {} classes, the network {} outputs", data.classes.len(), artifact.output_len())));
    }
    Ok(())
}
