//! Between arrays as a network's source declared them and values as executors have them.

use super::ArrayView;
use crate::artifact::{Input, TensorSpec};
use crate::plan::Slot;

/// How a declared array is cut into samples, and where a sample's elements stand in the network's value.
#[derive(Debug)]
pub(super) struct Arrangement {
    /// Elements of one sample.
    len: usize,
    /// Product of the axes before the sample axis.
    outer: usize,
    /// Elements behind it.
    inner: usize,
    /// For each element of a declared sample its index in the value, both counted along their axes; `None` where both count alike.
    value_indices: Option<Vec<u32>>,
    /// Whether arrays hold samples at all; else one array is the same for all of a run.
    sampled: bool,
}

/// Samples of an array that go through the device at once: `rows` of `samples`, from `first` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) samples: usize,
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Arrangement {
    pub(super) fn new(spec: &TensorSpec) -> Self {
        let shape = spec.sample_shape();
        let len: usize = shape.iter().product();
        let outer: usize = shape[..(spec.sample_axis.unwrap_or(0) as usize).min(shape.len())].iter().product();
        let value_indices = spec.value_indices();
        let moves = value_indices.iter().enumerate().any(|(declared, &index)| declared != index);
        // The file's limit on a sample keeps indices within 32 bits.
        let value_indices = moves.then(|| value_indices.into_iter().map(|p| p as u32).collect());
        Self { len, outer, inner: len / outer.max(1), value_indices, sampled: spec.sample_axis.is_some() }
    }

    /// Elements of one sample.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether arrays hold samples.
    pub(super) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// How many samples an array of `elements` holds; `None` for one that is the same for all.
    ///
    /// # Errors
    /// What it is instead of a whole number of samples.
    pub(super) fn samples(&self, elements: usize) -> Result<Option<usize>, String> {
        match self.sampled {
            true if elements.is_multiple_of(self.len) => Ok(Some(elements / self.len)),
            true => Err(format!("{elements} values are no whole number of samples of {} values", self.len)),
            false if elements == self.len => Ok(None),
            false => Err(format!("{elements} values, the network takes one array of {} values", self.len)),
        }
    }

    /// Writes a part of `array` into `buffer` in the layout of `slot`; 8-bit pixels are preprocessed as `input` says.
    pub(super) fn fill(&self, array: ArrayView<'_>, input: &Input, part: Part, slot: Slot, buffer: &mut [f32]) {
        if array.is_pixels(&input.spec)
            && let ArrayView::U8(pixels) = array
        {
            return self.bring_pixels(pixels, input, part, slot, buffer);
        }
        match array {
            ArrayView::F32(values) if self.is_plain() && self.sampled => {
                slot.fill(&values[part.first * self.len..][..part.rows * self.len], buffer);
            }
            _ => self.scatter(part, slot, buffer, |at| array.number(at)),
        }
    }

    /// Writes samples whose element `index` is `number(index)`.
    fn scatter(&self, part: Part, slot: Slot, buffer: &mut [f32], number: impl Fn(usize) -> f32) {
        for (row, sample) in buffer.chunks_exact_mut(slot.stride()).take(part.rows).enumerate() {
            sample.fill(0.0);
            for declared in 0..self.len {
                sample[slot.place(self.value_index(declared))] = number(self.at(declared, part, row));
            }
        }
    }

    /// The same of 8-bit images, normalised and in the order of colours that the network wants.
    fn bring_pixels(&self, pixels: &[u8], input: &Input, part: Part, slot: Slot, buffer: &mut [f32]) {
        let channels = input.channels();
        let shape = [channels, self.len / channels.max(1), 1];
        let (mut planes, mut values) = (vec![0; self.len], vec![0.0; self.len]);
        for (row, sample) in buffer.chunks_exact_mut(slot.stride()).take(part.rows).enumerate() {
            for declared in 0..self.len {
                planes[self.value_index(declared)] = pixels[self.at(declared, part, row)];
            }
            input.preprocess.apply(shape, &planes, &mut values);
            slot.fill(&values, sample);
        }
    }

    /// Reads samples of an output from `buffer`, in the layout of `slot`, into a declared array.
    pub(super) fn read(&self, part: Part, slot: Slot, buffer: &[f32], array: &mut [f32]) {
        if self.is_plain() && self.sampled {
            return slot.read(buffer, &mut array[part.first * self.len..][..part.rows * self.len]);
        }
        let rows = if self.sampled { part.rows } else { 1 };
        for (row, sample) in buffer.chunks_exact(slot.stride()).take(rows).enumerate() {
            for declared in 0..self.len {
                array[self.at(declared, part, row)] = sample[slot.place(self.value_index(declared))];
            }
        }
    }

    /// Whether samples of an array stand one after the other, their elements in the order of the value's.
    fn is_plain(&self) -> bool {
        self.outer == 1 && self.value_indices.is_none()
    }

    /// The index in the value of element `declared` of a sample.
    fn value_index(&self, declared: usize) -> usize {
        self.value_indices.as_ref().map_or(declared, |value_indices| value_indices[declared] as usize)
    }

    /// Where element `declared` of the sample in row `row` of a part stands in the array.
    fn at(&self, declared: usize, part: Part, row: usize) -> usize {
        match (self.sampled, self.outer) {
            (false, _) => declared,
            (true, 1) => (part.first + row) * self.len + declared,
            (true, _) => (declared / self.inner * part.samples + part.first + row) * self.inner + declared % self.inner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Stride;

    fn arrangement(shape: &[u32], sample_axis: Option<u32>, steps: &[(u32, u32)]) -> (Arrangement, Input) {
        let order = steps.iter().map(|&(size, stride)| Stride { size, stride }).collect();
        let spec = TensorSpec { shape: shape.to_vec(), sample_axis, order, ..TensorSpec::new("x", &[]) };
        (Arrangement::new(&spec), Input { spec, ..Input::new(&[1]) })
    }

    /// What is filled and read back is unchanged, and each sample has its own elements. Returns the samples in the value's
    /// order.
    fn there_and_back((a, input): &(Arrangement, Input), samples: usize, slot: Slot) -> Vec<Vec<usize>> {
        let array: Vec<f32> = (0..samples * a.len).map(|i| i as f32).collect();
        let mut again = vec![f32::NAN; array.len()];
        let mut seen = Vec::new();
        for first in (0..samples).step_by(2) {
            let part = Part { samples, first, rows: (samples - first).min(2) };
            let mut buffer = vec![f32::NAN; part.rows * slot.stride()];
            a.fill(ArrayView::F32(&array), input, part, slot, &mut buffer);
            assert!(buffer.iter().all(|x| !x.is_nan()), "padding is zero");
            a.read(part, slot, &buffer, &mut again);
            let mut values = vec![0.0; part.rows * slot.len()];
            slot.read(&buffer, &mut values);
            seen.extend(values.chunks(a.len).map(|v| v.iter().map(|&x| x as usize).collect()));
        }
        assert_eq!(again, array);
        seen
    }

    fn slot(channels: usize, height: usize, width: usize) -> Slot {
        Slot { buffer: 0, channels, height, width }
    }

    #[test]
    fn pixels_become_planes() {
        // [N, 2, 2, 3] of [3, 2, 2], as an image and as a plain value.
        let nhwc = arrangement(&[0, 2, 2, 3], Some(0), &[(4, 1), (3, 4)]);
        for slot in [slot(3, 2, 2), slot(12, 1, 1)] {
            assert_eq!(there_and_back(&nhwc, 3, slot)[1], [12, 15, 18, 21, 13, 16, 19, 22, 14, 17, 20, 23]);
        }
        // Three axes turned around.
        let turned = arrangement(&[0, 2, 3, 4], Some(0), &[(2, 1), (3, 2), (4, 6)]);
        assert_eq!(there_and_back(&turned, 1, slot(4, 3, 2))[0][..7], [0, 12, 4, 16, 8, 20, 1]);
    }

    #[test]
    fn samples_may_stand_along_any_axis() {
        let plain = arrangement(&[0, 2, 3], Some(0), &[]);
        assert!(plain.0.is_plain() && arrangement(&[0, 2, 3], Some(0), &[(2, 3), (3, 1)]).0.is_plain());
        assert_eq!(there_and_back(&plain, 2, slot(6, 1, 1)), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]);
        // [2, N, 3].
        let second = arrangement(&[2, 0, 3], Some(1), &[]);
        assert_eq!(there_and_back(&second, 3, slot(2, 1, 3))[1], [3, 4, 5, 12, 13, 14]);
        let last = arrangement(&[2, 3, 0], Some(2), &[(2, 1), (3, 2)]);
        assert_eq!(there_and_back(&last, 5, slot(3, 2, 1))[4], [4, 19, 9, 24, 14, 29]);
        // An axis of one before it changes nothing.
        assert!(arrangement(&[1, 0, 6], Some(1), &[]).0.is_plain());
    }

    #[test]
    fn an_array_without_samples_is_the_same_for_all() {
        let (a, input) = arrangement(&[3], None, &[]);
        assert_eq!((a.samples(3), a.samples(6).is_err(), a.samples(2).is_err()), (Ok(None), true, true));
        let part = Part { samples: 5, first: 2, rows: 2 };
        let (slot, mut buffer) = (slot(3, 1, 1), [f32::NAN; 8]);
        a.fill(ArrayView::I32(&[1, 2, 3]), &input, part, slot, &mut buffer);
        assert_eq!(buffer, [1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 0.0]);
        let mut array = [0.0; 3];
        a.read(part, slot, &buffer, &mut array);
        assert_eq!(array, [1.0, 2.0, 3.0]);
    }
}
