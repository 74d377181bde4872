//! What a layer may become, and networks of random weights in such forms: times do not depend on values.

use crate::artifact::{Artifact, Dtype, Model, Op, Recurrent, TensorData, TensorInfo, Weight};
use crate::error::{Error, Result};
use crate::hash::fnv1a;
use crate::noise::xorshift;

/// A layer whose weight may be cut.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Site {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// A convolution's kernel.
    pub(super) kernel: Option<[usize; 2]>,
    /// Only ungrouped weights are cut.
    groups: usize,
    /// Height and width of the input and of the output image.
    sizes: [[usize; 2]; 2],
}

/// A form in which a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Dense,
    /// k×k to `rank` channels, then 1×1; or a pair of matrices.
    Channel {
        rank: usize,
    },
    /// k×1, then 1×k.
    Spatial {
        rank: usize,
    },
    Tucker2 {
        output: usize,
        input: usize,
    },
}

/// The layer `layer` of `artifact`, if it has a weight.
pub(super) fn site(artifact: &Artifact, layer: usize) -> Option<Site> {
    let source = &artifact.model().layers[layer];
    let (input, output) = (&artifact.shapes()[source.inputs[0] as usize], &artifact.shapes()[artifact.value_of(layer)]);
    match &source.op {
        Op::Conv { window, groups, .. } => Some(Site {
            outputs: output[0],
            inputs: input[0] / (*groups as usize).max(1),
            kernel: Some(window.kernel.map(|k| k as usize)),
            groups: *groups as usize,
            sizes: [[input[1], input[2]], [output[1], output[2]]],
        }),
        Op::Recurrent(r) => {
            let steps = [input[1], input[2]];
            Some(Site { outputs: input[0], inputs: input[0] / r.cell.gates(), kernel: None, groups: 1, sizes: [steps; 2] })
        }
        op => op.weight().map(|_| {
            let inputs = input.iter().product();
            Site { outputs: output[0], inputs, kernel: None, groups: 1, sizes: [[1, 1]; 2] }
        }),
    }
}

impl Site {
    /// Multiply–accumulates for one sample.
    fn macs(&self, cut: Cut) -> usize {
        let [[_, wide], [height, width]] = self.sizes;
        let ([kh, kw], area) = (self.kernel.unwrap_or([1, 1]), height * width);
        match cut {
            Cut::Dense => self.outputs * self.inputs * kh * kw * area,
            Cut::Channel { rank } => rank * (self.inputs * kh * kw + self.outputs) * area,
            Cut::Spatial { rank } => rank * (self.inputs * kh * height * wide + self.outputs * kw * area),
            Cut::Tucker2 { output, input } => {
                let before: usize = self.sizes[0].iter().product();
                input * self.inputs * before + output * (input * kh * kw + self.outputs) * area
            }
        }
    }

    /// The dense form, then ranks of every scheme that save multiplications: about `count` of each, Tucker's as pairs. Ranks
    /// are multiples of 4 or of a larger power of 2, and a few halves below the first of them, because kernels work on vectors
    /// of 4 and time hardly moves between.
    pub(super) fn cuts(&self, count: usize) -> Vec<Cut> {
        let mut all = vec![Cut::Dense];
        if self.groups > 1 {
            return all;
        }
        let [kh, kw] = self.kernel.unwrap_or([1, 1]);
        let dense = self.macs(Cut::Dense);
        let saving = |cut: &Cut| self.macs(*cut) < dense;
        let one = |most: usize, cut: &dyn Fn(usize) -> Cut| {
            let most = (1..=most).rev().find(|&r| saving(&cut(r))).unwrap_or(0);
            ranks(most, count, 4).into_iter().map(cut).collect::<Vec<_>>()
        };
        all.extend(one(self.outputs.min(self.inputs * kh * kw), &|rank| Cut::Channel { rank }));
        if kh * kw > 1 {
            all.extend(one((self.inputs * kh).min(self.outputs * kw), &|rank| Cut::Spatial { rank }));
            let few = (count / 2).max(2);
            let (outputs, inputs) = (ranks(self.outputs, few, 1), ranks(self.inputs, few, 1));
            let pairs = outputs.iter().flat_map(|&output| inputs.iter().map(move |&input| Cut::Tucker2 { output, input }));
            let possible = |c: &Cut| matches!(*c, Cut::Tucker2 { output, input } if output <= input * kh * kw && input <= output * kh * kw);
            all.extend(pairs.filter(possible).filter(saving));
        }
        all
    }

