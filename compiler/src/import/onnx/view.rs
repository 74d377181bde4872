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

/// A value, batch axis left out, as an order of the elements of a graph value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// The graph value.
    pub(super) base: ValueId,
    /// Each axis as nested steps, the outermost first; none for an axis of one element.
    pub(super) axes: Vec<Vec<Atom>>,
}

impl View {
    /// The graph value `base` of `shape` as it is.
    pub(super) fn plain(base: ValueId, shape: &[usize]) -> Self {
        let mut stride = 1;
        let mut axes: Vec<Vec<Atom>> = Vec::with_capacity(shape.len());
        for &size in shape.iter().rev() {
            axes.push(canonical([Atom { size, stride }]));
            stride *= size;
        }
        axes.reverse();
        Self { base, axes }
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
    fn atoms(&self) -> Vec<Atom> {
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

    /// Whether this is the graph value of `shape` as it is, axis by axis.
    pub(super) fn is_plain(&self, shape: &[usize]) -> bool {
        self.axes == Self::plain(self.base, shape).axes
    }

    /// Axis i of the result is axis order[i]; `None` where that is no order.
    pub(super) fn permuted(&self, order: &[usize]) -> Option<Self> {
        let mut seen = order.to_vec();
        seen.sort_unstable();
        if seen.len() != self.axes.len() || seen.iter().enumerate().any(|(i, &o)| i != o) {
            return None;
        }
        Some(Self { base: self.base, axes: order.iter().map(|&i| self.axes[i].clone()).collect() })
    }

    /// The same elements in the same order with axes of `sizes`; `None` where a cut would fall within steps that are no
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
        Some(Self { base: self.base, axes })
    }

    /// A view of one element for each channel of a graph value of `pixels` pixels, in which axes along which a constant of
    /// `shape` (as many axes, each of one element or of this view's) does not change are left out as far as they run over
    /// pixels. `None` where the constant changes from pixel to pixel.
    pub(super) fn of_channels(&self, pixels: usize, shape: &[usize]) -> Option<Self> {
        let mut axes = Vec::with_capacity(self.axes.len());
        for (atoms, &size) in self.axes.iter().zip(shape) {
            let mut kept = Vec::new();
            for atom in atoms {
                if atom.stride >= pixels {
                    kept.push(*atom);
                } else if size != 1 {
                    return None;
                } else {
                    kept.push(Atom { size: (atom.size * atom.stride / pixels).max(1), stride: pixels });
                }
            }
            axes.push(canonical(kept));
        }
        Some(Self { base: self.base, axes })
    }

    /// For each element, in the order in which it is read, its place in the graph value.
    pub(super) fn places(&self) -> Vec<usize> {
        let mut places = vec![0];
        for atom in self.atoms() {
            places = places.iter().flat_map(|&p| (0..atom.size).map(move |i| p + i * atom.stride)).collect();
        }
        places
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
        assert_eq!(flat.places(), [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]);
        // There and back again is the image.
        let back = flat.reshaped(&[2, 3, 2]).unwrap().permuted(&[2, 0, 1]).unwrap();
        assert!(back.is_plain(&[2, 2, 3]) && back.is_ordered());
        assert_eq!(image.permuted(&[0, 0, 1]), None);
    }

    #[test]
    fn what_changes_by_channel_is_told_from_what_changes_by_pixel() {
        let image = View::plain(1, &[2, 2, 3]);
        assert_eq!(image.of_channels(6, &[2, 1, 1]).unwrap().places(), [0, 6]);
        assert_eq!(image.of_channels(6, &[1, 2, 1]), None);
        let last = image.permuted(&[1, 2, 0]).unwrap();
        assert_eq!(last.of_channels(6, &[1, 1, 2]).unwrap().places(), [0, 6]);
        let flat = image.reshaped(&[12]).unwrap();
        assert_eq!((flat.of_channels(6, &[1]).unwrap().places(), flat.of_channels(6, &[12])), (vec![0, 6], None));
    }

    #[test]
    fn channels_are_shuffled_by_splitting_them() {
        let image = View::plain(3, &[6, 2, 2]);
        let shuffled = image.reshaped(&[2, 3, 2, 2]).unwrap().permuted(&[1, 0, 2, 3]).unwrap().reshaped(&[6, 2, 2]).unwrap();
        let channels: Vec<usize> = shuffled.places().chunks(4).map(|c| c[0] / 4).collect();
        assert_eq!(channels, [0, 3, 1, 4, 2, 5]);
        assert_eq!(View::plain(0, &[6]).permuted(&[0]).unwrap().reshaped(&[4]), None);
        assert_eq!(View::plain(0, &[6, 4]).permuted(&[1, 0]).unwrap().reshaped(&[3, 8]), None);
        assert_eq!(View::plain(0, &[1, 5, 1]).reshaped(&[5]), View::plain(0, &[5]).reshaped(&[5]));
    }
}
