//! Windows over any number of axes, of one image or several: pools as reductions, convolutions as products with the elements that their
//! windows see.

use thinfer::artifact::{Activation, Binary, ReduceKind};

use super::super::{Converter, OnnxValue, Step};
use super::matmul::Product;
use super::operands::{Piece, Together};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View, canonical};

/// A window's motion along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
    /// Elements of the input and of the output.
    from: usize,
    to: usize,
}

impl Axis {
    /// Elements from a window's first to its last.
    fn extent(self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The element of the input under window `to` at `k`; `None` for padding.
    fn element(self, to: usize, k: usize) -> Option<usize> {
        (to * self.stride + k * self.dilation).checked_sub(self.before).filter(|i| *i < self.from)
    }

    /// Elements that the windows go over, padding counted.
    fn reach(self) -> usize {
        (self.to - 1) * self.stride + self.extent()
    }
}

/// The windows that a node states over axes of these lengths.
fn windows(node: &Node, kernel: &[usize], sizes: &[usize]) -> Result<Vec<Axis>, String> {
    let list = |key: &str, len: usize, default: usize| -> Result<Vec<usize>, String> {
        let Some(values) = node.ints(key) else { return Ok(vec![default; len]) };
        let of: Option<Vec<usize>> = values.iter().map(|&v| usize::try_from(v).ok().filter(|v| *v <= 1 << 20)).collect();
        of.filter(|v| v.len() == len).ok_or_else(|| format!("has {key} {values:?} for {} axes", sizes.len()))
    };
    let axes = sizes.len();
    let (strides, dilations, pads) = (list("strides", axes, 1)?, list("dilations", axes, 1)?, list("pads", 2 * axes, 0)?);
    if kernel.len() != axes || kernel.iter().chain(&strides).chain(&dilations).any(|v| *v == 0) {
        return Err(format!("has a window of {kernel:?} over {axes} axes"));
    }
    let (auto, ceil) = (node.text("auto_pad").unwrap_or("NOTSET"), node.int("ceil_mode", 0) != 0);
    (0..axes)
        .map(|i| {
            let mut axis = Axis {
                kernel: kernel[i],
                stride: strides[i],
                dilation: dilations[i],
                before: pads[i],
                after: pads[i + axes],
                from: sizes[i],
                to: 0,
            };
            let extent = axis.extent();
            match auto {
                "NOTSET" => {}
                "VALID" => (axis.before, axis.after) = (0, 0),
                "SAME_UPPER" | "SAME_LOWER" => {
                    let to = axis.from.div_ceil(axis.stride);
                    let all = ((to - 1) * axis.stride + extent).saturating_sub(axis.from);
                    (axis.before, axis.after) = if auto == "SAME_UPPER" { (all / 2, all - all / 2) } else { (all - all / 2, all / 2) };
                }
                other => return Err(format!("has auto_pad {other:?}")),
            }
            let free = (axis.from + axis.before + axis.after).checked_sub(extent).ok_or("has a window larger than its input")?;
            axis.to = free / axis.stride + 1;
            // One more where a window begins within the input or the padding before it.
            if ceil && free % axis.stride != 0 && axis.to * axis.stride < axis.from + axis.before {
                axis.to += 1;
            }
            Ok(axis)
        })
        .collect()
}

impl<'a> Converter<'a> {
    /// The value of input 0, the places of its axes behind batch and channels, and its windows.
    fn moved_over(&mut self, node: &'a Node, kernel: Option<&[usize]>) -> Step<(View, Vec<usize>, Vec<Axis>)> {
        let view = self.computed(node, 0)?;
        let full = self.full_shape(&view);
        if full.len() < 3 {
            return Err(format!("moves over a value of {full:?}, which is no image").into());
        }
        let places = (2..full.len()).map(|a| self.own_axis(&view, a as i64)).collect::<Step<Vec<_>>>()?;
        let stated = node.ints("kernel_shape").map(|k| k.iter().map(|&v| usize::try_from(v).unwrap_or(0)).collect::<Vec<_>>());
        if let (Some(kernel), Some(stated)) = (kernel, &stated)
            && kernel != stated.as_slice()
        {
            return Err(format!("has kernel_shape {stated:?}, its weight a kernel of {kernel:?}").into());
        }
        let kernel = kernel.map(<[usize]>::to_vec).or(stated).ok_or("has no kernel_shape")?;
        let axes = windows(node, &kernel, &full[2..])?;
        Ok((view, places, axes))
    }

