//! Inputs and outputs as a network's source declared them: what follows from that, and its validation.

use std::borrow::Cow;
use std::fmt;

use super::v2::{Element, Input, InputKind, Layer, Meaning, Model, Op, Output, Provenance, Stride, TensorSpec};
use super::{Activation, Limits};

impl Model {
    /// A network called `name` of these layers over samples of `input`, which is called `input` and lies as it is declared.
    /// Its output is put in when it is built, its tensors as well.
    pub fn new(name: impl Into<String>, input: &[u32], layers: Vec<Layer>) -> Self {
        Self {
            name: name.into(),
            inputs: vec![Input::new(input)],
            outputs: Vec::new(),
            classes: Vec::new(),
            layers,
            tensors: Vec::new(),
            provenance: Provenance::default(),
        }
    }

    /// Adds the output of a network that names none: the last layer's value in its own order, of `shape`, called `output`.
    pub(super) fn complete(&mut self, shape: &[usize]) {
        if self.outputs.is_empty() {
            let last = self.layers.last().map(|l| &l.op);
            let meaning = Meaning::of(last, shape, shape, !self.classes.is_empty());
            let shape: Vec<u32> = shape.iter().map(|&d| d as u32).collect();
            let value = (self.inputs.len() + self.layers.len()).saturating_sub(1) as u32;
            self.outputs.push(Output { spec: TensorSpec::new("output", &shape), value, meaning });
        }
    }
}

impl Input {
    /// An array called `input` of samples of `shape`: an image if that is [1 or 3, height, width].
    pub fn new(shape: &[u32]) -> Self {
        let kind = if let [1 | 3, _, _] = shape { InputKind::Image } else { InputKind::Features };
        Self { spec: TensorSpec::new("input", shape), value_shape: shape.to_vec(), kind, preprocess: Default::default() }
    }

    /// Channels that preprocessing tells apart.
    pub fn channels(&self) -> usize {
        if let [channels, _, _] = self.value_shape[..] { channels as usize } else { 1 }
    }

    /// Channels, height and width of the images that it is given: those of an image input, or of the square grey image that
    /// a flat one is, as digits are. `None` for an input that is no image.
    pub fn image(&self) -> Option<[usize; 3]> {
        if let (InputKind::Image, &[channels, height, width]) = (self.kind, &self.value_shape[..]) {
            return Some([channels, height, width].map(|d| d as usize));
        }
        match self.spec.sample_shape().into_iter().filter(|&d| d != 1).collect::<Vec<_>>()[..] {
            [height, width] if height == width => Some([1, height, width]),
            [features] if features.isqrt().pow(2) == features => Some([1, features.isqrt(), features.isqrt()]),
            _ => None,
        }
    }

    /// Whether an image of `shape` (channels, height, width) is a sample of this input: as an image, as an array of exactly
    /// the declared axes, or as one vector, channel after channel.
    pub fn takes_image(&self, shape: [usize; 3]) -> bool {
        let declared = self.spec.sample_shape();
        let sizes = |shape: &[usize]| shape.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        match self.kind {
            InputKind::Image => self.value_shape.iter().map(|&d| d as usize).eq(shape),
            InputKind::Features => match sizes(&declared)[..] {
                [features] => features == shape.iter().product::<usize>(),
                ref declared => *declared == sizes(&shape),
            },
        }
    }

    /// `samples` of images, one after the other, each channel after channel, in the order that a session takes.
    pub fn from_planes<'a, T: Copy>(&self, samples: &'a [T]) -> Cow<'a, [T]> {
        // What is no image has been taken by its declared axes.
        if self.kind == InputKind::Features || self.spec.order.is_empty() {
            return Cow::Borrowed(samples);
        }
        let value_indices = self.spec.value_indices();
        Cow::Owned(samples.chunks_exact(value_indices.len().max(1)).flat_map(|sample| value_indices.iter().map(|&p| sample[p])).collect())
    }
}

