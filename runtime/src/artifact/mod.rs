//! The `.thin` file: what it says, what must hold before anyone trusts it, reading and writing. docs/format.md is the
//! specification.

mod error;
pub mod v1;
mod write_atomic;

pub use error::FormatError;
pub use v1::{
    AccuracyNote, Activation, Dtype, Layer, LayerNote, Model, Op, Preprocess, Provenance, TensorId, TensorInfo, TimeNote, ValueId, Weight,
};
pub use write_atomic::write_atomic;
