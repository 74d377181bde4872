//! The channel scheme: W as a matrix [out, in·kh·kw].
//!
//! Without data the best cut is the truncated SVD. With data, minimising ‖(W − W')·X‖ gives the projection on the top
//! eigenvectors Q of the output's covariance Σ = W·C·Wᵀ: W' = Q·(Qᵀ·W), whose squared error is the sum of the discarded
//! eigenvalues. It equals whitening the input, cutting and unwhitening (SVD-LLM, arXiv 2403.07378), but inverts nothing.

use nalgebra::DMatrix;

use super::matrix::eigen;
use super::svd::Svd;
use crate::error::Result;

/// W decomposed.
#[derive(Clone, Debug)]
pub(super) enum Channel {
    /// By its own singular values.
    Plain(Svd),
    /// By the covariance of its output.
    Output {
        /// W, [out, in·kh·kw].
        weight: DMatrix<f64>,
        /// Eigenvalues of the covariance, largest first.
        energies: Vec<f64>,
        /// Its eigenvectors, one a column.
        vectors: DMatrix<f64>,
    },
}

impl Channel {
    pub(super) fn new(name: &str, weight: DMatrix<f64>, output_covariance: Option<DMatrix<f64>>) -> Result<Self> {
        Ok(match output_covariance {
            None => Self::Plain(Svd::new(name, weight)?),
            Some(covariance) => {
                let full = weight.nrows().min(weight.ncols());
                let (mut energies, vectors) = eigen(name, covariance)?;
                energies.truncate(full);
                Self::Output { weight, energies, vectors }
            }
        })
    }

    /// Energy of each component, most important first.
    pub(super) fn energies(&self) -> &[f64] {
        match self {
            Self::Plain(svd) => &svd.energies,
            Self::Output { energies, .. } => energies,
        }
    }

    /// U [out, rank] and V [rank, in·kh·kw].
    pub(super) fn truncate(&self, rank: usize) -> (DMatrix<f64>, DMatrix<f64>) {
        match self {
            Self::Plain(svd) => svd.truncate(rank),
            Self::Output { weight, vectors, .. } => {
                let basis = vectors.columns(0, rank);
                (basis.into_owned(), basis.transpose() * weight)
            }
        }
    }
}
