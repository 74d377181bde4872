//! Whole jobs, from what is read to what is handed over: [`Compile`], [`Sweep`], [`Train`]. Each is a value that says what is
//! wanted; its `check` refuses settings that contradict each other before any work is done, and its `run` gives a value that
//! holds everything there is to print or to write. Nothing here knows a terminal: progress goes to a callback that takes a
//! [`Progress`].
//!
//! Data goes one way: [`Source`] → [`Network`] → folded and factored → ranks → artifact → [`Compiled`].

mod clock;
mod compile;
mod compiled;
mod cut;
mod figures;
mod fit;
mod layers;
mod pixels;
mod progress;
mod ranks;
mod source;
mod spectra;
mod sweep;
mod train;

pub use clock::{Clock, Measured, read_table};
pub use compile::Compile;
pub use compiled::{Compiled, Times};
pub use cut::CutSettings;
pub use fit::{Fitting, FittingMethod};
pub use layers::{LayerReport, TimedLayer, WrittenAs};
pub use pixels::Pixels;
pub use progress::{Note, Progress, Stage, Watch};
pub use source::{Network, Source};
pub use spectra::LayerSpectrum;
pub use sweep::{Curve, Family, Point, SchemeSpectra, Sweep, Swept};
pub use train::{Prepared, Share, Train, usual_lr};
