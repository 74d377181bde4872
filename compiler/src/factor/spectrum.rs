//! The singular value decomposition with both sides orthonormal, for training: what cuts, shares out or flattens singular
//! values builds a matrix UΣ'Vᵀ of it.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::error::{Error, Result};

/// Components smaller than this share of the largest are beyond what f32 elements say; they count as nothing.
const FLOOR: f64 = 1e-7;

/// W = Σ σ·u·vᵀ of a matrix [rows, columns], largest component first; min(rows, columns) of them.
#[derive(Clone, Debug)]
pub struct Spectrum {
    sigma: Vec<f64>,
    /// [rows, components], orthonormal columns (zero where σ is).
    u: DMatrix<f64>,
    /// [components, columns], orthonormal rows (zero where σ is).
    v: DMatrix<f64>,
}

impl Spectrum {
    /// Decomposes `matrix`, [rows, columns] row-major, through the eigenvectors of its smaller Gram matrix.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `name` when the element count differs, a value is not finite, or the iteration fails.
    pub fn new(name: &str, matrix: &[f32], rows: usize, columns: usize) -> Result<Self> {
        let fail = |why: String| Error::invalid(format!("weight '{name}'"), why);
        if matrix.is_empty() || rows.checked_mul(columns) != Some(matrix.len()) {
            return Err(fail(format!("{} values are no {rows} × {columns} matrix", matrix.len())));
        }
        if !matrix.iter().all(|x| x.is_finite()) {
            return Err(fail("holds a NaN or an infinity".into()));
        }
        let matrix = DMatrix::from_row_iterator(rows, columns, matrix.iter().map(|&x| f64::from(x)));
        // Wide from here on: the rows are the smaller side.
        let tall = rows > columns;
        let wide = if tall { matrix.transpose() } else { matrix };
        let eigen = SymmetricEigen::try_new(&wide * wide.transpose(), f64::EPSILON, 10_000)
            .ok_or_else(|| fail("its decomposition does not converge".into()))?;
        let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let mut basis = eigen.eigenvectors.select_columns(&order);
        // The other side is the matrix seen through the basis, and its lengths are better than the eigenvalues' roots.
        let mut through = basis.transpose() * &wide;
        let mut sigma: Vec<f64> = through.row_iter().map(|row| row.norm()).collect();
        let floor = FLOOR * sigma.iter().fold(0.0f64, |a, &b| a.max(b));
        for (r, sigma) in sigma.iter_mut().enumerate() {
            if *sigma > floor {
                through.row_mut(r).scale_mut(1.0 / *sigma);
            } else {
                *sigma = 0.0;
                through.row_mut(r).fill(0.0);
                basis.column_mut(r).fill(0.0);
            }
        }
        let (u, v) = if tall { (through.transpose(), basis.transpose()) } else { (basis, through) };
        Ok(Self { sigma, u, v })
    }

    /// Singular values, largest first.
    pub fn sigma(&self) -> &[f64] {
        &self.sigma
    }

    /// Share of Σσ² that the first `rank` values hold, 0…1; 1 for a matrix of zeros.
    pub fn energy(&self, rank: usize) -> f64 {
        let energy = |sigma: &[f64]| sigma.iter().map(|s| s * s).sum::<f64>();
        let total = energy(&self.sigma);
        if total > 0.0 { energy(&self.sigma[..rank.min(self.sigma.len())]) / total } else { 1.0 }
    }

    /// The smallest rank, at least 1, that holds a `share` of Σσ².
    pub fn rank_of(&self, share: f64) -> usize {
        (1..self.sigma.len()).find(|&rank| self.energy(rank) >= share).unwrap_or(self.sigma.len())
    }

    /// Σ f(σ)·u·vᵀ over the first `rank` components, [rows, columns] row-major.
    pub fn rebuilt(&self, rank: usize, f: impl Fn(f64) -> f64) -> Vec<f32> {
        self.sum(rank, f, &self.u, &self.v)
    }

    /// Σ f(σ)·u·uᵀ, [rows, rows].
    pub fn left_square(&self, f: impl Fn(f64) -> f64) -> Vec<f32> {
        self.sum(self.sigma.len(), f, &self.u, &self.u.transpose())
    }

    /// Σ f(σ)·v·vᵀ, [columns, columns].
    pub fn right_square(&self, f: impl Fn(f64) -> f64) -> Vec<f32> {
        self.sum(self.sigma.len(), f, &self.v.transpose(), &self.v)
    }

