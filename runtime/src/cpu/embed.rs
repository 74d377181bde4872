//! Class tokens and positions on the CPU: a table is added to the pixels, behind rows of the table alone.

use crate::artifact::{Artifact, TensorId};
use crate::plan::Slot;

/// A step with its table as the output lies.
#[derive(Debug)]
pub(super) struct Embed {
    table: Vec<f32>,
    /// Elements of the rows that have no pixel.
    first: usize,
}

impl Embed {
    pub(super) fn new(artifact: &Artifact, table: TensorId, input: Slot, output: Slot) -> Self {
        let mut laid_out = vec![0.0; output.stride()];
        output.fill(&artifact.tensor(table), &mut laid_out);
        Self { table: laid_out, first: output.stride() - input.stride() }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        let pixels = input.chunks_exact((self.table.len() - self.first).max(1));
        for (x, y) in pixels.zip(output.chunks_exact_mut(self.table.len().max(1))) {
            y.copy_from_slice(&self.table);
            y[self.first..].iter_mut().zip(x).for_each(|(y, x)| *y += x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_are_the_tables_own() {
        let embed = Embed { table: vec![1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0], first: 4 };
        let mut y = [f32::NAN; 16];
        embed.run(&[10.0, 20.0, 0.0, 0.0, 30.0, 40.0, 0.0, 0.0], &mut y);
        assert_eq!(y, [1.0, 2.0, 0.0, 0.0, 13.0, 24.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 33.0, 44.0, 0.0, 0.0]);
    }
}
