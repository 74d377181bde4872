//! Values laid out for whoever reads channels: an image as it is, or any axes as the channels of pixels. Elements are moved
//! only where they do not lie so already.

use super::{Converter, Step, Stop};
use crate::graph::ValueId;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

/// What stood in front of an image's channels in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// The axis of the samples.
    Samples,
    /// An axis of one element.
    One,
}

impl Front {
    /// `view`, an image, with what stood in front of it.
    pub(super) fn before(self, view: View) -> View {
        match self {
            Self::Samples => view.sampled(Some(0)),
            Self::One => view.raised(view.rank() + 1),
        }
    }
}

impl<'a> Converter<'a> {
    /// `view` without its first axis, which must be that of the samples or of one element, and which of them it is.
    pub(super) fn behind_front(&self, view: &View) -> Step<(Front, View)> {
        match (view.sample, view.axes.first()) {
            (Some(0), _) => Ok((Front::Samples, view.clone().sampled(None))),
            (None, Some(first)) if first.is_empty() => Ok((Front::One, View { axes: view.axes[1..].to_vec(), ..view.clone() })),
            (None, _) => {
                Err(format!("reads several images of one sample, a value of {:?}, which is not supported", self.full_shape(view)).into())
            }
            (Some(at), _) => {
                Err(format!("has its samples along axis {at} of {:?}, where they are supported along axis 0 only", self.full_shape(view))
                    .into())
            }
        }
    }

    /// The graph value that `view` (behind its front) is an image of, channels first; moved there if it lies in another order.
    pub(super) fn image(&mut self, node: &Node, view: &View) -> Step<ValueId> {
        let (shape, sizes) = (&self.shapes[view.base], view.sizes());
        if shape.len() == 3 && view.is_plain(shape) {
            return Ok(view.base);
        }
        if sizes.len() != 3 {
            return Err(format!("reads a value of {:?}, which is no image", self.full_shape(view)).into());
        }
        if self.chosen.get(view.base).is_some_and(Option::is_none) && view.is_ordered() {
            return Err(Stop::Input(view.base, sizes));
        }
        self.moved_to(node, view, sizes)
    }

    /// `view` with the axes at `over` together all channels of its graph value and the others all pixels, in any order. The
    /// places among its axes stay.
    pub(super) fn over_channels(&mut self, node: &Node, view: &View, over: &[usize]) -> Step<View> {
        if self.has_channels(view, over) {
            return Ok(view.clone());
        }
        let mut others = (0..view.axes.len()).filter(|i| !over.contains(i));
        if others.all(|i| view.axes[i].is_empty()) && self.shapes[view.base].iter().product::<usize>() == view.len() {
            // All elements of a sample are the features of a vector, in whatever order they lie.
            let base = self.flattened(node, view.base)?;
            return Ok(View { base, ..view.clone() });
        }
        self.image_over(node, view, over)
    }

    /// `view` moved into an image whose channels are the axes at `over`, in that order, and whose column of pixels are the others.
    fn image_over(&mut self, node: &Node, view: &View, over: &[usize]) -> Step<View> {
        let others = (0..view.axes.len()).filter(|i| !over.contains(i));
        let order: Vec<usize> = over.iter().copied().chain(others).collect();
        let turned = view.permuted(&order).ok_or("names an axis twice")?;
        let sizes = turned.sizes();
        let channels: usize = sizes[..over.len()].iter().product();
        let base = self.moved_to(node, &turned, vec![channels, view.len() / channels.max(1), 1])?;
        Ok(View::plain(base, &sizes).restored(&order).ok_or("names an axis twice")?.sampled(view.sample))
    }

    /// The same where `view` is no such image already, in whatever order its channels and pixels are.
    pub(super) fn as_image_over(&mut self, node: &Node, view: &View, over: &[usize]) -> Step<View> {
        let is_one = self.shapes[view.base].len() == 3 && self.has_channels(view, over);
        if is_one { Ok(view.clone()) } else { self.image_over(node, view, over) }
    }

    /// Whether the axes at `over` are all channels of the graph value, in any order, and the others all its pixels.
    pub(super) fn has_channels(&self, view: &View, over: &[usize]) -> bool {
        let [channels, ref space @ ..] = self.shapes[view.base][..] else { return false };
        let pixels: usize = space.iter().product();
        let sizes = view.sizes();
        let count: usize = over.iter().map(|&i| sizes[i]).product();
        let fits = |(i, atoms): (usize, &Vec<_>)| {
            let over = over.contains(&i);
            atoms
                .iter()
                .all(|a: &super::super::view::Atom| a.stride > 0 && if over { a.stride.is_multiple_of(pixels) } else { a.stride < pixels })
        };
        count == channels && view.len() == channels * pixels && view.axes.iter().enumerate().all(fits)
    }

    /// The channel at each place of the axes at `over`, row-major over them, which [`Converter::over_channels`] made channels.
    pub(super) fn channels_along(&self, view: &View, over: &[usize]) -> Vec<usize> {
        let pixels: usize = self.shapes[view.base][1..].iter().product();
        let line = View { base: view.base, axes: over.iter().map(|&at| view.axes[at].clone()).collect(), sample: None };
        line.offsets().into_iter().map(|p| p / pixels.max(1)).collect()
    }
}
