//! The trainer's own forward pass of a dense network, with running statistics.

use burn::tensor::Device;
use thinfer::artifact::Preprocess;

use super::batches::{Normaliser, check_fit};
use super::leaves::{Leaves, elements};
use super::network::{BatchTensor, Mode, forward, supported};
use super::site::Site;
use crate::data::Dataset;
use crate::error::Result;
use crate::graph::Graph;
use crate::tensor::Params;

/// Images a pass; bounds memory, changes no image's result.
const BATCH: usize = 256;

/// How well some images are classified.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    /// Mean cross entropy, without smoothing.
    pub(super) loss: f32,
    /// Images whose largest logit is their label's; the first of equal ones counts.
    pub(super) correct: usize,
    /// Images judged.
    pub(super) count: usize,
}

impl Score {
    /// Images classified rightly, in percent; 0 of no images.
    pub(super) fn accuracy(&self) -> f32 {
        100.0 * self.correct as f32 / self.count.max(1) as f32
    }
}

/// The logits of every image of `data`, row-major [images, classes], by the network `graph` with dense `params` under
/// PyTorch's names, images normalised by `preprocess`.
///
/// # Errors
/// As [`Graph::check`]; [`Error::Data`](crate::Error::Data) for images that do not fit the network;
/// [`Error::Invalid`](crate::Error::Invalid) for unusable preprocessing.
pub fn logits(graph: &Graph, params: &Params, preprocess: &Preprocess, data: &Dataset) -> Result<Vec<f32>> {
    let images: Vec<usize> = (0..data.len()).collect();
    logits_of(&Device::flex(), graph, params, preprocess, data, &images)
}

/// How well the images of `data` at `images` are classified on a device, the rest as [`logits`] has it.
///
/// # Errors
/// As [`logits`].
pub(super) fn score_on(
    device: &Device,
    graph: &Graph,
    params: &Params,
    preprocess: &Preprocess,
    data: &Dataset,
    images: &[usize],
) -> Result<Score> {
    let logits = logits_of(device, graph, params, preprocess, data, images)?;
    let classes = data.classes.len().max(1);
    let (mut loss, mut correct) = (0.0f64, 0);
    for (row, &image) in logits.chunks_exact(classes).zip(images) {
        let label = usize::from(data.labels[image]);
        let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
        loss += sum.ln() - f64::from(row[label] - max);
        correct += usize::from(thinfer::top1(row) == Some(label));
    }
    Ok(Score { loss: (loss / images.len().max(1) as f64) as f32, correct, count: images.len() })
}

fn logits_of(
    device: &Device,
    graph: &Graph,
    params: &Params,
    preprocess: &Preprocess,
    data: &Dataset,
    images: &[usize],
) -> Result<Vec<f32>> {
    supported(graph)?;
    graph.check(params)?;
    check_fit(graph, data)?;
    let normaliser = Normaliser::new(preprocess, data.shape)?;
    let leaves = Leaves::constants(params, device);
    let weight = |site: &Site<'_>| Ok(vec![site.whole(leaves.get(&format!("{}.weight", site.name))?)]);
    let mut logits = Vec::with_capacity(images.len() * data.classes.len());
    for batch in images.chunks(BATCH) {
        let x = BatchTensor::input(graph, batch.len(), normaliser.inputs(data, batch, None), device);
        logits.extend(elements(forward(graph, &leaves, params, &weight, x, batch.len(), Mode::Eval)?.0)?);
    }
    Ok(logits)
}
