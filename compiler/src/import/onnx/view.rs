//! How an ONNX value lies in a value of the graph. Transposes, reshapes and flattens move nothing: they only change the
//! order in which the elements of a graph value are read, and whoever has a weight turns that instead.

use crate::graph::ValueId;
use crate::tensor::count;

/// `size` steps of `stride` elements in the graph value's row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Atom {
    pub(super) size: usize,
    pub(super) stride: usize,
}

/// One sample of a value as an order of the elements of a graph value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// The graph value.
    pub(super) base: ValueId,
    /// Each axis but that of the samples as nested steps, the outermost first; none for an axis of one element.
    pub(super) axes: Vec<Vec<Atom>>,
    /// Where the file's value has the axis of its samples, if it has one.
    pub(super) sample: Option<usize>,
}

impl View {
    /// The graph value `base` of `shape` as it is, without an axis of samples.
    pub(super) fn plain(base: ValueId, shape: &[usize]) -> Self {
        let mut stride = 1;
        let mut axes: Vec<Vec<Atom>> = Vec::with_capacity(shape.len());
        for &size in shape.iter().rev() {
            axes.push(canonical([Atom { size, stride }]));
            stride *= size;
        }
        axes.reverse();
        Self { base, axes, sample: None }
    }

    /// The same with the axis of the samples at `sample`.
    pub(super) fn sampled(self, sample: Option<usize>) -> Self {
        Self { sample, ..self }
    }

    /// Axes as the file has them, that of the samples counted.
    pub(super) fn rank(&self) -> usize {
        self.axes.len() + usize::from(self.sample.is_some())
    }

    /// The place in `axes` of the file's axis `axis`; `None` for that of the samples.
    pub(super) fn own(&self, axis: usize) -> Option<usize> {
        match self.sample {
            Some(sample) if axis == sample => None,
            Some(sample) if axis > sample => Some(axis - 1),
            _ => Some(axis),
        }
    }

    /// The file's axis that stands at place `own` of `axes`.
    pub(super) fn axis_of(&self, own: usize) -> usize {
        own + usize::from(self.sample.is_some_and(|sample| own >= sample))
    }

    /// The same with axes of one element in front, so that there are `rank` of them.
    pub(super) fn raised(&self, rank: usize) -> Self {
        let more = rank.saturating_sub(self.rank());
        let axes = std::iter::repeat_n(Vec::new(), more).chain(self.axes.iter().cloned()).collect();
        Self { base: self.base, axes, sample: self.sample.map(|s| s + more) }
    }

    /// The same with the axis of the samples of `other`, which has as many axes, where it has one element itself and none of samples: a
    /// value that is the same for all of them. `None` for any other.
    pub(super) fn beside(&self, other: &Self) -> Option<Self> {
        let sample = other.sample.filter(|&at| self.sample.is_none() && self.axes.get(at).is_some_and(Vec::is_empty))?;
        let mut axes = self.axes.clone();
        axes.remove(sample);
        Some(Self { axes, sample: Some(sample), ..*self })
    }

    /// Elements along each axis.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.axes.iter().map(|atoms| atoms.iter().map(|a| a.size).product()).collect()
    }

    /// Elements of one sample.
    pub(super) fn len(&self) -> usize {
        self.sizes().iter().product()
    }

    /// All steps, outermost first.
    pub(super) fn atoms(&self) -> Vec<Atom> {
        canonical(self.axes.iter().flatten().copied())
    }

    /// Whether the elements are read in the order in which they lie.
    pub(super) fn is_ordered(&self) -> bool {
        match self.atoms()[..] {
            [] => true,
            [one] => one.stride == 1,
            _ => false,
        }
    }

    /// Whether this is the graph value of `shape` as it is, axis by axis, that of the samples left out.
    pub(super) fn is_plain(&self, shape: &[usize]) -> bool {
        self.axes == Self::plain(self.base, shape).axes
    }

    /// Axis i of the result is axis order[i] of `axes`; `None` where that is no order. The axis of the samples stays.
    pub(super) fn permuted(&self, order: &[usize]) -> Option<Self> {
        let mut seen = order.to_vec();
        seen.sort_unstable();
        if seen.len() != self.axes.len() || seen.iter().enumerate().any(|(i, &o)| i != o) {
            return None;
        }
        Some(Self { axes: order.iter().map(|&i| self.axes[i].clone()).collect(), ..*self })
    }

    /// What [`View::permuted`] by `order` was made of: axis order[i] of the result is axis i of `axes`.
    pub(super) fn restored(&self, order: &[usize]) -> Option<Self> {
        let back: Option<Vec<usize>> = (0..order.len()).map(|i| order.iter().position(|&o| o == i)).collect();
        self.permuted(&back?)
    }

    /// The same over the file's axes, that of the samples among them.
    pub(super) fn transposed(&self, order: &[usize]) -> Option<Self> {
        let sample = self.sample.and_then(|sample| order.iter().position(|&o| o == sample));
        let own: Vec<usize> = order.iter().filter_map(|&o| self.own(o)).collect();
        (order.len() == self.rank() && sample.is_some() == self.sample.is_some()).then(|| self.permuted(&own))?.map(|v| v.sampled(sample))
    }

    /// The same elements in the same order with axes of `sizes`, that of the samples staying where it is; `None` where a cut would fall within steps that are no
    /// multiple of it.
    pub(super) fn reshaped(&self, sizes: &[usize]) -> Option<Self> {
        if count(sizes)? != self.len() {
            return None;
        }
        let mut atoms = self.atoms();
        atoms.reverse();
        let mut axes = Vec::with_capacity(sizes.len());
        for &size in sizes {
            let (mut left, mut axis) = (size, Vec::new());
            while left > 1 {
                let Atom { size, stride } = atoms.pop()?;
                if left.is_multiple_of(size) {
                    axis.push(Atom { size, stride });
                    left /= size;
                } else if size.is_multiple_of(left) {
                    axis.push(Atom { size: left, stride: stride * (size / left) });
                    atoms.push(Atom { size: size / left, stride });
                    left = 1;
                } else {
                    return None;
                }
            }
            axes.push(canonical(axis));
        }
        Some(Self { axes, ..*self })
    }

    /// A view of one element for each channel of a graph value of `pixels` pixels, in which axes along which a constant of
    /// `shape` (as many axes, each of one element or of this view's) does not change are left out as far as they run over
    /// pixels. `None` where the constant changes from pixel to pixel.
    pub(super) fn of_channels(&self, pixels: usize, shape: &[usize]) -> Option<Self> {
        let mut axes = Vec::with_capacity(self.axes.len());
        for (atoms, &size) in self.axes.iter().zip(shape) {
            let mut kept = Vec::new();
            for atom in atoms {
                if atom.stride.is_multiple_of(pixels) && atom.stride > 0 {
                    kept.push(*atom);
                } else if size != 1 || atom.stride > pixels {
                    return None;
                } else {
                    kept.push(Atom { size: (atom.size * atom.stride / pixels).max(1), stride: pixels });
                }
            }
            axes.push(canonical(kept));
        }
        Some(Self { axes, ..*self })
    }

    /// For each element, in the order in which it is read, its place in the graph value.
    pub(super) fn offsets(&self) -> Vec<usize> {
        let mut offsets = vec![0];
        for atom in self.atoms() {
            offsets = offsets.iter().flat_map(|&p| (0..atom.size).map(move |i| p + i * atom.stride)).collect();
        }
        offsets
    }
}

