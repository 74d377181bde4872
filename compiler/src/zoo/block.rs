//! What convolutional architectures are written with: a builder that knows how many channels the latest image has.

use thinfer::artifact::{Pick, PickAxis, Primitive, Run};

use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Builder, Conv2d, Graph, Linear, Op, Rearrange, ValueId, Window};

/// A network under construction; each call reads the latest value unless it says otherwise.
pub(super) struct Network {
    builder: Builder,
    channels: usize,
}

/// A value with its number of channels.
#[derive(Clone, Copy)]
pub(super) struct Image {
    pub(super) value: ValueId,
    pub(super) channels: usize,
}

/// A convolution without bias, its batch norm and its activation.
#[derive(Clone)]
pub(super) struct Unit {
    pub(super) outputs: usize,
    pub(super) window: Window,
    pub(super) groups: usize,
    /// Its settings; the channels are the convolution's.
    pub(super) norm: BatchNorm,
    pub(super) act: Option<Activation>,
}

impl Network {
    /// Starts a network for images of `input` [channels, height, width].
    pub(super) fn new(name: &str, input: [usize; 3]) -> Self {
        Self { builder: Builder::new(name, input), channels: input[0] }
    }

    /// The latest value.
    pub(super) fn latest(&self) -> ValueId {
        self.builder.latest()
    }

    /// Channels that the latest convolution gave.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn push(&mut self, name: impl Into<String>, op: Op) -> ValueId {
        self.builder.push(name, op)
    }

    pub(super) fn push_from(&mut self, name: impl Into<String>, op: Op, inputs: Vec<ValueId>) -> ValueId {
        self.builder.push_from(name, op, inputs)
    }

    pub(super) fn conv(&mut self, name: impl Into<String>, outputs: usize, window: Window, bias: bool) -> ValueId {
        let conv = Conv2d { inputs: self.channels, outputs, window, groups: 1, bias };
        self.channels = outputs;
        self.builder.push(name, Op::Conv2d(conv))
    }

    /// A convolution without bias of a value that has `inputs` channels.
    pub(super) fn conv_from(&mut self, name: String, value: ValueId, inputs: usize, outputs: usize, window: Window) -> ValueId {
        self.channels = outputs;
        self.builder.push_from(name, Op::Conv2d(Conv2d { inputs, outputs, window, groups: 1, bias: false }), vec![value])
    }

    pub(super) fn norm(&mut self, name: impl Into<String>) -> ValueId {
        self.builder.push(name, Op::BatchNorm(BatchNorm::new(self.channels)))
    }

    pub(super) fn relu(&mut self, name: impl Into<String>) -> ValueId {
        self.builder.push(name, Op::Activation(Activation::Relu))
    }

    /// ReLU of a residual block's sum.
    pub(super) fn add(&mut self, block: &str, branch: ValueId, shortcut: ValueId) -> ValueId {
        self.builder.push_from(format!("{block}.add"), Op::Add, vec![branch, shortcut]);
        self.relu(format!("{block}.relu"))
    }

    pub(super) fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> ValueId {
        self.builder.push(name, Op::Linear(Linear { inputs, outputs, bias: true }))
    }

    /// The latest value as an image.
    pub(super) fn image(&self) -> Image {
        Image { value: self.builder.latest(), channels: self.channels }
    }

    /// A convolution without bias in `groups`, its batch norm and its activation, of `from`.
    pub(super) fn unit(&mut self, from: Image, names: [String; 2], conv: Unit) -> Image {
        let Unit { outputs, window, groups, norm, act } = conv;
        let [conv_name, norm_name] = names;
        let conv = Conv2d { inputs: from.channels, outputs, window, groups, bias: false };
        self.builder.push_from(conv_name.clone(), Op::Conv2d(conv), vec![from.value]);
        self.builder.push(norm_name, Op::BatchNorm(BatchNorm { channels: outputs, ..norm }));
        if let Some(act) = act {
            self.builder.push(format!("{conv_name}.act"), Op::Activation(act));
        }
        self.now(outputs)
    }

    /// A 1×1 convolution with bias.
    pub(super) fn pointwise(&mut self, name: impl Into<String>, from: Image, outputs: usize) -> Image {
        let conv = Conv2d { inputs: from.channels, outputs, window: Window::square(1, 1, 0), groups: 1, bias: true };
        self.builder.push_from(name, Op::Conv2d(conv), vec![from.value]);
        self.now(outputs)
    }

    /// An operation that leaves the number of channels.
    pub(super) fn of(&mut self, name: impl Into<String>, op: Op, from: Image) -> Image {
        self.builder.push_from(name, op, vec![from.value]);
        self.now(from.channels)
    }

    /// The sum of two images of one shape.
    pub(super) fn sum(&mut self, name: impl Into<String>, [a, b]: [Image; 2]) -> Image {
        self.builder.push_from(name, Op::Add, vec![a.value, b.value]);
        self.now(a.channels)
    }

    /// The channels of all images, one after the other.
    pub(super) fn concat(&mut self, name: impl Into<String>, images: &[Image]) -> Image {
        self.builder.push_from(name, Op::Concat, images.iter().map(|i| i.value).collect());
        self.now(images.iter().map(|i| i.channels).sum())
    }

    /// `from`, a square image of `side`, at twice its size, each pixel four times.
    pub(super) fn doubled(&mut self, name: impl Into<String>, from: Image, side: usize) -> Image {
        let run = |step: usize, count: usize, each: u32| Run { start: 0, step: step as i32, count: count as u32, each };
        let axes = [run(side * side, from.channels, 1), run(side, side, 2), run(1, side, 2)].map(|run| PickAxis { runs: vec![run] });
        self.of(name, Op::Primitive(Primitive::Pick(Pick { axes: axes.into(), fill: 0.0 })), from)
    }

    /// Squeeze-and-excite (Hu et al., "Squeeze-and-Excitation Networks"): each channel times a number that the means of all channels
    /// decide, by 1×1 convolutions called `reduce` and `expand`.
    pub(super) fn excited(&mut self, at: &str, from: Image, [reduce, expand]: [&str; 2], squeezed: usize) -> Image {
        let channels = from.channels;
        self.of(format!("{at}.mean"), Op::GlobalAvgPool, from);
        let pixel = Rearrange { shape: vec![channels, 1, 1], offset: 0, steps: vec![(channels, 1)] };
        self.push(format!("{at}.pixel"), Op::Rearrange(pixel));
        let mean = self.now(channels);
        let squeeze = self.pointwise(format!("{at}.{reduce}"), mean, squeezed);
        let squeeze = self.of(format!("{at}.relu"), Op::Activation(Activation::Relu), squeeze);
        let excite = self.pointwise(format!("{at}.{expand}"), squeeze, channels);
        self.of(format!("{at}.gate"), Op::Activation(Activation::HardSigmoid), excite);
        let gate = self.push(format!("{at}.vector"), Op::Flatten);
        self.push_from(format!("{at}.scale"), Op::Multiply, vec![from.value, gate]);
        self.now(channels)
    }

    fn now(&mut self, channels: usize) -> Image {
        self.channels = channels;
        self.image()
    }

    pub(super) fn finish(self) -> Result<Graph> {
        self.builder.finish()
    }
}
