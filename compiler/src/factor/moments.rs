//! Means and covariances of what flows through a layer, and the least-squares weight that they ask for.

use nalgebra::{DMatrix, DVector};

use super::matrix::{cholesky, from_rows, solve, solve_transposed, to_rows};
use crate::error::{Error, Result};

/// Added to a covariance's diagonal, as a share of its mean: data are known to about f32, and dead channels have none.
const RIDGE: f64 = 1e-6;

/// Mean and covariance of vectors of one length, accumulated in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    count: u64,
    sum: DVector<f64>,
    /// Σ x·xᵀ.
    products: DMatrix<f64>,
}

impl Moments {
    /// Of vectors of `len` values, none seen yet.
    pub fn new(len: usize) -> Self {
        Self { count: 0, sum: DVector::zeros(len), products: DMatrix::zeros(len, len) }
    }

    /// Adds `block`, vector after vector; a rest that fills no vector is ignored. Products of a block are summed in f32,
    /// so blocks should stay below some thousand vectors.
    pub fn add(&mut self, block: &[f32]) {
        let len = self.sum.len();
        let n = block.len().checked_div(len).unwrap_or(0);
        let x = nalgebra::DMatrixView::from_slice(&block[..n * len], len, n);
        self.products += (x * x.transpose()).map(f64::from);
        for vector in x.column_iter() {
            self.sum.iter_mut().zip(vector.iter()).for_each(|(s, &x)| *s += f64::from(x));
        }
        self.count += n as u64;
    }

    /// Adds what `other`, of the same length, has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += &other.sum;
        self.products += &other.products;
    }

    /// Values of a vector.
    pub fn len(&self) -> usize {
        self.sum.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The mean.
    pub(super) fn mean(&self) -> DVector<f64> {
        &self.sum / (self.count.max(1) as f64)
    }

    /// The covariance (divided by n), with a ridge of a millionth of its mean variance so that it is definite.
    pub(super) fn covariance(&self) -> DMatrix<f64> {
        let mean = self.mean();
        let mut c = &self.products / (self.count.max(1) as f64) - &mean * mean.transpose();
        let ridge = RIDGE * c.trace() / (self.len().max(1) as f64);
        let ridge = if ridge > 0.0 { ridge } else { 1.0 };
        (0..self.len()).for_each(|i| c[(i, i)] += ridge);
        c
    }
}

/// What is known of a layer's data.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerMoments {
    /// Of the patches that one output position sums over, [in, kh, kw]: serves every scheme.
    Patches(Moments),
    /// Of the outputs before bias, [out]: all that the channel scheme needs, and little where patches are large.
    Outputs(Moments),
}

/// Input moments together with what the output should be: asks for the weight that fits best.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    inputs: Moments,
    targets: DVector<f64>,
    /// Σ y·xᵀ, [out, len].
    cross: DMatrix<f64>,
}

impl Regression {
    /// For weights [outputs, len], nothing seen yet.
    pub fn new(outputs: usize, len: usize) -> Self {
        Self { inputs: Moments::new(len), targets: DVector::zeros(outputs), cross: DMatrix::zeros(outputs, len) }
    }

    /// Adds inputs `x`, vector after vector, with their targets `y`, vector after vector; as many of both.
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        let (len, outputs) = (self.inputs.len(), self.targets.len());
        let n = (x.len() / len.max(1)).min(y.len() / outputs.max(1));
        let views = (
            nalgebra::DMatrixView::from_slice(&x[..n * len], len, n),
            nalgebra::DMatrixView::from_slice(&y[..n * outputs], outputs, n),
        );
        self.cross += (views.1 * views.0.transpose()).map(f64::from);
        for vector in views.1.column_iter() {
            self.targets.iter_mut().zip(vector.iter()).for_each(|(s, &x)| *s += f64::from(x));
        }
        self.inputs.add(&x[..n * len]);
    }

    /// Adds what `other`, of the same sizes, has seen.
    pub fn merge(&mut self, other: &Self) {
        self.inputs.merge(&other.inputs);
        self.targets += &other.targets;
        self.cross += &other.cross;
    }

    /// The inputs' moments.
    pub fn inputs(&self) -> &Moments {
        &self.inputs
    }

    /// W, [out, len] row-major, and bias, [out], that minimise Σ‖y − W·x − b‖² + n·`pull`·v·‖W − `weight`‖², where v is
    /// the inputs' mean variance: a small pull keeps directions that hardly occur as they were.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `name` when the moments are not finite or `weight` has another size.
    pub fn solve(&self, name: &str, weight: &[f32], pull: f64) -> Result<(Vec<f32>, Vec<f64>)> {
        let (outputs, len) = self.cross.shape();
        if weight.len() != outputs * len {
            return Err(Error::invalid(format!("weight '{name}'"), format!("{} values for {outputs} × {len}", weight.len())));
        }
        let n = self.inputs.count.max(1) as f64;
        let (x, y) = (self.inputs.mean(), &self.targets / n);
        let mut c = self.inputs.covariance();
        let pull = pull * c.trace() / (len.max(1) as f64);
        (0..len).for_each(|i| c[(i, i)] += pull);
        let right = &self.cross / n - &y * x.transpose() + from_rows(outputs, len, weight) * pull;
        let l = cholesky(name, c)?;
        let w = solve_transposed(&l, solve(&l, right.transpose())).transpose();
        let bias = y - &w * x;
        Ok((to_rows(&w), bias.iter().copied().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::random;
    use super::*;

    #[test]
    fn blocks_and_merges_add_up() {
        let data = random(6 * 50, 1);
        let mut whole = Moments::new(6);
        whole.add(&data);
        let (mut a, mut b) = (Moments::new(6), Moments::new(6));
        a.add(&data[..60]);
        b.add(&data[60..]);
        a.merge(&b);
        assert!((whole.covariance() - a.covariance()).norm() < 1e-6 && (whole.mean() - a.mean()).norm() < 1e-12);
        let first: Vec<f64> = data.iter().step_by(6).map(|&x| f64::from(x)).collect();
        let mean = first.iter().sum::<f64>() / 50.0;
        let variance = first.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50.0;
        assert!((whole.covariance()[(0, 0)] - variance).abs() < 1e-5 * variance);
    }

    #[test]
    fn a_regression_finds_the_weight_that_made_the_targets() {
        let (x, w) = (random(4 * 200, 2), random(3 * 4, 3));
        let y: Vec<f32> = x
            .chunks(4)
            .flat_map(|x| w.chunks(4).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + 0.5).collect::<Vec<_>>())
            .collect();
        let mut r = Regression::new(3, 4);
        r.add(&x, &y);
        let (got, bias) = r.solve("w", &[0.0; 12], 0.0).unwrap();
        assert!(got.iter().zip(&w).all(|(a, b)| (a - b).abs() < 1e-4) && bias.iter().all(|b| (b - 0.5).abs() < 1e-4));
        assert!(r.solve("w", &[0.0; 11], 0.0).is_err());
    }
}
