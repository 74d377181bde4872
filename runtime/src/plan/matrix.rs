//! The f32 matrices that executors multiply by, from whatever form a weight is stored in.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use crate::artifact::{Artifact, Dtype, TensorId, Weight};

/// Which matrix of a stored weight a step multiplies by.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrix {
    /// The whole weight, multiplied back where it is stored as factors.
    Whole(Weight),
    /// V of a factor pair: the kernel's size, to `rank` channels.
    V(TensorId),
    /// U of a factor pair, stored as Uᵀ: 1×1.
    U(TensorId),
    /// Tucker's A: 1×1, to the input rank.
    A(TensorId),
    /// Tucker's core: the kernel's size, from the input rank to the output rank.
    Core(TensorId),
    /// Tucker's B, stored as Bᵀ: 1×1, from the output rank.
    B(TensorId),
    /// V of a spatial pair: height × 1, to `rank` channels.
    Columns(TensorId),
    /// U of a spatial pair, stored rank-major: 1 × width.
    Rows(TensorId),
}

/// Whether the matrix is stored in f16 as it is multiplied by. One that is multiplied back is not: rounding it again would
/// add an error that its factors do not have.
pub(crate) fn is_half(artifact: &Artifact, matrix: &Matrix) -> bool {
    let id = match matrix {
        Matrix::Whole(Weight::Dense(id)) => *id,
        Matrix::Whole(_) => return false,
        Matrix::V(id) | Matrix::U(id) | Matrix::A(id) | Matrix::Core(id) | Matrix::B(id) | Matrix::Columns(id) | Matrix::Rows(id) => *id,
    };
    artifact.model().tensors.get(id as usize).is_some_and(|t| t.dtype == Dtype::F16)
}

/// The matrix as [outputs, inputs / groups, kernel height, kernel width], row-major; a fully connected one has a kernel of
/// 1×1. Factors are multiplied in f64, because a product in f32 would add an error that the stored factors do not have.
pub fn matrix<'a>(artifact: &'a Artifact, matrix: &Matrix) -> Cow<'a, [f32]> {
    match matrix {
        Matrix::V(id) | Matrix::A(id) | Matrix::Core(id) | Matrix::Columns(id) => artifact.tensor(*id),
        Matrix::U(id) | Matrix::B(id) => turned(artifact, *id, 1),
        Matrix::Rows(id) => turned(artifact, *id, axis(artifact, *id, 2)),
        Matrix::Whole(weight) => whole(artifact, weight),
    }
}

fn axis(artifact: &Artifact, id: TensorId, at: usize) -> usize {
    artifact.tensor_shape(id).get(at).map_or(1, |&n| n as usize)
}

/// [rank, outputs, width] as [outputs, rank, width].
fn turned(artifact: &Artifact, id: TensorId, width: usize) -> Cow<'_, [f32]> {
    let (rank, outputs, values) = (axis(artifact, id, 0), axis(artifact, id, 1), artifact.tensor(id));
    let mut out = Vec::with_capacity(values.len());
    for o in 0..outputs {
        for r in 0..rank {
            out.extend_from_slice(&values[(r * outputs + o) * width..][..width]);
        }
    }
    Cow::Owned(out)
}

fn whole<'a>(artifact: &'a Artifact, weight: &Weight) -> Cow<'a, [f32]> {
    match *weight {
        Weight::Dense(id) => artifact.tensor(id),
        Weight::LowRank { v, u, .. } => {
            let v = wide(&artifact.tensor(v));
            narrow(&product(&wide(&matrix(artifact, &Matrix::U(u))), &v, axis(artifact, u, 0)))
        }
        Weight::Spatial { v, u, .. } => {
            let (rank, inputs, height) = (axis(artifact, v, 0), axis(artifact, v, 1), axis(artifact, v, 2));
            let (outputs, width) = (axis(artifact, u, 1), axis(artifact, u, 2));
            let (v, u) = (artifact.tensor(v), artifact.tensor(u));
            let mut sums = vec![0f64; outputs * inputs * height * width];
            for r in 0..rank {
                for (o, sums) in sums.chunks_exact_mut(inputs * height * width).enumerate() {
                    let row = &u[(r * outputs + o) * width..][..width];
                    for (sums, &v) in sums.chunks_exact_mut(width).zip(&v[r * inputs * height..]) {
                        for (sum, &u) in sums.iter_mut().zip(row) {
                            *sum += f64::from(u) * f64::from(v);
                        }
                    }
                }
            }
            narrow(&sums)
        }
        Weight::Tucker2 { a, core, b, .. } => {
            let (rank_in, inputs, taps) = (axis(artifact, a, 0), axis(artifact, a, 1), axis(artifact, core, 2) * axis(artifact, core, 3));
            let (rank_out, outputs) = (axis(artifact, b, 0), axis(artifact, b, 1));
            // [outputs, input rank, taps], then the input rank's axis against A.
            let left = product(&wide(&matrix(artifact, &Matrix::B(b))), &wide(&artifact.tensor(core)), rank_out);
            let a = wide(&artifact.tensor(a));
            let mut sums = vec![0f64; outputs * inputs * taps];
            for (left, sums) in left.chunks_exact(rank_in * taps).zip(sums.chunks_exact_mut(inputs * taps)) {
                for (q, left) in left.chunks_exact(taps).enumerate() {
                    for (i, sums) in sums.chunks_exact_mut(taps).enumerate() {
                        for (sum, x) in sums.iter_mut().zip(left) {
                            *sum += a[q * inputs + i] * x;
                        }
                    }
                }
            }
            narrow(&sums)
        }
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn narrow(values: &[f64]) -> Cow<'static, [f32]> {
    Cow::Owned(values.iter().map(|&x| x as f32).collect())
}

