//! LoRITa's GSVT (arXiv 2405.03089, section 3.3, and its published code): the singular values of all layers of a pool are
//! sorted together and the largest share is kept. Linear layers form one pool and compare as they are.

use super::Candidate;

/// Ranks that keep the largest `keep` of the pool's singular values; every layer keeps at least one.
pub(super) fn choose(candidates: &[Candidate<'_>], keep: f64) -> Vec<Option<usize>> {
    let mut pool: Vec<(f64, usize)> = Vec::new();
    for (i, c) in candidates.iter().enumerate().filter(|(_, c)| !c.fixed) {
        pool.extend(c.svd.sigma().iter().map(|&s| (s, i)));
    }
    // The sort is stable, so equal values are kept in layer order: the same network gives the same ranks.
    pool.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut ranks: Vec<Option<usize>> = candidates.iter().map(|c| (!c.fixed).then_some(0)).collect();
    for &(_, i) in &pool[..(pool.len() as f64 * keep).round() as usize] {
        ranks[i] = ranks[i].map(|r| r + 1);
    }
    ranks.into_iter().map(|r| r.map(|r| r.max(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::diagonal;
    use super::*;

    #[test]
    fn the_largest_values_win_wherever_they_are() {
        let (a, b, c) = (diagonal(&[9.0, 8.0, 7.0, 1.0]), diagonal(&[6.0, 0.5, 0.4, 0.3]), diagonal(&[0.2, 0.1]));
        let all = [&a, &b, &c].map(|svd| Candidate { name: "layer", svd, fixed: false });
        assert_eq!(choose(&all, 0.4), [Some(3), Some(1), Some(1)]);
        assert_eq!(choose(&all, 1.0), [Some(4), Some(4), Some(2)]);
        let skip = [all[0], Candidate { fixed: true, ..all[1] }, all[2]];
        assert_eq!(choose(&skip, 0.5), [Some(3), None, Some(1)]);
    }
}
