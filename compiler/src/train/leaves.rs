//! The tensors of one step on Burn's side, and the way there and back.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::optimizer::Gradients;
use crate::error::{Error, Result};
use crate::tensor::{Params, Tensor as HostTensor};

/// The trained tensors of one step on Burn's side, by name: matrices as they are, kernels unfolded to [out, in·k²],
/// vectors as one row. Names, not Burn's random parameter ids, tell them apart.
#[derive(Clone, Debug)]
pub(crate) struct Leaves(BTreeMap<String, Tensor<2>>);

impl Leaves {
    /// Leaves that gradients are kept for; `device` must be an autodiff one.
    pub(super) fn tracked(params: &Params, device: &Device) -> Self {
        Self(params.iter().map(|(name, t)| (name.clone(), upload(t, device).require_grad())).collect())
    }

    /// The same without gradients.
    pub(super) fn constants(params: &Params, device: &Device) -> Self {
        Self(params.iter().map(|(name, t)| (name.clone(), upload(t, device))).collect())
    }

    /// Whether there is a tensor called `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every name, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The tensor called `name`; cheap, the elements are shared.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a tensor that there is not.
    pub(crate) fn get(&self, name: &str) -> Result<Tensor<2>> {
        self.0.get(name).cloned().ok_or_else(|| Error::invalid(name, "is no tensor of this network"))
    }

    /// d(loss)/d(leaf) of every leaf, on the host; zero for a leaf that the loss does not depend on.
    ///
    /// # Errors
    /// What the device said.
    pub(super) fn gradients(&self, loss: &Tensor<1>) -> Result<Gradients> {
        let mut all = loss.backward();
        self.0
            .iter()
            .map(|(name, leaf)| {
                let gradient = match leaf.grad_remove(&mut all) {
                    Some(g) => elements(g)?,
                    None => vec![0.0; leaf.dims().iter().product()],
                };
                Ok((name.clone(), gradient))
            })
            .collect()
    }
}

/// A host tensor on `device`: unfolded, a vector as one row.
pub(super) fn upload(tensor: &HostTensor, device: &Device) -> Tensor<2> {
    let (rows, columns) = if tensor.shape().len() == 1 { (1, tensor.data().len()) } else { tensor.unfolded() };
    Tensor::from_data(TensorData::new(tensor.data().to_vec(), [rows, columns]), device)
}

/// A tensor's elements on the host, row-major.
///
/// # Errors
/// What the device said.
pub(super) fn elements<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|e| Error::invalid("device", e.to_string()))
}
