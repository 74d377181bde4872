//! One candidate a layer, least error within a budget: the multiple-choice knapsack, solved exactly.
//!
//! Layers are added one by one to a list of undominated partial choices (dynamic programming by lists, Kellerer,
//! Pferschy and Pisinger, Knapsack Problems, section 11.5). A partial choice is dropped when even the linear relaxation
//! of the remaining layers, which is read off their convex hulls, cannot bring it below the best choice known; that is at
//! first the relaxation's own, rounded (what bisecting a Lagrange multiplier finds), then filled up.

/// What a layer may become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) cost: u64,
    pub(super) error: f64,
}

/// Partial choices kept after a layer, at most. Beyond it those with the poorest bounds go, and the result is only as
/// good as the best found; networks of the zoo stay far below.
const MOST: usize = 1 << 17;

/// The item of each layer that gives the least Σ error with Σ cost ≤ `budget`; `None` when even the cheapest cost more.
pub(super) fn solve(layers: &[Vec<Item>], budget: u64) -> Option<Vec<usize>> {
    let fronts: Vec<Vec<(usize, Item)>> = layers.iter().map(|items| front(items)).collect();
    let relaxed = Relaxed::new(&fronts)?;
    if relaxed.cheapest[0].cost > budget {
        return None;
    }
    let mut best = relaxed.round(&fronts, 0, budget);
    let mut best_error = error_of(&fronts, &best);
    let mut stages: Vec<Vec<Partial>> = vec![vec![Partial { cost: 0, error: 0.0, parent: 0, item: 0 }]];
    for (at, front) in fronts.iter().enumerate() {
        let mut next: Vec<(f64, Partial)> = Vec::new();
        for (parent, partial) in stages[at].iter().enumerate() {
            for (item, (_, candidate)) in front.iter().enumerate() {
                let (cost, error) = (partial.cost + candidate.cost, partial.error + candidate.error);
                if let Some(bound) = relaxed.bound(at + 1, cost, budget).map(|b| b + error)
                    && bound < best_error
                {
                    next.push((bound, Partial { cost, error, parent, item }));
                }
            }
        }
        // The most promising one, completed, may lower the bar for all others.
        if let Some((_, promising)) = next.iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
            let mut whole = trace(&stages, promising);
            whole.extend(relaxed.round(&fronts, at + 1, budget - promising.cost));
            let error = error_of(&fronts, &whole);
            if error < best_error {
                (best, best_error) = (whole, error);
            }
        }
        next.retain(|(bound, _)| *bound < best_error);
        if next.is_empty() {
            break;
        }
        stages.push(undominated(next));
    }
    Some(best.iter().zip(&fronts).map(|(&i, front)| front[i].0).collect())
}

/// Choices for the first layers.
#[derive(Clone, Copy, Debug)]
struct Partial {
    cost: u64,
    error: f64,
    /// Its place among the choices one layer shorter.
    parent: usize,
    /// Place in the last layer's front.
    item: usize,
}

/// Items by rising cost and falling error, each with its place among `items`.
fn front(items: &[Item]) -> Vec<(usize, Item)> {
    let mut all: Vec<(usize, Item)> = items.iter().copied().enumerate().collect();
    all.sort_by(|(_, a), (_, b)| a.cost.cmp(&b.cost).then(a.error.total_cmp(&b.error)));
    let mut kept: Vec<(usize, Item)> = Vec::new();
    for item in all {
        if kept.last().is_none_or(|(_, last)| item.1.error < last.error) {
            kept.push(item);
        }
    }
    kept
}

fn undominated(mut all: Vec<(f64, Partial)>) -> Vec<Partial> {
    if all.len() > 4 * MOST {
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.truncate(4 * MOST);
    }
    all.sort_by(|(_, a), (_, b)| a.cost.cmp(&b.cost).then(a.error.total_cmp(&b.error)));
    let mut kept: Vec<(f64, Partial)> = Vec::new();
    for p in all {
        if kept.last().is_none_or(|(_, last)| p.1.error < last.error) {
            kept.push(p);
        }
    }
    if kept.len() > MOST {
        kept.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept.truncate(MOST);
    }
    kept.into_iter().map(|(_, p)| p).collect()
}

/// The items of `last`, which extends the last of `stages`, from the first layer on.
fn trace(stages: &[Vec<Partial>], last: &Partial) -> Vec<usize> {
    let mut items = vec![last.item];
    let mut parent = last.parent;
    for stage in stages.iter().skip(1).rev() {
        items.push(stage[parent].item);
        parent = stage[parent].parent;
    }
    items.reverse();
    items
}

