//! Checkpoints into parameters.

mod checkpoint;

pub use checkpoint::{Checkpoint, Meta, load, save};