impl Input {
    /// 8-bit images that it takes, one after the other, each channel after channel, red first, as the network's own values.
    pub fn from_pixels(&self, images: &[u8]) -> Vec<f32> {
        let len: usize = self.value_shape.iter().map(|&d| d as usize).product();
        let mut values = vec![0.0; images.len()];
        let shape = [self.channels(), len / self.channels().max(1), 1];
        if self.kind == InputKind::Image || self.spec.order.is_empty() {
            self.preprocess.apply(shape, images, &mut values);
        } else {
            let (value_indices, mut pixels) = (self.spec.value_indices(), vec![0; images.len()]);
            for (image, pixels) in images.chunks_exact(len.max(1)).zip(pixels.chunks_exact_mut(len.max(1))) {
                value_indices.iter().zip(image).for_each(|(&index, &pixel)| pixels[index] = pixel);
            }
            self.preprocess.apply(shape, &pixels, &mut values);
        }
        values
    }
}

impl Meaning {
    /// What an output is that layer `last` gives, a value of `shape` that is declared to have samples of `declared`: told by what
    /// ends the layers, else logits if it is known to be `scores` of classes.
    pub fn of(last: Option<&Op>, shape: &[usize], declared: &[usize], scores: bool) -> Self {
        let Some(last) = last else { return Self::Values };
        if !is_line(declared.iter().copied()) {
            return Self::Values;
        }
        match last {
            // Over the channels of each pixel: of one pixel these are all elements.
            Op::Softmax { .. } if shape.len() == 3 && shape[1..] != [1, 1] => Self::Values,
            Op::Softmax { log: false } => Self::Probabilities,
            Op::Softmax { log: true } => Self::LogProbabilities,
            op if op.activation() == Some(Activation::Sigmoid) => Self::Independent,
            // The softmax of a single number says nothing.
            _ if scores && declared.iter().any(|&d| d > 1) => Self::Logits,
            _ => Self::Values,
        }
    }
}

/// Whether at most one axis has more than one element.
fn is_line(mut shape: impl Iterator<Item = usize>) -> bool {
    shape.by_ref().any(|d| d != 1);
    shape.all(|d| d == 1)
}

impl TensorSpec {
    /// f32 samples of `shape` along a first axis, any number of them, lying as they are.
    pub fn new(name: impl Into<String>, shape: &[u32]) -> Self {
        let shape = [&[0], shape].concat();
        Self { name: name.into(), element: Element::F32, shape, sample_axis: Some(0), order: Vec::new() }
    }

    /// The declared axes of one sample.
    pub fn sample_shape(&self) -> Vec<usize> {
        let axes = self.shape.iter().enumerate().filter(|(i, _)| Some(*i as u32) != self.sample_axis);
        axes.map(|(_, &d)| d as usize).collect()
    }

    /// How many samples an array of `shape` holds: one along each place of its sample axis, or one where that axis is left
    /// out. `None` for an array of any other shape.
    pub fn samples(&self, shape: &[usize]) -> Option<usize> {
        let one = self.sample_shape();
        if shape == one {
            return Some(1);
        }
        let at = self.sample_axis? as usize;
        let count = *shape.get(at)?;
        (shape.len() == one.len() + 1 && shape[..at] == one[..at] && shape[at + 1..] == one[at..]).then_some(count)
    }

