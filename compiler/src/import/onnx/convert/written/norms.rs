//! Normalisations with computed scales, of several images at once, or by the batch at hand.

use super::super::{Converter, Step};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;

impl<'a> Converter<'a> {
    pub(super) fn norm_of(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let x = self.input_name(node, 0)?;
        let y = match node.op.as_str() {
            "BatchNormalization" => return self.batch_norm_of(node, x),
            "GroupNormalization" => self.group_norm_of(node, x)?,
            "InstanceNormalization" => {
                let rank = self.shape_of(x)?.len();
                let (y, _, _) = self.normalised_over(node, x, &(2..rank).collect::<Vec<_>>(), node.float("epsilon", 1e-5))?;
                self.scaled_by_channel(node, y, [1, 2])?
            }
            "LpNormalization" => {
                let shape = self.shape_of(x)?;
                let axis = sizes::axis(node.int("axis", -1), shape.len())?;
                let op = match node.int("p", 2) {
                    1 => "ReduceL1",
                    2 => "ReduceL2",
                    p => return Err(format!("has the norm p = {p}; 1 and 2 are supported").into()),
                };
                let norm = self.put_reduce(node, op, x, &[axis])?;
                // Where all elements are 0 they stay so.
                let (zero, one) = (self.put_number(node, 0.0), self.put_number(node, 1.0));
                let is_zero = self.put(node, "Equal", &[norm, zero])?;
                let norm = self.put(node, "Where", &[is_zero, one, norm])?;
                self.put(node, "Div", &[x, norm])?
            }
            "MeanVarianceNormalization" => {
                let rank = self.shape_of(x)?.len();
                let axes = node.ints("axes").unwrap_or(&[0, 2, 3]);
                let axes = axes.iter().map(|&a| sizes::axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
                let (centred, variance, _) = self.moments_over(node, x, &axes)?;
                let deviation = self.put(node, "Sqrt", &[variance])?;
                let more = self.put_number(node, 1e-9);
                let deviation = self.put(node, "Add", &[deviation, more])?;
                self.put(node, "Div", &[centred, deviation])?
            }
            _ => {
                let axis = node.int("axis", -1);
                let y = self.rms_of(node, x, axis, node.float("epsilon", 1e-5))?;
                self.scaled_within(node, y, 1)?
            }
        };
        Ok(vec![y])
    }

    /// y times input `at`, which may have fewer elements, not more.
    pub(super) fn scaled_within(&mut self, node: &'a Node, y: &str, at: usize) -> Step<&'a str> {
        let (scale, shape) = (self.input_name(node, at)?, self.shape_of(y)?);
        let scaled = self.put(node, "Mul", &[y, scale])?;
        match self.shape_of(scaled)? == shape {
            true => Ok(scaled),
            false => Err(format!("has a scale of {:?} for a value of {shape:?}", self.shape_of(scale)?).into()),
        }
    }

    /// x/√(mean of x² + ε) over all axes from `axis` on.
    pub(super) fn rms_of(&mut self, node: &'a Node, x: &str, axis: i64, eps: f32) -> Step<&'a str> {
        let rank = self.shape_of(x)?.len();
        let axes: Vec<usize> = (sizes::axis(axis, rank)?..rank).collect();
        let squares = self.put(node, "Mul", &[x, x])?;
        let mean = self.put_reduce(node, "ReduceMean", squares, &axes)?;
        self.divided_by_deviation(node, x, mean, eps)
    }

    /// x/√(variance + ε).
    fn divided_by_deviation(&mut self, node: &'a Node, x: &str, variance: &str, eps: f32) -> Step<&'a str> {
        let eps = self.put_number(node, eps);
        let more = self.put(node, "Add", &[variance, eps])?;
        let deviation = self.put(node, "Sqrt", &[more])?;
        self.put(node, "Div", &[x, deviation])
    }

    /// x − mean, the variance and the mean over `axes`.
    fn moments_over(&mut self, node: &'a Node, x: &str, axes: &[usize]) -> Step<(&'a str, &'a str, &'a str)> {
        let mean = self.put_reduce(node, "ReduceMean", x, axes)?;
        let centred = self.put(node, "Sub", &[x, mean])?;
        let squares = self.put(node, "Mul", &[centred, centred])?;
        Ok((centred, self.put_reduce(node, "ReduceMean", squares, axes)?, mean))
    }

    /// (x − mean)/√(variance + ε) over `axes`, and the variance and the mean.
    pub(super) fn normalised_over(&mut self, node: &'a Node, x: &str, axes: &[usize], eps: f32) -> Step<(&'a str, &'a str, &'a str)> {
        let (centred, variance, mean) = self.moments_over(node, x, axes)?;
        Ok((self.divided_by_deviation(node, centred, variance, eps)?, variance, mean))
    }

    /// y·scale + shift of one value a channel, inputs `at` of the node.
    fn scaled_by_channel(&mut self, node: &'a Node, y: &str, at: [usize; 2]) -> Step<&'a str> {
        let shape = self.shape_of(y)?;
        let mut line = vec![1; shape.len()];
        *line.get_mut(1).ok_or("has no channels")? = shape[1];
        let scale = self.input_name(node, at[0])?;
        let scale = self.put_reshape(node, scale, &line)?;
        let shift = self.input_name(node, at[1])?;
        let shift = self.put_reshape(node, shift, &line)?;
        let scaled = self.put(node, "Mul", &[y, scale])?;
        self.put(node, "Add", &[scaled, shift])
    }

    fn group_norm_of(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let shape = self.shape_of(x)?;
        let &[batch, channels, ref space @ ..] = &shape[..] else { return Err(format!("normalises a value of {shape:?}").into()) };
        let groups = usize::try_from(node.int("num_groups", 0)).ok().filter(|g| *g > 0 && channels.is_multiple_of(*g));
        let groups = groups.ok_or_else(|| format!("has no num_groups that {channels} channels fall into"))?;
        let each = channels / groups;
        let apart = self.put_reshape(node, x, &[batch, groups, each * space.iter().product::<usize>()])?;
        let (y, _, _) = self.normalised_over(node, apart, &[2], node.float("epsilon", 1e-5))?;
        let mut y = self.put_reshape(node, y, &shape)?;
        let line = [&[1, channels][..], &vec![1; space.len()]].concat();
        for (at, op) in [(1, "Mul"), (2, "Add")] {
            let mut factor = self.input_name(node, at)?;
            // Operator set 18 had one scale a group, later ones have one a channel.
            if self.model.opset < 21 {
                let column = self.put_reshape(node, factor, &[groups, 1])?;
                let to = self.put_ints(node, vec![groups as i64, each as i64]);
                factor = self.put(node, "Expand", &[column, to])?;
            }
            let factor = self.put_reshape(node, factor, &line)?;
            y = self.put(node, op, &[y, factor])?;
        }
        Ok(y)
    }

    /// By running statistics that are computed, or by those of the batch at hand.
    fn batch_norm_of(&mut self, node: &'a Node, x: &str) -> Step<Vec<&'a str>> {
        if self.model.opset < 14 && node.outputs.iter().skip(1).any(|o| !o.is_empty()) || node.int("spatial", 1) == 0 {
            return Err("normalises as operator sets below 14 do, which is not supported".into());
        }
        let shape = self.shape_of(x)?;
        if shape.len() < 2 {
            return Err(format!("normalises a value of {shape:?}, which has no channels").into());
        }
        let eps = node.float("epsilon", 1e-5);
        if node.int("training_mode", 0) == 0 {
            let mut line = vec![1; shape.len()];
            line[1] = shape[1];
            let mean = self.input_name(node, 3)?;
            let mean = self.put_reshape(node, mean, &line)?;
            let variance = self.input_name(node, 4)?;
            let variance = self.put_reshape(node, variance, &line)?;
            let centred = self.put(node, "Sub", &[x, mean])?;
            let y = self.divided_by_deviation(node, centred, variance, eps)?;
            return Ok(vec![self.scaled_by_channel(node, y, [1, 2])?]);
        }
        let axes: Vec<usize> = (0..shape.len()).filter(|&a| a != 1).collect();
        let (y, variance, mean) = self.normalised_over(node, x, &axes, eps)?;
        let mut outputs = vec![self.scaled_by_channel(node, y, [1, 2])?];
        let momentum = node.float("momentum", 0.9);
        for (at, now) in [(3, mean), (4, variance)] {
            let now = self.put_reshape(node, now, &[shape[1]])?;
            let before = self.input_name(node, at)?;
            let (keep, take) = (self.put_number(node, momentum), self.put_number(node, 1.0 - momentum));
            let (before, now) = (self.put(node, "Mul", &[before, keep])?, self.put(node, "Mul", &[now, take])?);
            outputs.push(self.put(node, "Add", &[before, now])?);
        }
        Ok(outputs)
    }
}
