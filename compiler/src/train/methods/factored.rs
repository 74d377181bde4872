//! Layers whose weight is trained as factors, under the names and in the forms of [`crate::import::Place`].

use burn::tensor::{Device, Tensor};

use crate::error::{Error, Result};
use crate::factor::{Rank, Scheme, Spectrum};
use crate::graph::Graph;
use crate::tensor::{Params, Tensor as HostTensor, swapped};
use crate::train::leaves::{Leaves, elements};
use crate::train::site::{Factor, Layer, Site};

/// A scheme with its ranks: r, or r₁ and r₂.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) scheme: Scheme,
    /// r₁ of Tucker-2, else r.
    pub(super) outer: usize,
    /// r₂ of Tucker-2, else r.
    pub(super) inner: usize,
}

/// The layers that methods cut or factor: all but the first where it is a convolution, the last where it is linear (the
/// papers leave both alone, and neither costs much) and grouped ones.
///
/// # Errors
/// [`Error::Invalid`] naming `method` when there is none.
pub(super) fn cuttable<'a>(graph: &'a Graph, method: &str) -> Result<Vec<(&'a str, Layer<'a>)>> {
    let mut layers: Vec<_> = Layer::all(graph).collect();
    if matches!(layers.last(), Some((_, Layer::Linear(_)))) {
        layers.pop();
    }
    let starts = usize::from(matches!(layers.first(), Some((_, Layer::Conv(_)))));
    let layers: Vec<_> = layers.into_iter().skip(starts).filter(|(_, layer)| !layer.is_grouped()).collect();
    if layers.is_empty() {
        return Err(Error::invalid(method, format!("needs layers between the first and the last, of which {} has none", graph.name)));
    }
    Ok(layers)
}

/// Where each element of the spatial unfolding [inputs·k_h, outputs·k_w] lies in a weight of `shape`.
pub(super) fn spatial_order(shape: &[usize]) -> Vec<usize> {
    let &[outputs, inputs, height, width] = shape else { return Vec::new() };
    let rows = (0..inputs).flat_map(|i| (0..height).map(move |y| (i, y)));
    rows.flat_map(|(i, y)| (0..outputs).flat_map(move |o| (0..width).map(move |x| ((o * inputs + i) * height + y) * width + x))).collect()
}

impl Form {
    /// `scheme` as it is for this layer, at the largest rank that makes sense on each side: a matrix, and a kernel of one
    /// column cut in space, are cut channel by channel.
    pub(super) fn full(scheme: Scheme, layer: Layer<'_>) -> Self {
        let kernel = layer.place("").kernel;
        let scheme = if scheme == Scheme::Spatial && kernel.width == 1 { Scheme::Channel } else { scheme.of(&kernel) };
        Self::new(scheme, scheme.full_rank(&kernel))
    }

    /// The same with both ranks multiplied by `share`, rounded, at least 1.
    pub(super) fn share(self, share: f64) -> Self {
        let part = |rank: usize| ((rank as f64 * share).round() as usize).clamp(1, rank.max(1));
        Self { outer: part(self.outer), inner: part(self.inner), ..self }
    }

    fn rank(self) -> Rank {
        match self.scheme {
            Scheme::Tucker2 => Rank::Two { output: self.outer, input: self.inner },
            _ => Rank::One(self.inner),
        }
    }

    /// Elements and given vectors of each factor at `site`, in the order in which they are applied.
    pub(super) fn chain(self, site: &Site<'_>) -> Vec<(usize, usize)> {
        let first = match self.scheme {
            Scheme::Channel => site.gives,
            Scheme::Spatial => site.halfway,
            Scheme::Tucker2 => site.reads,
        };
        let sizes = site.layer.place(site.name).shapes(self.scheme, self.rank()).into_iter().map(|(_, shape)| shape.iter().product());
        sizes.zip([first, site.gives, site.gives]).collect()
    }

    /// The form of the layer `name` in `params`, whose tensors must fit it; `None` for a layer that is not in factors.
    ///
    /// # Errors
    /// As [`crate::import::Place::form`].
    pub(super) fn of(name: &str, layer: Layer<'_>, params: &Params) -> Result<Option<Self>> {
        Ok(layer.place(name).form(params)?.map(|(scheme, rank)| Self::new(scheme, rank)))
    }

    fn new(scheme: Scheme, rank: Rank) -> Self {
        let (outer, inner) = match rank {
            Rank::One(r) => (r, r),
            Rank::Two { output, input } => (output, input),
        };
        Self { scheme, outer, inner }
    }

