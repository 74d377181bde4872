//! What happens to the sums of a tile before they are stored: bias, residual, activation.

use super::activation;
use crate::artifact::{self, Activation};
use crate::plan::Slot;

/// What is added to an output and applied to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epilogue<'a> {
    /// Added to each output channel.
    pub(super) bias: Option<&'a [f32]>,
    /// Added after it.
    pub(super) residual: Option<Residual<'a>>,
    /// Applied last.
    pub(super) activation: Activation,
    /// The pixel, counted over the whole batch, that row 0 of the work at hand is.
    pub(super) first_row: usize,
    /// The channel of the output that column 0 of the weight is: not 0 in all groups but the first.
    pub(super) first_channel: usize,
}

impl Epilogue<'_> {
    /// Nothing: for intermediates.
    pub(super) const NONE: Self = Self { bias: None, residual: None, activation: Activation::None, first_row: 0, first_channel: 0 };

    /// The same for work that begins `rows` later.
    pub(super) fn skip(self, rows: usize) -> Self {
        Self { first_row: self.first_row + rows, ..self }
    }

    /// Finishes `values`, the sums of `row` for the weight's columns from `column` on.
    #[inline(always)]
    pub(super) fn finish(&self, values: &mut [f32], row: usize, column: usize) {
        let (channel, len) = (self.first_channel + column, values.len());
        if let Some(bias) = self.bias {
            for (v, b) in values.iter_mut().zip(&bias[channel..channel + len]) {
                *v += b;
            }
        }
        if let Some(residual) = &self.residual {
            residual.add(values, self.first_row + row, channel);
        }
        activation::apply(self.activation, values);
    }
}

/// A second input and where each output finds its share of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Residual<'a> {
    data: &'a [f32],
    slot: Slot,
    output: Slot,
    stride: usize,
    offset: usize,
}

impl<'a> Residual<'a> {
    /// `data` lies as `slot` says and is added to `output` as `how` says.
    pub(super) fn new(data: &'a [f32], slot: Slot, output: Slot, how: artifact::Residual) -> Self {
        Self { data, slot, output, stride: how.stride as usize, offset: how.offset as usize }
    }

    /// Adds this to `values`, channels from `channel` on of pixel `pixel` of the batch.
    #[inline(always)]
    pub(super) fn add(&self, values: &mut [f32], pixel: usize, channel: usize) {
        let from = self.pixel(pixel) * self.slot.channel_stride();
        if self.offset <= channel && channel - self.offset + values.len() <= self.slot.channels {
            let len = values.len();
            for (v, r) in values.iter_mut().zip(&self.data[from + channel - self.offset..][..len]) {
                *v += r;
            }
            return;
        }
        // Channels before the offset and after the last have no share.
        let skip = self.offset.saturating_sub(channel).min(values.len());
        let first = (channel + skip).saturating_sub(self.offset).min(self.slot.channels);
        for (v, r) in values[skip..].iter_mut().zip(&self.data[from + first..from + self.slot.channels]) {
            *v += r;
        }
    }

    #[inline(always)]
    fn pixel(&self, pixel: usize) -> usize {
        if self.stride == 1 {
            return pixel;
        }
        let (sample, at) = (pixel / self.output.pixels(), pixel % self.output.pixels());
        let (y, x) = (at / self.output.width, at % self.output.width);
        sample * self.slot.pixels() + y * self.stride * self.slot.width + x * self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_a_takes_every_other_pixel_into_the_middle_channels() {
        let slot = Slot { buffer: 0, channels: 2, height: 3, width: 3 };
        let output = Slot { buffer: 1, channels: 4, height: 2, width: 2 };
        let data: Vec<f32> = (0..2 * 9 * 4).map(|i| i as f32).collect();
        let residual = Residual::new(&data, slot, output, artifact::Residual { stride: 2, offset: 1 });
        let mut values = [0.0; 4];
        // Pixel (1, 0) of the second sample: pixel (2, 0) of the residual's, which is pixel 9 + 6.
        residual.add(&mut values, 4 + 2, 0);
        assert_eq!(values, [0.0, 60.0, 61.0, 0.0]);
        let mut tail = [0.0; 2];
        residual.add(&mut tail, 4 + 2, 2);
        assert_eq!(tail, [61.0, 0.0]);
    }
}
