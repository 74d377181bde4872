//! One file, many ranks: the network that the first components of each layer's factors make, with what depends on their
//! number worked out anew from what the file holds.
//!
//! * A weight that was scaled to keep its energy (LRPET) is scaled for what is kept now: √(kept before / kept now) more.
//! * A bias takes over what the components left out gave in the mean, where the file holds those means.

use std::collections::BTreeMap;

use super::v1::Nested;
use super::{Artifact, Model, Op, Provenance, Recurrent, Sections, TensorData, TensorId, TensorInfo, Weight, layer_macs, shares};
use crate::error::{Error, Result};

/// What is kept of a tensor: the first entries along each of its first axes.
type Kept = Vec<usize>;

impl Artifact {
    /// What the file holds for smaller ranks.
    pub fn nested(&self) -> &[Nested] {
        &self.sections.nested
    }

    /// What the file holds behind its network.
    pub fn sections(&self) -> &Sections {
        &self.sections
    }

    /// The network at `share` (0…1) of its ranks: it costs what it would if each factored layer kept that share of its
    /// components, and layers that have little to lose give more of them, so that together they lose least. Each keeps its
    /// most important ones, at least one. Layers that are stored dense stay as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a share that is not above 0 and at most 1.
    pub fn with_ranks(&self, share: f64) -> Result<Self> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::invalid(format!("ranks {share}"), "the share must be above 0 and at most 1"));
        }
        let ranks = shares::ranks(self, share);
        let mut model = self.model.clone();
        let mut kept: BTreeMap<TensorId, Kept> = BTreeMap::new();
        let mut scaled: BTreeMap<TensorId, f64> = BTreeMap::new();
        let mut biases: Vec<(usize, Vec<f32>)> = Vec::new();
        let mut energies_left: Vec<(usize, f64)> = Vec::new();
        for (index, layer) in model.layers.iter_mut().enumerate() {
            let (Op::Linear { weight, bias, .. } | Op::Conv { weight, bias, .. } | Op::Recurrent(Recurrent { weight, bias, .. })) =
                &mut layer.op
            else {
                continue;
            };
            let Some(wanted) = ranks[index] else { continue };
            let note = self.sections.nested.iter().find(|n| n.layer as usize == index);
            let axes = |id: TensorId| self.tensor_shape(id).iter().map(|&d| d as usize).collect::<Vec<_>>();
            // U or B, which gives the outputs, and what is kept of it.
            let (last, before, now) = match weight {
                Weight::Dense(_) => continue,
                Weight::LowRank { v, u, sigma, tail_energy } | Weight::Spatial { v, u, sigma, tail_energy } => {
                    let rank = wanted.rank;
                    let energies: Vec<f64> = self.tensor(*sigma).iter().map(|&s| f64::from(s).powi(2)).collect();
                    *tail_energy = stored(f64::from(*tail_energy) + energies.iter().skip(rank).sum::<f64>());
                    kept.extend([*v, *u, *sigma].map(|id| (id, vec![rank])));
                    kept.extend(note.and_then(|n| n.means).map(|id| (id, vec![rank])));
                    (*u, energies.iter().sum::<f64>(), energies.iter().take(rank).sum::<f64>())
                }
                Weight::Tucker2 { a, core, b, tail_energy } => {
                    let shape = axes(*core);
                    let (output, input, taps) = (wanted.rank, wanted.input, shape[2] * shape[3]);
                    let values = self.tensor(*core);
                    let energy = |values: &[f32]| values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                    let now = values.chunks(shape[1] * taps).take(output).map(|row| energy(&row[..input * taps])).sum::<f64>();
                    *tail_energy = stored((f64::from(*tail_energy) + energy(&values) - now).max(0.0));
                    kept.extend([(*a, vec![input]), (*core, vec![output, input]), (*b, vec![output])]);
                    kept.extend(note.and_then(|n| n.means).map(|id| (id, vec![input])));
                    (*b, energy(&values), now)
                }
            };
            if now > 0.0 && before > now {
                energies_left.push((index, now / before));
                if note.is_some_and(|n| n.gained) {
                    scaled.insert(last, (before / now).sqrt());
                }
            }
            if let Some(means) = note.and_then(|n| n.means) {
                let (before, now) = (self.mean_output(weight, means, None), self.mean_output(weight, means, Some(&kept)));
                let now = now.iter().map(|x| x * scaled.get(&last).copied().unwrap_or(1.0));
                let old = bias.map(|id| self.tensor(id));
                let at = |o: usize| old.as_ref().map_or(0.0, |b| f64::from(b[o]));
                biases.push((index, before.iter().zip(now).enumerate().map(|(o, (b, n))| (at(o) + b - n) as f32).collect()));
            }
        }
        if share < 1.0 {
            let p = &mut model.provenance;
            p.policy = format!("{}, {:.0} % of its ranks", p.policy, 100.0 * share);
            for (index, left) in energies_left {
                let name = &model.layers[index].name;
                p.layers.iter_mut().filter(|n| n.layer == *name).for_each(|n| n.energy *= left as f32);
            }
        }
        self.write_kept(model, &kept, &scaled, biases)
    }

    /// The mean of each output of a factored weight, without bias, as `means` of its first factor have it; over what `kept`
    /// leaves of its tensors.
    fn mean_output(&self, weight: &Weight, means: TensorId, kept: Option<&BTreeMap<TensorId, Kept>>) -> Vec<f64> {
        let part = |id: TensorId| {
            let shape: Vec<usize> = self.tensor_shape(id).iter().map(|&d| d as usize).collect();
            let (values, shape) = first(&self.tensor(id), &shape, kept.and_then(|k| k.get(&id)).map_or(&[][..], |k| k));
            (values.into_iter().map(f64::from).collect::<Vec<_>>(), shape)
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let (means, _) = part(means);
        match *weight {
            Weight::Dense(_) => Vec::new(),
            // [rank, outputs, width] against [rank, width]; without a width it is 1.
            Weight::LowRank { u, .. } | Weight::Spatial { u, .. } => {
                let (u, shape) = part(u);
                let width = shape.get(2).copied().unwrap_or(1);
                let mut out = vec![0.0; shape[1]];
                for (u, means) in u.chunks(shape[1] * width).zip(means.chunks(width)) {
                    out.iter_mut().zip(u.chunks(width)).for_each(|(o, u)| *o += dot(u, means));
                }
                out
            }
            Weight::Tucker2 { core, b, .. } => {
                let ((core, _), (b, shape)) = (part(core), part(b));
                let mut out = vec![0.0; shape[1]];
                for (core, b) in core.chunks(means.len()).zip(b.chunks(shape[1])) {
                    let mean = dot(core, &means);
                    out.iter_mut().zip(b).for_each(|(o, b)| *o += b * mean);
                }
                out
            }
        }
    }

    /// The file of `model` with the tensors that `kept` leaves, multiplied by what `scaled` says, and new biases by layer.
    fn write_kept(
        &self,
        mut model: Model,
        kept: &BTreeMap<TensorId, Kept>,
        scaled: &BTreeMap<TensorId, f64>,
        biases: Vec<(usize, Vec<f32>)>,
    ) -> Result<Self> {
        let mut tensors = Vec::with_capacity(model.tensors.len() + biases.len());
        for (id, info) in (0..).zip(&model.tensors) {
            let shape: Vec<usize> = info.shape.iter().map(|&d| d as usize).collect();
            let (mut values, shape) = first(&self.tensor(id), &shape, kept.get(&id).map_or(&[][..], |k| k));
            if let Some(&by) = scaled.get(&id) {
                values.iter_mut().for_each(|x| *x = (f64::from(*x) * by) as f32);
            }
            tensors.push(TensorData { name: info.name.clone(), dtype: info.dtype, shape, values });
        }
        for (index, values) in biases {
            let layer = &mut model.layers[index];
            if let Op::Linear { bias, .. } | Op::Conv { bias, .. } | Op::Recurrent(Recurrent { bias, .. }) = &mut layer.op {
                *bias = Some(tensors.len() as TensorId);
                tensors.push(TensorData::f32(format!("{}.bias", layer.name), &[values.len()], values));
            }
        }
        if !kept.is_empty() {
            model.provenance = self.counted(&model, &tensors);
        }
        // Stored tuning results hold for the old ranks only.
        let tuned = if kept.is_empty() { self.sections.tuned.clone() } else { Vec::new() };
        Self::build_with_sections(model, tensors, Sections { tuned, ..self.sections.clone() })
            .map_err(|source| Error::Format { path: "<memory>".into(), source })
    }

    /// What is known of `model`, whose tensors are `tensors`, if this is the network that it was cut from.
    fn counted(&self, model: &Model, tensors: &[TensorData]) -> Provenance {
        let info = |t: &TensorData| TensorInfo {
            name: String::new(),
            dtype: t.dtype,
            shape: t.shape.iter().map(|&d| d as u32).collect(),
            offset: 0,
        };
        // Costs follow from shapes alone.
        let model = Model { tensors: tensors.iter().map(info).collect(), ..model.clone() };
        let stored = |m: &Model| m.layers.iter().filter_map(|l| l.op.weight()).flat_map(|w| factors_of(m, w)).sum::<u64>();
        let mut p = model.provenance.clone();
        p.macs = (0..model.layers.len()).map(|i| layer_macs(&model, &self.values.shapes, i).0).sum();
        p.params = p.params.saturating_sub(stored(&self.model)).saturating_add(stored(&model));
        p
    }
}

