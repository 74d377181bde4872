//! What the coverage-guided targets and `tests/hostile.rs` share.

pub mod targets;
pub mod watched;
