//! Means and covariances of what flows through a layer, and the least-squares weight that they ask for.

use nalgebra::{DMatrix, DVector};

use super::matrix::{cholesky, from_rows, solve, solve_transposed, to_rows};
use crate::error::{Error, Result};

/// Added to a covariance's diagonal, as a share of its mean: data are known to about f32, and dead channels have none.
const RIDGE: f64 = 1e-6;

/// A sum of vectors of one length, each less a shift: the mean of the first ones. Products of what is left lose little in
/// f32 even where means are large beside deviations.
#[derive(Clone, Debug, PartialEq)]
struct Sums {
    count: u64,
    shift: Vec<f32>,
    /// Σ (x − shift).
    sum: DVector<f64>,
}

impl Sums {
    fn new(len: usize) -> Self {
        Self { count: 0, shift: vec![0.0; len], sum: DVector::zeros(len) }
    }

    /// Adds the columns of `block`, [len, n] row-major, and gives them without the shift, a row of `block` a column.
    fn add(&mut self, block: &[f32]) -> DMatrix<f32> {
        let len = self.sum.len();
        let n = block.len().checked_div(len).unwrap_or(0);
        if self.count == 0 && n > 0 {
            let mean = |row: &[f32]| (row.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64) as f32;
            self.shift = block.chunks_exact(n).take(len).map(mean).collect();
        }
        let mut x = DMatrix::from_column_slice(n, len, &block[..n * len]);
        for ((mut column, sum), shift) in x.column_iter_mut().zip(self.sum.iter_mut()).zip(&self.shift) {
            *sum += column.iter().map(|&x| f64::from(x) - f64::from(*shift)).sum::<f64>();
            column.add_scalar_mut(-shift);
        }
        self.count += n as u64;
        x
    }

    /// What `other`'s vectors have more under this shift than under their own.
    fn offset(&self, other: &Self) -> DVector<f64> {
        DVector::from_iterator(self.shift.len(), other.shift.iter().zip(&self.shift).map(|(b, a)| f64::from(*b) - f64::from(*a)))
    }

    fn merge(&mut self, other: &Self) {
        self.sum += &other.sum + self.offset(other) * other.count as f64;
        self.count += other.count;
    }

    /// Mean of what is summed.
    fn excess(&self) -> DVector<f64> {
        &self.sum / (self.count.max(1) as f64)
    }

    fn mean(&self) -> DVector<f64> {
        self.excess() + DVector::from_iterator(self.shift.len(), self.shift.iter().map(|&x| f64::from(x)))
    }
}

/// Mean and covariance of vectors of one length, accumulated in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    sums: Sums,
    /// Σ x·xᵀ of vectors less the shift.
    products: DMatrix<f64>,
}

impl Moments {
    /// Of vectors of `len` values, none seen yet.
    pub fn new(len: usize) -> Self {
        Self { sums: Sums::new(len), products: DMatrix::zeros(len, len) }
    }

    /// Adds the vectors that are the columns of `block`, [len, n] row-major. Products of a block are summed in f32, so
    /// blocks should stay below some thousand vectors.
    pub fn add(&mut self, block: &[f32]) {
        let x = self.sums.add(block);
        self.add_products(&x);
    }

    fn add_products(&mut self, x: &DMatrix<f32>) {
        self.products += (x.transpose() * x).map(f64::from);
    }

    /// Adds what `other`, of the same length, has seen.
    pub fn merge(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        let (d, n) = (self.sums.offset(&other.sums), other.sums.count as f64);
        self.products += &other.products + &other.sums.sum * d.transpose() + &d * (&other.sums.sum + &d * n).transpose();
        self.sums.merge(&other.sums);
    }

    /// Values of a vector.
    pub fn len(&self) -> usize {
        self.sums.shift.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.sums.count == 0
    }

    /// The mean.
    pub(super) fn mean(&self) -> DVector<f64> {
        self.sums.mean()
    }

    /// The covariance (divided by n) as it is.
    fn bare_covariance(&self) -> DMatrix<f64> {
        let excess = self.sums.excess();
        &self.products / (self.sums.count.max(1) as f64) - &excess * excess.transpose()
    }

    /// The covariance (divided by n), with a ridge of a millionth of its mean variance so that it is definite.
    pub(super) fn covariance(&self) -> DMatrix<f64> {
        let mut c = self.bare_covariance();
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
    targets: Sums,
    /// Σ y·xᵀ of both less their shifts, [out, len].
    cross: DMatrix<f64>,
}

impl Regression {
    /// For weights [outputs, len], nothing seen yet.
    pub fn new(outputs: usize, len: usize) -> Self {
        Self { inputs: Moments::new(len), targets: Sums::new(outputs), cross: DMatrix::zeros(outputs, len) }
    }

