//! One folded layer as a network of its own, run by a session on the CPU. So calibration sees what the runtime computes, and
//! only one layer's weights are packed at a time.

use thinfer::artifact::{Activation, Dtype, Input, Meaning, Residual, TensorSpec};
use thinfer::{Array, Device, Form, Forms, Options, Session};

use super::emit::{self, End, Identity};
use super::folded::{Affine, Folded, FoldedLayer, FoldedOp, Weighted};
use super::values::Activations;
use super::weights::Written;
use crate::error::{Error, Result};

/// Images that go through the device at once.
const BATCH: usize = 32;

/// A layer that is run over many images.
#[derive(Debug)]
pub(super) struct Stage {
    session: Session,
    inputs: Vec<String>,
    /// Shape of one image of each output.
    outputs: Vec<Vec<usize>>,
}

impl Stage {
    /// `layer`, its weight as `written`, over values such as `inputs`.
    ///
    /// # Errors
    /// [`Error::Runtime`] for values that the layer does not take.
    pub(super) fn whole(layer: &FoldedLayer, written: Option<&Written>, inputs: &[&Activations]) -> Result<Self> {
        let mut steps = Steps::new(&layer.name, inputs);
        let value = steps.push(layer.op.clone(), (0..inputs.len()).collect(), written.cloned());
        steps.open(&[value], inputs)
    }

    /// `layer` in two layers, so that the weight's product before bias, residual and activation is a second output.
    ///
    /// # Errors
    /// As [`Stage::whole`].
    pub(super) fn with_bare(layer: &FoldedLayer, w: &Weighted, written: &Written, inputs: &[&Activations]) -> Result<Self> {
        let mut steps = Steps::new(&layer.name, inputs);
        let bare = steps.bare(w, written);
        let value = steps.finish(w, written, bare);
        steps.open(&[value, bare], inputs)
    }

    /// [`Stage::with_bare`] with another residual as the last of `inputs`: what it lacks beside the layer's own is added to what
    /// the weight makes.
    ///
    /// # Errors
    /// As [`Stage::whole`].
    pub(super) fn with_target(layer: &FoldedLayer, w: &Weighted, written: &Written, inputs: &[&Activations]) -> Result<Self> {
        let mut steps = Steps::new(&layer.name, inputs);
        let bare = steps.bare(w, written);
        let target = match (w.residual, inputs) {
            (Some(how), [_, _, lossy]) => {
                let minus = affine(vec![-1.0; lossy.shape.first().copied().unwrap_or(1)], None, Activation::None);
                let minus = steps.push(minus, vec![2], None);
                let lost = steps.push(FoldedOp::Add(Residual { stride: 1, offset: 0 }, Activation::None), vec![1, minus], None);
                steps.push(FoldedOp::Add(how, Activation::None), vec![bare, lost], None)
            }
            _ => bare,
        };
        let value = steps.finish(w, written, bare);
        steps.open(&[value, target], inputs)
    }

    /// What it gives for `inputs`, output after output.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the values are no whole number of images.
    pub(super) fn run(&mut self, inputs: &[&Activations]) -> Result<Vec<Activations>> {
        let arrays: Vec<(&str, &[f32])> = self.inputs.iter().zip(inputs).map(|(name, v)| (name.as_str(), &v.data[..])).collect();
        let given = self.session.run(&arrays)?;
        let value = |(array, shape): (thinfer::NamedArray, &Vec<usize>)| match array.data {
            Array::F32(data) => Activations { shape: shape.clone(), data },
            other => Activations { shape: shape.clone(), data: other.to_f32() },
        };
        Ok(given.into_iter().zip(&self.outputs).map(value).collect())
    }

    /// [`Stage::run`] for the first output alone.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) fn value(&mut self, inputs: &[&Activations]) -> Result<Activations> {
        self.run(inputs)?.into_iter().next().ok_or_else(nothing)
    }

    /// [`Stage::run`] for both outputs of a layer in steps.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) fn both(&mut self, inputs: &[&Activations]) -> Result<(Activations, Activations)> {
        let mut values = self.run(inputs)?.into_iter();
        values.next().zip(values.next()).ok_or_else(nothing)
    }
}

fn nothing() -> Error {
    Error::invalid("a layer on its own", "gives no value")
}

