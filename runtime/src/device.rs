//! What there is to run on.

use std::str::FromStr;

/// Which kind of device a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The best GPU; the CPU where there is none or only a software adapter.
    #[default]
    Auto,
    /// The best adapter that wgpu finds, software ones included.
    Gpu,
    /// The CPU executor.
    Cpu,
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            _ => Err(format!("unknown device '{text}' (auto, gpu or cpu)")),
        }
    }
}

/// What sort of hardware a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    /// The CPU executor, no graphics API between.
    Cpu,
    /// An adapter that emulates a GPU on the CPU.
    Software,
    /// A GPU that shares memory with the CPU.
    Integrated,
    /// A GPU with memory of its own.
    Discrete,
    /// A virtual GPU, or one that does not say what it is.
    Other,
}

impl DeviceClass {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Software => "software",
            Self::Integrated => "integrated",
            Self::Discrete => "discrete",
            Self::Other => "other",
        }
    }
}

/// A device's own description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The adapter's name, or the CPU's.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `webgpu`, or `cpu`.
    pub backend: String,
    /// The driver and its version, as far as it says; empty for the CPU.
    pub driver: String,
    /// What sort of hardware it is.
    pub class: DeviceClass,
}

/// A pipeline that a session runs kernels by.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The kernel's variant.
    pub kernel: &'static str,
    /// The numbers of the activation and of the kind of residual that are compiled into it, and 1 for weights in f16.
    pub constants: [u32; 3],
    /// Steps that it runs.
    pub steps: usize,
    /// Milliseconds that it took to make. Some drivers compile it only when it first runs.
    pub made_ms: f64,
}

impl std::fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}", self.name, self.backend)?;
        if self.class == DeviceClass::Software {
            write!(f, ", software adapter")?;
        }
        write!(f, ")")
    }
}
