//! Layers whose weight is kept as factors, each tensor in PyTorch's axis order, so that it is a convolution by itself:
//!
//! | form | `NAME.v` | `NAME.core` | `NAME.u` |
//! |---|---|---|---|
//! | channel | [r, inputs, k_h, k_w] | | [outputs, r, 1, 1] |
//! | spatial | [r, inputs, k_h, 1] | | [outputs, r, 1, k_w] |
//! | Tucker-2 | [r₂, inputs, 1, 1] | [r₁, r₂, k_h, k_w] | [outputs, r₁, 1, 1] |
//! | linear | [r, inputs] | | [outputs, r] |
//!
//! They replace `NAME.weight` and are applied from left to right. The shapes alone tell the form.

use burn::tensor::{Device, Tensor};

use super::{Factor, Layer, Site};
use crate::error::{Error, Result};
use crate::factor::Spectrum;
use crate::graph::Graph;
use crate::tensor::{Params, Tensor as HostTensor};
use crate::train::leaves::{Leaves, elements};
use crate::train::settings::Scheme;

/// A scheme with its ranks: r, or r₁ and r₂.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) scheme: Scheme,
    /// r₁ of Tucker-2, else r.
    pub(super) outer: usize,
    /// r₂ of Tucker-2, else r.
    pub(super) inner: usize,
}

/// The kernels that methods factor: those of more than one pixel, less the first and the grouped ones.
///
/// # Errors
/// [`Error::Invalid`] naming `method` when there is none.
pub(super) fn kernels<'a>(graph: &'a Graph, method: &str) -> Result<Vec<(&'a str, Layer<'a>)>> {
    let kernels: Vec<_> = Layer::all(graph).skip(1).filter(|(_, layer)| layer.is_spatial() && !layer.is_grouped()).collect();
    if kernels.is_empty() {
        return Err(Error::invalid(method, format!("needs convolutions, of which {} has none but the first", graph.name)));
    }
    Ok(kernels)
}

/// Where each element of the spatial unfolding [inputs·k_h, outputs·k_w] lies in a weight of `shape`.
pub(super) fn spatial_order(shape: &[usize]) -> Vec<usize> {
    let &[outputs, inputs, height, width] = shape else { return Vec::new() };
    let rows = (0..inputs).flat_map(|i| (0..height).map(move |y| (i, y)));
    rows.flat_map(|(i, y)| (0..outputs).flat_map(move |o| (0..width).map(move |x| ((o * inputs + i) * height + y) * width + x))).collect()
}

impl Form {
    /// The largest rank that makes sense on each side.
    pub(super) fn full(scheme: Scheme, layer: Layer<'_>) -> Self {
        let [height, width] = layer.window().kernel;
        let (outer, inner) = match scheme {
            Scheme::Tucker2 => (layer.outputs(), layer.inputs()),
            Scheme::Channel => (layer.outputs().min(layer.columns()), layer.outputs().min(layer.columns())),
            Scheme::Spatial => {
                let rank = (layer.inputs() * height).min(layer.outputs() * width);
                (rank, rank)
            }
        };
        Self { scheme, outer, inner }
    }

    /// The same with both ranks multiplied by `share`, rounded, at least 1.
    pub(super) fn share(self, share: f64) -> Self {
        let part = |rank: usize| ((rank as f64 * share).round() as usize).clamp(1, rank.max(1));
        Self { outer: part(self.outer), inner: part(self.inner), ..self }
    }

    /// Suffix and shape of each factor, in the order in which they are applied.
    fn shapes(self, layer: Layer<'_>) -> Vec<(&'static str, Vec<usize>)> {
        let (outputs, inputs, [height, width]) = (layer.outputs(), layer.inputs(), layer.window().kernel);
        let Self { scheme, outer, inner } = self;
        match (scheme, layer) {
            (_, Layer::Linear(_)) => vec![("v", vec![inner, inputs]), ("u", vec![outputs, inner])],
            (Scheme::Channel, _) => vec![("v", vec![inner, inputs, height, width]), ("u", vec![outputs, inner, 1, 1])],
            (Scheme::Spatial, _) => vec![("v", vec![inner, inputs, height, 1]), ("u", vec![outputs, inner, 1, width])],
            (Scheme::Tucker2, _) => {
                vec![("v", vec![inner, inputs, 1, 1]), ("core", vec![outer, inner, height, width]), ("u", vec![outputs, outer, 1, 1])]
            }
        }
    }

