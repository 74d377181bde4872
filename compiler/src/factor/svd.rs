//! The truncated singular value decomposition, through the f64 eigen-decomposition of the smaller Gram matrix.
//!
//! The eigenvectors give an orthogonal projection, so the truncated product is the projected weight itself and its error
//! is exactly what the projection discards, however inaccurate the smallest singular values are (the Gram matrix squares
//! the condition number: those below about 1e-8·σ₁ are noise).

use nalgebra::{DMatrix, SymmetricEigen};

use crate::error::{Error, Result};

/// All singular values of a weight [rows, columns], and the singular vectors of its smaller side.
#[derive(Clone, Debug)]
pub struct Svd {
    weight: DMatrix<f64>,
    /// Singular values, largest first; min(rows, columns) of them.
    sigma: Vec<f64>,
    /// One column a singular value: left vectors (of length rows) if rows ≤ columns, else right ones.
    vectors: DMatrix<f64>,
    /// Multiplied into row o of U: lets a weight be cut by its raw spectrum and used folded.
    row_scale: Option<Vec<f64>>,
}

/// W ≈ U·V at one rank, rank-major, most important component first.
#[derive(Clone, Debug, PartialEq)]
pub struct FactorPair {
    /// Components.
    pub rank: usize,
    /// V, [rank, columns].
    pub v: Vec<f32>,
    /// Uᵀ, [rank, rows].
    pub u: Vec<f32>,
    /// Singular values of the components.
    pub sigma: Vec<f32>,
    /// Σσ² of the discarded components.
    pub tail_energy: f64,
}

impl Svd {
    /// Decomposes `weight`, [rows, columns] row-major.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `name` when the element count differs, a value is not finite, or the iteration fails.
    pub fn new(name: &str, weight: &[f32], rows: usize, columns: usize) -> Result<Self> {
        let fail = |why: String| Error::invalid(format!("weight '{name}'"), why);
        if weight.is_empty() || rows.checked_mul(columns) != Some(weight.len()) {
            return Err(fail(format!("{} values are no {rows} × {columns} matrix", weight.len())));
        }
        if !weight.iter().all(|x| x.is_finite()) {
            return Err(fail("holds a NaN or an infinity".into()));
        }
        let weight = DMatrix::from_row_iterator(rows, columns, weight.iter().map(|&x| f64::from(x)));
        let gram = if rows <= columns { &weight * weight.transpose() } else { weight.transpose() * &weight };
        let eigen =
            SymmetricEigen::try_new(gram, f64::EPSILON, 10_000).ok_or_else(|| fail("its decomposition does not converge".into()))?;
        let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let sigma = order.iter().map(|&i| eigen.eigenvalues[i].max(0.0).sqrt()).collect();
        let vectors = eigen.eigenvectors.select_columns(&order);
        Ok(Self { weight, sigma, vectors, row_scale: None })
    }

    /// The same decomposition of a weight whose row o is used multiplied by `scale[o]`: the cut follows the spectrum
    /// without the scale, the factors carry it.
    #[must_use]
    pub fn with_row_scale(mut self, scale: Vec<f64>) -> Self {
        self.row_scale = Some(scale);
        self
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.weight.shape()
    }

    /// Singular values, largest first.
    pub fn sigma(&self) -> &[f64] {
        &self.sigma
    }

    /// min(rows, columns).
    pub fn full_rank(&self) -> usize {
        self.sigma.len()
    }

    /// Share of Σσ² that the first `rank` values hold, 0…1; 1 for a weight of zeros.
    pub fn energy(&self, rank: usize) -> f64 {
        let total: f64 = self.sigma.iter().map(|s| s * s).sum();
        let kept: f64 = self.sigma.iter().take(rank).map(|s| s * s).sum();
        if total > 0.0 { kept / total } else { 1.0 }
    }

    /// ‖W − W_r‖ / ‖W‖ (Frobenius) at `rank`: √(1 − energy).
    pub fn relative_error(&self, rank: usize) -> f64 {
        (1.0 - self.energy(rank)).max(0.0).sqrt()
    }

    /// The factors at `rank` (at least 1, at most full), each singular value shared out as √σ to both sides, so that
    /// neither is out of half precision's range or starts a fine-tuning unbalanced.
    pub fn truncate(&self, rank: usize) -> FactorPair {
        let rank = rank.clamp(1, self.full_rank());
        let (rows, columns) = self.shape();
        let basis = self.vectors.columns(0, rank);
        // The side that has the vectors is orthonormal, the other is the weight seen through them and carries σ.
        let through = if rows <= columns { basis.transpose() * &self.weight } else { (&self.weight * basis).transpose() };
        let (mut v, mut u) = (Vec::with_capacity(rank * columns), Vec::with_capacity(rank * rows));
        for (r, &sigma) in self.sigma[..rank].iter().enumerate() {
            let root = sigma.sqrt();
            // A component of size zero contributes nothing, whatever its vectors are.
            let (to_basis, to_through) = if sigma > f64::EPSILON * self.sigma[0] { (root, 1.0 / root) } else { (1.0, 1.0) };
            let (basis, through) = (basis.column(r), through.row(r));
            let basis = basis.iter().map(|x| x * to_basis);
            let through = through.iter().map(|x| x * to_through);
            if rows <= columns {
                u.extend(basis);
                v.extend(through);
            } else {
                v.extend(basis);
                u.extend(through);
            }
        }
        if let Some(scale) = &self.row_scale {
            for line in u.chunks_exact_mut(rows) {
                line.iter_mut().zip(scale).for_each(|(x, s)| *x *= s);
            }
        }
        let narrow = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
        let sigma = self.sigma[..rank].iter().map(|&s| s as f32).collect();
        let tail_energy = self.sigma[rank..].iter().map(|s| s * s).sum();
        FactorPair { rank, v: narrow(v), u: narrow(u), sigma, tail_energy }
    }
}

