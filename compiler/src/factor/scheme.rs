//! How a weight is taken apart, and how many components are kept.

use serde::{Deserialize, Serialize};

use crate::tensor::Kernel;

/// How a kernel W, [out, in, kh, kw], is taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// As a matrix [out, in·kh·kw]: kh×kw to r channels, then 1×1.
    #[default]
    Channel,
    /// As a matrix [in·kh, out·kw]: kh×1 to r channels, then 1×kw.
    Spatial,
    /// Tucker-2: 1×1, then a kh×kw core, then 1×1.
    Tucker2,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Spatial, Self::Tucker2];

    /// The scheme that is used for `kernel` where this one is asked for: a matrix has no positions to tell apart, so
    /// 1×1 kernels and linear layers are cut channel by channel.
    pub fn of(self, kernel: &Kernel) -> Self {
        if kernel.height * kernel.width == 1 { Self::Channel } else { self }
    }

    /// The ranks at which nothing of `kernel` is cut.
    pub fn full_rank(self, kernel: &Kernel) -> Rank {
        let Kernel { outputs, inputs, height, width } = *kernel;
        let area = height * width;
        match self {
            Self::Channel => Rank::One(outputs.min(inputs * area)),
            Self::Spatial => Rank::One((inputs * height).min(outputs * width)),
            Self::Tucker2 => Rank::Two { output: outputs.min(inputs * area), input: inputs.min(outputs * area) },
        }
    }

    /// Suffix and shape of each tensor of [`Factors`] of this form, in the order in which they are applied.
    pub(crate) fn layout(self, rank: Rank, kernel: &Kernel) -> Vec<(&'static str, Vec<usize>)> {
        let Kernel { outputs, inputs, height, width } = *kernel;
        match (self, rank) {
            (_, Rank::Two { output, input }) => {
                vec![("a", vec![input, inputs]), ("core", vec![output, input, height, width]), ("b", vec![output, outputs])]
            }
            (Self::Spatial, Rank::One(r)) => vec![("v", vec![r, inputs, height]), ("u", vec![r, outputs, width])],
            (_, Rank::One(r)) if height * width == 1 => vec![("v", vec![r, inputs]), ("u", vec![r, outputs])],
            (_, Rank::One(r)) => vec![("v", vec![r, inputs, height, width]), ("u", vec![r, outputs])],
        }
    }

    /// Its name on a command line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Spatial => "spatial",
            Self::Tucker2 => "tucker2",
        }
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// How many components are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rank {
    /// Of a pair of factors.
    One(usize),
    /// Of Tucker-2: of its output and of its input.
    Two {
        /// Output rank r₁.
        output: usize,
        /// Input rank r₂.
        input: usize,
    },
}

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(r) => write!(f, "{r}"),
            Self::Two { output, input } => write!(f, "{output}+{input}"),
        }
    }
}

/// Ranks worth trying for `full` components: each up to 8, then multiples of 4 (of more where there are very many, so
/// that no layer has over about 32), and `full`.
pub(crate) fn grid(full: usize, most: usize) -> Vec<usize> {
    let step = full.div_ceil(most.max(1)).next_multiple_of(4);
    let mut ranks: Vec<usize> = (1..=full.min(if step > 4 { 4 } else { 8 })).collect();
    ranks.extend((1..).map(|i| i * step).skip_while(|r| *r <= 8).take_while(|r| *r < full));
    if full > 8 || ranks.last() != Some(&full) {
        ranks.push(full);
    }
    ranks.dedup();
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_hold_small_ranks_multiples_and_the_whole() {
        assert_eq!(grid(3, 32), [1, 2, 3]);
        assert_eq!(grid(8, 32), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(grid(18, 32), [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 18]);
        assert!(grid(512, 32).len() <= 40 && grid(512, 32).iter().skip(4).all(|r| r % 16 == 0));
    }
}
