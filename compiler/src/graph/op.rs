//! The operations a graph is made of: their parameters, shapes and costs.

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
    /// A running mean: kept by training, never given a gradient.
    RunningMean,
    /// A running variance: kept by training, never given a gradient.
    RunningVar,
}

impl Role {
    /// Whether the optimiser moves it (running statistics are buffers, not parameters).
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar)
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

/// y = x·Wᵀ + b over the last axis; W is [outputs, inputs].
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Features of the input.
    pub inputs: usize,
    /// Features of the output.
    pub outputs: usize,
    /// Whether a bias of [outputs] is added.
    pub bias: bool,
}

/// Normalises each channel (the sample's first axis) by its running statistics, then scales and shifts it.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Channels.
    pub channels: usize,
    /// Added to the variance before the root.
    pub eps: f32,
    /// The share of the batch's statistics in each update of the running ones, as in PyTorch.
    pub momentum: f32,
}

impl BatchNorm {
    /// Over `channels`, with PyTorch's ε 1e-5 and momentum 0.1.
    pub fn new(channels: usize) -> Self {
        Self { channels, eps: 1e-5, momentum: 0.1 }
    }
}

/// A function of each element alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
}

/// One kind of operation with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Fully connected layer.
    Linear(Linear),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// Elementwise activation.
    Activation(Activation),
}

impl Op {
    /// The tensors that this operation owns as node `name`.
    pub fn params(&self, name: &str) -> Vec<ParamSpec> {
        let spec = |suffix: &str, shape: &[usize], role| ParamSpec { name: format!("{name}.{suffix}"), shape: shape.to_vec(), role };
        match self {
            Op::Linear(l) => {
                let mut specs = vec![spec("weight", &[l.outputs, l.inputs], Role::Weight { fan_in: l.inputs })];
                specs.extend(l.bias.then(|| spec("bias", &[l.outputs], Role::Bias { fan_in: l.inputs })));
                specs
            }
            Op::BatchNorm(b) => {
                let c = [b.channels];
                vec![
                    spec("weight", &c, Role::Scale),
                    spec("bias", &c, Role::Shift),
                    spec("running_mean", &c, Role::RunningMean),
                    spec("running_var", &c, Role::RunningVar),
                ]
            }
            Op::Activation(_) => Vec::new(),
        }
    }

    /// The output's shape for inputs of these shapes (one sample), or why they do not fit.
    ///
    /// # Errors
    /// A sentence that says what was expected and what came.
    pub fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let [input] = inputs else { return Err(format!("takes 1 input, not {}", inputs.len())) };
        match self {
            Op::Linear(l) => match input {
                [.., features] if *features == l.inputs => {
                    let mut shape = input.to_vec();
                    shape[input.len() - 1] = l.outputs;
                    Ok(shape)
                }
                _ => Err(format!("takes {} features, its input has shape {input:?}", l.inputs)),
            },
            Op::BatchNorm(b) if input.first() == Some(&b.channels) => Ok(input.to_vec()),
            Op::BatchNorm(b) => Err(format!("takes {} channels, its input has shape {input:?}", b.channels)),
            Op::Activation(_) => Ok(input.to_vec()),
        }
    }

    /// Multiply–accumulates for one sample of shape `input`; conv and linear layers only, as papers count.
    pub fn macs(&self, input: &[usize]) -> u64 {
        match self {
            Op::Linear(l) => {
                let rows: usize = input.iter().rev().skip(1).product();
                (rows * l.inputs * l.outputs) as u64
            }
            Op::BatchNorm(_) | Op::Activation(_) => 0,
        }
    }
}