impl FactorPair {
    /// U·V as a matrix [rows, columns], summed in f64.
    pub fn product(&self) -> Vec<f32> {
        let (columns, rows) = (self.v.len() / self.rank, self.u.len() / self.rank);
        let factor = |values: &[f32], n: usize| DMatrix::from_iterator(n, self.rank, values.iter().map(|&x| f64::from(x)));
        // Column-major storage of the transpose is row-major storage of the product.
        let product = factor(&self.v, columns) * factor(&self.u, rows).transpose();
        product.iter().map(|&x| x as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, keyed};
    use proptest::prelude::*;
    use rand::RngExt;

    fn random(rows: usize, columns: usize, seed: u64) -> Vec<f32> {
        let mut rng = keyed(seed, Purpose::Init, &[]);
        (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt()
    }

    fn norm(a: &[f32]) -> f64 {
        distance(a, &vec![0.0; a.len()])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_error_is_the_discarded_energy(rows in 1usize..40, columns in 1usize..40, seed: u64, share in 0.0f64..1.0) {
            let w = random(rows, columns, seed);
            let svd = Svd::new("w", &w, rows, columns).unwrap();
            let rank = ((share * svd.full_rank() as f64) as usize).max(1);
            let pair = svd.truncate(rank);
            let error = distance(&w, &pair.product());
            let tail: f64 = svd.sigma()[rank..].iter().map(|s| s * s).sum();
            prop_assert!((error - tail.sqrt()).abs() <= 1e-6 * norm(&w), "{} {}", error, tail.sqrt());
            prop_assert!((error / norm(&w) - svd.relative_error(rank)).abs() <= 1e-6);
            prop_assert!((pair.tail_energy - tail).abs() <= 1e-12);
        }

        #[test]
        fn full_rank_gives_the_weight_back(rows in 1usize..60, columns in 1usize..60, seed: u64) {
            let w = random(rows, columns, seed);
            let svd = Svd::new("w", &w, rows, columns).unwrap();
            prop_assert!(distance(&w, &svd.truncate(usize::MAX).product()) <= 1e-6 * norm(&w));
        }
    }

    #[test]
    fn small_singular_values_are_good_to_a_millionth_of_the_largest() {
        // diag(1, 1e-1, … 1e-6) between two rotations, so that nothing is axis-aligned.
        let n = 7;
        let q = nalgebra::QR::new(DMatrix::from_iterator(n, n, random(n, n, 1).into_iter().map(f64::from))).q();
        let p = nalgebra::QR::new(DMatrix::from_iterator(n, n, random(n, n, 2).into_iter().map(f64::from))).q();
        let wanted: Vec<f64> = (0..n).map(|i| 10f64.powi(-(i as i32))).collect();
        let w = &q * DMatrix::from_diagonal(&nalgebra::DVector::from_vec(wanted.clone())) * p.transpose();
        let rows: Vec<f32> = w.transpose().iter().map(|&x| x as f32).collect();
        let svd = Svd::new("w", &rows, n, n).unwrap();
        for (got, want) in svd.sigma().iter().zip(wanted) {
            // f32 storage itself moves them by about 1e-7.
            assert!((got - want).abs() <= 2e-7, "{got} {want}");
        }
    }

    #[test]
    fn rank_one_is_found_and_zeros_do_no_harm() {
        let w: Vec<f32> = (0..5).flat_map(|o| (0..3).map(move |i| (o * i) as f32)).collect();
        let svd = Svd::new("w", &w, 5, 3).unwrap();
        assert!(svd.energy(1) > 1.0 - 1e-12);
        assert!(distance(&w, &svd.truncate(1).product()) < 1e-5);
        let zero = Svd::new("w", &[0.0; 6], 2, 3).unwrap().truncate(2);
        assert!(zero.product().iter().all(|&x| x == 0.0));
    }

    #[test]
    fn a_raw_spectrum_can_cut_a_scaled_weight() {
        let (w, scale) = (random(4, 6, 3), vec![2.0, 0.5, 0.0, 1.0]);
        let pair = Svd::new("w", &w, 4, 6).unwrap().with_row_scale(scale.clone()).truncate(4);
        let scaled: Vec<f32> = w.iter().enumerate().map(|(i, x)| x * scale[i / 6] as f32).collect();
        assert!(distance(&scaled, &pair.product()) < 1e-5);
    }

    #[test]
    fn what_is_no_weight_is_refused() {
        assert!(Svd::new("w", &[1.0; 5], 2, 3).is_err());
        assert!(Svd::new("w", &[], 0, 3).is_err());
        assert!(Svd::new("w", &[f32::NAN], 1, 1).is_err());
    }
}
