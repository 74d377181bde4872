//! Multi-head attention over the pixels of images: a transformer's tokens.

use serde::{Deserialize, Serialize};

/// y[t] = Σᵤ softmaxᵤ(scale · q[t]·k[u]) v[u] for each head, which owns as many consecutive channels as every other. Reads
/// queries, keys and values, images of one number of channels, the latter two of one size; or one image of all their
/// channels, in that order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Heads that the channels fall into.
    pub heads: usize,
    /// Multiplies the products of queries and keys; one over the root of a head's channels in most networks.
    pub scale: f32,
}

impl Attention {
    /// The output's shape, that of the queries.
    ///
    /// # Errors
    /// A phrase that says what was expected and what came.
    pub fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let misfit = || format!("takes queries, keys and values, its inputs have shapes {inputs:?}");
        let [channels, height, width] = match *inputs {
            [&[all, height, width]] if all % 3 == 0 => [all / 3, height, width],
            [&[channels, height, width], keys @ &[own, _, _], values] if keys == values && own == channels => [channels, height, width],
            _ => return Err(misfit()),
        };
        if self.heads == 0 || !channels.is_multiple_of(self.heads) {
            return Err(format!("has {} heads, which do not divide {channels} channels", self.heads));
        }
        Ok(vec![channels, height, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_of_the_queries() {
        let op = Attention { heads: 2, scale: 0.5 };
        assert_eq!(op.output_shape(&[&[12, 5, 1]]).unwrap(), [4, 5, 1]);
        assert_eq!(op.output_shape(&[&[4, 1, 1], &[4, 7, 1], &[4, 7, 1]]).unwrap(), [4, 1, 1]);
        let bad: [&[&[usize]]; 5] = [
            &[&[13, 5, 1]],
            &[&[12]],
            &[&[4, 1, 1], &[4, 7, 1], &[4, 6, 1]],
            &[&[4, 1, 1], &[6, 7, 1], &[6, 7, 1]],
            &[&[12, 5, 1], &[12, 5, 1]],
        ];
        assert!(bad.iter().all(|inputs| op.output_shape(inputs).unwrap_err().contains("queries")));
        assert!(op.output_shape(&[&[9, 5, 1]]).unwrap_err().contains("2 heads"));
    }
}
