//! What a layer costs in each form.

use crate::factor::{Rank, Scheme};
use crate::tensor::Kernel;

/// Heights and widths of a layer's input and output images; 1 for a linear layer (or the rows of one sample as the
/// output's height).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Of the input.
    pub input: [usize; 2],
    /// Of the output.
    pub output: [usize; 2],
}

/// A form of a weight: dense, or cut.
pub type Cut = Option<(Scheme, Rank)>;

/// Multiply–accumulates for one sample; saturates.
pub fn macs(kernel: &Kernel, at: &Geometry, cut: Cut) -> u64 {
    stages(kernel, cut).iter().zip(positions(at, cut)).fold(0, |sum: u64, (n, p)| sum.saturating_add(n.saturating_mul(p)))
}

/// Elements stored, bias left out; saturates.
pub fn params(kernel: &Kernel, cut: Cut) -> u64 {
    stages(kernel, cut).into_iter().fold(0, u64::saturating_add)
}

/// Elements of each stage's weight.
fn stages(kernel: &Kernel, cut: Cut) -> [u64; 3] {
    let product = |factors: &[usize]| factors.iter().fold(1u64, |n, &f| n.saturating_mul(f as u64));
    let Kernel { outputs, inputs, height, width } = *kernel;
    match cut {
        None => [product(&[outputs, inputs, height, width]), 0, 0],
        Some((Scheme::Spatial, Rank::One(r))) => [product(&[r, inputs, height]), product(&[r, outputs, width]), 0],
        Some((_, Rank::One(r))) => [product(&[r, inputs, height, width]), product(&[r, outputs]), 0],
        Some((_, Rank::Two { output, input })) => {
            [product(&[input, inputs]), product(&[output, input, height, width]), product(&[output, outputs])]
        }
    }
}

/// Positions at which each stage is evaluated.
fn positions(at: &Geometry, cut: Cut) -> [u64; 3] {
    let area = |[h, w]: [usize; 2]| (h as u64).saturating_mul(w as u64);
    let (input, output) = (area(at.input), area(at.output));
    match cut {
        None => [output; 3],
        // Columns first: the height is the output's already, the width still the input's.
        Some((Scheme::Spatial, Rank::One(_))) => [area([at.output[0], at.input[1]]), output, output],
        Some((_, Rank::One(_))) => [output; 3],
        Some((_, Rank::Two { .. })) => [input, output, output],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strided_layer_counts_each_stage_where_it_runs() {
        let k = Kernel { outputs: 32, inputs: 16, height: 3, width: 3 };
        let at = Geometry { input: [32, 32], output: [16, 16] };
        assert_eq!(macs(&k, &at, None), 32 * 144 * 256);
        assert_eq!(macs(&k, &at, Some((Scheme::Channel, Rank::One(8)))), 8 * (144 + 32) * 256);
        assert_eq!(macs(&k, &at, Some((Scheme::Spatial, Rank::One(8)))), 8 * 48 * 16 * 32 + 8 * 96 * 256);
        let two = Some((Scheme::Tucker2, Rank::Two { output: 12, input: 8 }));
        assert_eq!(macs(&k, &at, two), 8 * 16 * 1024 + 12 * 8 * 9 * 256 + 12 * 32 * 256);
        assert_eq!(params(&k, two), 8 * 16 + 12 * 8 * 9 + 12 * 32);
        let huge = Kernel { outputs: usize::MAX, inputs: usize::MAX, height: 3, width: 3 };
        assert_eq!(macs(&huge, &at, None), u64::MAX);
    }
}
