//! Cross entropy with label smoothing.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

/// Mean over the batch of −Σ q·log softmax(logits), with q = (1−ε)·one-hot(label) + ε/classes, as PyTorch's
/// `CrossEntropyLoss(label_smoothing=ε)`. `logits` is [batch, classes]; every label must be below classes.
pub(super) fn cross_entropy(logits: Tensor<2>, labels: &[u16], smoothing: f32, device: &Device) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    let mut targets = vec![smoothing / classes as f32; batch * classes];
    for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
        row[usize::from(label)] += 1.0 - smoothing;
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [batch, classes]), device);
    (targets * log_softmax(logits, 1)).sum().div_scalar(-(batch as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_is_the_formula() {
        let device = Device::flex();
        let rows = [[2.0f32, -1.0, 0.5], [0.0, 3.0, -2.0]];
        let labels = [2u16, 1];
        for smoothing in [0.0, 0.1] {
            let logits = Tensor::<2>::from_data(TensorData::new(rows.concat(), [2, 3]), &device);
            let got: f32 = cross_entropy(logits, &labels, smoothing, &device).into_scalar();
            let expected: f64 = rows
                .iter()
                .zip(labels)
                .map(|(row, label)| {
                    let z: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                    let nll = |i: usize| z.ln() - f64::from(row[i]);
                    let s = f64::from(smoothing);
                    (1.0 - s) * nll(usize::from(label)) + s * (nll(0) + nll(1) + nll(2)) / 3.0
                })
                .sum::<f64>()
                / 2.0;
            assert!((f64::from(got) - expected).abs() < 1e-6, "{got} {expected}");
        }
    }
}
