//! Cross entropy with label smoothing, and against a teacher's soft targets.

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
    against(logits, targets, device)
}

/// T² times the mean over the batch of −Σ p·log softmax(logits/T): its gradient has the size of cross entropy's whatever T is
/// (Hinton et al., arXiv 1503.02531, section 2.1). `targets` holds p of every sample, at that temperature.
pub(super) fn soft_cross_entropy(logits: Tensor<2>, targets: Vec<f32>, temperature: f32, device: &Device) -> Tensor<1> {
    against(logits.div_scalar(temperature), targets, device).mul_scalar(temperature * temperature)
}

/// Mean over the batch of −Σ q·log softmax(logits), q being `targets`, [batch, classes].
fn against(logits: Tensor<2>, targets: Vec<f32>, device: &Device) -> Tensor<1> {
    let [batch, classes] = logits.dims();
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

    #[test]
    fn a_teacher_pulls_towards_its_soft_targets() {
        let device = Device::flex().autodiff();
        let (mine, theirs) = ([0.3f32, -0.7, 1.1], [1.0f64, 0.5, -2.0]);
        for t in [1.0f64, 4.0] {
            let softmax = |x: &[f64]| {
                let e: Vec<f64> = x.iter().map(|x| (x / t).exp()).collect();
                let sum: f64 = e.iter().sum();
                e.into_iter().map(|e| e / sum).collect::<Vec<_>>()
            };
            let p = softmax(&theirs);
            let q = softmax(&mine.map(f64::from));
            let logits = Tensor::<2>::from_data(TensorData::new(mine.to_vec(), [1, 3]), &device).require_grad();
            let loss = soft_cross_entropy(logits.clone(), p.iter().map(|&p| p as f32).collect(), t as f32, &device);
            let value: f32 = loss.clone().into_scalar();
            let expected: f64 = -t * t * p.iter().zip(&q).map(|(p, q)| p * q.ln()).sum::<f64>();
            assert!((f64::from(value) - expected).abs() < 1e-5 * expected, "{value} {expected}");
            // ∂/∂z = T·(q − p).
            let gradient = logits.grad(&loss.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
            for ((g, p), q) in gradient.iter().zip(&p).zip(&q) {
                assert!((f64::from(*g) - t * (q - p)).abs() < 1e-5, "{gradient:?}");
            }
        }
    }
}
