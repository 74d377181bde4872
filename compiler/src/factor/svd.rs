//! The truncated singular value decomposition, through the f64 eigen-decomposition of the smaller Gram matrix.
//!
//! The eigenvectors give an orthogonal projection, so the truncated product is the projected weight itself and its error
//! is exactly what the projection discards, however inaccurate the smallest singular values are (the Gram matrix squares
//! the condition number: those below about 1e-8·σ₁ are noise).

use nalgebra::DMatrix;

use super::matrix::eigen;
use crate::error::Result;

/// All singular values of a matrix [rows, columns], and the singular vectors of its smaller side.
#[derive(Clone, Debug)]
pub(super) struct Svd {
    matrix: DMatrix<f64>,
    /// Squared singular values, largest first; min(rows, columns) of them.
    pub(super) energies: Vec<f64>,
    /// One column a singular value: left vectors (of length rows) if rows ≤ columns, else right ones.
    vectors: DMatrix<f64>,
}

impl Svd {
    /// Decomposes `matrix`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] naming `name` when the iteration fails.
    pub(super) fn new(name: &str, matrix: DMatrix<f64>) -> Result<Self> {
        let gram = if matrix.nrows() <= matrix.ncols() { &matrix * matrix.transpose() } else { matrix.transpose() * &matrix };
        let (energies, vectors) = eigen(name, gram)?;
        Ok(Self { matrix, energies, vectors })
    }

    /// Left [rows, rank] and right [rank, columns] factor whose product is the best matrix of that rank.
    pub(super) fn truncate(&self, rank: usize) -> (DMatrix<f64>, DMatrix<f64>) {
        let basis = self.vectors.columns(0, rank);
        if self.matrix.nrows() <= self.matrix.ncols() {
            (basis.into_owned(), basis.transpose() * &self.matrix)
        } else {
            (&self.matrix * basis, basis.transpose())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::random;
    use super::*;

    #[test]
    fn small_singular_values_are_good_to_a_millionth_of_the_largest() {
        // diag(1, 1e-1, … 1e-6) between two rotations, so that nothing is axis-aligned.
        let n = 7;
        let q = nalgebra::QR::new(DMatrix::from_iterator(n, n, random(n * n, 1).into_iter().map(f64::from))).q();
        let p = nalgebra::QR::new(DMatrix::from_iterator(n, n, random(n * n, 2).into_iter().map(f64::from))).q();
        let wanted: Vec<f64> = (0..n).map(|i| 10f64.powi(-(i as i32))).collect();
        let w = &q * DMatrix::from_diagonal(&nalgebra::DVector::from_vec(wanted.clone())) * p.transpose();
        let svd = Svd::new("w", w.map(|x| f64::from(x as f32))).unwrap();
        for (got, want) in svd.energies.iter().zip(wanted) {
            // f32 storage itself moves them by about 1e-7.
            assert!((got.sqrt() - want).abs() <= 2e-7, "{got} {want}");
        }
    }
}
