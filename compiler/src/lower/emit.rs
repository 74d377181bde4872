//! From folded layers and their ranks to the artifact.

use thinfer::artifact::{
    Artifact, Dtype, Fit, Input, Layer, Meaning, Model, Op, Output, Provenance, Sections, Stride, TensorData, TensorId, TensorSpec, Weight,
};

use super::folded::{Folded, FoldedLayer, FoldedOp, Weighted};
use super::weights::Written;
use crate::error::{Error, Result};
use crate::graph::Rearrange;
use crate::tensor::swapped;

/// The artifact's metadata beside its layers.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The architecture's name.
    pub model: String,
    /// The arrays that it takes.
    pub inputs: Vec<Input>,
    /// How images of other sizes are brought to them.
    pub fits: Vec<Fit>,
    /// The arrays that it gives.
    pub outputs: Vec<End>,
    /// Class names.
    pub classes: Vec<String>,
    /// The checkpoint's file name.
    pub source: String,
    /// How it was trained.
    pub method: String,
    /// How the ranks were chosen.
    pub policy: String,
}

/// An array that the network gives.
#[derive(Clone, Debug)]
pub struct End {
    /// As its source declared it.
    pub spec: TensorSpec,
    /// Shape of the value that a layer gives for it.
    pub shape: Vec<usize>,
    /// The meaning of its numbers, if it is stated.
    pub scores: Option<Meaning>,
    /// Whether they are known to be class scores, whatever the last layer is.
    pub classifies: bool,
}

/// Writes every layer in its form, weights as `dtype`, biases and singular values as f32, f32 denormals as zero. `written` has an
/// entry for each layer with a weight. Also says how many values were denormal.
///
/// # Errors
/// [`Error::Runtime`] when the network breaks a rule of the format.
pub(super) fn emit(identity: Identity, network: &Folded, written: &[Option<Written>], dtype: Dtype) -> Result<(Artifact, usize)> {
    let layers = &network.layers;
    let mut p = Provenance {
        tool: concat!("thinferc ", env!("CARGO_PKG_VERSION")).into(),
        source: identity.source,
        method: identity.method,
        policy: identity.policy,
        ..Provenance::default()
    };
    let mut tensors: Vec<TensorData> = Vec::new();
    let mut denormal = 0;
    let mut put = |mut tensor: TensorData| {
        denormal += flush(&mut tensor.values);
        tensors.push(tensor);
        (tensors.len() - 1) as TensorId
    };
    let (mut ops, mut nested) = (Vec::with_capacity(layers.len()), Vec::new());
    for (index, (layer, written)) in layers.iter().zip(written).enumerate() {
        let name = &layer.name;
        let op = match (layer.weighted(), written) {
            (Some(weighted), Some(written)) => {
                let weight = written.store(name, weighted, dtype, &mut put)?;
                nested.extend(written.nested(index, name, &mut put));
                let bias = written.bias.as_ref().map(|b| put(TensorData::f32(format!("{name}.bias"), &[b.len()], b.clone())));
                let (macs, params) = written.cost(weighted);
                p.macs = p.macs.saturating_add(macs);
                p.dense_macs = p.dense_macs.saturating_add(weighted.dense_macs());
                p.params = p.params.saturating_add(params);
                p.dense_params = p.dense_params.saturating_add(weighted.dense_params());
                p.layers.extend(written.note.clone());
                weighted_op(layer, weighted, weight, bias, &mut put)
            }
            (Some(_), None) => return Err(Error::invalid(format!("layer '{name}'"), "has no form to be written in")),
            (None, _) => weightless(name, &layer.op, &mut put)?,
        };
        ops.push(Layer { name: name.clone(), inputs: layer.inputs.iter().map(|&v| v as u32).collect(), op });
    }
    let outputs = identity.outputs.into_iter().zip(&network.outputs).map(|(end, &value)| {
        let last = value.checked_sub(network.inputs.len()).and_then(|at| ops.get(at)).map(|layer| &layer.op);
        let told = || Meaning::of(last, &end.shape, &end.spec.sample_shape(), end.classifies);
        Output { meaning: end.scores.unwrap_or_else(told), value: value as u32, spec: end.spec }
    });
    let outputs = outputs.collect();
    let model = Model {
        name: identity.model,
        inputs: identity.inputs,
        outputs,
        classes: identity.classes,
        layers: ops,
        tensors: Vec::new(),
        provenance: p,
    };
    let sections = Sections { nested, fits: identity.fits, ..Sections::default() };
    Artifact::build_with_sections(model, tensors, sections)
        .map(|artifact| (artifact, denormal))
        .map_err(|source| Error::Runtime(thinfer::Error::Format { path: "<the compiled network>".into(), source }))
}

