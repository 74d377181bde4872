//! Images made larger or smaller by taking the nearest element, and where elements are looked for in every way of resizing.

use super::{Converter, OnnxValue, Step};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::View;

/// What an axis becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Its elements.
    pub(super) to: usize,
    /// By how much it is resized.
    pub(super) scale: Scale,
    /// The part that is resized, from 0 at the first element to 1 at the last, where it is not all.
    pub(super) window: Option<(f64, f64)>,
}

impl<'a> Converter<'a> {
    pub(super) fn resize(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let full = self.full_shape(&view);
        let mode = node.text("mode").unwrap_or("nearest");
        if mode != "nearest" {
            let view = self.resampled(node)?;
            self.note("by primitives", node);
            return Ok(OnnxValue::Computed(view));
        }
        let how = How::of(node, self.model.opset)?;
        let target = self.resize_target(node, &view)?;
        let mut indices = vec![None; view.axes.len()];
        for (own, indices) in indices.iter_mut().enumerate() {
            let axis = view.axis_of(own);
            let (from, Target { to, scale, window }) = (full[axis], target[axis]);
            if window.is_some() {
                return Err("takes the nearest elements of a part of its input, which is not supported".into());
            }
            if from == to && scale.of(from, to) == 1.0 {
                continue;
            }
            if (node.op == "Upsample" || self.model.opset < 11) && to < from {
                return Err(format!("makes {to} elements of {from} by the rules of operator set 10, on which runtimes do not agree").into());
            }
            super::arithmetic::affordable(to)?;
            *indices = Some((0..to).map(|x| Some(how.nearest(x, from, to, scale))).collect::<Vec<_>>());
        }
        match indices.iter().all(Option::is_none) {
            true => Ok(OnnxValue::Computed(view)),
            false => self.picked(node, &view, &indices, 0.0).map(OnnxValue::Computed),
        }
    }

    /// What each axis of the file's becomes.
    pub(super) fn resize_target(&self, node: &'a Node, view: &View) -> Step<Vec<Target>> {
        let full = self.full_shape(view);
        // Upsample and operator set 10 have (X, scales), later ones (X, roi, scales, sizes).
        let at = if node.op == "Upsample" || self.model.opset < 11 { 1 } else { 2 };
        let axes = match node.ints("axes") {
            Some(axes) => axes.iter().map(|&a| sizes::axis(a, full.len())).collect::<Result<Vec<_>, _>>()?,
            None => (0..full.len()).collect(),
        };
        let scales = match (self.optional(node, at)?.filter(|a| a.len() > 0), node.attributes.get("scales")) {
            (Some(array), _) => Some(array.to_floats()),
            (None, Some(crate::import::onnx::node::Attribute::Floats(v))) => Some(v.clone()),
            _ => None,
        };
        let given = if at == 2 { self.optional(node, 3)?.filter(|a| a.len() > 0) } else { None };
        let mut target: Vec<Target> = full.iter().map(|&to| Target { to, scale: Scale::By(1.0), window: None }).collect();
        match (scales, given) {
            (Some(scales), None) if scales.len() == axes.len() => {
                for (&axis, &scale) in axes.iter().zip(&scales) {
                    let to = (full[axis] as f64 * f64::from(scale)).floor();
                    target[axis] = Target { to: to as usize, scale: Scale::By(scale.into()), window: None };
                }
            }
            (None, Some(wanted)) if wanted.len() == axes.len() => {
                let wanted = wanted.as_ints().ok_or("has sizes of no integers")?;
                let to = wanted.iter().map(|&s| usize::try_from(s).map_err(|_| format!("has sizes {wanted:?}")));
                let to = to.collect::<Result<Vec<_>, _>>()?;
                let ratios = || axes.iter().zip(&to).map(|(&axis, &to)| to as f64 / full[axis] as f64);
                // One scale for all axes, by which all fit into the sizes, or none is below them.
                let one = match node.text("keep_aspect_ratio_policy").unwrap_or("stretch") {
                    "stretch" => None,
                    "not_larger" => Some(ratios().fold(f64::INFINITY, f64::min)),
                    "not_smaller" => Some(ratios().fold(0.0, f64::max)),
                    other => return Err(format!("has keep_aspect_ratio_policy {other:?}").into()),
                };
                for (&axis, &to) in axes.iter().zip(&to) {
                    target[axis] = match one {
                        None => Target { to, scale: Scale::ToSize, window: None },
                        Some(scale) => {
                            let to = (full[axis] as f64 * scale + 0.5).floor() as usize;
                            Target { to, scale: Scale::By(scale), window: None }
                        }
                    };
                }
            }
            _ => return Err(format!("has no scale or size for each of {} axes", axes.len()).into()),
        }
        if node.text("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
            let roi =
                self.optional(node, 1)?.map(|a| a.to_floats()).filter(|r| r.len() == 2 * axes.len()).ok_or("has no region to resize")?;
            for (i, &axis) in axes.iter().enumerate() {
                target[axis].window = Some((roi[i].into(), roi[i + axes.len()].into())).filter(|w| *w != (0.0, 1.0));
            }
        }
        if target.iter().any(|t| t.to == 0) || view.sample.is_some_and(|s| target[s].to != full[s]) {
            let to: Vec<usize> = target.iter().map(|t| t.to).collect();
            return Err(format!("makes {to:?} of {full:?}").into());
        }
        target.iter().try_for_each(|t| super::arithmetic::affordable(t.to).map(drop))?;
        // ONNX's own tests align the corners of an output of 3.2 elements, ONNX Runtime those of one of 3.
        let is_cut = |(t, &from): (&Target, &usize)| matches!(t.scale, Scale::By(scale) if from as f64 * scale != t.to as f64);
        if node.text("coordinate_transformation_mode") == Some("align_corners") && target.iter().zip(&full).any(is_cut) {
            return Err("aligns the corners of a number of elements that is no integer, on which runtimes do not agree".into());
        }
        Ok(target)
    }
}

