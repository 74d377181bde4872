//! LoRITa's GSVT (arXiv 2405.03089, section 3.3, and its published code): the singular values of all layers of a pool are
//! sorted together and the largest share is kept. Linear layers form one pool and compare as they are.

use crate::factor::Svd;

/// Ranks that keep the largest `keep` of the pool's singular values; every layer keeps at least one.
pub(super) fn choose(layers: &[&Svd], keep: f64) -> Vec<usize> {
    let mut pool: Vec<(f64, usize)> = Vec::new();
    for (i, svd) in layers.iter().enumerate() {
        pool.extend(svd.sigma().iter().map(|&s| (s, i)));
    }
    // The sort is stable, so equal values are kept in layer order: the same network gives the same ranks.
    pool.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut ranks = vec![0usize; layers.len()];
    for &(_, i) in &pool[..(pool.len() as f64 * keep).round() as usize] {
        ranks[i] += 1;
    }
    ranks.into_iter().map(|r| r.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::diagonal;
    use super::*;

    #[test]
    fn the_largest_values_win_wherever_they_are() {
        let (a, b, c) = (diagonal(&[9.0, 8.0, 7.0, 1.0]), diagonal(&[6.0, 0.5, 0.4, 0.3]), diagonal(&[0.2, 0.1]));
        let all = [&a, &b, &c];
        assert_eq!(choose(&all, 0.4), [3, 1, 1]);
        assert_eq!(choose(&all, 1.0), [4, 4, 2]);
        assert_eq!(choose(&all[..1], 0.5), [2]);
    }
}
