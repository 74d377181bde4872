//! A weight's factors at one rank, in the layouts of the file.

use nalgebra::DMatrix;

use super::matrix::to_rows;
use super::{Rank, Scheme};
use crate::tensor::Kernel;

/// One factor, row-major, most important component first.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedFactor {
    /// What its tensor is called behind the weight's name: `v` and `u`, or `a`, `core` and `b`.
    pub suffix: &'static str,
    /// Axis lengths.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f32>,
}

/// W' at one rank.
///
/// Channel: `v` [r, in, kh, kw], `u` [r, out]. Spatial: `v` [r, in, kh], `u` [r, out, kw]. Tucker-2: `a` [r₂, in], `core`
/// [r₁, r₂, kh, kw], `b` [r₁, out]. Of a linear layer `v` is [r, in].
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// How W' is taken apart.
    pub scheme: Scheme,
    /// Components.
    pub rank: Rank,
    /// Sizes of W'.
    pub kernel: Kernel,
    /// The factors in the order in which they are applied.
    pub tensors: Vec<NamedFactor>,
    /// Root of each component's energy; empty for Tucker-2.
    pub sigma: Vec<f32>,
    /// Energy of what was cut off, in the measure that decided: Σσ², the output's variance, ‖W‖² − ‖core‖².
    pub tail_energy: f64,
    /// Share of the energy that is kept, 0…1.
    pub energy: f64,
    /// The mean of what the first factor gives on the data, for each position of the kernel behind it: [r] of the channel
    /// scheme, [r, kw] of the spatial one, [r₂, kh, kw] of Tucker-2; empty without data.
    pub means: Vec<f32>,
    /// Whether the last factor is scaled so that the weight keeps its energy.
    pub rescaled: bool,
    /// What the cut takes from the mean of each output, [out]: to be added to the bias.
    pub bias: Option<Vec<f64>>,
}

impl Factors {
    /// Factors as they were found, cut from nothing: W' is their product.
    pub fn uncut(scheme: Scheme, rank: Rank, kernel: Kernel, tensors: Vec<NamedFactor>) -> Self {
        Self {
            scheme,
            rank,
            kernel,
            tensors,
            sigma: Vec::new(),
            tail_energy: 0.0,
            energy: 1.0,
            means: Vec::new(),
            rescaled: false,
            bias: None,
        }
    }

    /// W', [out, in, kh, kw] row-major, summed in f64.
    pub fn product(&self) -> Vec<f32> {
        self.product_f64().into_iter().map(|x| x as f32).collect()
    }

    /// The same with output o multiplied by `scale[o]`; both sides of a pair's component are equally long again.
    #[must_use]
    pub fn scaled(&self, scale: &[f64]) -> Self {
        let Kernel { outputs, inputs, height, width } = self.kernel;
        let apply = |at: usize, rank: usize, inner: usize| {
            let mut u = self.turned(at, rank, outputs * inner).transpose();
            u.column_iter_mut().enumerate().for_each(|(i, mut c)| c *= scale.get(i / inner).copied().unwrap_or(1.0));
            u
        };
        let parts = match self.rank {
            Rank::One(rank) => {
                let (rows, inner) = self.sides();
                let (mut v, mut u) = (self.turned(0, rank, rows).transpose(), apply(1, rank, inner));
                equal_norms(&mut v, &mut u);
                vec![v, u]
            }
            Rank::Two { output, input } => {
                let core = self.turned(1, output, input * height * width).transpose();
                vec![self.turned(0, input, inputs).transpose(), core, apply(2, output, 1)]
            }
        };
        Self { tensors: named(self.scheme, self.rank, &self.kernel, &parts), ..self.clone() }
    }

    /// The same with what input channel i brings multiplied by `scale[i]`.
    #[must_use]
    pub fn with_inputs_scaled(&self, scale: &[f64]) -> Self {
        let mut scaled = self.clone();
        // The first factor is the one that reads the inputs: its second axis is theirs.
        if let Some(first) = scaled.tensors.first_mut() {
            let inner: usize = first.shape[2..].iter().product();
            let channels = first.values.chunks_exact_mut(inner).zip(scale.iter().cycle());
            channels.for_each(|(taps, k)| taps.iter_mut().for_each(|x| *x = (f64::from(*x) * k) as f32));
        }
        scaled
    }

    /// Of a pair: elements of one component of V, and of one output of one component of Uᵀ.
    pub(super) fn sides(&self) -> (usize, usize) {
        let Kernel { inputs, height, width, .. } = self.kernel;
        if self.scheme == Scheme::Spatial { (inputs * height, width) } else { (inputs * height * width, 1) }
    }

    pub(super) fn product_f64(&self) -> Vec<f64> {
        let Kernel { outputs, inputs, height, width } = self.kernel;
        let area = height * width;
        // Row-major storage is the transpose's column-major storage, so every product below is of transposes.
        match self.rank {
            Rank::One(rank) if self.scheme == Scheme::Spatial => {
                let (v, u) = (self.turned(0, rank, inputs * height), self.turned(1, rank, outputs * width));
                let product = u * v.transpose();
                let at = |(o, iy, x): (usize, usize, usize)| product[(o * width + x, iy)];
                let order = (0..outputs).flat_map(|o| (0..inputs * height).flat_map(move |iy| (0..width).map(move |x| (o, iy, x))));
                order.map(at).collect()
            }
            Rank::One(rank) => (self.turned(0, rank, inputs * area) * self.turned(1, rank, outputs).transpose()).data.into(),
            Rank::Two { output, input } => {
                let (a, core, b) = (self.turned(0, input, inputs), self.turned(1, output * input, area), self.turned(2, output, outputs));
                // core over A first, [in, area] after [in, area].
                let mut middle = DMatrix::zeros(inputs * area, output);
                for (p, mut column) in middle.column_iter_mut().enumerate() {
                    column.copy_from_slice((core.columns(p * input, input) * a.transpose()).as_slice());
                }
                (middle * b.transpose()).data.into()
            }
        }
    }

    /// Tensor `at`, [rows, columns] row-major, as its transpose.
    pub(super) fn turned(&self, at: usize, rows: usize, columns: usize) -> DMatrix<f64> {
        let values = self.tensors.get(at).map_or(&[][..], |t| &t.values);
        // A tensor that is too short, which none is, counts as zeros behind its end.
        DMatrix::from_iterator(columns, rows, values.iter().map(|&x| f64::from(x)).chain(std::iter::repeat(0.0)).take(rows * columns))
    }
}

/// The file's tensors, each of which lies in `parts` as a matrix with its first axis as rows.
pub(super) fn named(scheme: Scheme, rank: Rank, kernel: &Kernel, parts: &[DMatrix<f64>]) -> Vec<NamedFactor> {
    let layout = scheme.layout(rank, kernel).into_iter().zip(parts);
    layout.map(|((suffix, shape), part)| NamedFactor { suffix, shape, values: to_rows(part) }).collect()
}

/// Rescales row r of both factors to the same norm, their product unchanged; a row of zeros is left as it is.
pub(super) fn equal_norms(v: &mut DMatrix<f64>, u: &mut DMatrix<f64>) {
    for (mut v, mut u) in v.row_iter_mut().zip(u.row_iter_mut()) {
        let (a, b) = (v.norm(), u.norm());
        if a > 0.0 && b > 0.0 {
            v *= (b / a).sqrt();
            u *= (a / b).sqrt();
        }
    }
}
