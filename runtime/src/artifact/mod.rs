//! The `.thin` file: what it says, what must hold before anyone trusts it, reading and writing. docs/format.md is the
//! specification.

mod bounded;
mod bytes;
mod check;
mod check_ends;
mod cost;
mod ends;
mod file;
mod fit;
mod layer;
mod limits;
mod nested;
mod preamble;
mod preprocess;
mod read;
mod sections;
mod shapes;
mod shares;
pub mod v1;
pub mod v2;
mod write;
mod write_atomic;

pub use crate::error::FormatError;
pub(crate) use cost::layer_macs;
pub use file::Artifact;
pub use limits::Limits;
#[cfg(any(test, feature = "tools"))]
pub(crate) use preamble::VERSION;
pub use sections::Sections;
pub use v2::{
    AccuracyNote, Activation, Anchor, Binary, Cell, Channels, Dtype, Element, Filter, Fit, FitMethod, Input, InputKind, Instruction, Layer,
    LayerNote, Lookup, Map, MatMul, Meaning, Model, Nested, Op, Output, Pick, PickAxis, PoolKind, Preprocess, Primitive, Provenance,
    Recurrent, Reduce, ReduceKind, Resample, Residual, Run, Section, SoftmaxOver, State, Stride, TensorId, TensorInfo, TensorSpec,
    TimeNote, Tuned, TunedLayer, Unary, ValueId, Walk, Weight, Window,
};
pub use write::TensorData;
pub use write_atomic::write_atomic;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 6 → 4 dense with bias, 4 → 3 at rank 2 without, both with ReLU; small whole numbers as weights.
    pub(crate) fn two_layers() -> Artifact {
        Artifact::build(write::tests::sample(), write::tests::sample_tensors()).unwrap()
    }
}
