//! Class scores: what an output's numbers say of its classes, by what they mean.

use crate::artifact::Meaning;

/// The index of the largest value, the first of equals; `None` if there is none or one is NaN.
pub fn top1(logits: &[f32]) -> Option<usize> {
    if logits.iter().any(|x| x.is_nan()) {
        return None;
    }
    (0..logits.len()).reduce(|best, i| if logits[i] > logits[best] { i } else { best })
}

impl Meaning {
    /// The probability of each class by one sample's output, in its order; `None` where the output is no scores of classes.
    /// NaN where the output has a NaN.
    pub fn probabilities(self, output: &[f32]) -> Option<Vec<f64>> {
        let wide = output.iter().map(|&x| f64::from(x));
        match self {
            Self::Values => None,
            Self::Probabilities | Self::Independent => Some(wide.collect()),
            Self::LogProbabilities => Some(wide.map(f64::exp).collect()),
            Self::Logits => {
                let largest = wide.clone().fold(f64::NEG_INFINITY, |m, x| if x > m || x.is_nan() { x } else { m });
                let powers: Vec<f64> = wide.map(|x| (x - largest).exp()).collect();
                let total: f64 = powers.iter().sum();
                Some(powers.into_iter().map(|p| p / total).collect())
            }
        }
    }

    /// The logit of a class whose number in the output is `score`: what softmax, or of independent classes the sigmoid, makes
    /// its probability of.
    pub fn logit(self, score: f32) -> f32 {
        match self {
            Self::Values | Self::Logits | Self::LogProbabilities => score,
            Self::Probabilities => score.ln(),
            Self::Independent => (score / (1.0 - score)).ln(),
        }
    }

    /// What the numbers are, in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::LogProbabilities => "log-probabilities",
            Self::Independent => "independent probabilities",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_softmax_is_applied_to_logits_alone() {
        let of = |meaning: Meaning, output: &[f32]| meaning.probabilities(output).unwrap();
        let near = |a: &[f64], b: &[f64]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6) && a.len() == b.len(), "{a:?} {b:?}");
        near(&of(Meaning::Logits, &[0.0, 3f32.ln()]), &[0.25, 0.75]);
        near(&of(Meaning::Logits, &[1000.0, 1000.0]), &[0.5, 0.5]);
        near(&of(Meaning::Probabilities, &[0.25, 0.75]), &[0.25, 0.75]);
        near(&of(Meaning::Independent, &[0.9, 0.75]), &[0.9, 0.75]);
        near(&of(Meaning::LogProbabilities, &[0.25f32.ln(), 0.75f32.ln()]), &[0.25, 0.75]);
        assert_eq!(Meaning::Values.probabilities(&[1.0]), None);
        assert!(of(Meaning::Logits, &[1.0, f32::NAN]).iter().all(|p| p.is_nan()));
        // A logit gives its probability again.
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        assert!((sigmoid(Meaning::Independent.logit(0.9)) - 0.9).abs() < 1e-6);
        let [a, b] = [0.25, 0.75].map(|p| Meaning::Probabilities.logit(p));
        near(&of(Meaning::Logits, &[a, b]), &[0.25, 0.75]);
    }
}
