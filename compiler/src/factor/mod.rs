//! Cutting weights into truncated factor pairs. nalgebra lives here alone.

mod spectrum;
mod svd;

pub use spectrum::Spectrum;
pub use svd::{FactorPair, Svd};
