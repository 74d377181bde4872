//! Checkpoints into parameters.

mod checkpoint;
mod factors;

pub use checkpoint::{Checkpoint, Meta, load, save};
pub use factors::{Place, composed, held};
