//! Cutting weights into truncated factors. nalgebra lives here alone.
//!
//! A weight is decomposed once ([`Factoring`]); its error at every rank is then known, and factors of any rank cost
//! little. With moments of the layer's data ([`LayerMoments`]) the error is that of the layer's output instead of the
//! weight's: ‖(W − W')·X‖² with X centred, whatever the scheme.

mod channel;
mod factoring;
mod factors;
mod matrix;
mod moments;
mod ordered;
mod scheme;
mod spatial;
mod spectrum;
mod svd;
mod tucker;

pub use factoring::Factoring;
pub use factors::{Factors, NamedFactor};
pub use matrix::multiply;
pub use moments::{LayerMoments, Moments, Regression};
pub(crate) use scheme::grid;
pub use scheme::{Rank, Scheme};
pub use spectrum::Spectrum;

#[cfg(test)]
pub(crate) mod testing {
    use rand::RngExt;

    use crate::rng::{Purpose, keyed};
    use crate::tensor::Kernel;

    pub(crate) fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = keyed(seed, Purpose::Init, &[]);
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    pub(crate) fn kernel(outputs: usize, inputs: usize, height: usize, width: usize) -> Kernel {
        Kernel { outputs, inputs, height, width }
    }

    pub(crate) fn distance2(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum()
    }
}