    /// Elements and given vectors of each factor at `site`, in the order in which they are applied.
    pub(super) fn chain(self, site: &Site<'_>) -> Vec<(usize, usize)> {
        let first = match self.scheme {
            Scheme::Channel => site.gives,
            Scheme::Spatial => site.halfway,
            Scheme::Tucker2 => site.reads,
        };
        let sizes = self.shapes(site.layer).into_iter().map(|(_, shape)| shape.iter().product());
        sizes.zip([first, site.gives, site.gives]).collect()
    }

    /// The form of the layer `name` in `params`, whose tensors must fit it; `None` for a layer that is not in factors.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a tensor that is missing or misshapen.
    pub(super) fn of(name: &str, layer: Layer<'_>, params: &Params) -> Result<Option<Self>> {
        let shape = |suffix: &str| params.get(&format!("{name}.{suffix}")).map(HostTensor::shape);
        if ["u", "core", "v"].iter().all(|suffix| shape(suffix).is_none()) {
            return Ok(None);
        }
        let v = shape("v").ok_or_else(|| Error::invalid(format!("{name}.v"), "is missing beside other factors"))?;
        let inner = v.first().copied().unwrap_or(0);
        let scheme = match shape("core") {
            Some(_) => Scheme::Tucker2,
            None if v.iter().skip(1).product::<usize>() == layer.columns() => Scheme::Channel,
            None => Scheme::Spatial,
        };
        let form = Self { scheme, outer: shape("core").and_then(|s| s.first().copied()).unwrap_or(inner), inner };
        for (suffix, expected) in form.shapes(layer) {
            if inner == 0 || form.outer == 0 || layer.is_grouped() || shape(suffix) != Some(&expected) {
                let found = shape(suffix).map_or("is missing".into(), |found| format!("has shape {found:?}"));
                return Err(Error::invalid(format!("{name}.{suffix}"), format!("{found}, its layer needs {expected:?}")));
            }
        }
        Ok(Some(form))
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
                // [r, outputs, k_w] → [outputs, r, k_w].
                let order = (0..outputs).flat_map(|o| (0..self.inner).flat_map(move |r| (0..width).map(move |x| (o, r, x))));
                let u = order.map(|(o, r, x)| right[(r * outputs + o) * width + x]).collect();
                vec![transposed(&left, self.inner), u]
            }
            Scheme::Tucker2 => {
                let taps = height * width;
                let swap = |data: &[f32], a: usize, b: usize| -> Vec<f32> {
                    let order = (0..b).flat_map(|j| (0..a).flat_map(move |i| (0..taps).map(move |t| (i * b + j) * taps + t)));
                    order.map(|at| data[at]).collect()
                };
                let left = Spectrum::new(name, weight.data(), outputs, inputs * taps)?;
                let right = Spectrum::new(name, &swap(weight.data(), outputs, inputs), inputs, outputs * taps)?;
                let (u, v) = (left.left(self.outer, |_| 1.0), transposed(&right.left(self.inner, |_| 1.0), self.inner));
                // u1ᵀ·W = ΣVᵀ; then the same along the inputs.
                let through = left.right(self.outer, |s| s);
                let device = Device::flex();
                let matrix = |data: Vec<f32>, rows: usize, columns: usize| {
                    Tensor::<2>::from_data(burn::tensor::TensorData::new(data, [rows, columns]), &device)
                };
                let through = matrix(swap(&through, self.outer, inputs), inputs, self.outer * taps);
                let core = elements(matrix(v.clone(), self.inner, inputs).matmul(through))?;
                vec![v, swap(&core, self.inner, self.outer), u]
            }
        };
        let named = self.shapes(layer).into_iter().zip(parts).map(|((suffix, shape), data)| {
            let name = format!("{name}.{suffix}");
            let tensor = HostTensor::new(shape, data).ok_or_else(|| Error::invalid(&name, "has another size"))?;
            Ok((name, tensor))
        });
        named.collect()
    }
}

