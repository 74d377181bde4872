//! Means, sums and extremes over axes: the other axes become channels, those the pixels of an image that a pool takes together.

use thinfer::artifact::Limits;

use super::{Converter, OnnxValue, Step};
use crate::graph::{Activation, Op, Window};
use crate::import::onnx::dims;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View};

impl<'a> Converter<'a> {
    pub(super) fn reduce(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let input = self.optional(node, 1)?;
        let axes = dims::axes(node, input.as_deref())?.filter(|a| !a.is_empty());
        if axes.is_none() && node.int("noop_with_empty_axes", 0) != 0 {
            return Err("takes nothing together (noop_with_empty_axes), which is not supported".into());
        }
        let axes = axes.unwrap_or_else(|| (0..view.rank() as i64).collect());
        let over = self.own_axes(&view, &axes)?;
        let name = node.label().to_string();
        let y = match node.op.as_str() {
            "ReduceMean" => self.mean_over(node, &view, &over)?,
            "ReduceSum" => self.sum_over(node, &view, &over)?,
            "ReduceMax" => self.largest_over(node, &view, &over)?,
            "ReduceMin" => {
                let negative = self.negative(node, &view)?;
                let largest = self.largest_over(node, &negative, &over)?;
                self.negative(node, &largest)?
            }
            "ReduceL1" => {
                let magnitudes = self.function(format!("{name}.abs"), Activation::Abs, &view)?;
                self.sum_over(node, &magnitudes, &over)?
            }
            "ReduceSumSquare" | "ReduceL2" => {
                let squares = self.multiplied(node, &view, &view)?;
                let sum = self.sum_over(node, &squares, &over)?;
                if node.op == "ReduceL2" { self.function(format!("{name}.root"), Activation::Sqrt, &sum)? } else { sum }
            }
            "ReduceLogSum" => {
                let sum = self.sum_over(node, &view, &over)?;
                self.function(format!("{name}.log"), Activation::Log, &sum)?
            }
            // With the largest taken off first, no power overflows.
            _ => {
                let largest = self.largest_over(node, &view, &over)?;
                let negative = self.negative(node, &largest)?;
                let less = self.added(node, &view, &negative)?;
                let powers = self.function(format!("{name}.exp"), Activation::Exp, &less)?;
                let sum = self.sum_over(node, &powers, &over)?;
                let log = self.function(format!("{name}.log"), Activation::Log, &sum)?;
                self.added(node, &log, &largest)?
            }
        };
        Ok(OnnxValue::Computed(if node.int("keepdims", 1) != 0 { y } else { without(y, &over) }))
    }

    /// The mean or the largest value of each channel.
    pub(super) fn global_pool(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        if view.rank() < 3 {
            return Err(format!("reads a value of {:?}, which is no image", self.full_shape(&view)).into());
        }
        let over = (2..view.rank()).map(|a| self.own_axis(&view, a as i64)).collect::<Step<Vec<_>>>()?;
        let y = if node.op == "GlobalMaxPool" { self.largest_over(node, &view, &over)? } else { self.mean_over(node, &view, &over)? };
        Ok(OnnxValue::Computed(y))
    }

    /// The mean over the axes at `over`, which keep one element.
    pub(super) fn mean_over(&mut self, node: &Node, view: &View, over: &[usize]) -> Step<View> {
        self.together_over(node, view, over, |_| Op::GlobalAvgPool)
    }

    /// The sum over the axes at `over`, which keep one element.
    pub(super) fn sum_over(&mut self, node: &Node, view: &View, over: &[usize]) -> Step<View> {
        let sizes = view.sizes();
        let count: usize = over.iter().map(|&i| sizes[i]).product();
        let mean = self.mean_over(node, view, over)?;
        self.scaled_evenly(format!("{}.sum", node.label()), &mean, count as f32, 0.0)
    }

    /// The largest element over the axes at `over`, which keep one element.
    fn largest_over(&mut self, node: &Node, view: &View, over: &[usize]) -> Step<View> {
        self.together_over(node, view, over, |size| Op::MaxPool(Window { kernel: size, ..Window::square(1, 1, 0) }))
    }

    fn together_over(&mut self, node: &Node, view: &View, over: &[usize], op: impl Fn([usize; 2]) -> Op) -> Step<View> {
        let sizes = view.sizes();
        if over.iter().all(|&i| sizes[i] == 1) {
            return Ok(view.clone());
        }
        let kept: Vec<usize> = (0..sizes.len()).filter(|i| !over.contains(i)).collect();
        let view = self.as_image_over(node, view, &kept)?;
        let [_, height, width] = self.shapes[view.base][..] else { return Err("takes no image together".into()) };
        if height.max(width) > Limits::WINDOW as usize {
            return Err(format!("takes {height}×{width} elements together, more than a window has").into());
        }
        let name = self.fresh(node.label().into());
        let base = self.push(&name, op([height, width]), vec![view.base], Vec::new())?;
        let pixels = (height * width).max(1);
        let axis = |(i, atoms): (usize, &Vec<Atom>)| match over.contains(&i) {
            true => Vec::new(),
            false => atoms.iter().map(|a| Atom { size: a.size, stride: a.stride / pixels }).collect(),
        };
        Ok(View { base, axes: view.axes.iter().enumerate().map(axis).collect(), sample: view.sample })
    }
}

/// `view` without the axes at `over`, which have one element each.
pub(super) fn without(view: View, over: &[usize]) -> View {
    let gone: Vec<usize> = over.iter().map(|&i| view.axis_of(i)).collect();
    let sample = view.sample.map(|s| s - gone.iter().filter(|g| **g < s).count());
    let axes = view.axes.into_iter().enumerate().filter(|(i, _)| !over.contains(i)).map(|(_, a)| a).collect();
    View { base: view.base, axes, sample }
}
