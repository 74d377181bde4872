//! The dense linear algebra that the schemes share, all in f64.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::error::{Error, Result};

/// A row-major slice as a matrix.
pub(super) fn from_rows(rows: usize, columns: usize, values: &[f32]) -> DMatrix<f64> {
    DMatrix::from_row_iterator(rows, columns, values.iter().map(|&x| f64::from(x)))
}

/// The matrix's elements, row-major, rounded.
pub(super) fn to_rows(matrix: &DMatrix<f64>) -> Vec<f32> {
    matrix.transpose().iter().map(|&x| x as f32).collect()
}

/// Eigenvalues (negative ones, which are rounding, as 0) and eigenvectors of a symmetric matrix, largest first.
///
/// # Errors
/// [`Error::Invalid`] naming `name` when the iteration does not converge.
pub(super) fn eigen(name: &str, matrix: DMatrix<f64>) -> Result<(Vec<f64>, DMatrix<f64>)> {
    let eigen = SymmetricEigen::try_new(matrix, f64::EPSILON, 10_000)
        .ok_or_else(|| Error::invalid(format!("weight '{name}'"), "its decomposition does not converge"))?;
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let values = order.iter().map(|&i| eigen.eigenvalues[i].max(0.0)).collect();
    Ok((values, eigen.eigenvectors.select_columns(&order)))
}

/// The lower Cholesky factor of a covariance. Sums of products were rounded to f32 here and there, by as much as 1e-7 of the
/// largest eigenvalue, so that one with a dominant direction may be indefinite: it gets as small a ridge as makes it definite.
///
/// # Errors
/// [`Error::Invalid`] naming `name` when it holds what is no number, or is far from definite.
pub(super) fn cholesky(name: &str, matrix: DMatrix<f64>) -> Result<DMatrix<f64>> {
    let trace = matrix.trace().abs();
    let ridges = (0..7).map(|n| trace * 10f64.powi(n - 10));
    std::iter::once(0.0)
        .chain(ridges)
        .find_map(|ridge| {
            let mut ridged = matrix.clone();
            (0..ridged.nrows()).for_each(|i| ridged[(i, i)] += ridge);
            nalgebra::Cholesky::new(ridged)
        })
        .map(nalgebra::Cholesky::unpack)
        .ok_or_else(|| Error::invalid(format!("weight '{name}'"), "the moments of its data are no covariance"))
}

/// X with Lᵀ·X = B for a lower triangular L whose diagonal is positive.
pub(super) fn solve_transposed(l: &DMatrix<f64>, mut b: DMatrix<f64>) -> DMatrix<f64> {
    l.tr_solve_lower_triangular_unchecked_mut(&mut b);
    b
}

/// X with L·X = B for a lower triangular L whose diagonal is positive.
pub(super) fn solve(l: &DMatrix<f64>, mut b: DMatrix<f64>) -> DMatrix<f64> {
    l.solve_lower_triangular_unchecked_mut(&mut b);
    b
}

/// Makes the rows orthonormal from the first to the last, so that every prefix keeps its span. A row that depends on
/// those before it becomes 0.
pub(super) fn orthonormal_rows(mut m: DMatrix<f64>) -> DMatrix<f64> {
    for r in 0..m.nrows() {
        let before = m.row(r).norm();
        // Twice: once loses orthogonality where rows nearly depend on each other.
        for _ in 0..2 {
            for s in 0..r {
                let along = m.row(r).dot(&m.row(s));
                let other = m.row(s).into_owned();
                let mut row = m.row_mut(r);
                row -= other * along;
            }
        }
        let norm = m.row(r).norm();
        let scale = if norm > 1e-12 * before { 1.0 / norm } else { 0.0 };
        m.row_mut(r).scale_mut(scale);
    }
    m
}

/// basis ⊗ identity(inner), without columns' order changed: feature (r, k) reads elements (c, k) by basis[r, c], where
/// an element's index is (c / group, k, c % group) mixed as `index` says.
pub(super) fn kron_identity(basis: &DMatrix<f64>, inner: usize, index: impl Fn(usize, usize) -> usize) -> DMatrix<f64> {
    let (rank, n) = basis.shape();
    let mut out = DMatrix::zeros(rank * inner, n * inner);
    for r in 0..rank {
        for c in 0..n {
            for k in 0..inner {
                out[(r * inner + k, index(c, k))] = basis[(r, c)];
            }
        }
    }
    out
}

/// The moments of a sum over `inner`: Σ_k C[(a, k), (b, k)] for an n × n result, elements numbered by `index`.
pub(super) fn marginal(c: &DMatrix<f64>, n: usize, inner: usize, index: impl Fn(usize, usize) -> usize) -> DMatrix<f64> {
    DMatrix::from_fn(n, n, |a, b| (0..inner).map(|k| c[(index(a, k), index(b, k))]).sum())
}

/// W·x in f32: `weight` [outputs, len] row-major, `x` [len, n] row-major, the result [outputs, n] row-major.
pub fn multiply(weight: &[f32], x: &[f32], len: usize) -> Vec<f32> {
    let other = |v: &[f32]| v.len().checked_div(len).unwrap_or(0);
    let (outputs, n) = (other(weight), other(x));
    // Row-major is the transpose in column-major terms: xᵀ·Wᵀ, without a copy of either.
    let weight = nalgebra::DMatrixView::from_slice(&weight[..outputs * len], len, outputs);
    let x = nalgebra::DMatrixView::from_slice(&x[..n * len], n, len);
    let product: DMatrix<f32> = x * weight;
    product.data.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounding_made_indefinite_is_a_covariance_and_what_never_was_one_is_not() {
        // One direction has all of the variance; rounding took 1e-8 of it away from each of the others.
        let rounded = DMatrix::from_fn(40, 40, |i, j| if i == j { 1.0 - 1e-8 } else { 1.0 });
        assert!(nalgebra::Cholesky::new(rounded.clone()).is_none());
        let l = cholesky("w", rounded.clone()).unwrap();
        assert!((&l * l.transpose() - rounded).amax() < 1e-6);
        for matrix in [-DMatrix::identity(3, 3), DMatrix::from_element(3, 3, f64::NAN)] {
            assert!(cholesky("w", matrix).unwrap_err().to_string().contains("'w'"));
        }
    }
}
