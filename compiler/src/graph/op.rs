//! The operations a graph is made of: their parameters, shapes and costs.

use serde::{Deserialize, Serialize};
use thinfer::artifact::Primitive;

use super::{Activation, Attention, Embed, ParamSpec, Rearrange, Recurrent, Role, Window};
use crate::tensor::count;

/// y = x·Wᵀ + b of a vector [inputs], or of each pixel's channels [inputs, height, width], as transformers have it of each
/// token; W is [outputs, inputs]. To read an image as one vector it needs a [`Op::Flatten`] before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Features of the input.
    pub inputs: usize,
    /// Features of the output.
    pub outputs: usize,
    /// Whether a bias of [outputs] is added.
    pub bias: bool,
}

/// A cross-correlation over [channels, height, width], as PyTorch's `Conv2d`; W is [outputs, inputs / groups, kernel
/// height, kernel width].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// How the kernel moves.
    pub window: Window,
    /// Groups that input and output channels fall into; must divide both.
    pub groups: usize,
    /// Whether a bias of [outputs] is added.
    pub bias: bool,
}

impl Conv2d {
    /// The shape of W.
    pub fn weight_shape(&self) -> [usize; 4] {
        let [height, width] = self.window.kernel;
        [self.outputs, self.inputs / self.groups.max(1), height, width]
    }

    /// Elements that one output sums over.
    fn fan_in(&self) -> usize {
        self.weight_shape()[1..].iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        if self.groups == 0 || !self.inputs.is_multiple_of(self.groups) || !self.outputs.is_multiple_of(self.groups) {
            return Err(format!("has {} groups, which do not divide its {} inputs and {} outputs", self.groups, self.inputs, self.outputs));
        }
        let &[channels, height, width] = input else { return Err(not_an_image(input)) };
        if channels != self.inputs {
            return Err(format!("takes {} channels, its input has shape {input:?}", self.inputs));
        }
        let [height, width] = self.window.output_size([height, width])?;
        count(&self.weight_shape()).ok_or_else(|| format!("has a weight of {:?}, more than can be counted", self.weight_shape()))?;
        Ok(vec![self.outputs, height, width])
    }
}

/// The CIFAR ResNets' option A: x[:, ::stride, ::stride], then channels of zeros on both sides, as many before as after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortcutA {
    /// Steps in the input for one in the output, on both axes.
    pub stride: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
}

impl ShortcutA {
    /// The output's channel that the input's first one becomes.
    pub fn offset(&self) -> usize {
        self.outputs.saturating_sub(self.inputs) / 2
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let &[channels, height, width] = input else { return Err(not_an_image(input)) };
        if channels != self.inputs {
            return Err(format!("takes {} channels, its input has shape {input:?}", self.inputs));
        }
        if self.stride == 0 || self.outputs < self.inputs || !(self.outputs - self.inputs).is_multiple_of(2) {
            let Self { stride, inputs, outputs } = self;
            return Err(format!("cannot make {outputs} channels of {inputs} with stride {stride}"));
        }
        Ok(vec![self.outputs, height.div_ceil(self.stride), width.div_ceil(self.stride)])
    }
}

/// Normalises each channel (the sample's first axis) by its running statistics, then scales and shifts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// Channels.
    pub channels: usize,
    /// Added to the variance before the root.
    pub eps: f32,
    /// The share of the batch's statistics in each update of the running ones, as in PyTorch.
    pub momentum: f32,
}

impl BatchNorm {
    /// Over `channels`, with PyTorch's ε 1e-5 and momentum 0.1.
    pub fn new(channels: usize) -> Self {
        Self { channels, eps: 1e-5, momentum: 0.1 }
    }
}

