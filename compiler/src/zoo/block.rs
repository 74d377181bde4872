//! What convolutional architectures are written with: a builder that knows how many channels the latest image has.

use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Builder, Conv2d, Graph, Linear, Op, ValueId, Window};

/// A network under construction; each call reads the latest value unless it says otherwise.
pub(super) struct Network {
    builder: Builder,
    channels: usize,
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

    pub(super) fn finish(self) -> Result<Graph> {
        self.builder.finish()
    }
}
