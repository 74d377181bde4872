//! The tensors that an operation needs.

/// What a parameter is for, which decides its initial value and whether training moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A matrix or kernel that can be factored.
    Weight {
        /// Inputs that one output sums over; PyTorch's default initialisation depends on it.
        fan_in: usize,
    },
    /// An additive vector beside a weight.
    Bias {
        /// The fan-in of the weight that it stands beside.
        fan_in: usize,
    },
    /// A normalisation's multiplier.
    Scale,
    /// A normalisation's offset.
    Shift,
    /// A class token or positions.
    Embedding,
    /// A constant of the network.
    Constant,
    /// A running mean: kept by training, never given a gradient.
    RunningMean,
    /// A running variance: kept by training, never given a gradient.
    RunningVar,
}

impl Role {
    /// Whether the optimiser moves it (constants and running statistics are buffers, not parameters).
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::Constant | Role::RunningMean | Role::RunningVar)
    }
}

/// Name, shape and purpose of one tensor that a network needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Full PyTorch name (`layers.0.weight`).
    pub name: String,
    /// Shape in PyTorch's axis order.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}