/// Where an output element is looked for in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

impl Coordinates {
    pub(super) fn of(node: &Node, opset: i64) -> Step<Self> {
        if node.op == "Upsample" || opset < 11 {
            return Ok(Self::Asymmetric);
        }
        Ok(match node.text("coordinate_transformation_mode").unwrap_or("half_pixel") {
            "half_pixel" => Self::HalfPixel,
            "half_pixel_symmetric" => Self::HalfPixelSymmetric,
            "pytorch_half_pixel" => Self::PytorchHalfPixel,
            "align_corners" => Self::AlignCorners,
            "asymmetric" => Self::Asymmetric,
            "tf_crop_and_resize" => Self::CropAndResize,
            other => return Err(format!("has coordinate_transformation_mode {other:?}, which is not supported").into()),
        })
    }

    /// The place among `from` elements of element `x` of `to`.
    pub(super) fn place(self, x: usize, from: usize, to: usize, scale: Scale, window: Option<(f64, f64)>) -> f64 {
        let at = x as f64;
        let scaled_back = |at: f64| match scale {
            Scale::By(scale) => at / scale,
            Scale::ToSize => at * from as f64 / to as f64,
        };
        let last = from as f64 - 1.0;
        match (self, window) {
            (Self::HalfPixel, _) => scaled_back(at + 0.5) - 0.5,
            // The centres of input and output meet, whatever was rounded off.
            (Self::HalfPixelSymmetric, _) => {
                let length = match scale {
                    Scale::By(scale) => from as f64 * scale,
                    Scale::ToSize => to as f64,
                };
                let centre = from as f64 / 2.0;
                centre * (1.0 - to as f64 / length) + scaled_back(at + 0.5) - 0.5
            }
            (Self::PytorchHalfPixel | Self::AlignCorners, _) if to == 1 => 0.0,
            (Self::PytorchHalfPixel, _) => scaled_back(at + 0.5) - 0.5,
            (Self::AlignCorners, _) => at * last / (to as f64 - 1.0),
            (Self::Asymmetric, _) => scaled_back(at),
            (Self::CropAndResize, window) => {
                let (start, end) = window.unwrap_or((0.0, 1.0));
                if to > 1 { start * last + at * (end - start) * last / (to as f64 - 1.0) } else { 0.5 * (start + end) * last }
            }
        }
    }
}

/// How the nearest element is found.
#[derive(Clone, Copy, Debug)]
struct How {
    coordinates: Coordinates,
    round: Round,
}

/// By how much an axis is resized.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// A number that the file states.
    By(f64),
    /// The ratio of its sizes, exactly.
    ToSize,
}

impl Scale {
    /// Outputs for each input.
    pub(super) fn of(self, from: usize, to: usize) -> f64 {
        match self {
            Self::By(scale) => scale,
            Self::ToSize => to as f64 / from as f64,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Round {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

impl How {
    fn of(node: &Node, opset: i64) -> Step<Self> {
        let coordinates = Coordinates::of(node, opset)?;
        if node.op == "Upsample" || opset < 11 {
            return Ok(Self { coordinates, round: Round::Floor });
        }
        let round = match node.text("nearest_mode").unwrap_or("round_prefer_floor") {
            "round_prefer_floor" => Round::PreferFloor,
            "round_prefer_ceil" => Round::PreferCeil,
            "floor" => Round::Floor,
            "ceil" => Round::Ceil,
            other => return Err(format!("has nearest_mode {other:?}, which is not supported").into()),
        };
        Ok(Self { coordinates, round })
    }

    /// The element of `from` that element `x` of `to` takes.
    fn nearest(self, x: usize, from: usize, to: usize, scale: Scale) -> usize {
        let place = self.coordinates.place(x, from, to, scale, None);
        let rounded = match self.round {
            Round::PreferFloor => (place - 0.5).ceil(),
            Round::PreferCeil => (place + 0.5).floor(),
            Round::Floor => place.floor(),
            Round::Ceil => place.ceil(),
        };
        (rounded.max(0.0) as usize).min(from - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_element_is_onnxs() {
        let all = |coordinates, round, from: usize, to: usize| -> Vec<usize> {
            let how = How { coordinates, round };
            (0..to).map(|x| how.nearest(x, from, to, Scale::ToSize)).collect()
        };
        assert_eq!(all(Coordinates::HalfPixel, Round::PreferFloor, 2, 4), [0, 0, 1, 1]);
        assert_eq!(all(Coordinates::Asymmetric, Round::Floor, 3, 6), [0, 0, 1, 1, 2, 2]);
        assert_eq!(all(Coordinates::AlignCorners, Round::PreferFloor, 4, 8), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(all(Coordinates::HalfPixel, Round::Ceil, 4, 2), [1, 3]);
        assert_eq!(all(Coordinates::PytorchHalfPixel, Round::PreferCeil, 4, 1), [0]);
        // 3.5 · 6/7 − 1/2 is 2.5 exactly.
        assert_eq!(all(Coordinates::HalfPixel, Round::PreferFloor, 6, 7), [0, 1, 2, 2, 3, 4, 5]);
    }
}