    /// The elements of `array`, which holds samples in the declared order, sample after sample.
    pub fn by_sample<'a, T: Copy>(&self, array: &'a [T]) -> Cow<'a, [T]> {
        let shape = self.sample_shape();
        let (before, behind) = shape.split_at((self.sample_axis.unwrap_or(0) as usize).min(shape.len()));
        let (outer, inner): (usize, usize) = (before.iter().product(), behind.iter().product());
        if outer <= 1 || inner == 0 {
            return Cow::Borrowed(array);
        }
        let samples = array.len() / (outer * inner);
        let line = |(sample, o): (usize, usize)| array[(o * samples + sample) * inner..][..inner].iter().copied();
        Cow::Owned((0..samples).flat_map(|s| (0..outer).map(move |o| (s, o))).flat_map(line).collect())
    }

    /// Whether an output's samples are lines of numbers: at most one declared axis has more than one element.
    pub fn is_line(&self) -> bool {
        is_line(self.sample_shape().into_iter())
    }

    /// The declared shape, `N` for any number of samples.
    pub fn declared(&self) -> String {
        let axis = |&d: &u32| if d == 0 { "N".into() } else { d.to_string() };
        format!("[{}]", self.shape.iter().map(axis).collect::<Vec<_>>().join(", "))
    }

    /// For each element of a sample, counted along the declared axes, its index in the network's value; empty where both
    /// count alike.
    pub(crate) fn value_indices(&self) -> Vec<usize> {
        if self.order.is_empty() {
            return Vec::new();
        }
        let mut value_indices = vec![0];
        for step in &self.order {
            value_indices =
                value_indices.iter().flat_map(|&p| (0..step.size as usize).map(move |i| p + i * step.stride as usize)).collect();
        }
        value_indices
    }

    /// Checks that its samples are values of `len` elements.
    ///
    /// # Errors
    /// One phrase that says what does not fit.
    pub fn check(&self, len: usize) -> Result<(), String> {
        if self.shape.len() > Limits::AXES {
            return Err(format!("has {} axes", self.shape.len()));
        }
        if let Some(axis) = self.sample_axis.filter(|&axis| axis as usize >= self.shape.len()) {
            return Err(format!("has samples along axis {axis} of {}", self.shape.len()));
        }
        let one = self.sample_shape();
        if one.contains(&0) {
            return Err(format!("has shape {:?}, and only the axis of the samples may be left open", self.shape));
        }
        if one.iter().fold(1usize, |n, &d| n.saturating_mul(d)) != len {
            return Err(format!("has samples of {one:?}, the network's value has {len} elements"));
        }
        if self.order.len() > Limits::AXES {
            return Err(format!("has an order of {} steps", self.order.len()));
        }
        // Steps reach every element once exactly if, by rising stride, each is as long as all before it together.
        let mut steps: Vec<&Stride> = self.order.iter().filter(|s| s.size != 1).collect();
        steps.sort_by_key(|s| s.stride);
        let mut reached = 1u64;
        for step in &steps {
            if u64::from(step.stride) != reached {
                return Err("has an order that does not reach every element once".into());
            }
            reached = reached.saturating_mul(u64::from(step.size));
        }
        if self.order.is_empty() || reached == len as u64 {
            Ok(())
        } else {
            Err(format!("has an order of {reached} elements, a sample has {len}"))
        }
    }
}

impl Element {
    /// As numpy calls it (`float32`, `uint8`).
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::F64 => "float64",
            Self::Bf16 => "bfloat16",
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
        }
    }

    /// The smallest and the largest number of an integer type; `None` for a float.
    pub fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::F32 | Self::F16 | Self::F64 | Self::Bf16 => return None,
            Self::Bool => (0, 1),
            Self::U8 => (0, u8::MAX.into()),
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::I16 => (i16::MIN.into(), i16::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
            Self::I64 => (i64::MIN.into(), i64::MAX.into()),
        })
    }
}

