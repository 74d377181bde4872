//! The offline compiler of thinfer: it takes a checkpoint (or trains one so that it becomes low-rank), cuts its layers
//! into truncated factor pairs, chooses each layer's rank and writes one `.thin` file.
//!
//! Data goes one way: [`import`] → [`graph`] → [`train`] → [`lower`] (which folds, asks [`factor`] and [`rank`], and
//! emits the artifact). [`job`] walks the whole way, from the name of a file to what is written; start there.
//! ARCHITECTURE.md draws the whole house.

pub mod data;
pub mod error;
pub mod eval;
pub mod factor;
pub mod files;
pub mod graph;
pub mod import;
pub mod job;
pub mod judge;
pub mod lower;
pub mod rank;
#[cfg(test)]
mod reference;
pub mod report;
pub mod rng;
pub mod tensor;
pub mod train;
pub mod zoo;

pub use error::{Error, Result};