    /// Random tensors of this form, called `name` with a suffix; `put` stores one and says its number.
    fn store(&self, cut: Cut, name: &str, dtype: Dtype, put: &mut dyn FnMut(TensorData) -> u32) -> Weight {
        let kernel = self.kernel.map_or_else(Vec::new, |k| k.to_vec());
        let taps: usize = kernel.iter().product();
        // He's scale at the end, so that values neither fade nor grow through ReLUs.
        let mut tensor = |suffix: &str, shape: &[usize], fan_in: usize, last: bool| {
            let scale = (if last { 6.0 } else { 3.0 } / fan_in as f32).sqrt();
            let values = random(&format!("{name}.{suffix}"), shape.iter().product()).map(|x| x * scale).collect();
            put(TensorData { name: format!("{name}.{suffix}"), dtype, shape: shape.to_vec(), values })
        };
        let with_kernel = |rows: usize, columns: usize| [&[rows, columns], &kernel[..]].concat();
        let fan_in = self.inputs * taps;
        match cut {
            Cut::Dense => Weight::Dense(tensor("weight", &with_kernel(self.outputs, self.inputs), fan_in, true)),
            Cut::Channel { rank } => {
                let v = tensor("v", &with_kernel(rank, self.inputs), fan_in, false);
                let u = tensor("u", &[rank, self.outputs], rank, true);
                Weight::LowRank { v, u, sigma: tensor("sigma", &[rank], 1, false), tail_energy: 0.0 }
            }
            Cut::Spatial { rank } => {
                let [kh, kw] = self.kernel.unwrap_or([1, 1]);
                let v = tensor("v", &[rank, self.inputs, kh], self.inputs * kh, false);
                let u = tensor("u", &[rank, self.outputs, kw], rank * kw, true);
                Weight::Spatial { v, u, sigma: tensor("sigma", &[rank], 1, false), tail_energy: 0.0 }
            }
            Cut::Tucker2 { output, input } => {
                let a = tensor("a", &[input, self.inputs], self.inputs, false);
                let core = tensor("core", &with_kernel(output, input), input * taps, false);
                Weight::Tucker2 { a, core, b: tensor("b", &[output, self.outputs], output, true), tail_energy: 0.0 }
            }
        }
    }
}

impl Cut {
    /// Whether it is of the same scheme and has more components.
    pub(super) fn is_more_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Channel { rank }, Self::Channel { rank: less }) | (Self::Spatial { rank }, Self::Spatial { rank: less }) => rank > less,
            (Self::Tucker2 { output, input }, Self::Tucker2 { output: p, input: q }) => self != other && output >= p && input >= q,
            _ => false,
        }
    }

    /// Its name in a table, rank and input rank.
    pub(super) fn parts(self, of_conv: bool) -> (&'static str, Option<usize>, Option<usize>) {
        match self {
            Self::Dense => ("dense", None, None),
            Self::Channel { rank } => (if of_conv { "channel" } else { "low-rank" }, Some(rank), None),
            Self::Spatial { rank } => ("spatial", Some(rank), None),
            Self::Tucker2 { output, input } => ("tucker2", Some(output), Some(input)),
        }
    }
}

/// Values in −1…1, others for each name: equal weights in a row would let values grow or fade to denormals.
fn random(name: &str, len: usize) -> impl Iterator<Item = f32> {
    xorshift(fnv1a(name.as_bytes()) as u32 | 1).take(len)
}

/// Multiples up to `most` of the smallest power of 2, at least 4, of which there are at most `count`, and its next `halves`
/// halves.
fn ranks(most: usize, count: usize, halves: usize) -> Vec<usize> {
    let mut step = 4;
    while most / step > count.max(1) {
        step *= 2;
    }
    let mut all: Vec<usize> = (1..).map(|i| i * step).take_while(|r| *r <= most).collect();
    for _ in 0..halves {
        if step > 4 {
            step /= 2;
            all.insert(0, step);
        }
    }
    // A layer of few channels has small ranks only.
    if all.is_empty() { (1..=most).collect() } else { all }
}

