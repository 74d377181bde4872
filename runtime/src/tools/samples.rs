//! Arrays from files as samples of a network's input.

use std::borrow::Cow;
use std::ops::Range;

use super::npy::{Npy, NpyData};
use crate::artifact::{Input, TensorSpec};
use crate::session::ArrayView;

/// Samples of one input, as its source declares the array.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// The elements.
    pub elements: Elements,
    /// How many samples they are.
    pub count: usize,
}

/// What the elements are.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// 8-bit pixels that are still to be normalised.
    Pixels(Vec<u8>),
    /// The network's own input.
    Values(Vec<f32>),
}

impl Samples {
    /// `array` for `input`, of exactly the declared shape, samples along its sample axis, or of one sample. Bytes are pixels, unless the
    /// network declares integers; all else is the network's input as it is.
    ///
    /// # Errors
    /// One phrase: another shape, elements of another kind, or a number that is none.
    pub fn of(array: Npy, input: &Input) -> Result<Self, String> {
        let count = input.spec.samples(&array.shape);
        Self::counted(array, input, count)
    }

    /// The same for data that are gone through sample by sample: where the declared array has no sample axis, arrays behind each
    /// other along a further first axis, or along a first axis that is declared to be 1, are samples too. They come sample after sample.
    ///
    /// # Errors
    /// As [`Samples::of`].
    pub fn each(array: Npy, input: &Input) -> Result<Self, String> {
        let spec = &input.spec;
        let count = spec.samples(&array.shape).or_else(|| repeated(spec, &array.shape));
        let samples = Self::counted(array, input, count)?;
        let elements = match samples.elements {
            _ if samples.count == 1 => return Ok(samples),
            Elements::Pixels(pixels) => Elements::Pixels(spec.by_sample(&pixels).into_owned()),
            Elements::Values(values) => Elements::Values(spec.by_sample(&values).into_owned()),
        };
        Ok(Self { elements, ..samples })
    }

    fn counted(array: Npy, input: &Input, count: Option<usize>) -> Result<Self, String> {
        let spec = &input.spec;
        // Elements in another order would be other values: only the declared shape says which is which.
        let Some(count) = count.filter(|&count| count > 0) else {
            return Err(format!("has shape {:?}; the network takes {spec}, or one sample {:?}", array.shape, spec.sample_shape()));
        };
        let elements = match (array.data, spec.element.range()) {
            (NpyData::U8(pixels), None) => Elements::Pixels(pixels),
            (NpyData::F32(values), None) => match values.iter().position(|x| !x.is_finite()) {
                Some(at) => return Err(format!("holds {} as value {at}", values[at])),
                None => Elements::Values(values),
            },
            (NpyData::I64(_), None) => {
                let why = "holds integers wider than 8 bits; pixels are u8, and the network's input is";
                return Err(format!("{why} {}", spec.element.name()));
            }
            // A network that declares integers scales them itself.
            (data, Some(range)) => Elements::Values(
                integers(&data, range)
                    .map_err(|(at, value)| format!("holds {value} as value {at}; the network's input is {}", spec.element.name()))?,
            ),
        };
        Ok(Self { elements, count })
    }

    /// As a session takes them.
    pub fn view(&self) -> ArrayView<'_> {
        match &self.elements {
            Elements::Pixels(pixels) => pixels.into(),
            Elements::Values(values) => values.into(),
        }
    }

    /// Some of the samples, which must come sample after sample.
    pub fn part(&self, samples: Range<usize>) -> ArrayView<'_> {
        fn of<T>(all: &[T], count: usize, samples: Range<usize>) -> &[T] {
            let len = all.len() / count.max(1);
            &all[samples.start.min(count) * len..samples.end.min(count) * len]
        }
        match &self.elements {
            Elements::Pixels(pixels) => of(pixels, self.count, samples).into(),
            Elements::Values(values) => of(values, self.count, samples).into(),
        }
    }

    /// The samples, which must come sample after sample, as values that the layers of the network read.
    pub fn to_values(&self, input: &Input) -> Vec<f32> {
        match &self.elements {
            Elements::Pixels(pixels) => input.pixels_in_value_order(pixels),
            Elements::Values(values) => input.in_value_order(values).into_owned(),
        }
    }
}

/// How many arrays of a spec without samples stand behind each other in one of `shape`.
fn repeated(spec: &TensorSpec, shape: &[usize]) -> Option<usize> {
    let (declared, (&count, behind)) = (spec.sample_shape(), shape.split_first()?);
    let first_is_one = declared.first() == Some(&1) && declared[1..] == *behind;
    (spec.sample_axis.is_none() && (declared == behind || first_is_one)).then_some(count)
}

/// `data` as whole numbers of a range; else the place of the first that is none, and what it is.
fn integers(data: &NpyData, (least, most): (i128, i128)) -> Result<Vec<f32>, (usize, String)> {
    let whole = |x: f32| (x.fract() == 0.0).then_some(x as i128);
    let checked = |at: usize, whole: Option<i128>, value: f32, text: &dyn Fn() -> String| match whole {
        Some(n) if (least..=most).contains(&n) => Ok(value),
        _ => Err((at, text())),
    };
    match data {
        NpyData::U8(v) => v.iter().enumerate().map(|(i, &x)| checked(i, Some(x.into()), x.into(), &|| x.to_string())).collect(),
        NpyData::I64(v) => v.iter().enumerate().map(|(i, &x)| checked(i, Some(x.into()), x as f32, &|| x.to_string())).collect(),
        NpyData::F32(v) => v.iter().enumerate().map(|(i, &x)| checked(i, whole(x), x, &|| x.to_string())).collect(),
    }
}

