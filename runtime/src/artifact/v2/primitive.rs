//! Primitives: operations over tensors of any axes, of which the operators of other formats are made. A primitive reads an
//! operand by a [`Walk`], so transposing, slicing and broadcasting it costs no layer of its own.

use serde::{Deserialize, Serialize};

use super::Activation;
use crate::artifact::bounded::bounded;

/// An operation over tensors. All elements are counted row-major over a value's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Primitive {
    /// A function of each element of its operands, which are broadcast.
    Map(Map),
    /// Many elements made one.
    Reduce(Reduce),
    /// Softmax along an axis.
    Softmax(SoftmaxOver),
    /// The product of two values, matrix by matrix.
    MatMul(MatMul),
    /// Elements of one value by tables of indices, one for each axis of the output.
    Pick(Pick),
    /// Weighted sums of a few elements along one axis: resizing by interpolation.
    Resample(Resample),
    /// Values one after the other along an axis.
    Join {
        /// The axis.
        axis: u32,
    },
    /// Elements of the first value at the indices that the second one holds.
    Lookup(Lookup),
}

/// How an operand is read: the index (i₀, i₁, …) over axes that the operation names reads element offset + Σ iₖ·strideₖ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// The element that the index of zeros reads.
    pub offset: u32,
    /// Elements from one index to the next along each axis; 0 repeats, a negative one goes backwards.
    #[serde(deserialize_with = "bounded")]
    pub strides: Vec<i32>,
}

/// y[i] = the last of `instructions`, for each index i of `shape`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The output's shape.
    #[serde(deserialize_with = "bounded")]
    pub shape: Vec<u32>,
    /// How each value that the layer reads is read at an index of the output.
    #[serde(deserialize_with = "bounded")]
    pub operands: Vec<Walk>,
    /// What is computed, each from earlier ones.
    #[serde(deserialize_with = "bounded")]
    pub instructions: Vec<Instruction>,
}

/// A number, computed from those of earlier instructions, which are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Instruction {
    /// An element of an operand, by the operand's index.
    Operand(u8),
    /// A number; it may be infinite.
    Constant(f32),
    /// A function of one number.
    Unary(Unary, u8),
    /// A function of two numbers.
    Binary(Binary, u8, u8),
    /// The second number where the first is not 0, else the third.
    Select(u8, u8, u8),
    /// An activation of a number.
    Activate(Activation, u8),
}

/// A function of one number x. Truth is 1, falsehood 0; every number but 0 is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unary {
    /// −x.
    Neg,
    /// −1, 0 or 1.
    Sign,
    /// The largest integer that is not above x.
    Floor,
    /// The least integer that is not below x.
    Ceil,
    /// The nearest integer, an even one where two are.
    Round,
    /// The sine of x radians.
    Sin,
    /// The cosine of x radians.
    Cos,
    /// The tangent of x radians.
    Tan,
    /// The arc sine, in radians.
    Asin,
    /// The arc cosine, in radians.
    Acos,
    /// The arc tangent, in radians.
    Atan,
    /// The hyperbolic sine.
    Sinh,
    /// The hyperbolic cosine.
    Cosh,
    /// The inverse of the hyperbolic sine.
    Asinh,
    /// The inverse of the hyperbolic cosine.
    Acosh,
    /// The inverse of the hyperbolic tangent.
    Atanh,
    /// Whether x is false.
    Not,
    /// Whether x is NaN.
    IsNan,
    /// Whether x is infinite.
    IsInf,
}

/// A function of two numbers a and b. Truth is 1, falsehood 0; every number but 0 is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binary {
    /// a + b.
    Add,
    /// a − b.
    Sub,
    /// a · b.
    Mul,
    /// a / b.
    Div,
    /// a to the power b. A negative a has one where b is an integer.
    Pow,
    /// The larger one.
    Max,
    /// The smaller one.
    Min,
    /// a − b·⌊a/b⌋: the remainder with b's sign.
    Mod,
    /// a − b·trunc(a/b): the remainder with a's sign, as C's `fmod`.
    Fmod,
    /// Whether a < b.
    Less,
    /// Whether a ≤ b.
    LessOrEqual,
    /// Whether a = b.
    Equal,
    /// Whether both are true.
    And,
    /// Whether one is true.
    Or,
    /// Whether one is true and the other is not.
    Xor,
}

