//! Few pipelines: which forms and kernels a network takes where compiling a kernel costs as much as many runs of it.

/// A way to run a layer: for each of its steps the pipelines that could, and what a run of them costs.
pub(super) type Way = Vec<Vec<(usize, u64)>>;

/// What was chosen for a layer: the way, and the candidate of each of its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) way: usize,
    pub(super) steps: Vec<usize>,
}

/// Chooses a way for every layer so that one run, and `price` for every pipeline in use, together cost little. From all
/// pipelines, always the one is dropped without which a run is cheapest, as long as it pays; once for every pipeline as the
/// one that stays, because the best few need not be among the best of all. A layer that nothing can run gets no way.
pub(super) fn choose(layers: &[Vec<Way>], price: u64) -> Vec<Option<Taken>> {
    let count = layers.iter().flatten().flatten().flatten().map(|c| c.0 + 1).max().unwrap_or(0);
    // Most layers of a network are alike.
    let mut kinds: Vec<(&Vec<Way>, u64)> = Vec::new();
    for layer in layers.iter().filter(|l| best(l, &vec![true; count]).is_some()) {
        match kinds.iter_mut().find(|k| k.0 == layer) {
            Some(kind) => kind.1 += 1,
            None => kinds.push((layer, 1)),
        }
    }
    let run = |kept: &[bool]| kinds.iter().try_fold(0u64, |sum, (l, n)| Some(sum.saturating_add(best(l, kept)?.0.saturating_mul(*n))));
    let mut fewest = (u64::MAX, vec![true; count]);
    for root in 0..count {
        let mut kept = vec![true; count];
        let mut now = run(&kept).unwrap_or(u64::MAX);
        let drop = |kept: &[bool], p: usize| {
            let mut fewer = kept.to_vec();
            fewer[p] = false;
            run(&fewer)
        };
        while let Some((then, p)) = (0..count).filter(|&p| kept[p] && p != root).filter_map(|p| Some((drop(&kept, p)?, p))).min() {
            if then > now.saturating_add(price) {
                break;
            }
            (now, kept[p]) = (then, false);
        }
        let all = now.saturating_add(price.saturating_mul(kept.iter().filter(|k| **k).count() as u64));
        if all < fewest.0 {
            fewest = (all, kept);
        }
    }
    layers.iter().map(|l| best(l, &fewest.1).map(|(_, taken)| taken)).collect()
}

/// The cheapest way to run a layer with the pipelines that are kept.
fn best(ways: &[Way], kept: &[bool]) -> Option<(u64, Taken)> {
    let step = |candidates: &Vec<(usize, u64)>| {
        let open = candidates.iter().enumerate().filter(|(_, c)| kept[c.0]);
        open.min_by_key(|(_, c)| c.1).map(|(at, c)| (at, c.1))
    };
    let way = |(way, steps): (usize, &Way)| {
        let taken = steps.iter().map(step).collect::<Option<Vec<_>>>()?;
        let cost = taken.iter().fold(0u64, |sum, t| sum.saturating_add(t.1));
        Some((cost, Taken { way, steps: taken.into_iter().map(|t| t.0).collect() }))
    };
    ways.iter().enumerate().filter_map(way).min_by_key(|(cost, _)| *cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_must_earn_its_price() {
        // Two layers in one step, by pipelines 0 and 1; a third in two steps by 0, or in one by 2.
        let layers = vec![
            vec![vec![vec![(0, 10), (1, 6)]]],
            vec![vec![vec![(0, 10), (1, 7)]]],
            vec![vec![vec![(0, 5)], vec![(0, 6)]], vec![vec![(2, 8)]]],
        ];
        let forms = |price| choose(&layers, price).into_iter().map(|t| t.map(|t| (t.way, t.steps))).collect::<Vec<_>>();
        let taken = |way: usize, steps: &[usize]| Some((way, steps.to_vec()));
        assert_eq!(forms(0), [taken(0, &[1]), taken(0, &[1]), taken(1, &[0])]);
        assert_eq!(forms(4), [taken(0, &[1]), taken(0, &[1]), taken(1, &[0])]);
        assert_eq!(forms(100), [taken(0, &[0]), taken(0, &[0]), taken(0, &[0, 0])]);
    }

    #[test]
    fn a_layer_that_nothing_runs_gets_nothing() {
        assert_eq!(choose(&[vec![vec![vec![]]], vec![vec![vec![(0, 1)]]]], 9), [None, Some(Taken { way: 0, steps: vec![0] })]);
        assert!(choose(&[], 1).is_empty());
    }
}
