//! Elements in another order on the CPU.

use crate::plan::{RearrangeStep, Slot};

/// Where each element of a sample comes from.
#[derive(Debug)]
pub(super) struct Rearrange {
    /// As the output lies, places as the input lies; [`PADDING`] for padding.
    from: Vec<u32>,
    /// Elements of a sample of the input, padding included.
    stride: usize,
}

const PADDING: u32 = u32::MAX;

impl Rearrange {
    /// `step` from values of `input` to those of `output`.
    pub(super) fn new(step: &RearrangeStep, input: Slot, output: Slot) -> Self {
        let mut from = vec![PADDING; output.stride()];
        for n in 0..output.len() {
            // The file's limit on a sample keeps places within 32 bits.
            from[output.place(n)] = input.place(step.source(n)) as u32;
        }
        Self { from, stride: input.stride() }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        for (x, y) in input.chunks_exact(self.stride.max(1)).zip(output.chunks_exact_mut(self.from.len().max(1))) {
            y.iter_mut().zip(&self.from).for_each(|(y, &from)| *y = x.get(from as usize).copied().unwrap_or(0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Stride;

    #[test]
    fn a_slice_of_channels_and_a_flattened_image() {
        let slot = |channels, width| Slot { buffer: 0, channels, height: 1, width };
        // Channels 1 and 2 of 3, two pixels each.
        let x = [0.0, 1.0, 2.0, 0.0, 10.0, 11.0, 12.0, 0.0];
        let steps = vec![Stride { size: 2, stride: 2 }, Stride { size: 2, stride: 1 }];
        let mut y = [f32::NAN; 8];
        Rearrange::new(&RearrangeStep { offset: 2, steps }, slot(3, 2), slot(2, 2)).run(&x, &mut y);
        assert_eq!(y, [1.0, 2.0, 0.0, 0.0, 11.0, 12.0, 0.0, 0.0]);
        let whole = RearrangeStep { offset: 0, steps: vec![Stride { size: 6, stride: 1 }] };
        Rearrange::new(&whole, slot(3, 2), slot(6, 1)).run(&x, &mut y);
        assert_eq!(y, [0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 0.0, 0.0]);
    }
}
