//! LoRITa's GSVT (arXiv 2405.03089, section 3.3, and its published code): the singular values of all layers of a pool are
//! sorted together and the largest share is kept. Convolutions form one pool, each layer's values divided by its largest;
//! linear layers form another and compare as they are, those of attention a third.

use super::{LayerChoices, Pool};
use crate::factor::Rank;

/// Values of one layer, and its pool.
pub(super) struct Pooled {
    pub(super) sigma: Vec<f64>,
    pub(super) pool: Pool,
}

/// How many values each layer keeps so that each pool keeps `keep` of its values; every layer keeps at least one.
pub(super) fn choose(layers: &[Pooled], keep: f64) -> Vec<usize> {
    let mut ranks = vec![0usize; layers.len()];
    for of in [Pool::Conv, Pool::Linear, Pool::Attention] {
        let mut pool: Vec<(f64, usize)> = Vec::new();
        for (i, layer) in layers.iter().enumerate().filter(|(_, l)| l.pool == of) {
            let largest = layer.sigma.first().copied().filter(|s| of == Pool::Conv && *s > 0.0).unwrap_or(1.0);
            pool.extend(layer.sigma.iter().map(|&s| (s / largest, i)));
        }
        // The sort is stable, so equal values are kept in layer order: the same network gives the same ranks.
        pool.sort_by(|a, b| b.0.total_cmp(&a.0));
        for &(_, i) in &pool[..(pool.len() as f64 * keep).round() as usize] {
            ranks[i] += 1;
        }
    }
    ranks.into_iter().map(|r| r.max(1)).collect()
}

/// The rank that keeping `kept` of a layer's values means; Tucker-2's input keeps the same share as its output.
pub(super) fn rank(layer: &LayerChoices<'_>, kept: usize) -> Option<Rank> {
    let full = layer.factorings.first()?.full_rank();
    Some(match full {
        Rank::One(_) => Rank::One(kept),
        Rank::Two { output, input } => Rank::Two { output: kept, input: (input * kept).div_ceil(output.max(1)) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(sigma: &[f64], is_linear: bool) -> Pooled {
        Pooled { sigma: sigma.to_vec(), pool: if is_linear { Pool::Linear } else { Pool::Conv } }
    }

    #[test]
    fn the_largest_values_win_wherever_they_are() {
        let all = [pooled(&[9.0, 8.0, 7.0, 1.0], true), pooled(&[6.0, 0.5, 0.4, 0.3], true), pooled(&[0.2, 0.1], true)];
        assert_eq!(choose(&all, 0.4), [3, 1, 1]);
        assert_eq!(choose(&all, 1.0), [4, 4, 2]);
        assert_eq!(choose(&all[..1], 0.5), [2]);
    }

    #[test]
    fn convolutions_compare_by_shape_and_have_a_pool_of_their_own() {
        let all = [pooled(&[100.0, 50.0], false), pooled(&[1.0, 0.9], false), pooled(&[9.0, 8.0], true)];
        assert_eq!(choose(&all, 0.75), [1, 2, 2]);
    }

    #[test]
    fn attention_does_not_compete_with_other_linear_layers() {
        let attention = |sigma: &[f64]| Pooled { pool: Pool::Attention, ..pooled(sigma, true) };
        let all = [attention(&[0.3, 0.2]), pooled(&[90.0, 80.0, 70.0, 60.0], true), attention(&[0.1, 0.05])];
        assert_eq!(choose(&all, 0.5), [2, 2, 1]);
    }
}