    /// Factors of `weight` at these ranks under their names: the truncated SVD, or HOSVD. The outer ones are orthonormal;
    /// v of channel, u of spatial and the core carry the size.
    ///
    /// # Errors
    /// As [`Spectrum::new`].
    pub(super) fn factor(self, name: &str, layer: Layer<'_>, weight: &HostTensor) -> Result<Params> {
        let (rows, columns) = weight.unfolded();
        let (outputs, inputs, [height, width]) = (layer.outputs(), layer.inputs(), layer.window().kernel);
        let parts = match self.scheme {
            Scheme::Channel => {
                let spectrum = Spectrum::new(name, weight.data(), rows, columns)?;
                vec![spectrum.right(self.inner, |s| s), spectrum.left(self.inner, |_| 1.0)]
            }
            Scheme::Spatial => {
                let matrix: Vec<f32> = spatial_order(weight.shape()).into_iter().map(|at| weight.data()[at]).collect();
                let spectrum = Spectrum::new(name, &matrix, inputs * height, outputs * width)?;
                let (left, right) = (spectrum.left(self.inner, |_| 1.0), spectrum.right(self.inner, |s| s));
                vec![swapped(&left, inputs * height, self.inner), swapped(&right, self.inner, outputs)]
            }
            Scheme::Tucker2 => {
                let taps = height * width;
                let left = Spectrum::new(name, weight.data(), outputs, inputs * taps)?;
                let right = Spectrum::new(name, &swapped(weight.data(), outputs, inputs), inputs, outputs * taps)?;
                let (u, v) = (left.left(self.outer, |_| 1.0), swapped(&right.left(self.inner, |_| 1.0), inputs, self.inner));
                // u1ᵀ·W = ΣVᵀ; then the same along the inputs.
                let through = left.right(self.outer, |s| s);
                let device = Device::flex();
                let matrix = |data: Vec<f32>, rows: usize, columns: usize| {
                    Tensor::<2>::from_data(burn::tensor::TensorData::new(data, [rows, columns]), &device)
                };
                let through = matrix(swapped(&through, self.outer, inputs), inputs, self.outer * taps);
                let core = elements(matrix(v.clone(), self.inner, inputs).matmul(through))?;
                vec![v, swapped(&core, self.inner, self.outer), u]
            }
        };
        let named = layer.place(name).shapes(self.scheme, self.rank()).into_iter().zip(parts).map(|((suffix, shape), data)| {
            let name = format!("{name}.{suffix}");
            let tensor = HostTensor::new(shape, data).ok_or_else(|| Error::invalid(&name, "has another size"))?;
            Ok((name, tensor))
        });
        named.collect()
    }
}

/// The factors of a layer, left to right, if it is in factors.
///
/// # Errors
/// A tensor that is missing from `leaves`.
pub(super) fn factors(site: &Site<'_>, leaves: &Leaves) -> Result<Option<Vec<Factor>>> {
    let named = |suffix: &str| format!("{}.{suffix}", site.name);
    if !leaves.has(&named("u")) {
        return Ok(None);
    }
    let (u, v, window) = (leaves.get(&named("u"))?, leaves.get(&named("v"))?, site.layer.window());
    Ok(Some(if leaves.has(&named("core")) {
        vec![Factor::point(u), Factor::moving(leaves.get(&named("core"))?, window), Factor::point(v)]
    } else if v.dims()[1] == site.layer.columns() {
        vec![Factor::point(u), Factor::moving(v, window)]
    } else {
        let (vertical, horizontal) = site.layer.halves();
        vec![Factor::moving(u, horizontal), Factor::moving(v, vertical)]
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{self, Builder, Conv2d, Op, Window};
    use crate::import::composed;

    fn graph() -> Graph {
        let window = Window { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 1, 1], dilation: [1, 1] };
        let mut b = Builder::new("net", [3, 8, 8]);
        b.push("first", Op::Conv2d(Conv2d { inputs: 3, outputs: 5, window: Window::square(3, 1, 1), groups: 1, bias: false }));
        b.push("second", Op::Conv2d(Conv2d { inputs: 5, outputs: 7, window, groups: 1, bias: false }));
        b.push("pool", Op::GlobalAvgPool);
        b.finish().unwrap()
    }

    const SCHEMES: [Scheme; 3] = [Scheme::Channel, Scheme::Spatial, Scheme::Tucker2];

    #[test]
    fn full_ranks_give_the_weight_back_and_their_outer_factors_are_orthonormal() {
        let graph = graph();
        let dense = graph::init(&graph, 1);
        let (name, layer) = cuttable(&graph, "m").unwrap()[0];
        for scheme in SCHEMES {
            let mut params = dense.clone();
            let weight = params.remove("second.weight").unwrap();
            params.extend(Form::full(scheme, layer).factor(name, layer, &weight).unwrap());
            let back = composed(&graph, &params).unwrap();
            assert_eq!(back.keys().collect::<Vec<_>>(), dense.keys().collect::<Vec<_>>());
            let far = weight.data().iter().zip(back["second.weight"].data()).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(far < 1e-6, "{scheme:?} {far}");
            let side = if scheme == Scheme::Spatial { "second.v" } else { "second.u" };
            let energy: f32 = params[side].data().iter().map(|x| x * x).sum();
            let rank = if scheme == Scheme::Spatial { params[side].shape()[0] } else { params[side].shape()[1] };
            assert!((energy - rank as f32).abs() < 1e-4, "{scheme:?} {energy}");
        }
    }

    #[test]
    fn the_tucker_error_is_what_the_core_lacks() {
        let graph = graph();
        let (name, layer) = cuttable(&graph, "m").unwrap()[0];
        let weight = &graph::init(&graph, 2)["second.weight"];
        let mut params = Form { scheme: Scheme::Tucker2, outer: 4, inner: 3 }.factor(name, layer, weight).unwrap();
        params.insert("first.weight".into(), HostTensor::full([5, 3, 3, 3], 0.0));
        let energy = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>();
        let core = energy(params["second.core"].data());
        let back = composed(&graph, &params).unwrap();
        let error: f64 = weight.data().iter().zip(back["second.weight"].data()).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        assert!((error - (energy(weight.data()) - core)).abs() < 1e-5, "{error}");
    }

    #[test]
    fn costs_follow_the_formulas() {
        let graph = graph();
        let sites = crate::train::site::sites(&graph, 1).unwrap();
        let chain = |scheme| Form { scheme, outer: 4, inner: 3 }.chain(&sites[1]);
        // 8×8 pixels in, 4×8 out (rows are halved before columns).
        assert_eq!(chain(Scheme::Tucker2), [(3 * 5, 64), (4 * 3 * 6, 32), (7 * 4, 32)]);
        assert_eq!(chain(Scheme::Channel), [(3 * 30, 32), (7 * 3, 32)]);
        assert_eq!(chain(Scheme::Spatial), [(3 * 15, 32), (7 * 3 * 2, 32)]);
    }
}