impl Input {
    /// Samples in the declared order, one after the other, in the order of the network's value.
    fn in_value_order<'a, T: Copy + Default>(&self, samples: &'a [T]) -> Cow<'a, [T]> {
        let value_indices = self.spec.value_indices();
        if value_indices.is_empty() {
            return Cow::Borrowed(samples);
        }
        let mut values = vec![T::default(); samples.len()];
        for (sample, value) in samples.chunks_exact(value_indices.len()).zip(values.chunks_exact_mut(value_indices.len())) {
            value_indices.iter().zip(sample).for_each(|(&index, &x)| value[index] = x);
        }
        Cow::Owned(values)
    }

    /// The same of 8-bit pixels, normalised.
    fn pixels_in_value_order(&self, pixels: &[u8]) -> Vec<f32> {
        let planes = self.in_value_order(pixels);
        let len: usize = self.value_shape.iter().map(|&d| d as usize).product();
        let mut values = vec![0.0; planes.len()];
        self.preprocess.apply([self.channels(), len / self.channels().max(1), 1], &planes, &mut values);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Element, Preprocess, Stride};

    fn array(shape: &[usize], data: NpyData) -> Npy {
        Npy { shape: shape.to_vec(), data }
    }

    /// Images whose channels are declared last.
    fn nhwc(sample_axis: Option<u32>) -> Input {
        let shape = if sample_axis.is_some() { vec![0, 1, 2, 3] } else { vec![1, 1, 2, 3] };
        let order = vec![Stride { size: 2, stride: 1 }, Stride { size: 3, stride: 2 }];
        let spec = TensorSpec { shape, sample_axis, order, ..TensorSpec::new("x", &[]) };
        Input { spec, preprocess: Preprocess { scale: 1.0, ..Preprocess::default() }, ..Input::new(&[3, 1, 2]) }
    }

    #[test]
    fn arrays_are_samples_by_their_shape_and_pixels_by_their_type() {
        let pixels: Vec<u8> = (0..12).collect();
        let input = nhwc(Some(0));
        let samples = Samples::of(array(&[2, 1, 2, 3], NpyData::U8(pixels.clone())), &input).unwrap();
        assert_eq!((samples.count, &samples.elements), (2, &Elements::Pixels(pixels.clone())));
        assert_eq!(samples.to_values(&input), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
        let floats = Samples::of(array(&[1, 2, 3], NpyData::F32(vec![0.5; 6])), &input).unwrap();
        assert_eq!((floats.count, floats.to_values(&input)), (1, vec![0.5; 6]));
        let refusal = |shape: &[usize], data| Samples::of(array(shape, data), &input).unwrap_err();
        assert!(
            refusal(&[2, 3, 1, 2], NpyData::U8(pixels)).contains("has shape [2, 3, 1, 2]; the network takes 'x', float32 [N, 1, 2, 3]")
        );
        assert!(refusal(&[0, 1, 2, 3], NpyData::U8(vec![])).contains("has shape"));
        assert!(refusal(&[1, 2, 3], NpyData::I64(vec![0; 6])).contains("wider than 8 bits"));
        assert!(refusal(&[1, 2, 3], NpyData::F32(vec![0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0])).contains("NaN as value 1"));
    }

    #[test]
    fn a_network_of_one_sample_is_given_one_after_the_other() {
        let input = nhwc(None);
        let six = |n: usize| NpyData::F32((0..6 * n).map(|i| i as f32).collect());
        for (shape, count) in [(&[1, 1, 2, 3][..], 1), (&[4, 1, 2, 3], 4), (&[3, 1, 1, 2, 3], 3)] {
            let samples = Samples::each(array(shape, six(count)), &input).unwrap();
            assert_eq!(samples.count, count, "{shape:?}");
            assert_eq!(samples.part(count - 1..count), ArrayView::from(&(6 * count - 6..6 * count).map(|i| i as f32).collect::<Vec<_>>()));
        }
        assert!(Samples::of(array(&[4, 1, 2, 3], six(4)), &input).is_err());
        assert!(Samples::each(array(&[4, 2, 2, 3], six(8)), &input).is_err());
    }

    #[test]
    fn samples_along_another_axis_come_sample_after_sample() {
        let spec = TensorSpec { shape: vec![2, 0], sample_axis: Some(1), ..TensorSpec::new("x", &[]) };
        let input = Input { spec, ..Input::new(&[2]) };
        let given = array(&[2, 3], NpyData::F32(vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0]));
        assert_eq!(Samples::each(given.clone(), &input).unwrap().elements, Elements::Values(vec![0.0, 10.0, 1.0, 11.0, 2.0, 12.0]));
        assert_eq!(Samples::of(given, &input).unwrap().elements, Elements::Values(vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0]));
    }

    #[test]
    fn integers_are_taken_as_they_are_within_their_range() {
        let mut input = Input::new(&[2]);
        input.spec.element = Element::I8;
        let of = |data| Samples::of(array(&[2], data), &input).map(|s| s.elements);
        assert_eq!(of(NpyData::I64(vec![-128, 127])), Ok(Elements::Values(vec![-128.0, 127.0])));
        assert_eq!(of(NpyData::F32(vec![3.0, -3.0])), Ok(Elements::Values(vec![3.0, -3.0])));
        assert!(of(NpyData::I64(vec![0, 128])).unwrap_err().contains("128 as value 1; the network's input is int8"));
        assert!(of(NpyData::F32(vec![0.5, 0.0])).unwrap_err().contains("0.5 as value 0"));
        assert!(of(NpyData::U8(vec![200, 0])).is_err());
    }
}
