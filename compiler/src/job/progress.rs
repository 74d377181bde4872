//! Progress and notes of a running job.

use std::fmt;
use std::path::PathBuf;

use crate::train::{EpochRecord, StepReport};

/// A callback for a job's progress. Several threads may call it at once.
pub type Watch<'a> = &'a (dyn Fn(Progress<'_>) + Sync);

/// An event of a running job.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A part of a stage is done.
    Stage {
        /// What is being done.
        stage: Stage<'a>,
        /// Parts that are done.
        done: usize,
        /// Parts in all.
        total: usize,
    },
    /// A note for the user.
    Note(&'a Note),
    /// A training step is over.
    Step(&'a StepReport),
    /// An epoch of training is over.
    Epoch(&'a EpochRecord),
}

/// What is being done. It prints as a word or two for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage<'a> {
    /// Images go through the dense network, layer by layer.
    Calibrating,
    /// Weights are decomposed, layer by layer.
    Factoring,
    /// The forms of layers are timed on the device of this name.
    Timing(&'a str),
    /// Networks are cut and their accuracies measured, one by one.
    Cutting,
    /// Images are classified, one by one.
    Evaluating,
}

impl fmt::Display for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calibrating => f.write_str("calibrating"),
            Self::Factoring => f.write_str("factoring"),
            Self::Timing(device) => write!(f, "timing layers on {device}"),
            Self::Cutting => f.write_str("cutting and judging"),
            Self::Evaluating => f.write_str("evaluating"),
        }
    }
}

/// A note for the user. It prints as one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// Times come from an earlier measurement.
    KeptTimes {
        /// The device.
        adapter: String,
        /// The file of the measurement.
        path: PathBuf,
    },
    /// A device is measured, which takes a while.
    Timing {
        /// The device.
        device: String,
        /// About how long.
        seconds: f64,
    },
    /// Under `accuracy:POINTS`: which images decide.
    JudgedOn {
        /// The images, without their folder.
        images: String,
    },
    /// Test images decide the ranks, so accuracy on them says too much.
    Flatters {
        /// The set.
        set: &'static str,
    },
    /// Under `accuracy:POINTS`: one network was judged.
    Judged {
        /// Networks judged so far.
        tried: usize,
        /// As many are judged at most.
        most: usize,
        /// Its multiply–accumulates, as a share of the dense network's.
        macs: f64,
        /// Percentage points that it is worse than the dense network.
        lost: f64,
    },
    /// Nothing says how the pixels of the network's images were normalised.
    UnknownPixels {
        /// The file that could have said it.
        file: PathBuf,
    },
    /// Values that were denormal as f32 are written as zero.
    Denormals {
        /// How many.
        count: usize,
    },
    /// Nothing says what the numbers are that the network gives.
    UnknownScores {
        /// The output's name.
        output: String,
        /// How many numbers.
        count: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeptTimes { adapter, path } => write!(f, "times of {adapter} from {}", path.display()),
            Self::Timing { device, seconds } => write!(f, "timing every form of every layer on {device}, about {seconds} s"),
            Self::JudgedOn { images } => write!(f, "ranks are decided by {images}"),
            Self::Flatters { set } => {
                write!(f, "note: these decide the ranks, so an accuracy that is later measured on the test images of {set} flatters")
            }
            Self::Judged { tried, most, macs, lost } => {
                write!(f, "{tried} of at most {most}: at {:.1} % of the dense MACs {lost:.2} points lost", 100.0 * macs)
            }
            Self::UnknownPixels { file } => write!(
                f,
                "note: {} does not say how its pixels were normalised, so they are only divided by 255; --mean and --std say it",
                file.display()
            ),
            Self::Denormals { count } => {
                let values = if *count == 1 { "1 denormal value is".into() } else { format!("{count} denormal values are") };
                write!(f, "note: {values} written as zero: below {:.1e} they would only cost time", f32::MIN_POSITIVE)
            }
            Self::UnknownScores { output, count } => write!(
                f,
                "note: nothing says what the {count} numbers of '{output}' are, so thinfer run shows them as an array; --scores logits says that they are scores of classes"
            ),
        }
    }
}
