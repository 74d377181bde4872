//! Accuracy as it ships: the artifact itself, run by a session.

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
        let outputs = session.run_images(pixels)?;
        let right = outputs.chunks_exact(session.output_len()).zip(labels).filter(|(o, l)| thinfer::top1(o) == Some(usize::from(**l)));
        correct += right.count();
        progress(part * chunk + labels.len());
    }
    Ok(Accuracy { correct, count: data.len() })
}

/// Refuses data whose images or classes the network does not take; to be asked before a device is opened.
///
/// # Errors
/// [`Error::Data`] that says what does not fit.
pub fn check_fit(artifact: &Artifact, data: &Dataset) -> Result<()> {
    if data.image_len() != artifact.input_len() {
        let (shape, wanted) = (&data.shape, artifact.input_len());
        let why = format!("images of shape {shape:?} ({} values) do not fit the network's input of {wanted} values", data.image_len());
        return Err(Error::data(&data.name, why));
    }
    if data.classes.len() != artifact.output_len() {
        return Err(Error::data(&data.name, format!("has {} classes, the network {} outputs", data.classes.len(), artifact.output_len())));
    }
    Ok(())
}
