//! What was decided for each layer, and why.

use std::fmt;
use std::fmt::Write as _;

use crate::factor::{Rank, Scheme};
use crate::lower::Factored;
use crate::lower::folded::Weighted;
use crate::rank::{Cut, LayerChoices, Policy, Timed, Timing};

/// What became of a layer with a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReport {
    /// Its name.
    pub name: String,
    /// Rows of its weight as a matrix.
    pub outputs: usize,
    /// Columns of its weight as a matrix.
    pub inputs: usize,
    /// The form that was chosen; `None` for dense.
    pub cut: Cut,
    /// The full rank in the scheme of that form.
    pub full_rank: Option<Rank>,
    /// Share of the energy that is lost, 0…1; `None` for a layer that was not to be cut.
    pub lost: Option<f64>,
    /// Multiply–accumulates for one sample in the form that was chosen.
    pub macs: u64,
    /// The same if it were dense.
    pub dense_macs: u64,
    /// How it is written, and why so.
    pub written: WrittenAs,
}

/// How a layer is written, and why so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenAs {
    /// As factors.
    Factors,
    /// As the factors that the file holds, though they cost more than the matrix.
    DearFactors,
    /// Dense, since factors of the rank that was chosen would cost more.
    Cheaper,
    /// Dense, as the file has it.
    Held,
    /// Dense, since it could not be factored or was not to be.
    Unfactored,
    /// Dense, as the policy chose.
    Dense,
}

impl fmt::Display for WrittenAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Factors => "factors",
            Self::DearFactors => "factors, though they cost more",
            Self::Cheaper => "dense: factors would cost more",
            Self::Held => "dense, as the file has it",
            Self::Unfactored => "dense: not factored",
            Self::Dense => "dense",
        })
    }
}

/// What became of each layer of `factored` that has a weight, when `policy` gave its layers the forms `cuts`.
pub(super) fn report(factored: &Factored, policy: Policy, cuts: &[Cut]) -> Vec<LayerReport> {
    let keep = policy == Policy::Keep;
    let weighted = factored.layers().iter().zip(cuts).filter_map(|(layer, cut)| Some((&layer.name, layer.weighted()?, *cut)));
    weighted.zip(factored.choices()).map(|((name, weight, cut), choices)| LayerReport::of(name, weight, cut, &choices, keep)).collect()
}

impl LayerReport {
    /// The decision for layer `name`, which became `cut`; `keep` if the file's own factors are kept.
    fn of(name: &str, weight: &Weighted, cut: Cut, choices: &LayerChoices<'_>, keep: bool) -> Self {
        let factoring = cut.and_then(|(scheme, _)| choices.factorings.iter().find(|f| f.scheme() == scheme));
        let (as_cut, dense) = (choices.candidate(cut, 0.0), choices.candidate(None, 0.0));
        let pays = as_cut.macs < dense.macs || as_cut.params < dense.params;
        Self {
            name: name.into(),
            outputs: weight.kernel.outputs,
            inputs: weight.kernel.columns(),
            cut,
            full_rank: cut.map(|(scheme, _)| scheme.full_rank(&weight.kernel)),
            // What is written dense loses nothing.
            lost: match cut {
                Some(_) if keep || !pays => Some(0.0),
                Some((_, rank)) => factoring.and_then(|f| f.lost(rank).ok()),
                None => None,
            },
            macs: as_cut.macs,
            dense_macs: dense.macs,
            written: match cut {
                Some(_) if pays => WrittenAs::Factors,
                Some(_) if keep => WrittenAs::DearFactors,
                Some(_) => WrittenAs::Cheaper,
                None if keep => WrittenAs::Held,
                None if choices.factorings.is_empty() => WrittenAs::Unfactored,
                None => WrittenAs::Dense,
            },
        }
    }
}

/// A layer with a weight whose form was chosen by the clock.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedLayer {
    /// Its name.
    pub name: String,
    /// Its place among all layers of the network.
    pub at: usize,
    /// How many candidates were timed.
    pub timed: usize,
    /// Whether it is a fully connected layer, which knows one scheme.
    pub is_linear: bool,
    /// The candidates that no other beats in both time and error, and dense and the chosen one; the fastest first.
    pub candidates: Vec<Timed>,
    /// Which of them was chosen.
    pub chosen: usize,
}