/// One kind of operation with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Fully connected layer.
    Linear(Linear),
    /// Convolution.
    Conv2d(Conv2d),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// Elementwise activation.
    Activation(Activation),
    /// The largest value under a window, channel by channel; padding never wins.
    MaxPool(Window),
    /// The mean under a window, channel by channel.
    AvgPool {
        /// How it moves.
        window: Window,
        /// Whether padding counts as zeros (PyTorch's `count_include_pad`) or not at all.
        count_include_pad: bool,
    },
    /// The mean of each channel: [channels, height, width] → [channels].
    GlobalAvgPool,
    /// The sum of two values of one shape.
    Add,
    /// An image with fewer pixels and more channels, without weights.
    ShortcutA(ShortcutA),
    /// Any shape as one vector, row-major: [channels, height, width] → [channels · height · width].
    Flatten,
    /// y = weight[c]·x + bias[c] for each channel (the sample's first axis): a normalisation without statistics.
    Affine {
        /// Channels.
        channels: usize,
    },
    /// The channels (the samples' first axes) of two or more values one after the other; their other axes are the same.
    Concat,
    /// Softmax over the channels (the sample's first axis), or its logarithm.
    Softmax {
        /// Whether the logarithm is given.
        log: bool,
    },
    /// Elements in another order, or some of them.
    Rearrange(Rearrange),
    /// The product of two values of one shape, or of an image and a vector of its channels.
    Multiply,
    /// Each pixel's channels, or a vector, less their mean and over their deviation, scaled and shifted for each channel.
    LayerNorm {
        /// Channels.
        channels: usize,
        /// Added to the variance before the root.
        eps: f32,
    },
    /// Multi-head attention over pixels.
    Attention(Attention),
    /// Class tokens and positions.
    Embed(Embed),
    /// The parameter `value`, the same for all samples. Only primitives read it.
    Constant {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An operation over tensors of any axes, as the file has it.
    Primitive(Primitive),
    /// A recurrent cell that goes along the rows of an image.
    Recurrent(Recurrent),
}

fn not_an_image(input: &[usize]) -> String {
    format!("takes an image [channels, height, width], its input has shape {input:?}")
}

/// The shape of values one after the other along their first axis.
fn concatenated(inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let [first, _, ..] = inputs else { return Err(format!("takes 2 inputs or more, not {}", inputs.len())) };
    let alike = |s: &&[usize]| !s.is_empty() && s.len() == first.len() && s[1..] == first[1..];
    let channels = inputs.iter().try_fold(0usize, |n, s| s.first().and_then(|c| n.checked_add(*c)));
    match channels {
        Some(channels) if inputs.iter().all(alike) => Ok([&[channels], &first[1..]].concat()),
        _ => Err(format!("puts channels together, its inputs have shapes {inputs:?}")),
    }
}

impl Op {
    /// The tensors that this operation owns as node `name`.
    pub fn params(&self, name: &str) -> Vec<ParamSpec> {
        let spec = |suffix: &str, shape: &[usize], role| ParamSpec { name: format!("{name}.{suffix}"), shape: shape.to_vec(), role };
        let weighted = |shape: &[usize], fan_in: usize, bias: bool| {
            let mut specs = vec![spec("weight", shape, Role::Weight { fan_in })];
            specs.extend(bias.then(|| spec("bias", &shape[..1], Role::Bias { fan_in })));
            specs
        };
        match self {
            Op::Linear(l) => weighted(&[l.outputs, l.inputs], l.inputs, l.bias),
            Op::Conv2d(c) => weighted(&c.weight_shape(), c.fan_in(), c.bias),
            Op::BatchNorm(b) => {
                let c = [b.channels];
                vec![
                    spec("weight", &c, Role::Scale),
                    spec("bias", &c, Role::Shift),
                    spec("running_mean", &c, Role::RunningMean),
                    spec("running_var", &c, Role::RunningVar),
                ]
            }
            Op::Affine { channels } | Op::LayerNorm { channels, .. } => {
                vec![spec("weight", &[*channels], Role::Scale), spec("bias", &[*channels], Role::Shift)]
            }
            Op::Embed(embed) => embed.params(),
            Op::Constant { shape } => vec![spec("value", shape, Role::Constant)],
            Op::Recurrent(r) => r.params(name),
            Op::Activation(_)
            | Op::Attention(_)
            | Op::MaxPool(_)
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Add
            | Op::ShortcutA(_)
            | Op::Flatten
            | Op::Concat
            | Op::Softmax { .. }
            | Op::Rearrange(_)
            | Op::Multiply
            | Op::Primitive(_) => Vec::new(),
        }
    }