/// [rows, inner] × [inner, columns].
fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    /// Columns at a time, so that their sums stay in the nearest cache.
    const BLOCK: usize = 1024;
    let (inner, columns) = (inner.max(1), (b.len() / inner.max(1)).max(1));
    let mut out = vec![0f64; a.len() / inner * columns];
    let some_rows = |a: &[f64], out: &mut [f64]| {
        for start in (0..columns).step_by(BLOCK) {
            let end = (start + BLOCK).min(columns);
            for (row, out) in a.chunks_exact(inner).zip(out.chunks_exact_mut(columns)) {
                let out = &mut out[start..end];
                for (scale, line) in row.iter().zip(b.chunks_exact(columns)) {
                    for (sum, x) in out.iter_mut().zip(&line[start..end]) {
                        *sum += scale * x;
                    }
                }
            }
        }
    };
    shared_out(a, inner, &mut out, columns, &some_rows);
    out
}

/// Lets every core do its share of the rows where there is enough to do; each sum is one thread's, so the bits are the same.
fn shared_out(a: &[f64], inner: usize, out: &mut [f64], columns: usize, work: &(impl Fn(&[f64], &mut [f64]) + Sync)) {
    /// Multiply–accumulates below which threads are not worth their start.
    const ENOUGH: usize = 1 << 24;
    let rows = a.len() / inner;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cfg!(target_family = "wasm") || cores == 1 || out.len().saturating_mul(inner) < ENOUGH {
        return work(a, out);
    }
    let share = rows.div_ceil(cores).max(1);
    let shares = Mutex::new(a.chunks(share * inner).zip(out.chunks_mut(share * columns)));
    let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        while let Some((a, out)) = next() {
            work(a, out);
        }
    };
    std::thread::scope(|scope| {
        // This thread is one of them; one that the system does not give leaves its share to the others.
        for _ in 1..cores {
            let _ = std::thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Op, tests::two_layers};

    #[test]
    fn shared_out_or_not_a_product_has_the_same_bits() {
        let values = |len: usize, by: u32| (0..len as u32).map(|i| f64::from(i.wrapping_mul(by) % 1009) / 500.0 - 1.0).collect::<Vec<_>>();
        let (rows, inner, columns) = (37, 200, 2500);
        let (a, b) = (values(rows * inner, 2_654_435_761), values(inner * columns, 40_503));
        let got = product(&a, &b, inner);
        for (r, c) in [(0, 0), (5, 1023), (5, 1024), (36, 2499), (18, 2048)] {
            let sum = (0..inner).fold(0.0, |sum, k| sum + a[r * inner + k] * b[k * columns + c]);
            assert_eq!(got[r * columns + c], sum);
        }
    }

    #[test]
    fn factors_multiply_back_to_their_product() {
        let artifact = two_layers();
        let Op::Linear { weight, .. } = &artifact.model().layers[1].op else { panic!("a linear layer") };
        let Weight::LowRank { v, u, .. } = *weight else { panic!("a factored weight") };
        let (turned, v) = (matrix(&artifact, &Matrix::U(u)), matrix(&artifact, &Matrix::V(v)));
        let dense = matrix(&artifact, &Matrix::Whole(weight.clone()));
        for o in 0..3 {
            for i in 0..4 {
                assert_eq!(dense[o * 4 + i], turned[o * 2] * v[i] + turned[o * 2 + 1] * v[4 + i]);
            }
        }
    }
}