    /// `view` with the axes at `places` split in two, which window and which of its elements: the first stand where the axes stood, the
    /// others behind all. Padding is `fill`.
    fn under_windows(&mut self, node: &Node, view: &View, places: &[usize], axes: &[Axis], fill: f32) -> Step<View> {
        let mut indices = vec![None; view.axes.len()];
        for (&place, axis) in places.iter().zip(axes) {
            if axis.before > 0 || axis.reach() > axis.from {
                indices[place] = Some((0..axis.reach()).map(|i| i.checked_sub(axis.before).filter(|i| *i < axis.from)).collect());
            }
        }
        let padded = match indices.iter().all(Option::is_none) {
            true => self.in_order(node, view)?,
            false => self.picked(node, view, &indices, fill)?,
        };
        let mut split = padded.axes.clone();
        for (&place, axis) in places.iter().zip(axes) {
            let stride = padded.axes[place].first().map_or(0, |a| a.stride);
            split[place] = canonical([Atom { size: axis.to, stride: stride * axis.stride }]);
            split.push(canonical([Atom { size: axis.kernel, stride: stride * axis.dilation }]));
        }
        Ok(View { axes: split, ..padded })
    }

    /// The largest, the mean, or the p-norm of the elements under a window.
    pub(super) fn general_pool(&mut self, node: &'a Node) -> Step<View> {
        let (view, places, axes) = self.moved_over(node, None)?;
        let own = view.axes.len();
        let over: Vec<usize> = (own..own + axes.len()).collect();
        let pooled = |this: &mut Self, view: &View, kind: ReduceKind, fill: f32| -> Step<View> {
            let split = this.under_windows(node, view, &places, &axes, fill)?;
            let y = this.reduced_over(node, &split, &over, kind)?;
            Ok(super::super::reduce::without(y, &over))
        };
        let alone = |view: &View| Together { sizes: view.sizes(), sample: view.sample, pieces: vec![Piece::View(view.clone())] };
        match node.op.as_str() {
            "MaxPool" => pooled(self, &view, ReduceKind::Max, f32::NEG_INFINITY),
            "LpPool" => {
                let p = node.int("p", 2);
                if p < 1 {
                    return Err(format!("has the norm p = {p}").into());
                }
                let powers = self.mapped_by(node, alone(&view), |e, n| {
                    let magnitude = e.activate(Activation::Abs, n[0])?;
                    let power = e.constant(p as f32)?;
                    e.binary(Binary::Pow, magnitude, power).map(drop)
                })?;
                let sums = pooled(self, &powers, ReduceKind::Sum, 0.0)?;
                self.mapped_by(node, alone(&sums), |e, n| {
                    let power = e.constant(1.0 / p as f32)?;
                    e.binary(Binary::Pow, n[0], power).map(drop)
                })
            }
            _ => {
                let sums = pooled(self, &view, ReduceKind::Sum, 0.0)?;
                // How many elements each mean is of; padding counts where that is asked for, what is beyond it never.
                let padding = node.int("count_include_pad", 0) != 0;
                let count = |axis: &Axis, to: usize| {
                    let counts = |k: &usize| match padding {
                        true => to * axis.stride + k * axis.dilation < axis.before + axis.from + axis.after,
                        false => axis.element(to, *k).is_some(),
                    };
                    (0..axis.kernel).filter(counts).count()
                };
                let mut shape = vec![1; own];
                places.iter().zip(&axes).for_each(|(&place, axis)| shape[place] = axis.to);
                let mut counts = vec![1usize];
                for axis in &axes {
                    counts = counts.iter().flat_map(|&c| (0..axis.to).map(move |to| c * count(axis, to))).collect();
                }
                if counts.contains(&0) {
                    return Err("has a window over padding alone".into());
                }
                let counts = counts.into_iter().map(|c| c as f32).collect();
                let counts = self.constant_value(format!("{}.counts", node.label()), &shape, counts)?.sampled(view.sample);
                let together = Together { sizes: sums.sizes(), sample: sums.sample, pieces: vec![Piece::View(sums), Piece::View(counts)] };
                self.mapped_by(node, together, |e, n| e.binary(Binary::Div, n[0], n[1]).map(drop))
            }
        }
    }

    /// A convolution, its weight a constant or computed.
    pub(super) fn general_conv(&mut self, node: &'a Node) -> Step<View> {
        let weight = self.operand(node, 1)?;
        let [outputs, inputs, ref kernel @ ..] = weight.sizes()[..] else { return Err("has a kernel of too few axes".into()) };
        if weight.sample.is_some() {
            return Err("has a weight of each sample's own, which is not supported".into());
        }
        let (view, places, axes) = self.moved_over(node, Some(kernel))?;
        self.convolved(node, &view, &places, &axes, &weight, [outputs, inputs])
    }

