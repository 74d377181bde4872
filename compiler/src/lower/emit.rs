//! From folded layers and their ranks to the artifact.

use thinfer::artifact::{Artifact, Dtype, Layer, LayerNote, Model, Op, Preprocess, Provenance, TensorData, TensorId, Weight};

use super::folded::{FoldedLayer, FoldedOp, Weighted};
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
/// each layer that is cut; a layer without a weight has neither.
///
/// # Errors
/// [`Error::Runtime`] when the network breaks a rule of the format.
pub(super) fn emit(identity: Identity, layers: &[FoldedLayer], svds: &[Option<Svd>], cuts: &[Cut], dtype: Dtype) -> Result<Artifact> {
    let provenance = Provenance {
        tool: concat!("thinferc ", env!("CARGO_PKG_VERSION")).into(),
        source: identity.source,
        method: identity.method,
        policy: identity.policy,
        ..Provenance::default()
    };
    let mut file = File { dtype, tensors: Vec::new(), provenance };
    let mut ops = Vec::with_capacity(layers.len());
    for ((layer, svd), cut) in layers.iter().zip(svds).zip(cuts) {
        let op = match &layer.op {
            FoldedOp::Weighted(weighted) => file.weighted(&layer.name, weighted, svd.as_ref(), cut)?,
            FoldedOp::Pool(kind, window) => Op::Pool { kind: *kind, window: *window },
            FoldedOp::GlobalAveragePool => Op::GlobalAveragePool,
            FoldedOp::Add(residual, activation) => Op::Add { residual: *residual, activation: *activation },
            FoldedOp::Activate(activation) => Op::Activate(*activation),
        };
        ops.push(Layer { name: layer.name.clone(), inputs: layer.inputs.iter().map(|&v| v as u32).collect(), op });
    }
    let model = Model {
        name: identity.model,
        input: identity.input.iter().map(|&d| d as u32).collect(),
        preprocess: identity.preprocess,
        classes: identity.classes,
        layers: ops,
        tensors: Vec::new(),
        provenance: file.provenance,
    };
    Artifact::build(model, file.tensors)
        .map_err(|source| Error::Runtime(thinfer::Error::Format { path: "<the compiled network>".into(), source }))
}

/// The file under construction.
struct File {
    dtype: Dtype,
    tensors: Vec<TensorData>,
    provenance: Provenance,
}

impl File {
    fn put(&mut self, tensor: TensorData) -> TensorId {
        self.tensors.push(tensor);
        (self.tensors.len() - 1) as TensorId
    }

    /// Stores a weight and its bias, notes what they cost.
    fn weighted(&mut self, name: &str, layer: &Weighted, svd: Option<&Svd>, cut: &Cut) -> Result<Op> {
        let bias = layer.bias.clone();
        let bias_params = bias.as_ref().map_or(0, |b| b.len() as u64);
        let (weight, cost) = self.weight(name, layer, svd, cut)?;
        let bias = bias.map(|b| self.put(TensorData::f32(format!("{name}.bias"), &[b.len()], b)));
        let p = &mut self.provenance;
        p.macs = p.macs.saturating_add(cost.saturating_mul(layer.positions() as u64));
        p.dense_macs = p.dense_macs.saturating_add(layer.dense_macs());
        p.params += cost + bias_params;
        p.dense_params += layer.dense_params();
        if let (Some(svd), Cut::Factors(rank) | Cut::Recomposed(rank)) = (svd, cut) {
            p.layers.push(LayerNote { layer: name.into(), full_rank: svd.full_rank() as u32, energy: svd.energy(*rank) as f32 });
        }
        let activation = layer.activation;
        Ok(match layer.window {
            None => Op::Linear { weight, bias, activation },
            Some(window) => {
                let (outputs, groups) = (layer.kernel.outputs as u32, layer.groups as u32);
                Op::Conv { window, outputs, groups, weight, bias, residual: layer.residual, activation }
            }
        })
    }

    /// Stores a weight; also gives its elements, which are the multiply–accumulates at one position.
    fn weight(&mut self, name: &str, layer: &Weighted, svd: Option<&Svd>, cut: &Cut) -> Result<(Weight, u64)> {
        let (kernel, dtype) = (layer.kernel, self.dtype);
        let named =
            |suffix: &str, shape: Vec<usize>, values: Vec<f32>| TensorData { name: format!("{name}.{suffix}"), dtype, shape, values };
        let shape = kernel.shape(layer.window.is_none());
        let pair = |rank: usize| {
            let missing = || Error::invalid(format!("layer '{name}'"), "was to be cut but never factored");
            svd.map(|s| s.truncate(rank)).ok_or_else(missing)
        };
        Ok(match *cut {
            Cut::Dense => (Weight::Dense(self.put(named("weight", shape, layer.folded_weight()))), kernel.len() as u64),
            Cut::Recomposed(rank) => (Weight::Dense(self.put(named("weight", shape, pair(rank)?.product()))), kernel.len() as u64),
            Cut::Factors(rank) => {
                let FactorPair { rank, v, u, sigma, tail_energy } = pair(rank)?;
                let v_shape = std::iter::once(rank).chain(shape[1..].iter().copied()).collect();
                let v = self.put(named("weight.v", v_shape, v));
                let u = self.put(named("weight.u", vec![rank, kernel.outputs], u));
                let sigma = self.put(TensorData::f32(format!("{name}.weight.sigma"), &[rank], sigma));
                let cost = factored_cost(kernel.outputs, kernel.columns(), rank);
                (Weight::LowRank { v, u, sigma, tail_energy: tail_energy as f32 }, cost)
            }
        })
    }
}