impl fmt::Display for TensorSpec {
    /// `'x', float32 [N, 3, 224, 224]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}', {} {}", self.name, self.element.name(), self.declared())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[u32], sample_axis: Option<u32>, order: &[(u32, u32)]) -> TensorSpec {
        let order = order.iter().map(|&(size, stride)| Stride { size, stride }).collect();
        TensorSpec { shape: shape.to_vec(), sample_axis, order, ..TensorSpec::new("x", &[]) }
    }

    #[test]
    fn an_array_is_what_its_shape_says() {
        let nhwc = spec(&[0, 4, 5, 3], Some(0), &[(20, 1), (3, 20)]);
        assert_eq!(nhwc.check(60), Ok(()));
        for (shape, count) in [
            (&[4, 5, 3][..], Some(1)),
            (&[7, 4, 5, 3], Some(7)),
            (&[7, 3, 4, 5], None),
            (&[3, 4, 5], None),
            (&[60], None),
            (&[1, 60], None),
            (&[7, 1, 4, 5, 3], None),
        ] {
            assert_eq!(nhwc.samples(shape), count, "{shape:?}");
        }
        let second = spec(&[2, 0, 3], Some(1), &[]);
        assert_eq!([&[2, 3][..], &[2, 9, 3], &[9, 2, 3]].map(|s| second.samples(s)), [Some(1), Some(9), None]);
        assert_eq!(second.by_sample(&(0..12).collect::<Vec<_>>())[..], [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]);
        // A declared number is no bound, and an array without samples is one.
        assert_eq!(spec(&[3, 5], Some(0), &[]).samples(&[8, 5]), Some(8));
        let one = spec(&[3, 5], None, &[]);
        assert_eq!((one.samples(&[3, 5]), one.samples(&[5]), one.samples(&[2, 3, 5])), (Some(1), None, None));
        assert_eq!((nhwc.declared().as_str(), one.declared().as_str()), ("[N, 4, 5, 3]", "[3, 5]"));
    }

    #[test]
    fn an_order_reaches_every_element_once() {
        for (order, fits) in [
            (&[][..], true),
            (&[(6, 1)], true),
            (&[(2, 1), (3, 2)], true),
            (&[(3, 2), (2, 1)], true),
            (&[(3, 1), (2, 3), (1, 7)], true),
            (&[(2, 1), (3, 3)], false),
            (&[(3, 1), (2, 1)], false),
            (&[(3, 0), (2, 1)], false),
            (&[(0, 1), (6, 1)], false),
            (&[(2, 1)], false),
            (&[(6, 1), (2, 6)], false),
            (&[(u32::MAX, 1), (u32::MAX, u32::MAX)], false),
        ] {
            assert_eq!(spec(&[0, 2, 3], Some(0), order).check(6).is_ok(), fits, "{order:?}");
        }
    }

    #[test]
    fn images_are_told_from_features() {
        let input = |shape: &[u32], kind| Input { kind, ..Input::new(shape) };
        let (image, features) = (InputKind::Image, InputKind::Features);
        assert_eq!(input(&[3, 4, 5], image).image(), Some([3, 4, 5]));
        assert_eq!(input(&[3, 4, 4], features).image(), None);
        assert_eq!(input(&[784], features).image(), Some([1, 28, 28]));
        assert_eq!(input(&[1, 28, 28], features).image(), Some([1, 28, 28]));
        assert_eq!(input(&[10, 5, 4], features).image(), None);
        assert!(input(&[3072], features).takes_image([3, 32, 32]) && input(&[3, 32, 32], features).takes_image([3, 32, 32]));
        assert!(!input(&[32, 32, 3], features).takes_image([3, 32, 32]) && !input(&[3, 32, 32], image).takes_image([32, 32, 3]));
        assert!(input(&[28, 28], features).takes_image([1, 28, 28]));
        // Planes become pixels of three colours each.
        let mut last = input(&[3, 1, 2], image);
        last.spec = spec(&[0, 1, 2, 3], Some(0), &[(2, 1), (3, 2)]);
        assert_eq!(last.from_planes(&[1, 2, 10, 20, 100, 200])[..], [1, 10, 100, 2, 20, 200]);
    }

    #[test]
    fn the_end_says_what_the_outputs_are() {
        let ends = |op, shape: &[usize], scores| Meaning::of(Some(&op), shape, shape, scores);
        let activate = |a| Op::Activate(a);
        assert_eq!(ends(Op::Softmax { log: false }, &[4], false), Meaning::Probabilities);
        assert_eq!(ends(Op::Softmax { log: true }, &[4, 1, 1], true), Meaning::LogProbabilities);
        assert_eq!(ends(Op::Softmax { log: false }, &[1, 4, 1], true), Meaning::Values);
        assert_eq!(ends(Op::Softmax { log: false }, &[4, 2, 2], true), Meaning::Values);
        assert_eq!(ends(activate(Activation::Sigmoid), &[4], true), Meaning::Independent);
        assert_eq!(ends(activate(Activation::None), &[4], true), Meaning::Logits);
        assert_eq!(ends(activate(Activation::None), &[4], false), Meaning::Values);
        assert_eq!(ends(activate(Activation::None), &[1], true), Meaning::Values);
        assert_eq!(ends(activate(Activation::None), &[4, 2, 1], true), Meaning::Values);
        assert_eq!(Meaning::of(None, &[4], &[4], true), Meaning::Values);
        // Scores of each pixel's classes are none of the whole, however they are declared.
        assert_eq!(Meaning::of(Some(&Op::Softmax { log: false }), &[2, 2, 2], &[8], true), Meaning::Values);
    }
}
