//! Names of the operations that conversions by primitives and as other nodes are for.

/// A quotient that is rounded once, unlike one by a reciprocal.
pub(super) const QUOTIENT: &str = "/";

/// A product that is rounded on its own: no weight before it takes the factor in.
pub(super) const PRODUCT: &str = "*";

/// Operations that are one map.
pub(super) fn is_map(op: &str) -> bool {
    matches!(
        op,
        QUOTIENT
            | PRODUCT
            | "Abs"
            | "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Sum"
            | "Mean"
            | "Pow"
            | "Mod"
            | "Max"
            | "Min"
            | "PRelu"
            | "Clip"
            | "Where"
            | "Equal"
            | "Less"
            | "LessOrEqual"
            | "Greater"
            | "GreaterOrEqual"
            | "And"
            | "Or"
            | "Xor"
            | "Not"
            | "Neg"
            | "Sign"
            | "Floor"
            | "Ceil"
            | "Round"
            | "Sin"
            | "Cos"
            | "Tan"
            | "Asin"
            | "Acos"
            | "Atan"
            | "Sinh"
            | "Cosh"
            | "Asinh"
            | "Acosh"
            | "Atanh"
            | "IsNaN"
            | "IsInf"
            | "Cast"
            | "Shrink"
            | "Celu"
            | "HardSigmoid"
            | "Mish"
            | "Selu"
    )
}

/// Operations that are one reduction.
pub(super) fn is_reduction(op: &str) -> bool {
    matches!(
        op,
        "ArgMax"
            | "ArgMin"
            | "ReduceSum"
            | "ReduceMean"
            | "ReduceMax"
            | "ReduceMin"
            | "ReduceProd"
            | "ReduceL1"
            | "ReduceL2"
            | "ReduceSumSquare"
            | "ReduceLogSum"
            | "ReduceLogSumExp"
    )
}

/// Whether `op` has a conversion by primitives.
pub(super) fn is_general(op: &str) -> bool {
    is_map(op)
        || is_reduction(op)
        || matches!(
            op,
            "Softmax"
                | "LogSoftmax"
                | "Hardmax"
                | "MatMul"
                | "Gemm"
                | "Einsum"
                | "Concat"
                | "Conv"
                | "ConvTranspose"
                | "MaxPool"
                | "AveragePool"
                | "LpPool"
                | "Gather"
                | "GatherElements"
                | "Resize"
                | "Upsample"
                | "CumSum"
                | "OneHot"
                | "Trilu"
                | "LayerNormalization"
                | "LRN"
                | "GlobalLpPool"
        )
}

/// Whether `op` is written out.
pub(super) fn is_written(op: &str) -> bool {
    [ATTENTION, CHOICE, FUSED, IMAGES, INDICES, LOOPS, LOSSES, NORMS, QUANTISED, SIGNAL, SMALL].iter().any(|ops| ops.contains(&op))
}

/// Attention over earlier keys, too, and what goes with it.
pub(super) const ATTENTION: &[&str] = &["Attention", "CausalConvWithState", "LinearAttention", "RotaryEmbedding"];

/// Branches.
pub(super) const CHOICE: &[&str] = &["If"];

/// Several operations in one.
pub(super) const FUSED: &[&str] = &[
    "SimplifiedLayerNormalization",
    "com.microsoft.BiasGelu",
    "com.microsoft.BiasSplitGelu",
    "com.microsoft.FastGelu",
    "com.microsoft.FusedConv",
    "com.microsoft.FusedGemm",
    "com.microsoft.FusedMatMul",
    "com.microsoft.Gelu",
    "com.microsoft.MultiHeadAttention",
    "com.microsoft.QuickGelu",
    "com.microsoft.SimplifiedLayerNormalization",
    "com.microsoft.SkipLayerNormalization",
    "com.microsoft.SkipSimplifiedLayerNormalization",
];

/// What moves pixels.
pub(super) const IMAGES: &[&str] = &["AffineGrid", "Col2Im", "DepthToSpace", "GridSample", "MaxUnpool", "SpaceToDepth"];

/// Elements by indices.
pub(super) const INDICES: &[&str] = &["Compress", "GatherND", "Scatter", "ScatterElements", "ScatterND", "TensorScatter"];

/// Graphs that are run many times.
pub(super) const LOOPS: &[&str] = &["Loop", "Scan"];

/// Losses.
pub(super) const LOSSES: &[&str] = &["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"];

/// Normalisations.
pub(super) const NORMS: &[&str] = &[
    "BatchNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "LpNormalization",
    "MeanVarianceNormalization",
    "RMSNormalization",
];

/// Numbers that stand for others by scale and zero point.
pub(super) const QUANTISED: &[&str] =
    &["ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"];

/// Fourier transforms.
pub(super) const SIGNAL: &[&str] = &["DFT", "STFT"];

/// Operations of a few others.
pub(super) const SMALL: &[&str] = &["CastLike", "CenterCropPad", "CumProd", "Dropout", "EyeLike", "ReverseSequence", "SwiGLU", "Swish"];