    /// U of the first `rank` components, [rows, rank] row-major, each multiplied by f(σ).
    pub fn left(&self, rank: usize, f: impl Fn(f64) -> f64) -> Vec<f32> {
        let scale: Vec<f64> = self.sigma.iter().take(rank).map(|&s| f(s)).collect();
        self.u.row_iter().flat_map(|row| row.iter().zip(&scale).map(|(x, s)| (x * s) as f32).collect::<Vec<_>>()).collect()
    }

    /// Vᵀ of the first `rank` components, [rank, columns] row-major, each multiplied by f(σ).
    pub fn right(&self, rank: usize, f: impl Fn(f64) -> f64) -> Vec<f32> {
        let rows = self.v.row_iter().zip(&self.sigma).take(rank);
        rows.flat_map(|(row, &s)| row.iter().map(|x| (x * f(s)) as f32).collect::<Vec<_>>()).collect()
    }

    fn sum(&self, rank: usize, f: impl Fn(f64) -> f64, left: &DMatrix<f64>, right: &DMatrix<f64>) -> Vec<f32> {
        let rank = rank.min(self.sigma.len());
        let mut scaled = left.columns(0, rank).into_owned();
        for (mut column, &sigma) in scaled.column_iter_mut().zip(&self.sigma) {
            column.scale_mut(if sigma > 0.0 { f(sigma) } else { 0.0 });
        }
        // Column-major storage of the transpose is row-major storage of the product.
        let product = right.rows(0, rank).transpose() * scaled.transpose();
        product.iter().map(|&x| x as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, keyed};
    use rand::RngExt;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = keyed(seed, Purpose::Init, &[]);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn energy(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn every_rank_leaves_the_energy_that_it_says() {
        for (rows, columns) in [(5, 12), (12, 5), (6, 6), (1, 9), (9, 1)] {
            let w = random(rows * columns, (rows * 100 + columns) as u64);
            let spectrum = Spectrum::new("w", &w, rows, columns).unwrap();
            let total = energy(&w, &vec![0.0; w.len()]);
            for rank in 1..=spectrum.sigma().len() {
                let error = energy(&w, &spectrum.rebuilt(rank, |s| s)) / total;
                assert!((error - (1.0 - spectrum.energy(rank))).abs() < 1e-6, "{rank} {error}");
                assert!(spectrum.rank_of(spectrum.energy(rank)) <= rank);
            }
            // ⟨W, UVᵀ⟩ is the nuclear norm.
            let inner: f64 = w.iter().zip(spectrum.rebuilt(usize::MAX, |_| 1.0)).map(|(a, b)| f64::from(a * b)).sum();
            assert!((inner - spectrum.sigma().iter().sum::<f64>()).abs() < 1e-5);
        }
    }

    #[test]
    fn squares_and_sides_are_orthonormal_frames() {
        let w = random(8 * 3, 1);
        let spectrum = Spectrum::new("w", &w, 8, 3).unwrap();
        let right = spectrum.right_square(|_| 1.0);
        assert!(right.iter().enumerate().all(|(i, x)| (x - f32::from(i % 4 == 0)).abs() < 1e-6), "{right:?}");
        let (u, v) = (spectrum.left(2, |s| s), spectrum.right(2, |_| 1.0));
        let product: Vec<f32> = (0..24).map(|i| (0..2).map(|r| u[i / 3 * 2 + r] * v[r * 3 + i % 3]).sum()).collect();
        assert!(energy(&product, &spectrum.rebuilt(2, |s| s)) < 1e-10);
        let left = spectrum.left_square(|s| s * s);
        let gram = |i: usize, j: usize| (0..3).map(|k| w[i * 3 + k] * w[j * 3 + k]).sum::<f32>();
        assert!((0..64).all(|at| (left[at] - gram(at / 8, at % 8)).abs() < 1e-5));
    }

    #[test]
    fn missing_rank_and_zeros_do_no_harm() {
        let w: Vec<f32> = (0..15).map(|i| (i / 3 * (i % 3)) as f32).collect();
        let spectrum = Spectrum::new("w", &w, 5, 3).unwrap();
        assert_eq!(spectrum.rank_of(1.0 - 1e-9), 1);
        assert!(spectrum.left_square(|s| s.powf(-0.5)).iter().all(|x| x.is_finite()));
        let zero = Spectrum::new("w", &[0.0; 6], 2, 3).unwrap();
        assert!(zero.rebuilt(2, f64::recip).iter().all(|&x| x == 0.0));
        assert_eq!((zero.energy(1), zero.rank_of(0.5)), (1.0, 1));
        assert!(Spectrum::new("w", &[f32::NAN], 1, 1).is_err() && Spectrum::new("w", &[1.0; 5], 2, 3).is_err());
    }
}
