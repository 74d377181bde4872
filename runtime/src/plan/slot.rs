//! How a value lies in a buffer.

use std::borrow::Cow;

use super::Layout;

/// Where a value lies: samples of `stride()` elements, each [height, width, channels] with the channels padded to a multiple
/// of 4, so that kernels can load vec4s. A plain value is an image of one pixel. Whoever writes a value writes zeros into the
/// padding; readers rely on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Index into [`super::Memory::buffers`].
    pub buffer: usize,
    /// Channels of an image, features of a vector.
    pub channels: usize,
    /// Rows of pixels; 1 for a vector.
    pub height: usize,
    /// Pixels of a row; 1 for a vector.
    pub width: usize,
}

impl Slot {
    /// Elements of one sample without padding.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixels of one sample.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Elements from one pixel to the next: the channels rounded up to a multiple of 4.
    pub fn channel_stride(&self) -> usize {
        self.channels.next_multiple_of(4)
    }

    /// Elements from one sample to the next.
    pub fn stride(&self) -> usize {
        self.channel_stride() * self.pixels()
    }

    /// Which of the two layouts this is.
    pub fn layout(&self) -> Layout {
        if self.is_vector() { Layout::Plain } else { Layout::Image }
    }

    /// Whether a sample is one pixel.
    pub fn is_vector(&self) -> bool {
        self.pixels() == 1
    }

    /// Where element `n` of a sample, counted channel after channel, row after row, lies in it.
    pub(crate) fn place(&self, n: usize) -> usize {
        let pixels = self.pixels().max(1);
        n % pixels * self.channel_stride() + n / pixels
    }

    /// Puts `samples`, each [channels, height, width] without padding, into `buffer` as this slot says.
    pub(crate) fn fill(&self, samples: &[f32], buffer: &mut [f32]) {
        let (pixels, stride) = (self.pixels(), self.channel_stride());
        for (sample, out) in samples.chunks_exact(self.len()).zip(buffer.chunks_exact_mut(self.stride())) {
            if pixels == 1 {
                out[..self.channels].copy_from_slice(sample);
                out[self.channels..].fill(0.0);
                continue;
            }
            for (at, pixel) in out.chunks_exact_mut(stride).enumerate() {
                for (c, x) in pixel.iter_mut().enumerate() {
                    *x = if c < self.channels { sample[c * pixels + at] } else { 0.0 };
                }
            }
        }
    }

    /// Reads samples from `buffer`, each as [channels, height, width] without padding; as many as `samples` holds.
    pub(crate) fn read(&self, buffer: &[f32], samples: &mut [f32]) {
        let (pixels, stride) = (self.pixels(), self.channel_stride());
        for (sample, from) in samples.chunks_exact_mut(self.len()).zip(buffer.chunks_exact(self.stride())) {
            if pixels == 1 {
                sample.copy_from_slice(&from[..self.channels]);
                continue;
            }
            for (at, pixel) in from.chunks_exact(stride).enumerate() {
                for (c, &x) in pixel[..self.channels].iter().enumerate() {
                    sample[c * pixels + at] = x;
                }
            }
        }
    }

    /// A fully connected weight [outputs, len] whose columns stand in the order channel, row, column of this value, as
    /// [outputs, stride] with the columns in the order in which the value lies, zero for its padding. Borrowed where
    /// nothing moves.
    pub fn permute_columns<'a>(&self, weight: Cow<'a, [f32]>) -> Cow<'a, [f32]> {
        if self.len() == self.stride() && self.pixels() == 1 {
            return weight;
        }
        let mut moved = vec![0.0; weight.len() / self.len().max(1) * self.stride()];
        self.fill(&weight, &mut moved);
        Cow::Owned(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_survive_the_way_there_and_back() {
        for (channels, height, width) in [(1, 1, 1), (3, 2, 5), (4, 3, 1), (5, 1, 1), (8, 1, 1)] {
            let slot = Slot { buffer: 0, channels, height, width };
            let samples: Vec<f32> = (1..=2 * slot.len()).map(|i| i as f32).collect();
            let mut buffer = vec![f32::NAN; 2 * slot.stride()];
            slot.fill(&samples, &mut buffer);
            assert_eq!(buffer.iter().filter(|x| **x == 0.0).count(), 2 * (slot.stride() - slot.len()));
            let mut back = vec![0.0; samples.len()];
            slot.read(&buffer, &mut back);
            assert_eq!(back, samples);
            // A weight's rows move as a sample does.
            assert_eq!(*slot.permute_columns(Cow::Borrowed(&samples)), buffer);
        }
    }

    #[test]
    fn an_image_lies_pixel_by_pixel() {
        let mut buffer = vec![f32::NAN; 8];
        Slot { buffer: 0, channels: 3, height: 1, width: 2 }.fill(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut buffer);
        assert_eq!(buffer, [1.0, 3.0, 5.0, 0.0, 2.0, 4.0, 6.0, 0.0]);
    }
}
