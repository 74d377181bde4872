//! What a step of a primitive is told.

use super::operand::Operand;
use crate::artifact::{Instruction, ReduceKind};

/// A function of each element.
#[derive(Clone, Debug, PartialEq)]
pub struct MapStep {
    /// Lengths of the axes that the output's elements are counted along in the order in which they lie, padding left out.
    pub sizes: Vec<usize>,
    /// How each input is read at an index of the output.
    pub operands: Vec<Operand>,
    /// What is computed, as the file has it.
    pub instructions: Vec<Instruction>,
}

/// Many elements made one; the output is plain.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceStep {
    /// How they are made one.
    pub kind: ReduceKind,
    /// Lengths of the axes that stay, in the order in which the output lies.
    pub sizes: Vec<usize>,
    /// Lengths of the axes that vanish.
    pub over: Vec<usize>,
    /// How the input is read: the axes that stay, then those that vanish.
    pub operand: Operand,
}

/// Softmax along an axis; the output is plain.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxStep {
    /// Lengths of the other axes, then that of the axis.
    pub sizes: Vec<usize>,
    /// Whether the logarithm is given.
    pub log: bool,
    /// How the input is read along `sizes`.
    pub operand: Operand,
    /// Where the output lies along `sizes`.
    pub output: Operand,
}

/// y[…, m, n] = Σₖ a[…, m, k]·b[…, k, n]; the output is plain, [batch…, rows, columns].
#[derive(Clone, Debug, PartialEq)]
pub struct MatMulStep {
    /// Lengths of the axes before the matrices'.
    pub batch: Vec<usize>,
    /// Rows of the first matrix.
    pub rows: usize,
    /// Columns of the second matrix.
    pub columns: usize,
    /// What is summed over.
    pub inner: usize,
    /// How the first input is read: the axes of `batch`, rows, inner.
    pub a: Operand,
    /// How the second input is read: the axes of `batch`, inner, columns.
    pub b: Operand,
}

/// Elements by tables of indices.
#[derive(Clone, Debug, PartialEq)]
pub struct PickStep {
    /// A table for each axis that the output's elements are counted along in the order in which they lie, padding left out. The sum of an
    /// entry of each is the place in a sample's slot; where one is −1 there is none.
    pub tables: Vec<Vec<i64>>,
    /// What stands where nothing is picked.
    pub fill: f32,
    /// Whether each sample has its own elements; else all read the first one's.
    pub per_sample: bool,
}

/// y[o, i, n] = Σₜ weights[i·taps + t]·x[o, indices[i·taps + t], n].
#[derive(Clone, Debug, PartialEq)]
pub struct ResampleStep {
    /// What stands before the axis.
    pub outer: usize,
    /// Length of the axis in the input.
    pub inputs: usize,
    /// Elements behind one index of the axis, an image's padding counted.
    pub inner: usize,
    /// Elements that an output is made of.
    pub taps: usize,
    /// Their indices along the axis, output after output.
    pub indices: Vec<u32>,
    /// What each is multiplied by.
    pub weights: Vec<f32>,
    /// Whether each sample has its own elements; else all read the first one's.
    pub per_sample: bool,
}

/// Blocks of each input in turn: for each of `outer`, `blocks[i]` elements of input i. An image's padding is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinStep {
    /// How often the inputs take turns.
    pub outer: usize,
    /// Elements of a turn of each input.
    pub blocks: Vec<usize>,
    /// Whether each sample has its own elements, of each input; else all read the first one's.
    pub per_sample: Vec<bool>,
}

/// y[i] = x[data(i) + index·stride], the index being what the second input holds at index(i); the output is plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupStep {
    /// Lengths of the output's axes.
    pub sizes: Vec<usize>,
    /// How the first input is read along `sizes`, at index 0.
    pub data: Operand,
    /// How the second input is read along `sizes`.
    pub index: Operand,
    /// How many indices there are; a negative one counts from the end, and NaN stands for what does not exist.
    pub count: usize,
    /// Elements from one index to the next.
    pub stride: usize,
}