/// Steps without those of one element, neighbours that are one walk made one.
pub(super) fn canonical(atoms: impl IntoIterator<Item = Atom>) -> Vec<Atom> {
    let mut out: Vec<Atom> = Vec::new();
    for atom in atoms.into_iter().filter(|a| a.size != 1) {
        match out.last_mut() {
            Some(last) if last.stride == atom.stride * atom.size => *last = Atom { size: last.size * atom.size, stride: atom.stride },
            _ => out.push(atom),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_image_that_is_flattened_is_read_pixel_by_pixel() {
        // [2, 2, 3] as [2, 3, 2], flattened.
        let image = View::plain(1, &[2, 2, 3]);
        let last = image.permuted(&[1, 2, 0]).unwrap();
        assert_eq!((last.sizes(), last.is_ordered()), (vec![2, 3, 2], false));
        let flat = last.reshaped(&[12]).unwrap();
        assert_eq!(flat.offsets(), [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]);
        // There and back again is the image.
        let back = flat.reshaped(&[2, 3, 2]).unwrap().permuted(&[2, 0, 1]).unwrap();
        assert!(back.is_plain(&[2, 2, 3]) && back.is_ordered());
        assert_eq!(image.permuted(&[0, 0, 1]), None);
        assert_eq!(image.permuted(&[2, 0, 1]).unwrap().restored(&[2, 0, 1]), Some(image));
    }

    #[test]
    fn samples_are_an_axis_that_moves_nothing() {
        let image = View::plain(1, &[2, 3]).sampled(Some(0));
        assert_eq!((image.rank(), image.own(0), image.own(2), image.axis_of(1)), (3, None, Some(1), 2));
        let last = image.transposed(&[2, 1, 0]).unwrap();
        assert_eq!((last.sample, last.sizes(), last.offsets()), (Some(2), vec![3, 2], vec![0, 3, 1, 4, 2, 5]));
        assert_eq!(last.transposed(&[2, 1, 0]).unwrap(), image);
        assert_eq!(image.transposed(&[1, 2]), None);
        assert_eq!((image.raised(4).sample, image.raised(4).sizes()), (Some(1), vec![1, 2, 3]));
    }

    #[test]
    fn what_changes_by_channel_is_told_from_what_changes_by_pixel() {
        let image = View::plain(1, &[2, 2, 3]);
        assert_eq!(image.of_channels(6, &[2, 1, 1]).unwrap().offsets(), [0, 6]);
        assert_eq!(image.of_channels(6, &[1, 2, 1]), None);
        let last = image.permuted(&[1, 2, 0]).unwrap();
        assert_eq!(last.of_channels(6, &[1, 1, 2]).unwrap().offsets(), [0, 6]);
        let flat = image.reshaped(&[12]).unwrap();
        assert_eq!((flat.of_channels(6, &[1]).unwrap().offsets(), flat.of_channels(6, &[12])), (vec![0, 6], None));
    }

    #[test]
    fn channels_are_shuffled_by_splitting_them() {
        let image = View::plain(3, &[6, 2, 2]);
        let shuffled = image.reshaped(&[2, 3, 2, 2]).unwrap().permuted(&[1, 0, 2, 3]).unwrap().reshaped(&[6, 2, 2]).unwrap();
        let channels: Vec<usize> = shuffled.offsets().chunks(4).map(|c| c[0] / 4).collect();
        assert_eq!(channels, [0, 3, 1, 4, 2, 5]);
        assert_eq!(View::plain(0, &[6]).permuted(&[0]).unwrap().reshaped(&[4]), None);
        assert_eq!(View::plain(0, &[6, 4]).permuted(&[1, 0]).unwrap().reshaped(&[3, 8]), None);
        assert_eq!(View::plain(0, &[1, 5, 1]).reshaped(&[5]), View::plain(0, &[5]).reshaped(&[5]));
    }
}
