//! A layer as a training method sees it, and the factors that its weight is made of.

use burn::tensor::Tensor;

use crate::error::Result;
use crate::graph::{Conv2d, Graph, Linear, Op, Window};
use crate::import::Place;
use crate::tensor::Kernel;

/// How a matrix is applied at every position of an image.
pub(crate) const POINT: Window = Window { kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };

/// A layer with a weight. Its unfolded weight is a matrix [outputs, columns].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer<'a> {
    Linear(&'a Linear),
    Conv(&'a Conv2d),
}

impl<'a> Layer<'a> {
    /// The layer that `op` is, if it has a weight.
    pub(crate) fn of(op: &'a Op) -> Option<Self> {
        match op {
            Op::Linear(linear) => Some(Self::Linear(linear)),
            Op::Conv2d(conv) => Some(Self::Conv(conv)),
            _ => None,
        }
    }

    /// Every layer of `graph` with its name, in node order.
    pub(crate) fn all(graph: &'a Graph) -> impl Iterator<Item = (&'a str, Self)> {
        graph.nodes.iter().filter_map(|node| Some((node.name.as_str(), Self::of(&node.op)?)))
    }

    /// Rows of the unfolded weight.
    pub(crate) fn outputs(self) -> usize {
        match self {
            Self::Linear(linear) => linear.outputs,
            Self::Conv(conv) => conv.outputs,
        }
    }

    /// The layer as checkpoints know it.
    pub(crate) fn place(self, name: &str) -> Place<'_> {
        let [height, width] = self.window().kernel;
        let kernel = Kernel { outputs: self.outputs(), inputs: self.columns() / (height * width), height, width };
        Place { name, kernel, is_linear: matches!(self, Self::Linear(_)), is_grouped: self.is_grouped() }
    }

    /// Features or channels of the input.
    pub(crate) fn inputs(self) -> usize {
        match self {
            Self::Linear(linear) => linear.inputs,
            Self::Conv(conv) => conv.inputs,
        }
    }

    /// Columns of the unfolded weight: what one output sums over.
    pub(crate) fn columns(self) -> usize {
        self.shape().iter().skip(1).product()
    }

    /// The weight's shape in PyTorch's axis order.
    pub(crate) fn shape(self) -> Vec<usize> {
        match self {
            Self::Linear(linear) => vec![linear.outputs, linear.inputs],
            Self::Conv(conv) => conv.weight_shape().to_vec(),
        }
    }

    /// How the weight moves; a matrix of vectors is a point.
    pub(crate) fn window(self) -> Window {
        match self {
            Self::Linear(_) => POINT,
            Self::Conv(conv) => conv.window,
        }
    }

    /// Its window's vertical and horizontal part, which one after the other move as the whole.
    pub(crate) fn halves(self) -> (Window, Window) {
        let Window { kernel, stride, padding: [top, left, bottom, right], dilation } = self.window();
        let vertical = Window { kernel: [kernel[0], 1], stride: [stride[0], 1], padding: [top, 0, bottom, 0], dilation: [dilation[0], 1] };
        let horizontal =
            Window { kernel: [1, kernel[1]], stride: [1, stride[1]], padding: [0, left, 0, right], dilation: [1, dilation[1]] };
        (vertical, horizontal)
    }

    /// Whether its channels fall into several groups; such a weight is no single matrix and stays as it is.
    pub(crate) fn is_grouped(self) -> bool {
        matches!(self, Self::Conv(conv) if conv.groups != 1)
    }

    /// Whether its kernel covers more than one pixel.
    pub(crate) fn is_spatial(self) -> bool {
        self.window().kernel != [1, 1]
    }
}

/// A layer with a weight, as it stands in a training step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    /// The node's name; its weight is `NAME.weight`.
    pub name: &'a str,
    /// The layer.
    pub layer: Layer<'a>,
    /// Vectors that it reads in one step: the batch, times the input's pixels.
    pub reads: usize,
    /// Vectors that the vertical part of its kernel alone would give in one step.
    pub halfway: usize,
    /// Vectors that it gives in one step: the batch, times the output's pixels.
    pub gives: usize,
    /// Whether a gradient must pass on to its input: not for the first layer.
    pub input_gradient: bool,
}

impl Site<'_> {
    /// Multiply–accumulates of one step with the dense weight, forward and backward.
    pub(crate) fn dense_macs(&self) -> u64 {
        self.chain_macs([(self.layer.columns() * self.layer.outputs(), self.gives)])
    }

    /// Multiply–accumulates of one step with factors that are applied one after the other, first one first; each has so
    /// many elements and gives so many vectors. A product costs its size for the output, again for the weight's gradient
    /// and, where needed, for the input's.
    pub(crate) fn chain_macs(&self, factors: impl IntoIterator<Item = (usize, usize)>) -> u64 {
        let costs = factors.into_iter().map(|(elements, gives)| elements as u64 * gives as u64);
        costs.enumerate().map(|(at, macs)| if at > 0 || self.input_gradient { 3 * macs } else { 2 * macs }).sum()
    }

    /// The layer's weight as one factor, [outputs, columns].
    pub(crate) fn whole(&self, matrix: Tensor<2>) -> Factor {
        let groups = match self.layer {
            Layer::Linear(_) => 1,
            Layer::Conv(conv) => conv.groups,
        };
        Factor { matrix, window: self.layer.window(), groups }
    }
}

/// One of the linear maps that a layer's weight is the product of.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    /// Unfolded, [outputs, inputs / groups · kernel height · kernel width].
    pub matrix: Tensor<2>,
    /// How it moves over an image.
    pub window: Window,
    /// Groups of its channels.
    pub groups: usize,
}

impl Factor {
    /// A matrix that is applied at every position.
    pub(crate) fn point(matrix: Tensor<2>) -> Self {
        Self::moving(matrix, POINT)
    }

    /// A kernel that moves as `window` says.
    pub(crate) fn moving(matrix: Tensor<2>, window: Window) -> Self {
        Self { matrix, window, groups: 1 }
    }
}

/// Every layer with a weight as it stands in a step of `batch` samples.
///
/// # Errors
/// As [`Graph::shapes`].
pub(super) fn sites(graph: &Graph, batch: usize) -> Result<Vec<Site<'_>>> {
    let shapes = graph.shapes()?;
    let vectors = |value: usize| batch * shapes.get(value).map_or(1, |shape| shape.iter().skip(1).product());
    let mut tracked = vec![false];
    let mut sites = Vec::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        let input_gradient = node.inputs.iter().any(|&v| tracked.get(v) == Some(&true));
        let has_trained = node.op.params(&node.name).iter().any(|p| p.role.is_trained());
        tracked.push(input_gradient || has_trained);
        if let Some(layer) = Layer::of(&node.op) {
            let (input, gives) = (node.inputs.first().copied().unwrap_or(0), vectors(at + 1));
            let halfway = match shapes.get(input).map(Vec::as_slice) {
                Some(&[_, height, width]) => layer.halves().0.output_size([height, width]).map_or(gives, |[h, w]| batch * h * w),
                _ => gives,
            };
            sites.push(Site { name: &node.name, layer, reads: vectors(input), halfway, gives, input_gradient });
        }
    }
    Ok(sites)
}