    /// The output's shape for inputs of these shapes (one sample), or why they do not fit.
    ///
    /// # Errors
    /// A phrase that says what was expected and what came.
    pub fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let shape = match (self, inputs) {
            (Op::Add, [a, b]) if a == b => Ok(a.to_vec()),
            (Op::Add, [a, b]) => Err(format!("adds values of one shape, its inputs have {a:?} and {b:?}")),
            (Op::Add, _) => Err(format!("takes 2 inputs, not {}", inputs.len())),
            (Op::Concat, _) => concatenated(inputs),
            (Op::Attention(attention), _) => attention.output_shape(inputs),
            (Op::Multiply, [a, b]) if a == b || b.len() == 1 && a.first() == b.first() => Ok(a.to_vec()),
            (Op::Multiply, _) => Err(format!("multiplies two values of one shape, its inputs have {inputs:?}")),
            (Op::Constant { shape }, []) => Ok(shape.clone()),
            (Op::Constant { .. }, _) => Err(format!("takes no input, not {}", inputs.len())),
            (Op::Primitive(p), _) => p.output_shape(inputs).map(|shape| shape.into_iter().map(|d| d as usize).collect()),
            (Op::Recurrent(r), _) => r.output_shape(inputs),
            (_, [input]) => self.shape_from(input),
            _ => Err(format!("takes 1 input, not {}", inputs.len())),
        }?;
        match count(&shape) {
            Some(0) | None => Err(format!("would give {shape:?}, which holds nothing or more than can be counted")),
            Some(_) => Ok(shape),
        }
    }

    /// [`Op::output_shape`] of an operation with one input.
    fn shape_from(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let pooled = |window: &Window| {
            let &[channels, height, width] = input else { return Err(not_an_image(input)) };
            window.check_pool()?;
            let [height, width] = window.output_size([height, width])?;
            Ok(vec![channels, height, width])
        };
        match self {
            Op::Linear(l) if input.first() == Some(&l.inputs) && [1, 3].contains(&input.len()) => {
                let weight = [l.outputs, l.inputs];
                count(&weight).ok_or_else(|| format!("has a weight of {weight:?}, more than can be counted"))?;
                Ok([&[l.outputs], &input[1..]].concat())
            }
            Op::Linear(l) => {
                let hint = if input.len() > 1 && count(input) == Some(l.inputs) { "; it needs a Flatten before it" } else { "" };
                Err(format!("takes {} features, its input has shape {input:?}{hint}", l.inputs))
            }
            Op::Conv2d(c) => c.output_shape(input),
            Op::BatchNorm(b) if input.first() == Some(&b.channels) => Ok(input.to_vec()),
            Op::BatchNorm(b) => Err(format!("takes {} channels, its input has shape {input:?}", b.channels)),
            Op::Affine { channels } if input.first() == Some(channels) => Ok(input.to_vec()),
            Op::Affine { channels } => Err(format!("takes {channels} channels, its input has shape {input:?}")),
            Op::LayerNorm { channels, .. } if input.first() == Some(channels) => Ok(input.to_vec()),
            Op::LayerNorm { channels, .. } => Err(format!("takes {channels} channels, its input has shape {input:?}")),
            Op::Embed(embed) => embed.output_shape(input),
            Op::Rearrange(r) => r.output_shape(input),
            Op::Activation(_) | Op::Add | Op::Attention(_) | Op::Concat | Op::Multiply | Op::Softmax { .. } => Ok(input.to_vec()),
            Op::MaxPool(window) | Op::AvgPool { window, .. } => pooled(window),
            Op::GlobalAvgPool if input.len() == 3 => Ok(vec![input[0]]),
            Op::GlobalAvgPool => Err(not_an_image(input)),
            Op::ShortcutA(s) => s.output_shape(input),
            Op::Constant { shape } => Ok(shape.clone()),
            Op::Primitive(p) => p.output_shape(&[input]).map(|shape| shape.into_iter().map(|d| d as usize).collect()),
            Op::Recurrent(r) => r.output_shape(&[input]),
            Op::Flatten => Ok(vec![count(input).ok_or_else(|| format!("cannot count the elements of {input:?}"))?]),
        }
    }

    /// Multiply–accumulates for one sample that gives `output`; conv and linear layers only, as papers count. Saturates.
    pub fn macs(&self, output: &[usize]) -> u64 {
        let fan_in = match self {
            Op::Linear(l) => l.inputs,
            Op::Conv2d(c) => c.fan_in(),
            // Of each gate; what the output has behind the steps counts as steps.
            Op::Recurrent(r) => r.outputs(),
            _ => return 0,
        };
        output.iter().fold(fan_in as u64, |n, &d| n.saturating_mul(d as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(inputs: usize, outputs: usize, groups: usize) -> Op {
        Op::Conv2d(Conv2d { inputs, outputs, window: Window::square(3, 2, 1), groups, bias: true })
    }

    #[test]
    fn a_conv_has_pytorchs_shapes_and_costs() {
        let op = conv(4, 6, 2);
        assert_eq!(op.output_shape(&[&[4, 9, 8]]).unwrap(), [6, 5, 4]);
        let shapes: Vec<_> = op.params("c").into_iter().map(|p| (p.name, p.shape, p.role)).collect();
        let role = Role::Weight { fan_in: 18 };
        assert_eq!(shapes, [("c.weight".into(), vec![6, 2, 3, 3], role), ("c.bias".into(), vec![6], Role::Bias { fan_in: 18 })]);
        assert_eq!(op.macs(&[6, 5, 4]), 6 * 2 * 9 * 20);
    }

    #[test]
    fn shapes_of_ops_without_weights() {
        let image: &[usize] = &[16, 33, 32];
        let shape = |op: Op| op.output_shape(&[image]).unwrap();
        assert_eq!(shape(Op::GlobalAvgPool), [16]);
        assert_eq!(shape(Op::Flatten), [16 * 33 * 32]);
        assert_eq!(shape(Op::MaxPool(Window::square(3, 2, 1))), [16, 17, 16]);
        assert_eq!(shape(Op::ShortcutA(ShortcutA { stride: 2, inputs: 16, outputs: 32 })), [32, 17, 16]);
        assert_eq!(Op::Add.output_shape(&[image, image]).unwrap(), image);
        assert_eq!(Op::Concat.output_shape(&[image, &[5, 33, 32], image]).unwrap(), [37, 33, 32]);
        assert_eq!(Op::Concat.output_shape(&[&[2], &[3]]).unwrap(), [5]);
        assert_eq!(shape(Op::Affine { channels: 16 }), image);
        assert_eq!(shape(Op::Softmax { log: true }), image);
        assert_eq!(shape(Op::Linear(Linear { inputs: 16, outputs: 9, bias: true })), [9, 33, 32]);
        assert_eq!(shape(Op::LayerNorm { channels: 16, eps: 1e-5 }), image);
        assert_eq!(Op::Multiply.output_shape(&[image, &[16]]).unwrap(), image);
        assert_eq!(shape(Op::Rearrange(Rearrange { shape: vec![4], offset: 9, steps: vec![(4, 2)] })), [4]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let linear = Op::Linear(Linear { inputs: 12, outputs: 3, bias: false });
        let wide = Op::Conv2d(Conv2d { inputs: 1, outputs: usize::MAX, window: Window::square(1, 1, 0), groups: 1, bias: false });
        let cases: [(&Op, &[&[usize]], &str); 15] = [
            (&linear, &[&[3, 2, 2]], "needs a Flatten"),
            (&linear, &[&[3, 12]], "takes 12 features"),
            (&linear, &[&[12, 3]], "takes 12 features"),
            (&Op::LayerNorm { channels: 5, eps: 1e-5 }, &[&[4, 9, 8]], "takes 5 channels"),
            (&conv(4, 6, 4), &[&[4, 9, 8]], "do not divide"),
            (&conv(4, 6, 0), &[&[4, 9, 8]], "do not divide"),
            (&conv(4, 6, 1), &[&[5, 9, 8]], "takes 4 channels"),
            (&conv(4, 6, 1), &[&[4]], "takes an image"),
            (&wide, &[&[1, 9, 9]], "more than can be counted"),
            (&Op::Add, &[&[4, 9, 8], &[4, 9, 9]], "values of one shape"),
            (&Op::Concat, &[&[4, 9, 8]], "2 inputs or more"),
            (&Op::Concat, &[&[4, 9, 8], &[4, 9, 9]], "puts channels together"),
            (&Op::Multiply, &[&[4, 9, 8], &[5]], "of one shape"),
            (&Op::Affine { channels: 5 }, &[&[4, 9, 8]], "takes 5 channels"),
            (&Op::MaxPool(Window::square(2, 2, 2)), &[&[4, 9, 8]], "not below its kernel"),
        ];
        for (op, inputs, expected) in cases {
            let why = op.output_shape(inputs).unwrap_err();
            assert!(why.contains(expected), "'{why}' lacks '{expected}'");
        }
    }
}