/// The type of the first weight.
pub(super) fn dtype(artifact: &Artifact) -> Dtype {
    let first = artifact.model().layers.iter().find_map(|l| l.op.weight());
    first.map_or(Dtype::F32, |w| artifact.model().tensors[w.tensors()[0] as usize].dtype)
}

/// `artifact` with random weights in the forms that `cut` says; what is no weight stays as it is.
pub(super) fn recut(artifact: &Artifact, cut: &dyn Fn(usize) -> Cut) -> Result<Artifact> {
    let (mut model, dtype) = (artifact.model().clone(), dtype(artifact));
    let weights: Vec<u32> = model.layers.iter().filter_map(|l| l.op.weight()).flat_map(Weight::tensors).collect();
    // Old weights leave a place behind, so that every other tensor keeps its number.
    let old = |(id, info): (usize, &TensorInfo)| match weights.contains(&(id as u32)) {
        true => TensorData::f32(info.name.clone(), &[1], vec![0.0]),
        false => {
            let shape = info.shape.iter().map(|&d| d as usize).collect();
            TensorData { name: info.name.clone(), dtype: info.dtype, shape, values: artifact.tensor(id as u32).into_owned() }
        }
    };
    let mut tensors: Vec<TensorData> = model.tensors.iter().enumerate().map(old).collect();
    let mut put = |tensor: TensorData| {
        tensors.push(tensor);
        (tensors.len() - 1) as u32
    };
    for (index, layer) in model.layers.iter_mut().enumerate() {
        let weight = match &mut layer.op {
            Op::Linear { weight, .. } | Op::Conv { weight, .. } | Op::Recurrent(Recurrent { weight, .. }) => weight,
            _ => continue,
        };
        if let Some(site) = site(artifact, index) {
            *weight = site.store(cut(index), &layer.name, dtype, &mut put);
        }
    }
    Artifact::build(Model { tensors: Vec::new(), ..model }, tensors).map_err(|source| Error::Format { path: "<memory>".into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;

    #[test]
    fn ranks_are_multiples_of_4_and_few() {
        assert_eq!(ranks(14, 8, 4), [4, 8, 12]);
        assert_eq!(ranks(57, 8, 4), [4, 8, 16, 24, 32, 40, 48, 56]);
        assert_eq!(ranks(460, 8, 4), [4, 8, 16, 32, 64, 128, 192, 256, 320, 384, 448]);
        assert_eq!(ranks(460, 4, 1), [64, 128, 256, 384]);
        assert_eq!((ranks(3, 8, 4), ranks(0, 8, 4)), (vec![1, 2, 3], vec![]));
    }

    #[test]
    fn only_what_saves_multiplications_is_tried() {
        let site = Site { outputs: 64, inputs: 64, kernel: Some([3, 3]), groups: 1, sizes: [[8, 8]; 2] };
        let cuts = site.cuts(8);
        assert!(cuts[0] == Cut::Dense && cuts.len() > 20);
        assert!(cuts[1..].iter().all(|&c| site.macs(c) < site.macs(Cut::Dense)));
        assert!(cuts.contains(&Cut::Channel { rank: 56 }) && !cuts.contains(&Cut::Channel { rank: 60 }));
        assert_eq!(Site { groups: 64, ..site }.cuts(8), [Cut::Dense]);
    }

    #[test]
    fn a_network_is_cut_anew_and_keeps_the_rest() {
        let artifact = two_layers();
        let cut = recut(&artifact, &|i| if i == 0 { Cut::Channel { rank: 2 } } else { Cut::Dense }).unwrap();
        assert_eq!(cut.shapes(), artifact.shapes());
        let weights: Vec<_> = cut.model().layers.iter().filter_map(|l| l.op.weight()).map(|w| w.rank(&cut)).collect();
        assert_eq!(weights, [Some(2), None]);
        let bias = |a: &Artifact| match &a.model().layers[0].op {
            Op::Linear { bias: Some(id), .. } => a.tensor(*id).into_owned(),
            _ => Vec::new(),
        };
        assert!(!bias(&cut).is_empty());
        assert_eq!(bias(&cut), bias(&artifact));
    }
}
