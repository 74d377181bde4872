//! What a node's own tensors and settings make of its folded layer, whatever stands around it.

use thinfer::artifact::{Activation as Fused, Window as FusedWindow};

use super::folded::{Kernel, Weighted};
use super::per_channel::PerChannel;
use crate::error::{Error, Result};
use crate::graph::{BatchNorm, Conv2d, Linear, Node, Recurrent, Window};
use crate::rank::Pool;
use crate::tensor::{Params, Tensor};

/// A linear layer of a vector, or of each pixel's channels: a 1×1 convolution. `input` is the shape that it reads, `pool` the layers
/// that its rank is chosen among.
pub(super) fn linear(params: &Params, node: &Node, linear: &Linear, input: &[usize], pool: Pool) -> Result<Weighted> {
    let size = if let [_, height, width] = *input { Some([height, width]) } else { None };
    Ok(Weighted {
        kernel: Kernel { outputs: linear.outputs, inputs: linear.inputs, height: 1, width: 1 },
        pool,
        window: size.map(|_| FusedWindow::POINT),
        groups: 1,
        weight: tensor(params, node, "weight")?.to_vec(),
        scale: None,
        norms: Vec::new(),
        absorbed: None,
        bias: if linear.bias { Some(tensor(params, node, "bias")?.to_vec()) } else { None },
        residual: None,
        activation: Fused::None,
        input_size: size.unwrap_or([1, 1]),
        output_size: size.unwrap_or([1, 1]),
    })
}

/// The recurrent weight of a layer that reads a value of shape `input`: a matrix that is multiplied by at each step of each sequence.
pub(super) fn recurrent(params: &Params, node: &Node, layer: &Recurrent, input: &[usize]) -> Result<Weighted> {
    let &[_, steps, sequences] = input else { return Err(refuse(node, format!("goes along no image but {input:?}"))) };
    Ok(Weighted {
        kernel: Kernel { outputs: layer.outputs(), inputs: layer.hidden, height: 1, width: 1 },
        pool: Pool::Linear,
        window: None,
        groups: 1,
        weight: tensor(params, node, "weight")?.to_vec(),
        scale: None,
        norms: Vec::new(),
        absorbed: None,
        bias: if layer.bias { Some(tensor(params, node, "bias")?.to_vec()) } else { None },
        residual: None,
        activation: Fused::None,
        input_size: [steps, sequences],
        output_size: [steps, sequences],
    })
}

/// A convolution from images of shape `input` to those of `output`.
pub(super) fn conv(params: &Params, node: &Node, conv: &Conv2d, input: &[usize], output: &[usize]) -> Result<Weighted> {
    let [outputs, inputs, height, width] = conv.weight_shape();
    let size = |shape: &[usize]| match shape {
        &[_, height, width] => Ok([height, width]),
        _ => Err(refuse(node, format!("is no convolution of an image but of {shape:?}"))),
    };
    Ok(Weighted {
        kernel: Kernel { outputs, inputs, height, width },
        pool: Pool::Conv,
        window: Some(fused_window(node, &conv.window)?),
        groups: conv.groups,
        weight: tensor(params, node, "weight")?.to_vec(),
        scale: None,
        norms: Vec::new(),
        absorbed: None,
        bias: if conv.bias { Some(tensor(params, node, "bias")?.to_vec()) } else { None },
        residual: None,
        activation: Fused::None,
        input_size: size(input)?,
        output_size: size(output)?,
    })
}

pub(super) fn normalisation(params: &Params, node: &Node, norm: &BatchNorm) -> Result<PerChannel> {
    let [gamma, beta, mean, var] = ["weight", "bias", "running_mean", "running_var"].map(|s| wide(params, node, s));
    let k = gamma?.iter().zip(var?).map(|(g, v)| g / (v + f64::from(norm.eps)).sqrt()).collect();
    Ok(PerChannel { k, mean: mean?, beta: beta?, eps: Some(norm.eps) })
}

pub(super) fn wide(params: &Params, node: &Node, suffix: &str) -> Result<Vec<f64>> {
    tensor(params, node, suffix).map(|t| t.iter().map(|&v| f64::from(v)).collect())
}

/// Elements of one of a node's own tensors.
pub(super) fn tensor<'p>(params: &'p Params, node: &Node, suffix: &str) -> Result<&'p [f32]> {
    let name = format!("{}.{suffix}", node.name);
    params.get(&name).map(Tensor::data).ok_or_else(|| refuse(node, format!("has no tensor '{name}'")))
}

/// A size as the file stores it.
pub(super) fn small(node: &Node, size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| refuse(node, format!("has a setting of {size}, more than the file can say")))
}

pub(super) fn fused_window(node: &Node, window: &Window) -> Result<FusedWindow> {
    let pair = |[a, b]: [usize; 2]| Ok::<_, Error>([small(node, a)?, small(node, b)?]);
    let [top, left, bottom, right] = window.padding;
    let ([top, left], [bottom, right]) = (pair([top, left])?, pair([bottom, right])?);
    Ok(FusedWindow {
        kernel: pair(window.kernel)?,
        stride: pair(window.stride)?,
        padding: [top, left, bottom, right],
        dilation: pair(window.dilation)?,
    })
}

/// Why a node cannot be folded.
pub(super) fn refuse(node: &Node, why: impl Into<String>) -> Error {
    Error::Graph { node: node.name.clone(), why: why.into() }
}
