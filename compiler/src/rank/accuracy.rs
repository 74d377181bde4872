//! The cheapest network that still answers well enough, by judging one after the other.

use super::{Cut, LayerChoices, Policy, choose};
use crate::error::Result;

/// Judgements at most.
const JUDGEMENTS: usize = 9;

/// The cheapest choice among solved budgets of multiply–accumulates whose judged drop is at most `points`, by bisection:
/// `judge` gets one form a layer and returns the drop in percentage points. Judged noise can make bisection stop early,
/// never accept more than `points`. Everything dense where nothing else will do.
///
/// # Errors
/// Whatever `judge` returns; [`Error::Invalid`] for points out of range.
pub fn cheapest(points: f64, layers: &[LayerChoices<'_>], mut judge: impl FnMut(&[Cut]) -> Result<f64>) -> Result<Vec<Cut>> {
    Policy::Accuracy(points).check()?;
    let (mut low, mut high) = (0.0, 1.0);
    let mut best = vec![None; layers.len()];
    let mut judged: Option<Vec<Cut>> = None;
    for _ in 0..JUDGEMENTS {
        let share = f64::midpoint(low, high);
        let cuts = match choose(Policy::Macs(share), layers) {
            Ok(cuts) => cuts,
            // No choice is so cheap.
            Err(_) => {
                low = share;
                continue;
            }
        };
        if judged.as_ref() == Some(&cuts) {
            break;
        }
        if judge(&cuts)? <= points {
            high = share;
            best.clone_from(&cuts);
        } else {
            low = share;
        }
        judged = Some(cuts);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::factor::{Factoring, Scheme, testing::random};
    use crate::rank::Geometry;
    use crate::tensor::Kernel;

    #[test]
    fn the_cheapest_that_passes_is_found_and_dense_if_none_does() {
        let kernel = Kernel { outputs: 32, inputs: 32, height: 3, width: 3 };
        let f: Vec<_> =
            (0..3).map(|s| vec![Factoring::new("w", &random(kernel.len(), s), kernel, Scheme::Channel, None).unwrap()]).collect();
        let at = Geometry { input: [8, 8], output: [8, 8] };
        let layer = |f| LayerChoices { kernel, pool: crate::rank::Pool::Conv, geometry: at, bias: 0, factorings: f, importance: 1.0 };
        let layers: Vec<_> = f.iter().map(|f| layer(f)).collect();
        let macs = |cuts: &[Cut]| cuts.iter().map(|c| super::super::macs(&kernel, &at, *c)).sum::<u64>() as f64 / (3 * 9216 * 64) as f64;
        let mut asked = 0;
        let cuts = cheapest(40.0, &layers, |cuts| {
            asked += 1;
            Ok(100.0 * (1.0 - macs(cuts)))
        });
        let share = macs(&cuts.unwrap());
        assert!((0.6..0.62).contains(&share) && asked <= JUDGEMENTS, "{share} {asked}");
        assert_eq!(cheapest(1.0, &layers, |_| Ok(50.0)).unwrap(), [None, None, None]);
        assert!(cheapest(1.0, &layers, |_| Err(Error::invalid("x", "y"))).is_err());
        assert!(cheapest(f64::NAN, &layers, |_| Ok(0.0)).is_err());
    }
}
