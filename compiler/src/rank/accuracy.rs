//! The cheapest network that still answers well enough, by judging one after the other.

use super::{Cut, Policy};
use crate::error::{Error, Result};

/// Budgets tried, and judgements at most.
pub const JUDGEMENTS: usize = 9;

/// The cheapest choice among solved budgets whose judged drop is at most `points`, by bisection: `solve` gives one form for
/// each of `layers` layers within a share of what the dense network costs, in whatever measure; `judge` gets them and returns
/// the drop in percentage points. A choice that several budgets give is judged once. Judged noise can lead bisection astray,
/// never accept more than `points`. Everything dense where nothing else will do.
///
/// # Errors
/// Whatever `judge` returns, and `solve` but for [`Error::Unmet`]; [`Error::Invalid`] for points out of range.
pub fn cheapest(
    points: f64,
    layers: usize,
    solve: impl Fn(f64) -> Result<Vec<Cut>>,
    mut judge: impl FnMut(&[Cut]) -> Result<f64>,
) -> Result<Vec<Cut>> {
    Policy::Accuracy(points).check()?;
    let (mut low, mut high) = (0.0, 1.0);
    let mut best = vec![None; layers];
    let mut judged: Vec<(Vec<Cut>, bool)> = Vec::new();
    for _ in 0..JUDGEMENTS {
        let share = f64::midpoint(low, high);
        let cuts = match solve(share) {
            Ok(cuts) => cuts,
            // No choice is so cheap.
            Err(Error::Unmet { .. }) => {
                low = share;
                continue;
            }
            Err(error) => return Err(error),
        };
        let passes = match judged.iter().find(|(known, _)| *known == cuts) {
            Some((_, passes)) => *passes,
            None => {
                let passes = judge(&cuts)? <= points;
                judged.push((cuts.clone(), passes));
                passes
            }
        };
        if passes {
            (high, best) = (share, cuts);
        } else {
            low = share;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::{Factoring, Rank, Scheme, testing::random};
    use crate::rank::{Geometry, LayerChoices, choose};
    use crate::tensor::Kernel;

    #[test]
    fn the_cheapest_that_passes_is_found_and_dense_if_none_does() {
        let kernel = Kernel { outputs: 32, inputs: 32, height: 3, width: 3 };
        let f: Vec<_> =
            (0..3).map(|s| vec![Factoring::new("w", &random(kernel.len(), s), kernel, Scheme::Channel, None).unwrap()]).collect();
        let at = Geometry { input: [8, 8], output: [8, 8] };
        let layer = |f| LayerChoices { kernel, pool: crate::rank::Pool::Conv, geometry: at, bias: 0, added: 0, factorings: f };
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

    #[test]
    fn budgets_that_give_the_same_choice_are_judged_once_and_do_not_end_the_search() {
        // What a budget buys, in steps: 0.5 and 0.75 buy the same.
        let forms = [(0.0, 1), (0.3, 2), (0.8, 3), (0.9, 4)].map(|(least, rank)| (least, vec![Some((Scheme::Channel, Rank::One(rank)))]));
        let solve = |share: f64| {
            let bought = forms.iter().rev().find(|(least, _)| share >= *least);
            bought.map(|(_, cuts)| cuts.clone()).ok_or_else(|| Error::invalid("share", "is negative"))
        };
        let mut asked = Vec::new();
        let passes = |cuts: &[Cut]| Ok(if cuts == forms[2].1 { 0.5 } else { 50.0 });
        let found = cheapest(1.0, 1, solve, |cuts| {
            asked.push(cuts.to_vec());
            passes(cuts)
        });
        assert_eq!(found.unwrap(), forms[2].1);
        assert_eq!(asked, [forms[1].1.clone(), forms[2].1.clone()]);
        assert!(cheapest(1.0, 1, |_| Err(Error::invalid("a", "b")), |_| Ok(0.0)).is_err());
        let unmet = |_| Err(Error::Unmet { what: "a".into(), why: "b".into() });
        assert_eq!(cheapest(1.0, 1, unmet, |_| Ok(0.0)).unwrap(), [None]);
    }
}
