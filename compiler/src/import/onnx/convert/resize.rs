//! Images made larger or smaller by taking the nearest element.

use super::{Converter, OnnxValue, Step};
use crate::import::onnx::node::Node;

impl<'a> Converter<'a> {
    pub(super) fn resize(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let mut view = self.computed(node, 0)?;
        let full = self.full_shape(&view);
        let mode = node.text("mode").unwrap_or("nearest");
        if mode != "nearest" {
            return Err(format!("resizes by mode {mode:?}; only \"nearest\" is supported").into());
        }
        if node.ints("axes").is_some() || node.int("antialias", 0) != 0 {
            return Err("names the axes that it resizes, or smooths them, which is not supported".into());
        }
        let how = How::of(node, self.model.opset)?;
        // Upsample and operator set 10 have (X, scales), later ones (X, roi, scales, sizes).
        let at = if node.op == "Upsample" || self.model.opset < 11 { 1 } else { 2 };
        let scales = match (self.optional(node, at)?.filter(|a| a.len() > 0), node.attributes.get("scales")) {
            (Some(array), _) => Some(array.to_floats()),
            (None, Some(crate::import::onnx::node::Attribute::Floats(v))) => Some(v.clone()),
            _ => None,
        };
        let sizes = if at == 2 { self.optional(node, 3)?.filter(|a| a.len() > 0) } else { None };
        let (to, scales) = match (scales, sizes) {
            (Some(scales), None) if scales.len() == full.len() => {
                let to: Vec<usize> = full.iter().zip(&scales).map(|(&n, &s)| (n as f64 * f64::from(s)).floor() as usize).collect();
                (to, scales.into_iter().map(|s| Scale::By(s.into())).collect::<Vec<_>>())
            }
            (None, Some(sizes)) if sizes.len() == full.len() => {
                if node.text("keep_aspect_ratio_policy").is_some_and(|p| p != "stretch") {
                    return Err("keeps the aspect ratio, which is not supported".into());
                }
                let sizes = sizes.as_ints().ok_or("has sizes of no integers")?;
                let to = sizes.iter().map(|&s| usize::try_from(s).map_err(|_| format!("has sizes {sizes:?}")));
                let to = to.collect::<Result<Vec<_>, _>>()?;
                let scales = to.iter().map(|_| Scale::ToSize).collect();
                (to, scales)
            }
            _ => return Err(format!("has no scale or size for each of {} axes", full.len()).into()),
        };
        if view.sample.is_some_and(|s| to[s] != full[s]) || to.contains(&0) {
            return Err(format!("makes {to:?} of {full:?}").into());
        }
        for own in 0..view.axes.len() {
            let axis = view.axis_of(own);
            let (from, to, scale) = (full[axis], to[axis], scales[axis]);
            let is_one = match scale {
                Scale::By(scale) => scale == 1.0,
                Scale::ToSize => from == to,
            };
            if from == to && is_one {
                continue;
            }
            if (node.op == "Upsample" || self.model.opset < 11) && to < from {
                return Err(format!("makes {to} elements of {from} by the rules of operator set 10, on which runtimes do not agree").into());
            }
            super::arithmetic::affordable(to)?;
            let places: Vec<usize> = (0..to).map(|x| how.nearest(x, from, to, scale)).collect();
            view = self.picked_along(node, &view, own, &places)?;
        }
        Ok(OnnxValue::Computed(view))
    }
}

/// Where an output element is looked for in the input, and which element there is nearest.
#[derive(Clone, Copy, Debug)]
struct How {
    place: Place,
    round: Round,
}

/// By how much an axis is resized.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// A number that the file states.
    By(f64),
    /// The ratio of its sizes, exactly.
    ToSize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
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
        if node.op == "Upsample" || opset < 11 {
            return Ok(Self { place: Place::Asymmetric, round: Round::Floor });
        }
        let place = match node.text("coordinate_transformation_mode").unwrap_or("half_pixel") {
            "half_pixel" => Place::HalfPixel,
            "pytorch_half_pixel" => Place::PytorchHalfPixel,
            "align_corners" => Place::AlignCorners,
            "asymmetric" => Place::Asymmetric,
            other => return Err(format!("has coordinate_transformation_mode {other:?}, which is not supported").into()),
        };
        let round = match node.text("nearest_mode").unwrap_or("round_prefer_floor") {
            "round_prefer_floor" => Round::PreferFloor,
            "round_prefer_ceil" => Round::PreferCeil,
            "floor" => Round::Floor,
            "ceil" => Round::Ceil,
            other => return Err(format!("has nearest_mode {other:?}, which is not supported").into()),
        };
        Ok(Self { place, round })
    }

    /// The element of `from` that element `x` of `to` takes.
    fn nearest(self, x: usize, from: usize, to: usize, scale: Scale) -> usize {
        let at = x as f64;
        let scaled_back = |at: f64| match scale {
            Scale::By(scale) => at / scale,
            Scale::ToSize => at * from as f64 / to as f64,
        };
        let place = match self.place {
            Place::HalfPixel => scaled_back(at + 0.5) - 0.5,
            Place::PytorchHalfPixel if to == 1 => 0.0,
            Place::PytorchHalfPixel => scaled_back(at + 0.5) - 0.5,
            Place::AlignCorners if to == 1 => 0.0,
            Place::AlignCorners => at * (from as f64 - 1.0) / (to as f64 - 1.0),
            Place::Asymmetric => scaled_back(at),
        };
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
        let all = |place, round, from: usize, to: usize| -> Vec<usize> {
            let how = How { place, round };
            (0..to).map(|x| how.nearest(x, from, to, Scale::ToSize)).collect()
        };
        assert_eq!(all(Place::HalfPixel, Round::PreferFloor, 2, 4), [0, 0, 1, 1]);
        assert_eq!(all(Place::Asymmetric, Round::Floor, 3, 6), [0, 0, 1, 1, 2, 2]);
        assert_eq!(all(Place::AlignCorners, Round::PreferFloor, 4, 8), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(all(Place::HalfPixel, Round::Ceil, 4, 2), [1, 3]);
        assert_eq!(all(Place::PytorchHalfPixel, Round::PreferCeil, 4, 1), [0]);
        // 3.5 · 6/7 − 1/2 is 2.5 exactly.
        assert_eq!(all(Place::HalfPixel, Round::PreferFloor, 6, 7), [0, 1, 2, 2, 3, 4, 5]);
    }
}
