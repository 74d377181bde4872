//! Functions of each element alone.

use serde::{Deserialize, Serialize};

/// A function of each element alone; the runtime's file defines the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x where positive, else the slope times x.
    LeakyRelu(f32),
    /// 1 / (1 + e^−x).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// min(max(x/6 + 1/2, 0), 1).
    HardSigmoid,
    /// x · min(max(x/6 + 1/2, 0), 1).
    HardSwish,
    /// x / (1 + e^−x).
    Silu,
    /// x · Φ(x) by the error function.
    Gelu,
    /// x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))).
    GeluTanh,
}