    /// What a convolution of `weight`, [outputs, inputs of a group, kernel…], makes of `view`, and its bias.
    fn convolved(
        &mut self,
        node: &'a Node,
        view: &View,
        places: &[usize],
        axes: &[Axis],
        weight: &View,
        [outputs, inputs]: [usize; 2],
    ) -> Step<View> {
        let groups = usize::try_from(node.int("group", 1)).ok().filter(|g| *g > 0).ok_or("has no groups")?;
        let channel = self.own_axis(view, 1)?;
        if view.sizes()[channel] != inputs * groups || !outputs.is_multiple_of(groups) {
            return Err(format!("has {groups} groups of {inputs} channels for a value of {:?}", self.full_shape(view)).into());
        }
        let split = self.under_windows(node, view, places, axes, 0.0)?;
        let own = view.axes.len();
        // [batch, groups·inputs, window…, kernel…] as [batch, groups, inputs·kernel, windows].
        let batch: Vec<usize> = (0..own).filter(|i| *i != channel && !places.contains(i)).collect();
        let order: Vec<usize> = batch.iter().copied().chain([channel]).chain(own..own + axes.len()).chain(places.iter().copied()).collect();
        let turned = split.permuted(&order).ok_or("names an axis twice")?;
        let count: usize = batch.iter().map(|&i| view.sizes()[i]).product();
        let taps = inputs * axes.iter().map(|a| a.kernel).product::<usize>();
        let positions: usize = axes.iter().map(|a| a.to).product();
        let columns = self.moved_to(node, &turned, vec![count * groups, taps, positions])?;
        let b = View::plain(columns, &[count, groups, taps, positions]);
        let a = self.reordered(node, weight, &[groups, outputs / groups, taps])?;
        let product = Product { a, b, batch: vec![count, groups], rows: outputs / groups, columns: positions, inner: taps };
        let y = self.matrices(node, product)?;
        let mut sizes: Vec<usize> = batch.iter().map(|&i| view.sizes()[i]).collect();
        sizes.push(outputs);
        sizes.extend(axes.iter().map(|a| a.to));
        let y = View::plain(y, &sizes).sampled(view.sample);
        let Some(_) = node.input(2) else { return Ok(y) };
        let bias = self.value(node, 2)?.clone();
        let line: Vec<usize> = [&[outputs][..], &vec![1; axes.len()]].concat();
        let bias = match bias {
            OnnxValue::Constant(array) if array.len() == outputs => OnnxValue::Constant(array.reshaped(line).into()),
            OnnxValue::Computed(bias) if bias.sample.is_none() => OnnxValue::Computed(self.reordered(node, &bias, &line)?),
            _ => return Err("has a bias of another shape".into()),
        };
        let together = self.brought_together(node, &[OnnxValue::Computed(y), bias])?;
        self.mapped_by(node, together, |e, n| e.binary(Binary::Add, n[0], n[1]).map(drop))
    }

