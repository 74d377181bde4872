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

    /// Adds the vectors that are the columns of `block`, [len, n] row-major. Products of a block are summed in f32, so
    /// blocks should stay below some thousand vectors.
    pub fn add(&mut self, block: &[f32]) {
        let len = self.sum.len();
        let n = block.len().checked_div(len).unwrap_or(0);
        let x = nalgebra::DMatrixView::from_slice(&block[..n * len], n, len);
        self.products += (x.transpose() * x).map(f64::from);
        for (sum, values) in self.sum.iter_mut().zip(x.column_iter()) {
            *sum += values.iter().map(|&x| f64::from(x)).sum::<f64>();
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

    /// Adds inputs, the columns of `x` [len, n] row-major, with their targets, the columns of `y` [out, n] row-major.
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        let (len, outputs) = (self.inputs.len(), self.targets.len());
        let n = x.len().checked_div(len).unwrap_or(0);
        if y.len() != n * outputs {
            return;
        }
        let targets = nalgebra::DMatrixView::from_slice(y, n, outputs);
        self.cross += (targets.transpose() * nalgebra::DMatrixView::from_slice(&x[..n * len], n, len)).map(f64::from);
        for (sum, values) in self.targets.iter_mut().zip(targets.column_iter()) {
            *sum += values.iter().map(|&y| f64::from(y)).sum::<f64>();
        }
        self.inputs.add(x);
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
    use super::super::{multiply, testing::random};
    use super::*;

    #[test]
    fn blocks_and_merges_add_up() {
        let (first, second) = (random(6 * 20, 1), random(6 * 30, 2));
        let whole: Vec<f32> = (0..6).flat_map(|i| [&first[i * 20..(i + 1) * 20], &second[i * 30..(i + 1) * 30]].concat()).collect();
        let mut at_once = Moments::new(6);
        at_once.add(&whole);
        let (mut a, mut b) = (Moments::new(6), Moments::new(6));
        a.add(&first);
        b.add(&second);
        a.merge(&b);
        assert!((at_once.covariance() - a.covariance()).norm() < 1e-6 && (at_once.mean() - a.mean()).norm() < 1e-12);
        let line: Vec<f64> = whole[..50].iter().map(|&x| f64::from(x)).collect();
        let mean = line.iter().sum::<f64>() / 50.0;
        let variance = line.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50.0;
        assert!((a.covariance()[(0, 0)] - variance).abs() < 1e-5 * variance);
    }

    #[test]
    fn a_regression_finds_the_weight_that_made_the_targets() {
        let (x, w) = (random(4 * 200, 2), random(3 * 4, 3));
        let y: Vec<f32> = multiply(&w, &x, 4).into_iter().map(|y| y + 0.5).collect();
        let mut r = Regression::new(3, 4);
        r.add(&x, &y);
        let (got, bias) = r.solve("w", &[0.0; 12], 0.0).unwrap();
        assert!(got.iter().zip(&w).all(|(a, b)| (a - b).abs() < 1e-4) && bias.iter().all(|b| (b - 0.5).abs() < 1e-4));
        // A pull that outweighs the data leaves the weight where it was.
        let (pulled, _) = r.solve("w", &[1.0; 12], 1e6).unwrap();
        assert!(pulled.iter().all(|x| (x - 1.0).abs() < 1e-4));
        assert!(r.solve("w", &[0.0; 11], 0.0).is_err());
    }
}