/// Elements of each tensor that a weight multiplies by.
fn factors_of(model: &Model, weight: &Weight) -> Vec<u64> {
    let elements = |id: TensorId| model.tensors[id as usize].element_count();
    match *weight {
        Weight::Dense(id) => vec![elements(id)],
        Weight::LowRank { v, u, .. } | Weight::Spatial { v, u, .. } => [v, u].map(elements).to_vec(),
        Weight::Tucker2 { a, core, b, .. } => [a, core, b].map(elements).to_vec(),
    }
}

/// An energy as a file has it: of weights near the largest f32 it would be infinite.
fn stored(energy: f64) -> f32 {
    energy.min(f32::MAX.into()) as f32
}

/// The first entries of row-major `values` along the first axes, as many as `kept` says of each (one or two); the others whole.
fn first(values: &[f32], shape: &[usize], kept: &[usize]) -> (Vec<f32>, Vec<usize>) {
    let mut now = shape.to_vec();
    now.iter_mut().zip(kept).for_each(|(n, k)| *n = (*n).min(*k));
    let row: usize = shape.iter().skip(1).product();
    let part: usize = now.iter().skip(1).product();
    (values.chunks(row.max(1)).take(now[0]).flat_map(|r| r[..part].to_vec()).collect(), now)
}

