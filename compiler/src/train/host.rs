//! What the tests hold the trainer against: the loss in plain f64, of logits by the reference.

use super::network::Mode;
use crate::graph::Graph;
use crate::reference::{self, Statistics};
pub(super) use crate::reference::{Values, exact};

pub(super) type Matrix = Vec<Vec<f64>>;

/// The logits for the samples `input`, each flattened.
pub(super) fn forward(graph: &Graph, params: &Values, input: &Matrix, mode: Mode) -> Matrix {
    let statistics = match mode {
        Mode::Train => Statistics::Batch,
        Mode::Eval => Statistics::Running,
    };
    let logits = reference::run(graph, params, &input.concat(), statistics);
    logits.numbers().chunks(logits.len()).map(<[f64]>::to_vec).collect()
}

/// Mean cross entropy with smoothing.
pub(super) fn loss(logits: &Matrix, labels: &[u16], smoothing: f64) -> f64 {
    let one = |row: &Vec<f64>, label: u16| {
        let z = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        let mean = row.iter().map(|x| z - x).sum::<f64>() / row.len() as f64;
        (1.0 - smoothing) * (z - row[usize::from(label)]) + smoothing * mean
    };
    logits.iter().zip(labels).map(|(row, &l)| one(row, l)).sum::<f64>() / labels.len() as f64
}

/// The product of row-major matrices with `inner` columns and rows.
pub(super) fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let columns = b.len() / inner;
    let row =
        |row: &[f64]| -> Vec<f64> { (0..columns).map(|j| row.iter().enumerate().map(|(k, x)| x * b[k * columns + j]).sum()).collect() };
    a.chunks(inner).flat_map(row).collect()
}