fn error_of(fronts: &[Vec<(usize, Item)>], choice: &[usize]) -> f64 {
    fronts.iter().zip(choice).map(|(front, &i)| front[i].1.error).sum()
}

/// One step along a layer's convex hull.
#[derive(Clone, Copy, Debug)]
struct Step {
    layer: usize,
    /// Place in the layer's front after the step.
    item: usize,
    cost: u64,
    gain: f64,
}

/// The linear relaxation of the layers from each one on.
struct Relaxed {
    /// Sums over the cheapest items from each layer on.
    cheapest: Vec<Item>,
    /// Steps from each layer on by falling gain a cost.
    steps: Vec<Vec<Step>>,
    /// Cost and gain of the steps before each.
    sums: Vec<Vec<(u64, f64)>>,
}

impl Relaxed {
    /// `None` when a layer has no item.
    fn new(fronts: &[Vec<(usize, Item)>]) -> Option<Self> {
        let mut cheapest = vec![Item { cost: 0, error: 0.0 }];
        let (mut steps, mut sums) = (vec![Vec::new()], vec![vec![(0, 0.0)]]);
        for (layer, front) in fronts.iter().enumerate().rev() {
            let (last, first) = (cheapest[cheapest.len() - 1], front.first()?.1);
            cheapest.push(Item { cost: last.cost.saturating_add(first.cost), error: last.error + first.error });
            let mut all: Vec<Step> = steps[steps.len() - 1].clone();
            all.extend(hull(layer, front));
            all.sort_by(|a, b| {
                (b.gain * a.cost as f64).total_cmp(&(a.gain * b.cost as f64)).then(a.layer.cmp(&b.layer)).then(a.item.cmp(&b.item))
            });
            let mut sum = vec![(0u64, 0.0f64)];
            for s in &all {
                let (cost, gain) = sum[sum.len() - 1];
                sum.push((cost.saturating_add(s.cost), gain + s.gain));
            }
            steps.push(all);
            sums.push(sum);
        }
        cheapest.reverse();
        steps.reverse();
        sums.reverse();
        Some(Self { cheapest, steps, sums })
    }

    /// The least error that layers from `at` on can have when `spent` of `budget` is gone; `None` when they do not fit.
    fn bound(&self, at: usize, spent: u64, budget: u64) -> Option<f64> {
        let room = budget.checked_sub(spent)?.checked_sub(self.cheapest[at].cost)?;
        let sums = &self.sums[at];
        let whole = sums.partition_point(|(cost, _)| *cost <= room) - 1;
        let (cost, gain) = sums[whole];
        let part = self.steps[at].get(whole).map_or(0.0, |s| s.gain * ((room - cost) as f64 / s.cost.max(1) as f64));
        Some(self.cheapest[at].error - gain - part)
    }

    /// A choice for the layers from `at` on within `room`, which their cheapest must fit: steps as long as they fit,
    /// then whatever single change still gains most.
    fn round(&self, fronts: &[Vec<(usize, Item)>], at: usize, room: u64) -> Vec<usize> {
        let mut choice = vec![0usize; fronts.len() - at];
        let mut left = room.saturating_sub(self.cheapest[at].cost);
        let mut stopped = vec![false; choice.len()];
        for s in &self.steps[at] {
            let i = s.layer - at;
            if stopped[i] || s.cost > left {
                stopped[i] = true;
                continue;
            }
            choice[i] = s.item;
            left -= s.cost;
        }
        loop {
            let mut most: Option<(f64, usize, usize, u64)> = None;
            for (i, front) in fronts[at..].iter().enumerate() {
                let now = front[choice[i]].1;
                for (item, (_, candidate)) in front.iter().enumerate().skip(choice[i] + 1) {
                    let (cost, gain) = (candidate.cost - now.cost, now.error - candidate.error);
                    if cost <= left && most.is_none_or(|(g, ..)| gain > g) {
                        most = Some((gain, i, item, cost));
                    }
                }
            }
            let Some((_, i, item, cost)) = most else { return choice };
            choice[i] = item;
            left -= cost;
        }
    }
}

