//! From folded layers and their ranks to the artifact.

use thinfer::artifact::{Artifact, Dtype, Layer, LayerNote, Model, Op, Preprocess, Provenance, TensorData, TensorId, Weight};

use super::fold::FoldedLayer;
use crate::error::{Error, Result};
use crate::factor::{FactorPair, Svd};
use crate::rank::{break_even, factored_cost};

/// How a layer is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Cut {
    /// As its folded weight.
    Dense,
    /// As factors of this rank.
    Factors(usize),
    /// As the product of its factors of this rank: where factors would cost more but the cut itself is wanted.
    Recomposed(usize),
}

impl Cut {
    /// What `rank` becomes for a weight [rows, columns]: factors where they pay, else dense, or recomposed if `always`
    /// wants the cut all the same.
    pub fn of(rank: Option<usize>, rows: usize, columns: usize, always: bool) -> Self {
        match rank {
            Some(r) if r <= break_even(rows, columns) => Self::Factors(r),
            Some(r) if always => Self::Recomposed(r),
            _ => Self::Dense,
        }
    }
}

/// What the artifact says beside its layers.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The architecture's name.
    pub model: String,
    /// Shape of one sample.
    pub input: Vec<usize>,
    /// How images become its input.
    pub preprocess: Preprocess,
    /// Class names.
    pub classes: Vec<String>,
    /// The checkpoint's file name.
    pub source: String,
    /// How it was trained.
    pub method: String,
    /// How the ranks were chosen.
    pub policy: String,
}

/// Writes every layer in its form, weights as `dtype`, biases and singular values as f32. `svds[i]` must be there for
/// each layer that is cut.
///
/// # Errors
/// [`Error::Runtime`] when the network breaks a rule of the format.
pub(super) fn emit(identity: Identity, layers: &[FoldedLayer], svds: &[Option<Svd>], cuts: &[Cut], dtype: Dtype) -> Result<Artifact> {
    let mut tensors: Vec<TensorData> = Vec::new();
    let mut put = |tensor: TensorData| {
        tensors.push(tensor);
        (tensors.len() - 1) as TensorId
    };
    let mut provenance = Provenance {
        tool: concat!("thinferc ", env!("CARGO_PKG_VERSION")).into(),
        source: identity.source,
        method: identity.method,
        policy: identity.policy,
        ..Provenance::default()
    };
    let weights = |name: String, shape: &[usize], values: Vec<f32>| TensorData { name, dtype, shape: shape.to_vec(), values };
    let mut ops = Vec::with_capacity(layers.len());
    for ((layer, svd), cut) in layers.iter().zip(svds).zip(cuts) {
        let named = |suffix: &str| format!("{}.{suffix}", layer.name);
        let dense = (layer.rows * layer.columns) as u64;
        let pair = |rank: usize| {
            svd.as_ref()
                .map(|s| s.truncate(rank))
                .ok_or_else(|| Error::invalid(format!("layer '{}'", layer.name), "was to be cut but never factored"))
        };
        let (weight, cost) = match *cut {
            Cut::Dense => (Weight::Dense(put(weights(named("weight"), &[layer.rows, layer.columns], layer.folded_weight()))), dense),
            Cut::Recomposed(rank) => {
                (Weight::Dense(put(weights(named("weight"), &[layer.rows, layer.columns], pair(rank)?.product()))), dense)
            }
            Cut::Factors(rank) => {
                let FactorPair { rank, v, u, sigma, tail_energy } = pair(rank)?;
                let v = put(weights(named("weight.v"), &[rank, layer.columns], v));
                let u = put(weights(named("weight.u"), &[rank, layer.rows], u));
                let sigma = put(TensorData::f32(named("weight.sigma"), &[rank], sigma));
                (Weight::LowRank { v, u, sigma, tail_energy: tail_energy as f32 }, factored_cost(layer.rows, layer.columns, rank))
            }
        };
        let bias = layer.bias.as_ref().map(|b| put(TensorData::f32(named("bias"), &[layer.rows], b.clone())));
        let bias_params = layer.bias.as_ref().map_or(0, |b| b.len() as u64);
        provenance.macs += cost * layer.macs_rows as u64;
        provenance.dense_macs += dense * layer.macs_rows as u64;
        provenance.params += cost + bias_params;
        provenance.dense_params += dense + bias_params;
        if let (Some(svd), Cut::Factors(rank) | Cut::Recomposed(rank)) = (svd, cut) {
            provenance.layers.push(LayerNote {
                layer: layer.name.clone(),
                full_rank: svd.full_rank() as u32,
                energy: svd.energy(*rank) as f32,
            });
        }
        ops.push(Layer {
            name: layer.name.clone(),
            inputs: vec![layer.input as u32],
            op: Op::Linear { weight, bias, activation: layer.activation },
        });
    }
    let model = Model {
        name: identity.model,
        input: identity.input.iter().map(|&d| d as u32).collect(),
        preprocess: identity.preprocess,
        classes: identity.classes,
        layers: ops,
        tensors: Vec::new(),
        provenance,
    };
    Artifact::build(model, tensors)
        .map_err(|source| Error::Runtime(thinfer::Error::Format { path: "<the compiled network>".into(), source }))
}
