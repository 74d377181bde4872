//! Normalisations and softmax.

use super::{Converter, OnnxValue, Step};
use crate::graph::{Activation, BatchNorm, Op};
use crate::import::onnx::array::Array;
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::View;

/// What keeps a sum of magnitudes from being divided by where all are 0, which gives 0.
const ABOVE_ZERO: Activation = Activation::Clip { low: f32::MIN_POSITIVE, high: f32::INFINITY };

impl<'a> Converter<'a> {
    pub(super) fn batch_norm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        // Before operator set 14 more outputs than one said that the batch at hand is normalised by.
        let trains = if self.model.opset >= 14 {
            node.int("training_mode", 0) != 0
        } else {
            node.outputs.iter().skip(1).any(|o| !o.is_empty()) || (self.model.opset < 7 && node.int("is_test", 0) == 0)
        };
        if trains {
            return Err(
                "normalises by the batch at hand; only running statistics are supported (export the network in evaluation mode)".into()
            );
        }
        let eps = node.float("epsilon", 1e-5);
        let constants = (1..5).map(|i| self.constant(node, i)).collect::<Step<Vec<_>>>()?;
        // The channel axis is the second, statistics of each place by itself are of all behind the first.
        let full = self.full_shape(&view);
        let shape: Vec<usize> = match full[..] {
            [_, ref rest @ ..] if node.int("spatial", 1) == 0 => [&[1], rest].concat(),
            [_, channels, ref rest @ ..] => [&[1, channels][..], &vec![1; rest.len()]].concat(),
            _ => return Err(format!("normalises a value of {full:?}, which has no channels").into()),
        };
        let count: usize = shape.iter().product();
        if let Some(other) = constants.iter().find(|c| c.len() != count) {
            return Err(format!("has statistics of {:?} for a value of {full:?}", other.shape).into());
        }
        let mut tensors = Vec::with_capacity(4);
        let mut base = view.base;
        for constant in &constants {
            let (onto, values) = self.per_channel(node, &view, &constant.reshaped(shape.clone()))?;
            base = onto;
            tensors.push(values);
        }
        if tensors[3].iter().any(|v| v + eps <= 0.0) {
            return Err("has a variance that is not positive".into());
        }
        let norm = BatchNorm { channels: tensors[0].len(), eps, momentum: 1.0 - node.float("momentum", 0.9) };
        let name = self.layer_name(node, 1);
        let base = self.push(&name, Op::BatchNorm(norm), vec![base], tensors)?;
        Ok(OnnxValue::Computed(View { base, ..view }))
    }

    pub(super) fn layer_norm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let axes = match node.ints("over") {
            Some(axes) => axes.to_vec(),
            // All from the first one on.
            None => (sizes::axis(node.int("axis", -1), view.rank())?..view.rank()).map(|a| a as i64).collect(),
        };
        let over = self.own_axes(&view, &axes)?;
        let (scale, shift) = (self.optional(node, 1)?, self.optional(node, 2)?);
        self.normalised(node, &view, &over, node.float("epsilon", 1e-5), scale.as_deref(), shift.as_deref()).map(OnnxValue::Computed)
    }

    /// (x − mean)/√(variance + ε) over the axes at `over`, then scaled and shifted by constants that broadcast to `view`.
    fn normalised(
        &mut self,
        node: &'a Node,
        view: &View,
        over: &[usize],
        eps: f32,
        scale: Option<&Array>,
        shift: Option<&Array>,
    ) -> Step<View> {
        let view = self.over_channels(node, view, over)?;
        let places = self.channels_along(&view, over);
        let mut laid_out = [vec![1.0; places.len()], vec![0.0; places.len()]];
        let mut behind: Vec<(Array, bool)> = Vec::new();
        for (i, constant) in [scale, shift].into_iter().enumerate().filter_map(|(i, c)| Some((i, c?))) {
            let aligned = self.aligned(&view, constant)?;
            // One value for each normalised element is the norm's own; what differs along other axes comes behind it.
            let own = aligned.shape.iter().enumerate().all(|(at, d)| *d == 1 || over.contains(&at));
            if own && behind.is_empty() {
                let sizes = view.sizes();
                let line: Vec<usize> = over.iter().map(|&at| sizes[at]).collect();
                let of: Vec<usize> = over.iter().map(|&at| aligned.shape[at]).collect();
                let values = aligned.to_floats();
                for (&place, from) in places.iter().zip(crate::import::onnx::eval::broadcast_offsets(&of, &line)) {
                    laid_out[i][place] = values[from];
                }
            } else {
                behind.push((constant.clone(), i == 0));
            }
        }
        let name = self.layer_name(node, 1);
        let base = self.push(&name, Op::LayerNorm { channels: places.len(), eps }, vec![view.base], laid_out.to_vec())?;
        let mut y = View { base, ..view };
        for (constant, is_scale) in behind {
            y = self.by_constant(node, &y, &constant, |v| if is_scale { (v, 0.0) } else { (1.0, v) })?;
        }
        Ok(y)
    }

    /// Each channel of each image by itself.
    pub(super) fn instance_norm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let (scale, shift) = (self.constant(node, 1)?, self.constant(node, 2)?);
        let over: Vec<i64> = (2..view.rank() as i64).collect();
        if over.is_empty() {
            return Err(format!("normalises a value of {:?}, which is no image", self.full_shape(&view)).into());
        }
        let over = self.own_axes(&view, &over)?;
        let y = self.normalised(node, &view, &over, node.float("epsilon", 1e-5), None, None)?;
        self.by_channel(node, &y, &scale, &shift).map(OnnxValue::Computed)
    }

    /// y·scale + shift, both of one value a channel.
    fn by_channel(&mut self, node: &'a Node, y: &View, scale: &Array, shift: &Array) -> Step<View> {
        let mut shape = vec![1; y.rank().saturating_sub(1)];
        *shape.first_mut().ok_or("has no channels")? = scale.len();
        let y = self.by_constant(node, y, &scale.reshaped(shape.clone()), |v| (v, 0.0))?;
        if shift.len() != scale.len() {
            return Err(format!("has scales of {:?} and shifts of {:?}", scale.shape, shift.shape).into());
        }
        self.by_constant(node, &y, &shift.reshaped(shape), |v| (1.0, v))
    }

    /// Groups of channels with all their pixels.
    pub(super) fn group_norm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let (scale, shift) = (self.constant(node, 1)?, self.constant(node, 2)?);
        let (front, bare) = self.behind_front(&view)?;
        let groups = usize::try_from(node.int("num_groups", 0)).ok().filter(|g| *g > 0).ok_or("has no num_groups")?;
        let sizes = bare.sizes();
        let channels = sizes.first().copied().ok_or("has no channels")?;
        // Operator set 18 had one scale a group, later ones have one a channel.
        let each = if self.model.opset < 21 { groups } else { channels };
        if !channels.is_multiple_of(groups) || scale.len() != each || shift.len() != each {
            let full = self.full_shape(&view);
            return Err(format!(
                "has {groups} groups, scales of {:?} and shifts of {:?} for a value of {full:?}",
                scale.shape, shift.shape
            )
            .into());
        }
        let apart = [&[groups, channels / groups], &sizes[1..]].concat();
        let grouped = self.reordered(node, &bare, &apart)?;
        let over: Vec<usize> = (1..apart.len()).collect();
        let y = self.normalised(node, &grouped, &over, node.float("epsilon", 1e-5), None, None)?;
        let y = front.before(self.reordered(node, &y, &sizes)?);
        let repeated = |a: &Array| Array {
            shape: vec![channels],
            data: crate::import::onnx::array::Data::Floats(
                a.to_floats().iter().flat_map(|v| std::iter::repeat_n(*v, channels / each)).collect(),
            ),
        };
        self.by_channel(node, &y, &repeated(&scale), &repeated(&shift)).map(OnnxValue::Computed)
    }

    /// x/√(mean of x² + ε), times a constant.
    pub(super) fn rms_norm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (view, scale) = (self.computed(node, 0)?, self.constant(node, 1)?);
        let axes: Vec<i64> = (sizes::axis(node.int("axis", -1), view.rank())?..view.rank()).map(|a| a as i64).collect();
        let over = self.own_axes(&view, &axes)?;
        let squares = self.multiplied(node, &view, &view)?;
        let mean = self.mean_over(node, &squares, &over)?;
        let more = self.scaled_evenly(format!("{}.eps", node.label()), &mean, 1.0, node.float("epsilon", 1e-5))?;
        let y = self.divided_by_root(node, &view, &more)?;
        self.by_constant(node, &y, &scale, |v| (v, 0.0)).map(OnnxValue::Computed)
    }

    fn divided_by_root(&mut self, node: &'a Node, x: &View, square: &View) -> Step<View> {
        let root = self.function(format!("{}.root", node.label()), Activation::Sqrt, square)?;
        let inverse = self.function(format!("{}.inverse", node.label()), Activation::Reciprocal, &root)?;
        self.multiplied(node, x, &inverse)
    }

    /// x over the sum of its magnitudes, or over the root of the sum of its squares, along an axis.
    pub(super) fn lp_norm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let at = self.own_axis(&view, node.int("axis", -1))?;
        let name = node.label().to_string();
        let squares = match node.int("p", 2) {
            1 => false,
            2 => true,
            p => return Err(format!("has the norm p = {p}; 1 and 2 are supported").into()),
        };
        let parts = match squares {
            true => self.multiplied(node, &view, &view)?,
            false => self.function(format!("{name}.abs"), Activation::Abs, &view)?,
        };
        let sum = self.sum_over(node, &parts, &[at])?;
        let above = self.function(format!("{name}.above"), ABOVE_ZERO, &sum)?;
        if squares {
            return self.divided_by_root(node, &view, &above).map(OnnxValue::Computed);
        }
        let inverse = self.function(format!("{name}.inverse"), Activation::Reciprocal, &above)?;
        self.multiplied(node, &view, &inverse).map(OnnxValue::Computed)
    }

    /// (x − mean)/√variance over some axes; the standard adds 1e-9 to the deviation.
    pub(super) fn mean_variance_norm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let over = self.own_axes(&view, node.ints("axes").unwrap_or(&[0, 2, 3]))?;
        self.normalised(node, &view, &over, 1e-18, None, None).map(OnnxValue::Computed)
    }

    pub(super) fn softmax(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let flattens = self.model.opset < 13;
        let at = sizes::axis(node.int("axis", if flattens { 1 } else { -1 }), view.rank())?;
        // Before operator set 13 everything from the axis on was one.
        let over: Vec<i64> = if flattens { (at..view.rank()).map(|a| a as i64).collect() } else { vec![at as i64] };
        let over = self.own_axes(&view, &over)?;
        let view = self.over_channels(node, &view, &over)?;
        let log = node.op == "LogSoftmax";
        self.behind(node.label().into(), Op::Softmax { log }, &view).map(OnnxValue::Computed)
    }
}
