//! Resizing by interpolation, linear or cubic, axis by axis.

use thinfer::artifact::{Primitive, Resample};

use super::super::resize::{Coordinates, Target};
use super::super::{Converter, Step};
use super::lengths::small;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

/// How an output element is made of its neighbours.
#[derive(Clone, Copy, Debug)]
enum Filter {
    /// Of the two beside it, by how near they are.
    Linear,
    /// Of four, by Keys' cubic convolution with this coefficient (Keys 1981, "Cubic convolution interpolation for digital image
    /// processing", a = −1/2 there; ONNX's default is −3/4).
    Cubic(f64),
}

impl Filter {
    /// Half its width in elements.
    fn reach(self) -> f64 {
        if let Self::Linear = self { 1.0 } else { 2.0 }
    }

    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Linear => (1.0 - x).max(0.0),
            Self::Cubic(a) if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Self::Cubic(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Self::Cubic(_) => 0.0,
        }
    }
}

/// How an axis is resampled: the elements that each output is made of, and their weights.
#[derive(Debug)]
struct Table {
    taps: usize,
    indices: Vec<u32>,
    weights: Vec<f32>,
}

/// The table of an axis of `from` elements whose outputs lie at `places`, `scale` outputs for an input.
fn table(filter: Filter, places: &[f64], from: usize, scale: f64, antialias: bool, exclude_outside: bool) -> Table {
    // Where the output is coarser, a smoothing filter is as wide as its elements.
    let stretch = if antialias && scale < 1.0 { 1.0 / scale } else { 1.0 };
    let reach = filter.reach() * stretch;
    let taps = if stretch > 1.0 { (2.0 * reach).ceil() as usize + 1 } else { 2 * filter.reach() as usize };
    let (mut indices, mut weights) = (Vec::new(), Vec::new());
    for &place in places {
        let first = if stretch > 1.0 { (place - reach).ceil() as i64 } else { place.floor() as i64 + 1 - filter.reach() as i64 };
        let mut row: Vec<(i64, f64)> = (0..taps as i64).map(|t| (first + t, filter.at((place - (first + t) as f64) / stretch))).collect();
        // Beyond the ends the last element stands, or nothing.
        if exclude_outside {
            row.iter_mut().filter(|(i, _)| *i < 0 || *i >= from as i64).for_each(|(_, w)| *w = 0.0);
        }
        let sum: f64 = row.iter().map(|r| r.1).sum();
        let norm = if (exclude_outside || stretch > 1.0) && sum != 0.0 { sum } else { 1.0 };
        for (index, weight) in row {
            indices.push(index.clamp(0, from as i64 - 1) as u32);
            weights.push((weight / norm) as f32);
        }
    }
    Table { taps, indices, weights }
}

impl<'a> Converter<'a> {
    pub(in super::super) fn resampled(&mut self, node: &'a Node) -> Step<View> {
        let mut view = self.computed(node, 0)?;
        let filter = match node.text("mode").unwrap_or("nearest") {
            "linear" | "bilinear" | "trilinear" => Filter::Linear,
            "cubic" => Filter::Cubic(f64::from(node.float("cubic_coeff_a", -0.75))),
            mode => return Err(format!("resizes by mode {mode:?} in a way that is not supported").into()),
        };
        let (target, coordinates) = (self.resize_target(node, &view)?, Coordinates::of(node, self.model.opset)?);
        let (antialias, exclude) = (node.int("antialias", 0) != 0, node.int("exclude_outside", 0) != 0);
        for own in 0..view.axes.len() {
            let axis = view.axis_of(own);
            let (from, Target { to, scale, window }) = (view.sizes()[own], target[axis]);
            if from == to && scale.of(from, to) == 1.0 && window.is_none() {
                continue;
            }
            let places: Vec<f64> = (0..to).map(|x| coordinates.place(x, from, to, scale, window)).collect();
            if window.is_some() && places.iter().any(|&p| p < 0.0 || p > from as f64 - 1.0) {
                return Err("takes elements from outside of its input, which is not supported".into());
            }
            let table = table(filter, &places, from, scale.of(from, to), antialias, exclude);
            view = self.resampled_along(node, &view, own, table)?;
        }
        Ok(view)
    }

    fn resampled_along(&mut self, node: &Node, view: &View, own: usize, table: Table) -> Step<View> {
        let mut sizes = view.sizes();
        let Table { taps, indices, weights } = table;
        let outputs = indices.len() / taps.max(1);
        // Where the axis is one of the graph value's, in the order in which that lies.
        let base = self.shapes[view.base].clone();
        let behind = |at: usize| base[at + 1..].iter().product::<usize>();
        let is_axis = |at: &usize| base[*at] == sizes[own] && view.axes[own].first().is_some_and(|a| a.stride == behind(*at));
        let simple = view.axes.iter().all(|atoms| atoms.len() <= 1) && view.len() == base.iter().product::<usize>();
        if let (true, Some(at)) = (simple && view.axes[own].len() == 1, (0..base.len()).find(is_axis)) {
            let resample = Resample { axis: small(at)?, taps: small(taps)?, indices, weights };
            let value = self.primitive(format!("{}.axis{own}", node.label()), Primitive::Resample(resample), vec![view.base])?;
            let (before, after) = (behind(at) * sizes[own], behind(at) * outputs);
            let mut axes = view.axes.clone();
            for (i, atoms) in axes.iter_mut().enumerate() {
                for atom in atoms {
                    if i == own {
                        atom.size = outputs;
                    } else if atom.stride >= before {
                        atom.stride = atom.stride / before * after;
                    }
                }
            }
            axes[own].retain(|a| a.size != 1);
            return Ok(View { base: value, axes, sample: view.sample });
        }
        let value = self.shaped(node, view, &sizes)?;
        let resample = Resample { axis: small(own)?, taps: small(taps)?, indices, weights };
        let base = self.primitive(format!("{}.axis{own}", node.label()), Primitive::Resample(resample), vec![value])?;
        sizes[own] = outputs;
        Ok(View::plain(base, &sizes).sampled(view.sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_row_sum_to_one() {
        let half_pixel: Vec<f64> = (0..7).map(|x| (x as f64 + 0.5) * 3.0 / 7.0 - 0.5).collect();
        for filter in [Filter::Linear, Filter::Cubic(-0.75), Filter::Cubic(-0.5)] {
            for (antialias, exclude) in [(false, false), (true, false), (false, true)] {
                for (places, from, scale) in [(&half_pixel[..], 3, 7.0 / 3.0), (&[1.0, 4.0, 7.0], 9, 1.0 / 3.0)] {
                    let table = table(filter, places, from, scale, antialias, exclude);
                    assert_eq!(table.indices.len(), places.len() * table.taps);
                    for row in table.weights.chunks(table.taps) {
                        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
                    }
                    assert!(table.indices.iter().all(|&i| (i as usize) < from));
                }
            }
        }
        let two = table(Filter::Linear, &[0.25], 2, 2.0, false, false);
        assert_eq!((two.indices, two.weights), (vec![0, 1], vec![0.75, 0.25]));
    }
}