/// How a layer without a weight is written, its tensors stored through `put`.
fn weightless(name: &str, op: &FoldedOp, put: &mut dyn FnMut(TensorData) -> TensorId) -> Result<Op> {
    let mut vector = |suffix: &str, values: Vec<f32>| put(TensorData::f32(format!("{name}.{suffix}"), &[values.len()], values));
    Ok(match op {
        FoldedOp::Weighted(_) | FoldedOp::Recurrent(_) => return Err(Error::invalid(format!("layer '{name}'"), "has a weight")),
        FoldedOp::Pool(kind, window) => Op::Pool { kind: *kind, window: *window },
        FoldedOp::GlobalAveragePool => Op::GlobalAveragePool,
        FoldedOp::Add(residual, activation) => Op::Add { residual: *residual, activation: *activation },
        FoldedOp::Activate(activation) => Op::Activate(*activation),
        FoldedOp::Affine(affine) => {
            let mut narrow = |suffix: &str, values: &[f64]| vector(suffix, values.iter().map(|&v| v as f32).collect());
            Op::Affine { scale: narrow("scale", &affine.scale), shift: narrow("shift", &affine.shift), activation: affine.activation }
        }
        FoldedOp::Concat(activation) => Op::Concat { activation: *activation },
        FoldedOp::Softmax { log } => Op::Softmax { log: *log },
        FoldedOp::LayerNorm(n) => {
            Op::LayerNorm { scale: vector("weight", n.scale.clone()), shift: vector("bias", n.shift.clone()), eps: n.eps }
        }
        FoldedOp::Attention(attention) => Op::Attention { heads: attention.heads as u32, scale: attention.scale },
        FoldedOp::Embed(e) => {
            // The file counts channel after channel.
            let tokens = e.table.len() / e.channels.max(1);
            let values = swapped(&e.table, tokens, e.channels);
            Op::Embed { table: put(TensorData::f32(format!("{name}.table"), &[e.channels, tokens], values)) }
        }
        FoldedOp::Constant(constant) => {
            Op::Constant { tensor: put(TensorData::f32(format!("{name}.value"), constant.shape(), constant.data().to_vec())) }
        }
        FoldedOp::Primitive(p) => Op::Primitive(p.clone()),
        FoldedOp::Multiply(activation) => Op::Multiply { activation: *activation },
        FoldedOp::Rearrange(r) => rearrange(name, r)?,
    })
}

fn rearrange(name: &str, r: &Rearrange) -> Result<Op> {
    let small = |n: usize| u32::try_from(n).map_err(|_| Error::invalid(format!("layer '{name}'"), format!("has a setting of {n}")));
    let step = |&(size, stride): &(usize, usize)| Ok(Stride { size: small(size)?, stride: small(stride)? });
    Ok(Op::Rearrange {
        shape: r.shape.iter().map(|&d| small(d)).collect::<Result<_>>()?,
        offset: small(r.offset)?,
        steps: r.steps.iter().map(step).collect::<Result<_>>()?,
    })
}

/// Makes f32 denormals zero, and says how many there were. They are below 1.2e-38, and a processor that does not flush them takes many times
/// as long for each. What becomes a subnormal f16 (below 6.1e-5) stays: it is widened to a normal f32 before it is multiplied by, so it
/// costs nothing, and weights of that size are not lost in a sum.
fn flush(values: &mut [f32]) -> usize {
    let denormal = values.iter_mut().filter(|x| x.is_subnormal());
    denormal.map(|x| *x = 0.0).count()
}

fn weighted_op(
    of: &FoldedLayer,
    layer: &Weighted,
    weight: Weight,
    bias: Option<TensorId>,
    put: &mut dyn FnMut(TensorData) -> TensorId,
) -> Op {
    if let FoldedOp::Recurrent(r) = &of.op {
        let peepholes = r.peepholes.as_ref().map(|p| put(TensorData::f32(format!("{}.peepholes", of.name), &[p.len()], p.clone())));
        return Op::Recurrent(r.settings.stored(weight, bias, peepholes));
    }
    let activation = layer.activation;
    match layer.window {
        None => Op::Linear { weight, bias, activation },
        Some(window) => {
            let (outputs, groups) = (layer.kernel.outputs as u32, layer.groups as u32);
            Op::Conv { window, outputs, groups, weight, bias, residual: layer.residual, activation }
        }
    }
}
