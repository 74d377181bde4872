//! The activations of all calibration images during a walk through a network.

use super::folded::{Folded, FoldedLayer};
use crate::error::{Error, Result};

/// One value of every image, image after image, each row-major over `shape`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Activations {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

impl Activations {
    /// Elements of one image.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn images(&self) -> usize {
        self.data.len() / self.len().max(1)
    }

    pub(super) fn image(&self, i: usize) -> &[f32] {
        &self.data[i * self.len()..(i + 1) * self.len()]
    }
}

/// The live values of a network of one input, by number; each is dropped after its last reader.
#[derive(Debug)]
pub(super) struct LiveValues {
    values: Vec<Option<Activations>>,
    last_reader: Vec<usize>,
}

impl LiveValues {
    /// The input alone: `images` in the shape that the network takes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for images of another size.
    pub(super) fn new(network: &Folded, images: &Activations) -> Result<Self> {
        let shape = network.inputs.first().cloned().unwrap_or_default();
        let wanted: usize = shape.iter().product();
        if images.len() != wanted {
            return Err(Error::invalid("calibration images", format!("have {} values each, the network takes {wanted}", images.len())));
        }
        let mut last_reader = vec![0; network.layers.len() + 1];
        for (i, layer) in network.layers.iter().enumerate() {
            layer.inputs.iter().filter(|v| **v <= i).for_each(|v| last_reader[*v] = i);
        }
        Ok(Self { values: vec![Some(Activations { shape, data: images.data.clone() })], last_reader })
    }

    /// What a layer reads, in its order.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a layer that reads a value that is not there.
    pub(super) fn of(&self, layer: &FoldedLayer) -> Result<Vec<&Activations>> {
        let inputs: Option<Vec<&Activations>> = layer.inputs.iter().map(|&v| self.values.get(v)?.as_ref()).collect();
        let missing = || Error::invalid(format!("layer '{}'", layer.name), "reads a value that is not there");
        inputs.filter(|v| !v.is_empty()).ok_or_else(missing)
    }

    /// The next layer's output.
    pub(super) fn push(&mut self, value: Activations) {
        let layer = self.values.len() - 1;
        self.values.push(Some(value));
        for (value, last) in self.values.iter_mut().zip(&self.last_reader) {
            if *last <= layer {
                *value = None;
            }
        }
    }
}