    /// Adds inputs, the columns of `x` [len, n] row-major, with their targets, the columns of `y` [out, n] row-major.
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        let (outputs, len) = self.cross.shape();
        if y.len() != x.len().checked_div(len).unwrap_or(0) * outputs {
            return;
        }
        let (x, y) = (self.inputs.sums.add(x), self.targets.add(y));
        self.inputs.add_products(&x);
        self.cross += (y.transpose() * x).map(f64::from);
    }

    /// Adds what `other`, of the same sizes, has seen.
    pub fn merge(&mut self, other: &Self) {
        if self.inputs.is_empty() {
            self.clone_from(other);
            return;
        }
        let (x, y) = (self.inputs.sums.offset(&other.inputs.sums), self.targets.offset(&other.targets));
        let (sum, n) = (&other.inputs.sums.sum, other.inputs.sums.count as f64);
        self.cross += &other.cross + &other.targets.sum * x.transpose() + &y * (sum + &x * n).transpose();
        self.targets.merge(&other.targets);
        self.inputs.merge(&other.inputs);
    }

    /// The inputs' moments.
    pub fn inputs(&self) -> &Moments {
        &self.inputs
    }

    /// W, [out, len] row-major, and bias, [out], that minimise Σ‖y − W·x − b‖² + n·`pull`·v·‖W − `weight`‖², where v is
    /// the inputs' mean variance: a small pull keeps directions that hardly occur as they were. Inputs that never vary say
    /// nothing of the weight, which stays; the bias alone is fitted.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `name` when the moments are not finite or `weight` has another size.
    pub fn solve(&self, name: &str, weight: &[f32], pull: f64) -> Result<(Vec<f32>, Vec<f64>)> {
        let (outputs, len) = self.cross.shape();
        if weight.len() != outputs * len {
            return Err(Error::invalid(format!("weight '{name}'"), format!("{} values for {outputs} × {len}", weight.len())));
        }
        let bias = |w: &DMatrix<f64>| (self.targets.mean() - w * self.inputs.mean()).iter().copied().collect();
        if self.inputs.bare_covariance().trace() <= 0.0 {
            return Ok((weight.to_vec(), bias(&from_rows(outputs, len, weight))));
        }
        let n = self.inputs.sums.count.max(1) as f64;
        let mut c = self.inputs.covariance();
        let pull = pull * c.trace() / (len.max(1) as f64);
        (0..len).for_each(|i| c[(i, i)] += pull);
        let right =
            &self.cross / n - self.targets.excess() * self.inputs.sums.excess().transpose() + from_rows(outputs, len, weight) * pull;
        let l = cholesky(name, c)?;
        let w = solve_transposed(&l, solve(&l, right.transpose())).transpose();
        Ok((to_rows(&w), bias(&w)))
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
    fn means_that_dwarf_deviations_leave_the_covariance_definite_and_the_regression_right() {
        let (noise, w) = (random(5 * 400, 7), random(2 * 5, 8));
        let x: Vec<f32> = noise.iter().enumerate().map(|(at, x)| 100.0 * (1 + at / 400) as f32 + 0.01 * x).collect();
        let y = multiply(&w, &noise, 5);
        let part = |data: &[f32], n: usize, p: usize| {
            data.chunks(400).take(n).flat_map(|row| row[p * 100..(p + 1) * 100].to_vec()).collect::<Vec<_>>()
        };
        let mut whole = Regression::new(2, 5);
        for p in 0..4 {
            let mut r = Regression::new(2, 5);
            r.add(&part(&x, 5, p), &part(&y, 2, p));
            whole.merge(&r);
        }
        let c = whole.inputs().covariance();
        // Uniform in ±0.01: variance 1e-4 / 3.
        assert!((0..5).all(|i| (c[(i, i)] * 3e4 - 1.0).abs() < 0.1), "{c}");
        assert!(nalgebra::Cholesky::new(c).is_some());
        let (got, _) = whole.solve("w", &[0.0; 10], 0.0).unwrap();
        assert!(got.iter().zip(&w).all(|(a, b)| (a / 100.0 - b).abs() < 2e-2), "{got:?} {w:?}");
    }

    #[test]
    fn inputs_that_never_vary_leave_the_weight_and_fit_the_bias() {
        let (x, w) = (random(4, 5), random(3 * 4, 6));
        for count in [1, 7] {
            let repeated: Vec<f32> = x.iter().flat_map(|x| vec![*x; count]).collect();
            let mut r = Regression::new(3, 4);
            r.add(&repeated, &vec![2.0; 3 * count]);
            let (got, bias) = r.solve("w", &w, 1e-3).unwrap();
            assert_eq!(got, w);
            for (y, b) in multiply(&w, &x, 4).iter().zip(bias) {
                assert!((f64::from(*y) + b - 2.0).abs() < 1e-6, "{y} {b}");
            }
        }
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
