//! What the coverage-guided targets and `tests/hostile.rs` share.

#![allow(clippy::expect_used, reason = "a fuzz target fails by panicking")]

mod graphs;
pub mod targets;
pub mod watched;