/// y[i] = the elements at (i, j) for all indices j of `over`, made one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduce {
    /// How they are made one.
    pub kind: ReduceKind,
    /// The output's shape.
    #[serde(deserialize_with = "bounded")]
    pub shape: Vec<u32>,
    /// The lengths of the axes that vanish.
    #[serde(deserialize_with = "bounded")]
    pub over: Vec<u32>,
    /// How the value is read: the axes of `shape`, then those of `over`.
    pub operand: Walk,
}

/// How elements x are made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReduceKind {
    /// Σx.
    Sum,
    /// Σx over their number.
    Mean,
    /// The largest.
    Max,
    /// The least.
    Min,
    /// Πx.
    Product,
    /// Σ|x|.
    L1,
    /// √Σx².
    L2,
    /// Σx².
    SumSquare,
    /// ln Σx.
    LogSum,
    /// ln Σeˣ, of which no power overflows.
    LogSumExp,
    /// The index of the largest, counted row-major over `over`: of the first one, or the last one, of several.
    ArgMax {
        /// Whether it is the last one.
        last: bool,
    },
    /// The index of the least in the same way.
    ArgMin {
        /// Whether it is the last one.
        last: bool,
    },
}

/// y = softmax of x along one axis, or its logarithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoftmaxOver {
    /// The output's shape.
    #[serde(deserialize_with = "bounded")]
    pub shape: Vec<u32>,
    /// The axis whose elements sum to 1.
    pub axis: u32,
    /// Whether the logarithm is given.
    pub log: bool,
    /// How the value is read at an index of the output.
    pub operand: Walk,
}

/// y[…, m, n] = Σₖ a[…, m, k] · b[…, k, n], of shape [batch…, rows, columns].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatMul {
    /// The lengths of the axes before the matrices'; may be empty.
    #[serde(deserialize_with = "bounded")]
    pub batch: Vec<u32>,
    /// Rows of a and y.
    pub rows: u32,
    /// Columns of b and y.
    pub columns: u32,
    /// Columns of a and rows of b.
    pub inner: u32,
    /// How the first value is read: the axes of `batch`, then rows and inner.
    pub a: Walk,
    /// How the second value is read: the axes of `batch`, then inner and columns.
    pub b: Walk,
}

/// y[i₀, i₁, …] = the element Σₖ tableₖ[iₖ], or `fill` where one of the tables holds −1 there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pick {
    /// The table of each axis of the output, as runs.
    #[serde(deserialize_with = "bounded")]
    pub axes: Vec<PickAxis>,
    /// What stands where nothing is picked.
    pub fill: f32,
}

/// The table of an axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickAxis {
    /// Its runs, one after the other.
    #[serde(deserialize_with = "bounded")]
    pub runs: Vec<Run>,
}

/// `count` entries start, start + step, …, each repeated `each` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first entry; −1 picks nothing, and then `step` is 0.
    pub start: i32,
    /// From one entry to the next.
    pub step: i32,
    /// How many entries there are.
    pub count: u32,
    /// How often each is repeated.
    pub each: u32,
}

impl PickAxis {
    /// All entries.
    pub fn table(&self) -> Vec<i32> {
        let entries = |r: &Run| {
            let Run { start, step, count, each } = *r;
            (0..count as i32).flat_map(move |i| std::iter::repeat_n(start + i * step, each as usize))
        };
        self.runs.iter().flat_map(entries).collect()
    }

    /// How many entries there are; saturates.
    pub fn len(&self) -> u64 {
        self.runs.iter().fold(0u64, |n, r| n.saturating_add(u64::from(r.count) * u64::from(r.each)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// y[…, i, …] = Σₜ weights[i·taps + t] · x[…, indices[i·taps + t], …] along one axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resample {
    /// The axis.
    pub axis: u32,
    /// How many elements each output is made of.
    pub taps: u32,
    /// Their indices along the axis, output after output.
    #[serde(deserialize_with = "bounded")]
    pub indices: Vec<u32>,
    /// What each is multiplied by.
    #[serde(deserialize_with = "bounded")]
    pub weights: Vec<f32>,
}

/// What a lookup does with the indices i of its second value. A negative i counts from the end; where there is no such element
/// the output is NaN. A fraction is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The axis of the first value that the indices are of.
    pub axis: u32,
    /// Whether each element has an index of its own, y[…, j, …] = x[…, i[…, j, …], …], the indices having y's shape; else
    /// whole slices are taken, the axis of x being replaced by the axes of the indices.
    pub elements: bool,
}
