//! Elements of a value in another order, or some of them.

use serde::{Deserialize, Serialize};

use crate::tensor::count;

/// The most steps, as the runtime's file has it.
const MOST_STEPS: usize = 8;

/// The most axes of a value, as the runtime's file has it.
const MOST_AXES: usize = 8;

/// Element n of the output, row-major over `shape`, is the input's element offset + Σ iₖ·strideₖ, where n counts the indices
/// iₖ of the steps, the last fastest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rearrange {
    /// Shape of the output.
    pub shape: Vec<usize>,
    /// The input's element, row-major, that the output's first one is.
    pub offset: usize,
    /// (size, stride), outermost first.
    pub steps: Vec<(usize, usize)>,
}

impl Rearrange {
    /// Any value as a vector.
    pub fn flatten(elements: usize) -> Self {
        Self { shape: vec![elements], offset: 0, steps: vec![(elements, 1)] }
    }

    /// For each element of the output its index in the input. The steps must fit ([`Rearrange::output_shape`]).
    pub fn source_indices(&self) -> Vec<usize> {
        let mut source_indices = vec![self.offset];
        for &(size, stride) in &self.steps {
            source_indices = source_indices.iter().flat_map(|&p| (0..size).map(move |i| p + i * stride)).collect();
        }
        source_indices
    }

    /// The output's shape for an input of `shape`.
    ///
    /// # Errors
    /// A phrase for steps that do not give the shape's elements, or reach beyond the input.
    pub fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let sizes: Vec<usize> = self.steps.iter().map(|s| s.0).collect();
        if !(1..=MOST_AXES).contains(&self.shape.len()) || self.steps.len() > MOST_STEPS || count(&sizes) != count(&self.shape) {
            return Err(format!("rearranges to {:?} by steps {:?}, at most {MOST_STEPS}, which do not fit", self.shape, self.steps));
        }
        let reach = |at: usize, &(size, stride): &(usize, usize)| at.checked_add(size.saturating_sub(1).checked_mul(stride)?);
        let last = self.steps.iter().try_fold(self.offset, reach);
        match (last, count(input)) {
            (Some(last), Some(len)) if last < len => Ok(self.shape.clone()),
            _ => Err(format!("reaches beyond its input of {input:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_told_from_what_does_not() {
        let transposed = Rearrange { shape: vec![3, 2, 1], offset: 1, steps: vec![(3, 2), (2, 6)] };
        assert_eq!(transposed.output_shape(&[2, 3, 2]), Ok(vec![3, 2, 1]));
        assert_eq!(transposed.source_indices(), [1, 7, 3, 9, 5, 11]);
        assert!(transposed.output_shape(&[11]).unwrap_err().contains("beyond"));
        assert!(Rearrange { shape: vec![5], ..transposed.clone() }.output_shape(&[2, 3, 2]).unwrap_err().contains("do not fit"));
        assert!(Rearrange { offset: usize::MAX, ..transposed }.output_shape(&[2, 3, 2]).is_err());
        assert_eq!(Rearrange::flatten(6).source_indices(), [0, 1, 2, 3, 4, 5]);
    }
}
