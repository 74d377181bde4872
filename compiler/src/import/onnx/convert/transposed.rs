//! Transposed convolutions as sub-pixel convolutions (Shi et al. 2016, "Real-time single image and video super-resolution"): one
//! convolution gives every output pixel of a block as channels of its own, a pick puts them side by side. So its weight is that of a
//! convolution, which can be cut as any other.

use thinfer::artifact::{Pick, PickAxis, Primitive, Run};

use super::{Converter, OnnxValue, Step};
use crate::graph::{Conv2d, Op, Window};
use crate::import::onnx::array::Array;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

/// One axis of a transposed convolution. Output y is the sum over kernel elements k and inputs t with t·stride + k·dilation = y + before.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Outputs that are cut away in front.
    before: usize,
}

impl Axis {
    /// Elements from the first to the last one of the kernel.
    fn span(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Inputs that each output is a sum of: the kernel of the sub-pixel convolution.
    fn taps(&self) -> usize {
        self.span().div_ceil(self.stride)
    }

    /// Blocks of outputs that the sub-pixel convolution need not give: all of them is cut away in front.
    fn skipped(&self) -> usize {
        (self.before / self.stride).min(self.taps() - 1)
    }

    /// Blocks of outputs that are needed.
    fn blocks(&self) -> usize {
        (self.before + self.outputs).div_ceil(self.stride) - self.skipped()
    }

    /// Padding of the sub-pixel convolution in front and behind; `None` where a block would be made of padding alone.
    fn padding(&self) -> Option<[usize; 2]> {
        let front = self.taps() - 1 - self.skipped();
        // Of n inputs, padded, a window of `taps` gives n + front + behind − (taps − 1) blocks.
        let behind = (self.blocks() + self.taps() - 1).checked_sub(self.inputs + front);
        match behind {
            Some(behind) if behind < self.taps() => Some([front, behind]),
            Some(_) => None,
            // More blocks than are needed: they are not picked.
            None => Some([front, 0]),
        }
    }

    /// The kernel element that gives pixel `phase` of a block from tap `tap` of the sub-pixel convolution, if there is one.
    fn element(&self, phase: usize, tap: usize) -> Option<usize> {
        let at = phase + self.stride * (self.taps() - 1 - tap);
        (at.is_multiple_of(self.dilation) && at / self.dilation < self.kernel).then_some(at / self.dilation)
    }
}

impl<'a> Converter<'a> {
    pub(super) fn transposed_conv(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (weight, bias) = (self.constant(node, 1)?, self.optional(node, 2)?);
        let [inputs, each, ref kernel @ ..] = weight.shape[..] else { return Err(format!("has a kernel of {:?}", weight.shape).into()) };
        if !(1..=2).contains(&kernel.len()) || weight.len() == 0 {
            return Err(format!("has a kernel of {:?}; convolutions over one or two axes are supported", weight.shape).into());
        }
        let groups = usize::try_from(node.int("group", 1)).ok().filter(|g| *g > 0 && inputs.is_multiple_of(*g));
        let groups = groups.ok_or_else(|| format!("has {} groups for {inputs} channels", node.int("group", 1)))?;
        let outputs = each.checked_mul(groups).ok_or("has more channels than can be counted")?;
        if bias.as_ref().is_some_and(|b| b.shape != [outputs]) {
            return Err(format!("has a bias of {:?} for {outputs} outputs", bias.map(|b| b.shape.clone()).unwrap_or_default()).into());
        }
        let source = self.windowed(node, kernel.len(), |_| false)?;
        let base = self.image(node, &source.view)?;
        let &[channels, height, width] = &self.shapes[base][..] else { return Err("reads no image".into()) };
        if channels != inputs {
            return Err(format!("takes {inputs} channels, its input has {channels}").into());
        }
        let sizes = if kernel.len() == 1 { vec![width] } else { vec![height, width] };
        let mut axes = axes(node, kernel, &sizes)?;
        if axes.len() == 1 {
            axes.insert(0, Axis { inputs: 1, outputs: 1, kernel: 1, stride: 1, dilation: 1, before: 0 });
        }
        let [down, right] = axes[..] else { return Err("runs over no image".into()) };
        let padding = down.padding().zip(right.padding());
        let ([top, bottom], [left, right_pad]) = padding.ok_or("gives outputs that no input reaches, which is not supported")?;
        let phases = down.stride * right.stride;
        let wide = outputs.checked_mul(phases).ok_or("has more channels than can be counted")?;
        let window =
            Window { kernel: [down.taps(), right.taps()], padding: [top, left, bottom, right_pad], stride: [1, 1], dilation: [1, 1] };
        let conv = Conv2d { inputs, outputs: wide, window, groups, bias: bias.is_some() };
        let name = self.layer_name(node, 1);
        let mut tensors = vec![sub_pixel(&weight, [inputs, each, groups], down, right)];
        tensors.extend(bias.map(|b| b.to_floats().iter().flat_map(|b| std::iter::repeat_n(*b, phases)).collect()));
        let value = self.push(&name, Op::Conv2d(conv), vec![base], tensors)?;
        let picked = if phases == 1 && self.shapes[value] == [outputs, down.outputs, right.outputs] {
            value
        } else {
            self.side_by_side(node, value, outputs, [down, right])?
        };
        self.note("transposed convolutions are sub-pixel convolutions", node);
        let view = View::plain(picked, &[outputs, down.outputs, right.outputs]);
        Ok(OnnxValue::Computed(source.restored(view)))
    }

