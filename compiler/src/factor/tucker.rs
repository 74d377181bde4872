//! Tucker-2 by sequentially truncated HOSVD (Vannieuwenhoven et al., SIAM J. Sci. Comput. 34, 2012) with HOOI sweeps
//! (De Lathauwer et al., SIAM J. Matrix Anal. 21, 2000) at the ranks that are asked for, here with data as well.
//!
//! The input basis A is orthonormal and nested. Given its first r₂ rows, the best weight over them is a least-squares
//! solution under the patches' covariance C, a leading block of ONE Cholesky factor L of M·C·Mᵀ, M = A ⊗ 1; and the best
//! output basis B is that of the top eigenvectors of S(r₂) = Yᵀ·Y over the first r₂·kh·kw rows of Y = L⁻¹·M·C·Wᵀ. So
//! error²(r₁, r₂) = tr(W·C·Wᵀ) − the r₁ largest eigenvalues of S(r₂), exactly. Without data C is the identity.

use nalgebra::DMatrix;

use super::grid;
use super::matrix::{cholesky, eigen, kron_identity, marginal, orthonormal_rows, solve, solve_transposed};
use crate::error::Result;
use crate::tensor::Kernel;

/// HOOI sweeps at most.
const SWEEPS: usize = 4;
/// Input ranks whose errors are tabulated, at most.
const GRID: usize = 16;

/// W decomposed, with its errors at a grid of input ranks.
#[derive(Clone, Debug)]
pub(super) struct Tucker {
    kernel: Kernel,
    weight: DMatrix<f64>,
    /// The patches' covariance, and the lower Cholesky root of its sum over positions.
    data: Option<(DMatrix<f64>, DMatrix<f64>)>,
    whole: Fit,
    /// Input ranks of the grid, each with the energies of its output components.
    table: Vec<(usize, Vec<f64>)>,
}

/// Least squares over an input basis.
#[derive(Clone, Debug)]
struct Fit {
    /// A, [rank, in].
    a: DMatrix<f64>,
    /// Lower Cholesky factor of the features' covariance; `None` for the identity.
    l: Option<DMatrix<f64>>,
    /// L⁻¹·M·C·Wᵀ, [rank·kh·kw, out].
    y: DMatrix<f64>,
}

/// A [r₂, in], core [r₁, r₂·kh·kw], B [out, r₁], and the energy that they keep.
pub(super) struct Parts {
    pub(super) a: DMatrix<f64>,
    pub(super) core: DMatrix<f64>,
    pub(super) b: DMatrix<f64>,
    pub(super) kept: f64,
}

impl Tucker {
    /// `weight` is [out, in·kh·kw]; `covariance` of its patches.
    pub(super) fn new(name: &str, kernel: &Kernel, weight: DMatrix<f64>, covariance: Option<&DMatrix<f64>>) -> Result<Self> {
        let area = kernel.height * kernel.width;
        let data = match covariance {
            None => None,
            Some(c) => Some((c.clone(), cholesky(name, marginal(c, kernel.inputs, area, |i, k| i * area + k))?)),
        };
        let mut tucker = Self {
            kernel: *kernel,
            whole: Fit { a: DMatrix::zeros(0, 0), l: None, y: DMatrix::zeros(0, 0) },
            weight,
            data,
            table: Vec::new(),
        };
        let basis = tucker.basis(name, &tucker.weight, kernel.inputs)?;
        tucker.whole = tucker.fit(name, basis)?;
        for rank in grid(kernel.inputs, GRID) {
            let (energies, _) = tucker.whole.outputs(name, rank, area)?;
            tucker.table.push((rank, energies));
        }
        Ok(tucker)
    }

    /// The best `rank` directions of the input for the rows of `weight`, [rows, in·kh·kw], orthonormal.
    fn basis(&self, name: &str, weight: &DMatrix<f64>, rank: usize) -> Result<DMatrix<f64>> {
        let (n, area) = (self.kernel.inputs, self.kernel.height * self.kernel.width);
        // Column (row, position) of the mode-in unfolding.
        let mode = DMatrix::from_fn(n, weight.nrows() * area, |i, ok| weight[(ok / area, i * area + ok % area)]);
        let seen = match &self.data {
            None => mode,
            Some((_, root)) => root.transpose() * mode,
        };
        let (_, vectors) = eigen(name, &seen * seen.transpose())?;
        let vectors = vectors.columns(0, rank).into_owned();
        Ok(match &self.data {
            None => vectors.transpose(),
            Some((_, root)) => orthonormal_rows(solve_transposed(root, vectors).transpose()),
        })
    }

    fn fit(&self, name: &str, a: DMatrix<f64>) -> Result<Fit> {
        let area = self.kernel.height * self.kernel.width;
        let map = kron_identity(&a, area, |i, k| i * area + k);
        Ok(match &self.data {
            None => Fit { y: map * self.weight.transpose(), l: None, a },
            Some((covariance, _)) => {
                let features = &map * covariance;
                let l = cholesky(name, &features * map.transpose())?;
                Fit { y: solve(&l, features * self.weight.transpose()), l: Some(l), a }
            }
        })
    }

    /// Input ranks of the grid, each with the energies of the output components, largest first.
    pub(super) fn table(&self) -> &[(usize, Vec<f64>)] {
        &self.table
    }

    /// Energy that `output` and `input` components keep before any sweep.
    ///
    /// # Errors
    /// As `new`.
    pub(super) fn kept(&self, name: &str, output: usize, input: usize) -> Result<f64> {
        let area = self.kernel.height * self.kernel.width;
        let energies = match self.table.iter().find(|(r, _)| *r == input) {
            Some((_, energies)) => energies,
            None => &self.whole.outputs(name, input, area)?.0,
        };
        Ok(energies.iter().take(output).sum())
    }

    /// The factors, after as many sweeps as improve them.
    ///
    /// # Errors
    /// As `new`.
    pub(super) fn truncate(&self, name: &str, output: usize, input: usize) -> Result<Parts> {
        let area = self.kernel.height * self.kernel.width;
        let mut best = self.whole.parts(name, output, input, area)?;
        for _ in 0..SWEEPS {
            let projected = best.b.transpose() * &self.weight;
            let fit = self.fit(name, self.basis(name, &projected, input)?)?;
            let next = fit.parts(name, output, input, area)?;
            let improvement = next.kept - best.kept;
            if improvement > 0.0 {
                best = next;
            }
            if improvement <= 1e-6 * best.kept {
                break;
            }
        }
        Ok(best)
    }
}

impl Fit {
    /// Energies and directions of the output over the first `rank` rows of A.
    fn outputs(&self, name: &str, rank: usize, area: usize) -> Result<(Vec<f64>, DMatrix<f64>)> {
        let y = self.y.rows(0, rank * area);
        eigen(name, y.transpose() * y)
    }

    fn parts(&self, name: &str, output: usize, input: usize, area: usize) -> Result<Parts> {
        let n = input * area;
        let (energies, vectors) = self.outputs(name, input, area)?;
        let b = vectors.columns(0, output).into_owned();
        let y = self.y.rows(0, n).into_owned();
        let weight = match &self.l {
            None => y,
            Some(l) => solve_transposed(&l.view((0, 0), (n, n)).into_owned(), y),
        };
        let kept = energies.iter().take(output).sum();
        Ok(Parts { a: self.a.rows(0, input).into_owned(), core: (weight * &b).transpose(), b, kept })
    }
}