/// The candidates of each layer of `factored` that was timed, when its layers were given the forms `cuts`.
pub(super) fn timed(factored: &Factored, timing: &Timing, cuts: &[Cut]) -> Vec<TimedLayer> {
    let weighted = factored.layers().iter().zip(cuts).enumerate().filter_map(|(at, (l, cut))| Some((at, &l.name, l.weighted()?, *cut)));
    let of_layer = |(place, (at, name, weight, cut)): (usize, (usize, &String, &Weighted, Cut))| {
        let (candidates, chosen) = shown(&timing.layers[place], timing.find(place, cut)?);
        let (timed, is_linear) = (timing.layers[place].len(), weight.window.is_none());
        Some(TimedLayer { name: name.clone(), at, timed, is_linear, candidates, chosen })
    };
    weighted.enumerate().filter_map(of_layer).collect()
}

/// The candidates of a layer that are worth a line, fastest first: the Pareto front, dense, and the chosen one (`won`), whose
/// index is returned too.
fn shown(all: &[Timed], won: &Timed) -> (Vec<Timed>, usize) {
    let mut shown = best(all);
    if !shown.iter().any(|c| c.cut == won.cut) {
        shown.push(won);
    }
    if !shown.iter().any(|c| c.cut.is_none()) {
        shown.extend(all.first());
    }
    shown.sort_by(|a, b| a.us.total_cmp(&b.us));
    let place = shown.iter().position(|c| c.cut == won.cut).unwrap_or(0);
    (shown.into_iter().cloned().collect(), place)
}

/// The Pareto front in time and error.
fn best(all: &[Timed]) -> Vec<&Timed> {
    let mut sorted: Vec<&Timed> = all.iter().collect();
    sorted.sort_by(|a, b| a.us.total_cmp(&b.us).then(a.error.total_cmp(&b.error)));
    let mut kept: Vec<&Timed> = Vec::new();
    for c in sorted {
        if kept.last().is_none_or(|last| c.error < last.error) {
            kept.push(c);
        }
    }
    kept
}

impl TimedLayer {
    /// What the form `cut` is called in this layer.
    pub fn label(&self, cut: Cut) -> String {
        let scheme = |scheme: Scheme| if self.is_linear { "low-rank" } else { scheme.label() };
        cut.map_or("dense".into(), |(s, rank)| format!("{} {rank}", scheme(s)))
    }

    /// Why the chosen candidate was taken and not its neighbours, in a line.
    pub fn why(&self) -> String {
        let Some(won) = self.candidates.get(self.chosen) else { return String::new() };
        if won.cut.is_none() && self.chosen == 0 {
            return "won: no cut is faster than dense".into();
        }
        let mut text = String::from("won");
        if let Some(faster) = self.chosen.checked_sub(1).map(|i| &self.candidates[i]) {
            let _ = write!(text, ": {:.1} µs less would lose {:.3} % more", won.us - faster.us, 100.0 * (faster.error - won.error));
        }
        match self.candidates.get(self.chosen + 1) {
            Some(slower) if slower.error < won.error => {
                let (lost, us) = (100.0 * (won.error - slower.error), slower.us - won.us);
                let _ = write!(text, "; {lost:.3} % less lost would take {us:.1} µs more");
            }
            _ => {}
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_candidate_won_names_its_neighbours() {
        let timed = |rank: usize, us, error| Timed { cut: Some((Scheme::Channel, Rank::One(rank))), form: "fused".into(), us, error };
        let dense = Timed { cut: None, form: "dense".into(), us: 50.0, error: 0.0 };
        let all = [dense.clone(), timed(4, 20.0, 0.4), timed(8, 30.0, 0.1), timed(6, 40.0, 0.2)];
        // The third is slower than the second and loses more.
        let (candidates, chosen) = shown(&all, &all[2]);
        assert_eq!(candidates, [timed(4, 20.0, 0.4), timed(8, 30.0, 0.1), dense.clone()]);
        assert_eq!(shown(&all, &all[3]).1, 2);
        let layer = TimedLayer { name: "a".into(), at: 0, timed: 4, is_linear: true, candidates, chosen };
        assert_eq!(layer.why(), "won: 10.0 µs less would lose 30.000 % more; 10.000 % less lost would take 20.0 µs more");
        assert_eq!(layer.label(layer.candidates[1].cut), "low-rank 8");
        let layer = TimedLayer { candidates: vec![dense], chosen: 0, ..layer };
        assert_eq!((layer.why(), layer.label(None)), ("won: no cut is faster than dense".into(), "dense".into()));
    }
}