    /// A transposed convolution: a convolution of the elements spread by its strides, with the kernel turned about.
    pub(super) fn general_transposed_conv(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        let weight = self.constant(node, 1)?;
        let full = self.full_shape(&view);
        let [inputs, each, ref kernel @ ..] = weight.shape[..] else { return Err("has a kernel of too few axes".into()) };
        let groups = usize::try_from(node.int("group", 1)).ok().filter(|g| *g > 0 && inputs.is_multiple_of(*g)).ok_or("has no groups")?;
        if full.len() != kernel.len() + 2 || full[1] != inputs {
            return Err(format!("has a kernel of {:?} for a value of {full:?}", weight.shape).into());
        }
        let places = (2..full.len()).map(|a| self.own_axis(&view, a as i64)).collect::<Step<Vec<_>>>()?;
        let spread = spread(node, kernel, &full[2..])?;
        // Elements with zeros between and around them.
        let mut indices = vec![None; view.axes.len()];
        let mut axes = Vec::with_capacity(spread.len());
        for (&place, s) in places.iter().zip(&spread) {
            let around = (s.axis.kernel - 1) * s.axis.dilation;
            let table = (0..s.to + around).map(|q| {
                // Counted from the first element on.
                let at = q as i64 - (around as i64 - s.before);
                usize::try_from(at)
                    .ok()
                    .filter(|at| at.is_multiple_of(s.axis.stride) && at / s.axis.stride < s.axis.from)
                    .map(|at| at / s.axis.stride)
            });
            indices[place] = Some(table.collect::<Vec<_>>());
            axes.push(Axis { stride: 1, before: 0, after: 0, from: s.to + around, to: s.to, ..s.axis });
        }
        let spaced = self.picked(node, &view, &indices, 0.0)?;
        // [groups·inputs, outputs, kernel…] as [groups·outputs, inputs, kernel…], each kernel from its end.
        let size: usize = kernel.iter().product();
        let (own, values) = (inputs / groups, weight.to_floats());
        let turned = (0..values.len()).map(|n| {
            let (k, i, o) = (n % size, n / size % own, n / size / own);
            let (group, o) = (o / each, o % each);
            values[((group * own + i) * each + o) * size + size - 1 - k]
        });
        let shape = [&[groups * each, own][..], kernel].concat();
        let turned = self.constant_value(format!("{}.turned", node.label()), &shape, turned.collect())?;
        self.convolved(node, &spaced, &places, &axes, &turned, [groups * each, own])
    }
}

/// An axis of a transposed convolution: its windows, what is cut off before, and its outputs.
struct Spread {
    axis: Axis,
    before: i64,
    to: usize,
}

/// The axes of a transposed convolution as `node` states them.
fn spread(node: &Node, kernel: &[usize], sizes: &[usize]) -> Result<Vec<Spread>, String> {
    let axes = sizes.len();
    let list = |key: &str, len: usize, default: i64| match node.ints(key) {
        None => Ok(vec![default; len]),
        Some(v) if v.len() == len && v.iter().all(|v| (0..1 << 20).contains(v)) => Ok(v.to_vec()),
        Some(v) => Err(format!("has {key} {v:?} for {axes} axes")),
    };
    let (strides, dilations) = (list("strides", axes, 1)?, list("dilations", axes, 1)?);
    let (pads, more) = (list("pads", 2 * axes, 0)?, list("output_padding", axes, 0)?);
    if strides.iter().chain(&dilations).any(|s| *s == 0) || kernel.contains(&0) {
        return Err(format!("has strides {strides:?} and dilations {dilations:?}"));
    }
    let (stated, auto) = (node.ints("output_shape"), node.text("auto_pad").unwrap_or("NOTSET"));
    let stated = stated.map(|s| s.get(s.len().saturating_sub(axes)..).unwrap_or_default());
    (0..axes)
        .map(|i| {
            let whole = (sizes[i] as i64 - 1) * strides[i] + dilations[i] * (kernel[i] as i64 - 1) + 1 + more[i];
            let (before, to) = match (stated, auto) {
                (Some(stated), _) => {
                    let to = *stated.get(i).ok_or("has an output_shape of other axes")?;
                    let all = (whole - to).max(0);
                    (if auto == "SAME_UPPER" { all / 2 } else { all - all / 2 }, to)
                }
                (None, "NOTSET") => (pads[i], whole - pads[i] - pads[i + axes]),
                (None, "VALID") => (0, whole),
                (None, "SAME_UPPER" | "SAME_LOWER") => {
                    let to = sizes[i] as i64 * strides[i];
                    let all = (whole - to).max(0);
                    (if auto == "SAME_UPPER" { all / 2 } else { all - all / 2 }, to)
                }
                (None, other) => return Err(format!("has auto_pad {other:?}")),
            };
            let to = usize::try_from(to).ok().filter(|t| (1..=1 << 28).contains(t)).ok_or("has an empty output")?;
            let axis = Axis {
                kernel: kernel[i],
                stride: strides[i] as usize,
                dilation: dilations[i] as usize,
                before: 0,
                after: 0,
                from: sizes[i],
                to,
            };
            Ok(Spread { axis, before, to })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::onnx::node::Attribute;

    fn node(attributes: &[(&str, &[i64])]) -> Node {
        let mut node = Node::new("MaxPool", "n", &["x"], "y");
        node.attributes = attributes.iter().map(|(k, v)| (k.to_string(), Attribute::Ints(v.to_vec()))).collect();
        node
    }

    #[test]
    fn windows_are_counted_as_onnx_counts_them() {
        let of = |attributes: &[(&str, &[i64])], ceil: bool, auto: &str| {
            let mut node = node(attributes);
            node.attributes.insert("ceil_mode".into(), i64::from(ceil).into());
            node.attributes.insert("auto_pad".into(), auto.into());
            windows(&node, &[3], &[5]).map(|a| (a[0].to, a[0].before, a[0].after))
        };
        assert_eq!(of(&[("strides", &[2]), ("pads", &[1, 1])], false, "NOTSET"), Ok((3, 1, 1)));
        assert_eq!(of(&[("strides", &[3])], true, "NOTSET"), Ok((2, 0, 0)));
        // A window in the padding behind is none.
        assert_eq!(of(&[("strides", &[4]), ("pads", &[0, 1])], true, "NOTSET"), Ok((2, 0, 1)));
        assert_eq!(of(&[("strides", &[2])], false, "SAME_LOWER"), Ok((3, 1, 1)));
        assert_eq!(of(&[("dilations", &[2])], false, "VALID"), Ok((1, 0, 0)));
        assert!(of(&[("dilations", &[3])], false, "VALID").is_err());
    }
}