    /// The image whose pixels are the channels of blocks, `value`.
    fn side_by_side(&mut self, node: &Node, value: usize, outputs: usize, axes: [Axis; 2]) -> Step<usize> {
        let &[_, blocks_down, blocks_right] = &self.shapes[value][..] else { return Err("gives no image".into()) };
        let pixels = blocks_down * blocks_right;
        let [down, right] = axes;
        let table = |axis: Axis, of_phase: usize, of_block: usize| {
            let place = |y: usize| {
                let at = y + axis.before - axis.skipped() * axis.stride;
                at % axis.stride * of_phase + at / axis.stride * of_block
            };
            let run =
                |y: usize| Ok(Run { start: i32::try_from(place(y)).map_err(|_| "gives too large an image")?, step: 0, count: 1, each: 1 });
            Ok::<_, super::Stop>(PickAxis { runs: (0..axis.outputs).map(run).collect::<Result<_, &str>>()? })
        };
        let channel = down.stride * right.stride * pixels;
        let step = i32::try_from(channel).map_err(|_| "gives too large an image")?;
        let channels = PickAxis { runs: vec![Run { start: 0, step, count: outputs as u32, each: 1 }] };
        let rows = table(down, right.stride * pixels, blocks_right)?;
        let columns = table(right, pixels, 1)?;
        let name = self.fresh(format!("{}.pixels", node.label()));
        self.push(&name, Op::Primitive(Primitive::Pick(Pick { axes: vec![channels, rows, columns], fill: 0.0 })), vec![value], Vec::new())
    }
}

/// The axes of a transposed convolution over values of `sizes`.
fn axes(node: &Node, kernel: &[usize], sizes: &[usize]) -> Step<Vec<Axis>> {
    let rank = kernel.len();
    let list = |key: &str, default: i64| -> Step<Vec<usize>> {
        let values = node.ints(key).map_or_else(|| vec![default; rank], <[i64]>::to_vec);
        let values: Vec<usize> = values.iter().filter_map(|&v| usize::try_from(v).ok().filter(|v| *v < 1 << 20)).collect();
        if values.len() == rank { Ok(values) } else { Err(format!("has {key} {:?}", node.ints(key).unwrap_or_default()).into()) }
    };
    let (strides, dilations, more) = (list("strides", 1)?, list("dilations", 1)?, list("output_padding", 0)?);
    let auto = node.text("auto_pad").unwrap_or("NOTSET");
    let given = node.ints("pads").map_or_else(|| vec![0; 2 * rank], <[i64]>::to_vec);
    if given.len() != 2 * rank {
        return Err(format!("has {} amounts of padding for {rank} axes", given.len()).into());
    }
    let wanted = node.ints("output_shape").filter(|s| !s.is_empty()).map(|s| s[s.len().saturating_sub(rank)..].to_vec());
    let mut out = Vec::with_capacity(rank);
    for i in 0..rank {
        let (stride, dilation) = (strides[i], dilations[i]);
        if stride == 0 || dilation == 0 {
            return Err("has a stride or dilation of 0".into());
        }
        let full = (stride * (sizes[i] - 1) + more[i] + dilation * (kernel[i] - 1) + 1) as i64;
        let same = matches!(auto, "SAME_UPPER" | "SAME_LOWER");
        let target = match &wanted {
            Some(shape) => Some(*shape.get(i).ok_or("has an output_shape of other axes")?),
            None if same => Some((sizes[i] * stride) as i64),
            None => None,
        };
        let (before, behind) = match (target, auto) {
            (Some(target), _) => {
                let total = full - target;
                let half = total.max(0) / 2;
                // What is left over is cut away behind by SAME_UPPER, in front else.
                if auto == "SAME_UPPER" { (half, total - half) } else { (total - half, half) }
            }
            (None, "VALID") => (0, 0),
            (None, "NOTSET" | "") => (given[i], given[i + rank]),
            (None, other) => return Err(format!("has auto_pad {other:?}").into()),
        };
        let outputs = full - before - behind;
        if before < 0 || !(1..=1 << 28).contains(&outputs) {
            return Err(format!("gives {outputs} outputs of {} inputs with padding {before}", sizes[i]).into());
        }
        let (outputs, before) = (outputs as usize, before as usize);
        out.push(Axis { inputs: sizes[i], outputs, kernel: kernel[i], stride, dilation, before });
    }
    Ok(out)
}

/// The weight [outputs · block, inputs / groups, taps down, taps right] of the sub-pixel convolution, of [inputs, outputs / groups, kernel…].
fn sub_pixel(weight: &Array, [inputs, each, groups]: [usize; 3], down: Axis, right: Axis) -> Vec<f32> {
    let values = weight.to_floats();
    let of_group = inputs / groups;
    let mut out = Vec::new();
    for output in 0..each * groups {
        let (group, o) = (output / each, output % each);
        for phase in 0..down.stride * right.stride {
            let (row, column) = (phase / right.stride, phase % right.stride);
            for i in 0..of_group {
                for tap in 0..down.taps() * right.taps() {
                    let (y, x) = (down.element(row, tap / right.taps()), right.element(column, tap % right.taps()));
                    let at = |(y, x): (usize, usize)| values[(((group * of_group + i) * each + o) * down.kernel + y) * right.kernel + x];
                    out.push(y.zip(x).map_or(0.0, at));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an axis gives, by its definition and by blocks.
    fn both(axis: Axis) -> Option<[Vec<usize>; 2]> {
        // Inputs and kernel elements are powers of two products that tell all pairs apart.
        let pair = |t: usize, k: usize| 1usize << (t * axis.kernel + k);
        let by_definition = (0..axis.outputs).map(|y| {
            let pairs = (0..axis.inputs).flat_map(|t| (0..axis.kernel).map(move |k| (t, k)));
            pairs.filter(|(t, k)| t * axis.stride + k * axis.dilation == y + axis.before).map(|(t, k)| pair(t, k)).sum()
        });
        let [front, behind] = axis.padding()?;
        let blocks = axis.inputs + front + behind + 1 - axis.taps();
        let by_blocks = (0..axis.outputs).map(|y| {
            let at = y + axis.before - axis.skipped() * axis.stride;
            let (block, phase) = (at / axis.stride, at % axis.stride);
            assert!(block < blocks);
            let taps = (0..axis.taps()).filter_map(|tap| {
                let t = (block + tap).checked_sub(front).filter(|t| *t < axis.inputs)?;
                Some(pair(t, axis.element(phase, tap)?))
            });
            taps.sum()
        });
        Some([by_definition.collect(), by_blocks.collect()])
    }

    #[test]
    fn blocks_give_what_the_definition_says() {
        let mut seen = 0;
        for (kernel, stride, dilation) in
            [(2, 2, 1), (3, 2, 1), (4, 2, 1), (3, 1, 1), (1, 2, 1), (3, 3, 1), (5, 3, 1), (3, 2, 2), (2, 1, 3)]
        {
            for before in 0..4 {
                for outputs in 1..=7 {
                    let axis = Axis { inputs: 3, outputs, kernel, stride, dilation, before };
                    // No more outputs than there are.
                    if before + outputs <= stride * 2 + axis.span() {
                        let [expected, got] = both(axis).unwrap_or_default();
                        assert_eq!(expected, got, "{axis:?}");
                        seen += expected.len();
                    }
                }
            }
        }
        assert!(seen > 300, "{seen}");
    }
}
