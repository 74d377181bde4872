//! What a normalisation and what a factor with an addend are alike, and how the layer before takes it in.

use super::folded::Weighted;

/// y = k·(x − mean) + β for each channel.
pub(super) struct PerChannel {
    pub(super) k: Vec<f64>,
    pub(super) mean: Vec<f64>,
    pub(super) beta: Vec<f64>,
    /// Of the batch norm that it is, if it is one.
    pub(super) eps: Option<f32>,
}

impl PerChannel {
    /// k·(x − mean) + β of channel `c`.
    pub(super) fn of(&self, c: usize, x: f64) -> f64 {
        (x - self.mean[c]) * self.k[c] + self.beta[c]
    }

    /// For channels each of which belongs to one of these, or to none.
    pub(super) fn for_channels(&self, owners: &[Option<usize>]) -> Self {
        let each = |of: &[f64], without: f64| owners.iter().map(|o| o.map_or(without, |c| of[c])).collect();
        Self { k: each(&self.k, 1.0), mean: each(&self.mean, 0.0), beta: each(&self.beta, 0.0), eps: self.eps }
    }

    /// What channels without a value become.
    pub(super) fn shift(&self) -> Vec<f64> {
        (0..self.k.len()).map(|c| self.of(c, 0.0)).collect()
    }

    /// Behind diag(s)·W·x + b: s' = s·k, b' = k·(b − mean) + β.
    pub(super) fn fold_into(&self, layer: &mut Weighted) {
        let bias = layer.bias.take().unwrap_or_else(|| vec![0.0; self.k.len()]);
        layer.bias = Some(bias.iter().enumerate().map(|(c, &b)| self.of(c, f64::from(b)) as f32).collect());
        layer.scale = Some(match layer.scale.take() {
            None => self.k.clone(),
            Some(s) => s.iter().zip(&self.k).map(|(s, k)| s * k).collect(),
        });
    }
}