/// [length, columns] → [columns, length].
fn transposed(rows: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|i| rows.iter().skip(i).step_by(columns)).copied().collect()
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

/// `params` with every layer's factors multiplied back to its weight; those of a dense network as they are.
///
/// # Errors
/// [`Error::Invalid`] naming a factor that is missing or misshapen.
pub(crate) fn composed(graph: &Graph, params: &Params) -> Result<Params> {
    let mut dense = params.clone();
    for (name, layer) in Layer::all(graph) {
        let Some(form) = Form::of(name, layer, params)? else { continue };
        let parts: Params = form.shapes(layer).into_iter().filter_map(|(s, _)| dense.remove_entry(&format!("{name}.{s}"))).collect();
        let leaves = Leaves::constants(&parts, &Device::flex());
        let part = |suffix: &str| leaves.get(&format!("{name}.{suffix}"));
        let (u, v, inputs, [height, width]) = (part("u")?, part("v")?, layer.inputs(), layer.window().kernel);
        let product = match form.scheme {
            Scheme::Channel => u.matmul(v),
            Scheme::Spatial => {
                let outputs = layer.outputs();
                let u = u.reshape([outputs, form.inner, width]).swap_dims(1, 2).reshape([outputs * width, form.inner]);
                let product = u.matmul(v).reshape([outputs, width, inputs, height]);
                product.permute([0, 2, 3, 1]).reshape([outputs, layer.columns()])
            }
            Scheme::Tucker2 => {
                let taps = height * width;
                let core = part("core")?.reshape([form.outer, form.inner, taps]).swap_dims(1, 2);
                let core = core.reshape([form.outer * taps, form.inner]).matmul(v);
                u.matmul(core.reshape([form.outer, taps, inputs]).swap_dims(1, 2).reshape([form.outer, inputs * taps]))
            }
        };
        let weight = format!("{name}.weight");
        let tensor = HostTensor::new(layer.shape(), elements(product)?).ok_or_else(|| Error::invalid(&weight, "has another size"))?;
        dense.insert(weight, tensor);
    }
    Ok(dense)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{self, Builder, Conv2d, Op, Window};

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
        let (name, layer) = kernels(&graph, "m").unwrap()[0];
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
        let (name, layer) = kernels(&graph, "m").unwrap()[0];
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
    fn factors_that_do_not_fit_are_named() {
        let graph = graph();
        let (name, layer) = kernels(&graph, "m").unwrap()[0];
        let dense = graph::init(&graph, 1);
        let full = |scheme| Form::full(scheme, layer).factor(name, layer, &dense["second.weight"]).unwrap();
        for scheme in SCHEMES {
            for broken in full(scheme).into_keys() {
                let mut params = full(scheme);
                params.insert(broken.clone(), HostTensor::full([2, 2], 0.0));
                let error = composed(&graph, &params).unwrap_err().to_string();
                assert!(error.contains("second."), "{error}");
                params.remove(&broken);
                assert!(composed(&graph, &params).is_err());
            }
        }
    }

    #[test]
    fn costs_follow_the_formulas() {
        let graph = graph();
        let sites = crate::train::network::sites(&graph, 1).unwrap();
        let chain = |scheme| Form { scheme, outer: 4, inner: 3 }.chain(&sites[1]);
        // 8×8 pixels in, 4×8 out (rows are halved before columns).
        assert_eq!(chain(Scheme::Tucker2), [(3 * 5, 64), (4 * 3 * 6, 32), (7 * 4, 32)]);
        assert_eq!(chain(Scheme::Channel), [(3 * 30, 32), (7 * 3, 32)]);
        assert_eq!(chain(Scheme::Spatial), [(3 * 15, 32), (7 * 3 * 2, 32)]);
    }
}
