//! The spatial scheme (Jaderberg et al., arXiv 1405.3866; TRP's form, arXiv 2004.14566): W as a matrix R [in·kh, out·kw].
//!
//! With data there is no closed form. V comes from R whitened by the covariance of columns of the patch (the patch's,
//! summed over the horizontal offset), then U is the least-squares solution under the full covariance C. V's rows are
//! nested, so that ONE Cholesky factor L of M·C·Mᵀ, M the map from patches to V's features, holds the solution of every
//! rank as a leading block: error²(r) = tr(W·C·Wᵀ) − Σ over the first r·kw rows of L⁻¹·M·C·Wᵀ of their squares.

use nalgebra::DMatrix;

use super::matrix::{cholesky, eigen, kron_identity, marginal, solve, solve_transposed};
use super::svd::Svd;
use crate::error::Result;
use crate::tensor::Kernel;

/// W decomposed.
#[derive(Clone, Debug)]
pub(super) enum Spatial {
    /// By the singular values of R.
    Plain(Svd),
    /// For the layer's data.
    Fitted {
        /// V, [full rank, in·kh], most important row first.
        v: DMatrix<f64>,
        /// Lower Cholesky factor of the features' covariance, [full·kw, full·kw].
        l: DMatrix<f64>,
        /// L⁻¹·M·C·Wᵀ, [full·kw, out].
        y: DMatrix<f64>,
        /// What each component takes from the error.
        energies: Vec<f64>,
    },
}

impl Spatial {
    /// `weight` is [out, in·kh·kw]; `covariance` of its patches.
    pub(super) fn new(name: &str, kernel: &Kernel, weight: &DMatrix<f64>, covariance: Option<&DMatrix<f64>>) -> Result<Self> {
        let (kh, kw) = (kernel.height, kernel.width);
        let r = DMatrix::from_fn(kernel.inputs * kh, kernel.outputs * kw, |iy, ox| weight[(ox / kw, iy * kw + ox % kw)]);
        let Some(covariance) = covariance else { return Ok(Self::Plain(Svd::new(name, r)?)) };
        let full = r.nrows().min(r.ncols());
        let at = |iy: usize, x: usize| iy * kw + x;
        let root = cholesky(name, marginal(covariance, r.nrows(), kw, at))?;
        let seen = root.transpose() * &r;
        let (_, vectors) = eigen(name, &seen * seen.transpose())?;
        let mut v = solve_transposed(&root, vectors.columns(0, full).into_owned()).transpose();
        for mut row in v.row_iter_mut() {
            let norm = row.norm();
            row.scale_mut(if norm > 0.0 { 1.0 / norm } else { 0.0 });
        }
        let map = kron_identity(&v, kw, at);
        let features = &map * covariance;
        let l = cholesky(name, ridged(&features * map.transpose()))?;
        let y = solve(&l, features * weight.transpose());
        let energies = (0..full).map(|c| y.rows(c * kw, kw).norm_squared()).collect();
        Ok(Self::Fitted { v, l, y, energies })
    }

    /// Energy of each component, in the order in which they are kept.
    pub(super) fn energies(&self) -> &[f64] {
        match self {
            Self::Plain(svd) => &svd.energies,
            Self::Fitted { energies, .. } => energies,
        }
    }

    /// V [rank, in·kh] and Uᵀ [rank, out·kw].
    pub(super) fn truncate(&self, kernel: &Kernel, rank: usize) -> (DMatrix<f64>, DMatrix<f64>) {
        match self {
            Self::Plain(svd) => {
                let (left, right) = svd.truncate(rank);
                (left.transpose(), right)
            }
            Self::Fitted { v, l, y, .. } => {
                let (kw, n) = (kernel.width, rank * kernel.width);
                let u = solve_transposed(&l.view((0, 0), (n, n)).into_owned(), y.rows(0, n).into_owned());
                (v.rows(0, rank).into_owned(), DMatrix::from_fn(rank, kernel.outputs * kw, |r, ox| u[(r * kw + ox % kw, ox / kw)]))
            }
        }
    }
}

/// A ridge far below the data's own, against rounding where features nearly depend on each other.
fn ridged(mut c: DMatrix<f64>) -> DMatrix<f64> {
    let ridge = 1e-12 * c.trace() / (c.nrows().max(1) as f64);
    (0..c.nrows()).for_each(|i| c[(i, i)] += ridge.max(f64::MIN_POSITIVE));
    c
}
