//! What a pipeline is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thinfer_shaders::Kernel;

/// A kernel that is ready to be bound and launched.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) kernel: &'static Kernel,
    /// Group 0, the only one.
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) epilogue: Epilogue,
    /// How long it took to make.
    pub(super) made: Duration,
}

/// What a pipeline fixes: of wgsl/shared/epilogue.wgsl the numbers of the activation and of the kind of residual, and
/// whether weights are f16; of a primitive's kernel its kind and the expression that completes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Epilogue {
    pub(super) activation: u32,
    pub(super) residual: u32,
    pub(super) half: bool,
    /// `KIND` of the kernel, where it has one.
    pub(super) kind: u32,
    /// What stands in the place of [`thinfer_shaders::EXPRESSION`].
    pub(super) expression: Option<Arc<str>>,
}

/// The pipelines of a device, by the variant's name.
pub(super) type Cache = HashMap<(&'static str, Epilogue), Arc<Mutex<Option<Arc<Pipeline>>>>>;
