//! The operations by name: which are converted, and what is said of the others.

use super::elementwise;
use super::names::{is_general, is_written};
use crate::import::onnx::eval;
use crate::import::onnx::node::Node;
use crate::import::onnx::rules::attention::FUSED;

/// Operations on computed values, beside the functions of each element (`elementwise.rs`).
const KNOWN: [&str; 63] = [
    "Add",
    "Attention",
    FUSED,
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "Div",
    "Dropout",
    "Expand",
    "Flatten",
    "GRU",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNormalization",
    "Identity",
    "InstanceNormalization",
    "LSTM",
    "LayerNormalization",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "Pow",
    "RMSNormalization",
    "RNN",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "ReduceSumSquare",
    "Reshape",
    "Resize",
    "Shape",
    "Size",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Sub",
    "Sum",
    "Tile",
    "Transpose",
];

/// More that are known; [`KNOWN`] is in the order of the alphabet.
const ALSO_KNOWN: [&str; 2] = ["Unsqueeze", "Upsample"];

/// Operations that shapes are made of: behind another fault they are no fault of their own.
const OF_SHAPES: [&str; 12] =
    ["And", "Constant", "ConstantOfShape", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Range", "Where"];

/// Operations that take a part of a value without moving it, or a value with numbers around it without computing those.
pub(super) const PASSING: [&str; 16] = [
    "Attention",
    FUSED,
    "AveragePool",
    "Cast",
    "Conv",
    "Dropout",
    "Flatten",
    "Identity",
    "MaxPool",
    "Pad",
    "Reshape",
    "Shape",
    "Size",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Whether an operation gives elements as they were: of integers, integers.
pub(super) fn moves(op: &str) -> bool {
    matches!(
        op,
        "Cast"
            | "CastLike"
            | "Concat"
            | "DepthToSpace"
            | "Dropout"
            | "Expand"
            | "Flatten"
            | "Gather"
            | "Identity"
            | "Reshape"
            | "Shape"
            | "Size"
            | "Slice"
            | "SpaceToDepth"
            | "Split"
            | "Squeeze"
            | "Tile"
            | "Transpose"
            | "Unsqueeze"
    )
}

/// Whether an operation has a conversion beside the one by primitives.
pub(super) fn has_its_own(op: &str) -> bool {
    KNOWN.contains(&op) || ALSO_KNOWN.contains(&op) || elementwise::is_one(op)
}

/// What is said of an operation that is not converted; `None` of one that is.
fn unknown(op: &str) -> Option<String> {
    if has_its_own(op) || OF_SHAPES.contains(&op) || is_general(op) || is_written(op) {
        return None;
    }
    if let Some(why) = eval::never(op) {
        return Some(why.into());
    }
    let why = match op {
        "TopK" | "NonZero" | "NonMaxSuppression" | "Unique" => {
            "gives indices or takes elements by their values, which is not supported (end the network before it)"
        }
        _ if op.contains('.') => "is an operation of another domain than ONNX's own, which is not supported",
        _ => "is an operation on computed values that is not supported",
    };
    Some(why.into())
}

/// Why a node can never be converted, whatever computed values it reads, so that it is told even where no shapes are known.
pub(super) fn never(node: &Node, is_constant: impl Fn(&str) -> bool) -> Option<String> {
    let all = !node.inputs.is_empty() && node.inputs.iter().all(|i| i.is_empty() || is_constant(i));
    if all { None } else { unknown(&node.op) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_reason_is_told() {
        assert_eq!(unknown("Conv"), None);
        assert_eq!(unknown("Elu"), None);
        assert_eq!((unknown("Loop"), unknown("com.microsoft.FusedConv")), (None, None));
        assert!(unknown("com.acme.FusedConv").is_some_and(|why| why.contains("another domain")));
        assert!(unknown("TopK").is_some_and(|why| why.contains("by their values")));
        assert!(KNOWN.is_sorted());
    }
}