/// The steps along the lower convex hull of a front, whose gains a cost fall.
fn hull(layer: usize, front: &[(usize, Item)]) -> Vec<Step> {
    let mut corners: Vec<usize> = Vec::new();
    let step = |a: usize, b: usize| ((front[b].1.cost - front[a].1.cost) as f64, front[a].1.error - front[b].1.error);
    for b in 0..front.len() {
        while let [.., p, q] = corners[..] {
            let ((c1, g1), (c2, g2)) = (step(p, q), step(q, b));
            if g1 * c2 > g2 * c1 {
                break;
            }
            corners.pop();
        }
        corners.push(b);
    }
    corners
        .windows(2)
        .map(|w| Step { layer, item: w[1], cost: front[w[1]].1.cost - front[w[0]].1.cost, gain: step(w[0], w[1]).1 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost_and_error(layers: &[Vec<Item>], choice: &[usize]) -> (u64, f64) {
        layers.iter().zip(choice).fold((0, 0.0), |(c, e), (l, &i)| (c + l[i].cost, e + l[i].error))
    }

    fn brute(layers: &[Vec<Item>], budget: u64) -> Option<f64> {
        let mut all = vec![(0u64, 0.0f64)];
        for layer in layers {
            all = all.iter().flat_map(|(c, e)| layer.iter().map(move |i| (c + i.cost, e + i.error))).collect();
        }
        all.into_iter().filter(|(c, _)| *c <= budget).map(|(_, e)| e).min_by(f64::total_cmp)
    }

    /// From the cheapest: again and again the change that gains most error a cost.
    fn greedy(layers: &[Vec<Item>], budget: u64) -> Option<f64> {
        let mut choice: Vec<usize> = layers
            .iter()
            .map(|l| (0..l.len()).min_by(|&a, &b| l[a].cost.cmp(&l[b].cost).then(l[a].error.total_cmp(&l[b].error))).unwrap())
            .collect();
        if cost_and_error(layers, &choice).0 > budget {
            return None;
        }
        loop {
            let (cost, _) = cost_and_error(layers, &choice);
            let mut best: Option<(f64, usize, usize)> = None;
            for (l, layer) in layers.iter().enumerate() {
                let now = layer[choice[l]];
                for (i, item) in layer.iter().enumerate() {
                    if item.error < now.error && cost - now.cost + item.cost <= budget {
                        let rate = (now.error - item.error) / (item.cost as f64 - now.cost as f64).max(1e-9);
                        if best.is_none_or(|(r, ..)| rate > r) {
                            best = Some((rate, l, i));
                        }
                    }
                }
            }
            let Some((_, l, i)) = best else { return Some(cost_and_error(layers, &choice).1) };
            choice[l] = i;
        }
    }

    fn items() -> impl Strategy<Value = Vec<Item>> {
        prop::collection::vec((1u64..60, 0.0f64..1.0).prop_map(|(cost, error)| Item { cost, error }), 1..7)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn nothing_is_better(layers in prop::collection::vec(items(), 1..6), budget in 1u64..250) {
            let got = solve(&layers, budget).map(|c| cost_and_error(&layers, &c));
            match (got, brute(&layers, budget)) {
                (None, None) => {}
                (Some((cost, error)), Some(least)) => prop_assert!(cost <= budget && (error - least).abs() < 1e-12, "{} {}", error, least),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn never_worse_than_greedy_and_always_within_the_budget(layers in prop::collection::vec(items(), 10..30), share in 0.0f64..1.0) {
            let most: u64 = layers.iter().map(|l| l.iter().map(|i| i.cost).max().unwrap()).sum();
            let budget = (most as f64 * share) as u64;
            match (solve(&layers, budget), greedy(&layers, budget)) {
                (Some(choice), Some(greedy)) => {
                    let (cost, error) = cost_and_error(&layers, &choice);
                    prop_assert!(cost <= budget && error <= greedy + 1e-12, "{} {}", error, greedy);
                }
                (None, None) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn a_deep_network_of_many_ranks_takes_no_time() {
        // 110 layers of 200 ranks with smooth spectra, as a deep ResNet has.
        let layer = |l: usize| {
            let rate = 1.0 + (l as f64 * 0.7).sin().abs() * 3.0;
            (1..=200u64).map(|r| Item { cost: r * (900 + l as u64 * 7), error: (-rate * r as f64 / 50.0).exp() }).collect::<Vec<_>>()
        };
        let layers: Vec<_> = (0..110).map(layer).collect();
        let most: u64 = layers.iter().map(|l| l[199].cost).sum();
        let started = std::time::Instant::now();
        assert!(solve(&layers, most / 2).is_some());
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
