//! A dense f32 tensor on the host, and the named set of them that a network owns.

use std::collections::BTreeMap;

/// A dense f32 tensor, row-major, in PyTorch's axis order ([out, in] for a linear weight).
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// Wraps `data` as a tensor of `shape`; `None` when the element count differs from the shape's product.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Option<Self> {
        let shape = shape.into();
        (count(&shape) == Some(data.len())).then_some(Self { shape, data })
    }

    /// A tensor of `shape` whose every element is `value`.
    pub fn full(shape: impl Into<Vec<usize>>, value: f32) -> Self {
        let shape = shape.into();
        let data = vec![value; shape.iter().product()];
        Self { shape, data }
    }

    /// Axis lengths, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The elements, row-major, for writing.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Rows and columns of the unfolding that keeps the first axis: [out, in·k²] for a weight. (1, 1) for a scalar.
    pub fn unfolded(&self) -> (usize, usize) {
        let rows = self.shape.first().copied().unwrap_or(1);
        (rows, self.shape.iter().skip(1).product())
    }
}

/// [a, b, …] → [b, a, …], row-major.
pub fn swapped(data: &[f32], a: usize, b: usize) -> Vec<f32> {
    let inner = data.len().checked_div(a * b).unwrap_or(0);
    (0..b).flat_map(|j| (0..a).flat_map(move |i| &data[(i * b + j) * inner..][..inner])).copied().collect()
}

/// The product of `shape`, or `None` when it overflows.
pub fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// A network's parameters and buffers under PyTorch's names, in name order.
pub type Params = BTreeMap<String, Tensor>;

/// Sizes of a weight. A linear layer has height and width 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Output channels.
    pub outputs: usize,
    /// Input channels of one group.
    pub inputs: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Kernel {
    /// Elements that one output sums over: columns of the unfolding [outputs, inputs·height·width].
    pub fn columns(&self) -> usize {
        self.inputs * self.height * self.width
    }

    /// Elements of the weight.
    pub fn len(&self) -> usize {
        self.outputs * self.columns()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape in PyTorch's axis order: [outputs, inputs] or [outputs, inputs, height, width].
    pub fn shape(&self, is_linear: bool) -> Vec<usize> {
        if is_linear { vec![self.outputs, self.inputs] } else { vec![self.outputs, self.inputs, self.height, self.width] }
    }
}
