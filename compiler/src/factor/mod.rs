//! Cutting weights into truncated factor pairs. nalgebra lives here alone.

mod svd;

pub use svd::{FactorPair, Svd};