#[cfg(test)]
mod tests {
    use super::super::{Activation, Layer, Window};
    use super::*;
    use crate::noise::noise;

    fn data(name: &str, shape: &[usize], seed: usize) -> TensorData {
        let len: usize = shape.iter().product();
        TensorData::f32(name, shape, noise(len + seed).split_off(seed))
    }

    fn conv(weight: Weight, tensors: Vec<TensorData>, nested: Vec<Nested>, bias: Option<TensorId>) -> Artifact {
        let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4], dilation: [1, 1] };
        let op = Op::Conv { window, outputs: 6, groups: 1, weight, bias, residual: None, activation: Activation::None };
        let model = Model::new("one", &[4, 5, 5], vec![Layer { name: "c".into(), inputs: vec![0], op }]);
        Artifact::build_nested(model, tensors, nested).unwrap()
    }

    fn nested(means: Option<TensorId>, gained: bool) -> Vec<Nested> {
        vec![Nested { layer: 0, means, gained }]
    }

    #[test]
    fn the_first_components_are_kept_and_their_number_is_a_share() {
        let weight = Weight::LowRank { v: 0, u: 1, sigma: 2, tail_energy: 1.0 };
        let sigma = TensorData::f32("sigma", &[5], vec![5.0, 4.0, 3.0, 2.0, 1.0]);
        let whole = conv(weight, vec![data("v", &[5, 4, 3, 3], 0), data("u", &[5, 6], 9), sigma], vec![], None);
        let half = whole.with_ranks(0.5).unwrap();
        let Op::Conv { weight: Weight::LowRank { v, u, tail_energy, .. }, bias: None, .. } = half.model().layers[0].op else {
            panic!("still low-rank")
        };
        assert_eq!((half.tensor_shape(v), half.tensor_shape(u), tail_energy), (&[3, 4, 3, 3][..], &[3, 6][..], 1.0 + 4.0 + 1.0));
        assert_eq!(half.tensor(v)[..], whole.tensor(0)[..3 * 36]);
        let same = whole.with_ranks(1.0).unwrap();
        assert_eq!(
            (same.shapes(), (0..3).map(|i| same.tensor(i)).collect::<Vec<_>>()),
            (whole.shapes(), (0..3).map(|i| whole.tensor(i)).collect())
        );
        assert_eq!(whole.with_ranks(1e-9).unwrap().tensor_shape(v)[0], 1);
        assert_eq!(half.model().provenance.macs, 3 * (36 + 6) * 25);
        for bad in [0.0, -0.5, 1.5, f64::NAN] {
            assert!(whole.with_ranks(bad).unwrap_err().to_string().contains("share"), "{bad}");
        }
    }

    /// Whatever components are dropped, an input at its mean gives the same output as before.
    #[test]
    fn biases_take_over_what_was_left_out() {
        let inside = |y: &[f32]| -> Vec<f32> { y.chunks(25).map(|plane| plane[12]).collect() };
        // A constant image: every patch inside it is its own mean.
        let x: Vec<f32> = [0.5f32, -1.0, 2.0, 0.25].iter().flat_map(|&c| [c; 25]).collect();
        let run = |a: &Artifact| {
            let options = crate::Options { forms: crate::Forms::Ruled, cache: None, ..crate::Options::default() };
            inside(&crate::Session::new(&crate::Device::cpu(), a, &options).unwrap().run(&x).unwrap())
        };
        let channel = [0.5f64, -1.0, 2.0, 0.25];
        let sum = |values: &[f32], at: &dyn Fn(usize) -> usize| -> f32 {
            values.iter().enumerate().map(|(i, &v)| f64::from(v) * channel[at(i)]).sum::<f64>() as f32
        };
        let sigma = |r| TensorData::f32("sigma", &[r], vec![1.0; r]);
        let bias = data("bias", &[6], 77);

        let (v, u) = (data("v", &[5, 4, 3, 3], 0), data("u", &[5, 6], 9));
        let means = TensorData::f32("means", &[5], v.values.chunks(36).map(|v| sum(v, &|i| i / 9)).collect());
        let low = Weight::LowRank { v: 0, u: 1, sigma: 2, tail_energy: 0.0 };
        let low = conv(low, vec![v, u, sigma(5), means, bias.clone()], nested(Some(3), false), Some(4));

        let (v, u) = (data("v", &[7, 4, 3], 3), data("u", &[7, 6, 3], 5));
        let means = v.values.chunks(12).flat_map(|v| [sum(v, &|i| i / 3); 3]).collect();
        let spatial = Weight::Spatial { v: 0, u: 1, sigma: 2, tail_energy: 0.0 };
        let spatial = conv(spatial, vec![v, u, sigma(7), TensorData::f32("means", &[7, 3], means)], nested(Some(3), false), None);

        let (a, core, b) = (data("a", &[4, 4], 1), data("core", &[5, 4, 3, 3], 2), data("b", &[5, 6], 4));
        let means = a.values.chunks(4).flat_map(|a| [sum(a, &|i| i); 9]).collect();
        let tucker = Weight::Tucker2 { a: 0, core: 1, b: 2, tail_energy: 0.0 };
        let tucker = conv(tucker, vec![a, core, b, TensorData::f32("means", &[4, 3, 3], means), bias], nested(Some(3), false), Some(4));

        for (name, whole) in [("channel", low), ("spatial", spatial), ("tucker2", tucker)] {
            let wanted = run(&whole);
            for share in [1.0, 0.8, 0.6, 0.3] {
                let got = run(&whole.with_ranks(share).unwrap());
                assert!(got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{name} {share}: {got:?} {wanted:?}");
            }
            let again = whole.with_ranks(0.8).unwrap().with_ranks(0.5).unwrap();
            assert!(run(&again).iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{name} twice");
        }
    }

    #[test]
    fn a_gain_grows_with_what_is_left_out() {
        let weight = || Weight::LowRank { v: 0, u: 1, sigma: 2, tail_energy: 0.0 };
        let tensors = || vec![data("v", &[2, 4, 3, 3], 0), data("u", &[2, 6], 9), TensorData::f32("sigma", &[2], vec![4.0, 3.0])];
        let first = |gained| conv(weight(), tensors(), nested(None, gained), None).with_ranks(0.5).unwrap().tensor(1)[0];
        assert_eq!(first(false), tensors()[1].values[0]);
        assert!((first(true) - tensors()[1].values[0] * 1.25).abs() < 1e-6);
    }
}
