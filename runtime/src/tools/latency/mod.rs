//! A device's times of a network's layers in every form that they may be given, so that ranks can be chosen for that device
//! elsewhere.

mod measure;
mod runner;
mod table;
mod variants;

pub use measure::measure;
pub use table::{CandidateTime, LatencyTable, LayerTimes, VERSION, cache_name, newer};
