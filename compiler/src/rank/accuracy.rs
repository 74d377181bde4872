//! The cheapest network that still answers well enough, by judging one after the other.

use super::{Cut, Policy};
use crate::error::Result;

/// Judgements at most.
const JUDGEMENTS: usize = 9;

/// The cheapest choice among solved budgets whose judged drop is at most `points`, by bisection: `solve` gives one form for
/// each of `layers` layers within a share of what the dense network costs, in whatever measure; `judge` gets them and returns
/// the drop in percentage points. Judged noise can make bisection stop early,
/// never accept more than `points`. Everything dense where nothing else will do.
///
/// # Errors
/// Whatever `judge` returns; [`Error::Invalid`] for points out of range.
pub fn cheapest(
    points: f64,
    layers: usize,
    solve: impl Fn(f64) -> Result<Vec<Cut>>,
    mut judge: impl FnMut(&[Cut]) -> Result<f64>,
) -> Result<Vec<Cut>> {
    Policy::Accuracy(points).check()?;
    let (mut low, mut high) = (0.0, 1.0);
    let mut best = vec![None; layers];
    let mut judged: Option<Vec<Cut>> = None;
    for _ in 0..JUDGEMENTS {
        let share = f64::midpoint(low, high);
        let cuts = match solve(share) {
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
    use crate::rank::{Geometry, LayerChoices, choose};
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
        let cheapest =
            |points, judge: &mut dyn FnMut(&[Cut]) -> Result<f64>| cheapest(points, 3, |share| choose(Policy::Macs(share), &layers), judge);
        let mut asked = 0;
        let cuts = cheapest(40.0, &mut |cuts| {
            asked += 1;
            Ok(100.0 * (1.0 - macs(cuts)))
        });
        let share = macs(&cuts.unwrap());
        assert!((0.6..0.62).contains(&share) && asked <= JUDGEMENTS, "{share} {asked}");
        assert_eq!(cheapest(1.0, &mut |_| Ok(50.0)).unwrap(), [None, None, None]);
        assert!(cheapest(1.0, &mut |_| Err(Error::invalid("x", "y"))).is_err());
        assert!(cheapest(f64::NAN, &mut |_| Ok(0.0)).is_err());
    }
}