/// A network of the layers that one folded layer is split into.
struct Steps<'a> {
    name: &'a str,
    network: Folded,
    written: Vec<Option<Written>>,
}

impl<'a> Steps<'a> {
    fn new(name: &'a str, inputs: &[&Activations]) -> Self {
        let inputs = inputs.iter().map(|v| v.shape.clone()).collect();
        Self { name, network: Folded { inputs, layers: Vec::new(), outputs: Vec::new() }, written: Vec::new() }
    }

    /// Appends a layer; returns its value.
    fn push(&mut self, op: FoldedOp, inputs: Vec<usize>, written: Option<Written>) -> usize {
        let layers = &mut self.network.layers;
        let name = if layers.is_empty() { self.name.to_string() } else { format!("{}.{}", self.name, layers.len()) };
        layers.push(FoldedLayer { name, inputs, op });
        self.written.push(written);
        self.network.inputs.len() + self.network.layers.len() - 1
    }

    /// The weight alone.
    fn bare(&mut self, w: &Weighted, written: &Written) -> usize {
        let op = Weighted { bias: None, residual: None, activation: Activation::None, ..w.clone() };
        self.push(FoldedOp::Weighted(op), vec![0], Some(Written { bias: None, ..written.clone() }))
    }

    /// Bias, residual and activation behind `bare`.
    fn finish(&mut self, w: &Weighted, written: &Written, bare: usize) -> usize {
        let behind_bias = if w.residual.is_none() { w.activation } else { Activation::None };
        let biased = match (&written.bias, behind_bias) {
            (Some(bias), activation) => self.push(affine(vec![1.0; bias.len()], Some(bias), activation), vec![bare], None),
            (None, Activation::None) => bare,
            (None, activation) => self.push(FoldedOp::Activate(activation), vec![bare], None),
        };
        match w.residual {
            Some(how) => self.push(FoldedOp::Add(how, w.activation), vec![biased, 1], None),
            None => biased,
        }
    }

    /// A session that gives `outputs`. Factors are multiplied back: only their function matters here.
    fn open(mut self, outputs: &[usize], inputs: &[&Activations]) -> Result<Stage> {
        self.network.outputs = outputs.to_vec();
        let mut identity = Identity { model: self.name.into(), ..Identity::default() };
        for (i, value) in inputs.iter().enumerate() {
            let shape: Vec<u32> = value.shape.iter().map(|&d| d as u32).collect();
            identity.inputs.push(Input { spec: TensorSpec::new(i.to_string(), &shape), ..Input::new(&shape) });
        }
        // A single output defaults to the last layer's value; of two, both have the shape of the weight's product.
        if let ([_, _, ..], Some(w)) = (outputs, self.network.layers.first().and_then(FoldedLayer::weighted)) {
            let shape = if w.window.is_some() { [&[w.kernel.outputs], &w.output_size[..]].concat() } else { vec![w.kernel.outputs] };
            let declared: Vec<u32> = shape.iter().map(|&d| d as u32).collect();
            let end = |i: usize| End {
                spec: TensorSpec::new(i.to_string(), &declared),
                shape: shape.clone(),
                scores: Some(Meaning::Values),
                classifies: false,
            };
            identity.outputs = (0..outputs.len()).map(end).collect();
        }
        let (artifact, _) = emit::emit(identity, &self.network, &self.written, Dtype::F32)?;
        let images = inputs.first().map_or(1, |v| v.images());
        let options = Options { batch: images.clamp(1, BATCH), forms: Forms::All(Form::Dense), cache: None, ..Options::default() };
        let shapes = artifact.outputs().iter().map(|o| artifact.shapes()[o.value as usize].clone());
        Ok(Stage {
            outputs: shapes.collect(),
            inputs: artifact.inputs().iter().map(|i| i.spec.name.clone()).collect(),
            session: Session::new(&Device::cpu(), &artifact, &options)?,
        })
    }
}

/// y = act(scale·x + shift) for each channel.
fn affine(scale: Vec<f64>, shift: Option<&[f32]>, activation: Activation) -> FoldedOp {
    let shift = shift.map_or_else(|| vec![0.0; scale.len()], |s| s.iter().map(|&b| f64::from(b)).collect());
    FoldedOp::Affine(Affine { scale, shift, activation })
}
