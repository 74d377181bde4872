//! Which layer gives up how many of its components when a file is run at a share of its ranks.
//!
//! The layers together may cost what they would if each kept that share. Starting from one component each, the component
//! that brings most energy for its multiply–accumulates comes next, until the budget is spent: a larger share takes the same
//! way further, so no layer has less of it. What a component brings follows from the file: σ and the tail energy, or
//! Tucker's core.

use super::{Artifact, Weight, layer_macs};

/// Ranks of a factored layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ranks {
    /// Components, or Tucker's output rank.
    pub(super) rank: usize,
    /// Tucker's input rank.
    pub(super) input: usize,
}

/// What a layer may be cut to.
struct Choice {
    ranks: Ranks,
    cost: f64,
    /// Share of the layer's energy that is lost.
    lost: f64,
}

/// The ranks of each layer at `share` (0…1); `None` for a layer that is not stored as factors.
pub(super) fn ranks(artifact: &Artifact, share: f64) -> Vec<Option<Ranks>> {
    let layers: Vec<Vec<Choice>> = (0..artifact.model().layers.len()).map(|i| choices(artifact, i).unwrap_or_default()).collect();
    let even = |c: &Vec<Choice>| c.get(((c.len() as f64 * share).round() as usize).max(1) - 1).map_or(0.0, |c| c.cost);
    let budget: f64 = layers.iter().map(even).sum();
    let mut taken = vec![0usize; layers.len()];
    let mut spent: f64 = layers.iter().filter_map(|c| c.first()).map(|c| c.cost).sum();
    // What the next component of a layer brings for a multiply–accumulate, and what it costs.
    let step = |layer: usize, at: usize| {
        let (now, next) = (&layers[layer][at], layers[layer].get(at + 1)?);
        let cost = next.cost - now.cost;
        Some(((now.lost - next.lost) / cost.max(f64::MIN_POSITIVE), cost))
    };
    let open = |taken: &[usize]| {
        let steps = (0..layers.len()).filter(|&l| !layers[l].is_empty()).filter_map(|l| step(l, taken[l]).map(|s| (l, s)));
        steps.max_by(|a, b| a.1.0.total_cmp(&b.1.0))
    };
    while let Some((layer, (_, cost))) = open(&taken) {
        // Sums of costs are not exact.
        if share < 1.0 && spent + cost > budget * (1.0 + 1e-9) {
            break;
        }
        taken[layer] += 1;
        spent += cost;
    }
    layers.iter().zip(taken).map(|(c, at)| c.get(at).map(|c| c.ranks)).collect()
}

/// Every rank of layer `index` with its cost and loss, the smallest first.
fn choices(artifact: &Artifact, index: usize) -> Option<Vec<Choice>> {
    let weight = artifact.model().layers[index].op.weight()?;
    let (macs, _) = layer_macs(&artifact.model, &artifact.values.shapes, index);
    let square = |x: &f32| f64::from(*x).powi(2);
    match *weight {
        Weight::Dense(_) => None,
        Weight::LowRank { sigma, tail_energy, .. } | Weight::Spatial { sigma, tail_energy, .. } => {
            let energies: Vec<f64> = artifact.tensor(sigma).iter().map(square).collect();
            let total = (energies.iter().sum::<f64>() + f64::from(tail_energy)).max(f64::MIN_POSITIVE);
            let one = macs as f64 / energies.len().max(1) as f64;
            let mut left = total;
            let choice = |(i, energy): (usize, &f64)| {
                left -= energy;
                Choice { ranks: Ranks { rank: i + 1, input: 0 }, cost: one * (i + 1) as f64, lost: (left / total).max(0.0) }
            };
            Some(energies.iter().enumerate().map(choice).collect())
        }
        Weight::Tucker2 { core, tail_energy, .. } => {
            let shape: Vec<usize> = artifact.tensor_shape(core).iter().map(|&d| d as usize).collect();
            let (output, input, taps) = (shape[0], shape[1], shape[2] * shape[3]);
            let values = artifact.tensor(core);
            let total = (values.iter().map(square).sum::<f64>() + f64::from(tail_energy)).max(f64::MIN_POSITIVE);
            let of = |ranks: Ranks| {
                let rows = values.chunks(input * taps).take(ranks.rank);
                rows.flat_map(|row| &row[..ranks.input * taps]).map(square).sum::<f64>()
            };
            // Both ranks shrink alike; so a cost between that of one and of both together, nearly their square.
            let choice = |rank: usize| {
                let ranks = Ranks { rank, input: (input * rank).div_ceil(output) };
                let part = (rank * ranks.input) as f64 / (output * input) as f64;
                Choice { ranks, cost: macs as f64 * part, lost: (1.0 - of(ranks) / total).max(0.0) }
            };
            Some((1..=output).map(choice).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Activation, Layer, Model, Op, TensorData};
    use super::*;

    /// Two linear layers of 8 components each: one whose energy lies in its first, one where all are alike.
    #[test]
    fn who_has_least_to_lose_gives_most() {
        let mut tensors = Vec::new();
        let mut put = |name: &str, shape: &[usize], value: &dyn Fn(usize) -> f32| {
            tensors.push(TensorData::f32(name, shape, (0..shape.iter().product()).map(value).collect()));
            (tensors.len() - 1) as u32
        };
        let mut layer = |name: &str, input, sigma: &dyn Fn(usize) -> f32| {
            let weight = Weight::LowRank {
                v: put("v", &[8, 16], &|_| 0.1),
                u: put("u", &[8, 16], &|_| 0.1),
                sigma: put("sigma", &[8], sigma),
                tail_energy: 0.0,
            };
            Layer { name: name.into(), inputs: vec![input], op: Op::Linear { weight, bias: None, activation: Activation::None } }
        };
        let layers = vec![layer("steep", 0, &|i| 0.1f32.powi(i as i32)), layer("flat", 1, &|_| 1.0)];
        let model = Model::new("two", &[16], layers);
        let artifact = Artifact::build(model, tensors).unwrap();
        let at = |share| ranks(&artifact, share).into_iter().map(|r| r.unwrap().rank).collect::<Vec<_>>();
        assert_eq!((at(1.0), at(1e-9)), (vec![8, 8], vec![1, 1]));
        let half = at(0.5);
        assert!(half[0] < 4 && half[1] > 4 && half[0] + half[1] == 8, "{half:?}");
        // More share, no layer less.
        let all: Vec<_> = (1..=20).map(|s| at(s as f64 / 20.0)).collect();
        assert!(all.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1]), "{all:?}");
    }
}
