//! The operations by name: which are converted, and what is said of the others.

use crate::import::onnx::eval;
use crate::import::onnx::rules::attention::FUSED;

/// Operations on computed values.
pub(super) const KNOWN: [&str; 48] = [
    "Add",
    "Attention",
    FUSED,
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LayerNormalization",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Silu",
    "Size",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];
/// Operations that shapes are made of: behind another fault they are no fault of their own.
pub(super) const CONSTANT: [&str; 11] =
    ["And", "ConstantOfShape", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Range", "Where"];
/// Operations that take a part of a value without moving it.
pub(super) const PASSING: [&str; 12] =
    ["Attention", FUSED, "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze"];
/// What is said of operations that are not converted.
pub(super) fn unknown(op: &str) -> String {
    if let Some(why) = eval::never(op) {
        return why.into();
    }
    let why = match op {
        "SimplifiedLayerNormalization" | "RMSNormalization" | "Erf" | "Einsum" => {
            "belongs to transformers, but is no part of a layer normalisation, GELU or attention that is recognised"
        }
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => "is quantised; a network of floats is needed",
        "If" | "Loop" | "Scan" => "is control flow, which cannot be compiled",
        "LSTM" | "GRU" | "RNN" => "is recurrent, which is not supported",
        "ConvTranspose" | "Resize" | "Upsample" => "makes images larger, which is not supported",
        _ => "is no operation that thinfer has",
    };
    why.into()
}
