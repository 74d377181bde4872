//! Layers that a checkpoint holds as factors in the place of `NAME.weight`, each tensor in PyTorch's axis order, so that it
//! is a layer by itself; applied from left to right they do what the weight does:
//!
//! | form | `NAME.v` | `NAME.core` | `NAME.u` |
//! |---|---|---|---|
//! | channel | [r, inputs, k_h, k_w] | | [outputs, r, 1, 1] |
//! | spatial | [r, inputs, k_h, 1] | | [outputs, r, 1, k_w] |
//! | Tucker-2 | [r₂, inputs, 1, 1] | [r₁, r₂, k_h, k_w] | [outputs, r₁, 1, 1] |
//! | linear | [r, inputs] | | [outputs, r] |
//!
//! The shapes alone tell the form.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::factor::{Factors, NamedFactor, Rank, Scheme};
use crate::graph::{Graph, Node, Op};
use crate::tensor::{Kernel, Params, Tensor, swapped};

/// What the tensors of a layer in factors are called behind its name.
pub(crate) const SUFFIXES: [&str; 3] = ["v", "core", "u"];

/// A layer with a weight, as a checkpoint knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its name.
    pub name: &'a str,
    /// Sizes of its weight.
    pub kernel: Kernel,
    /// Whether it is fully connected.
    pub is_linear: bool,
    /// Whether its channels fall into several groups; such a weight is never in factors.
    pub is_grouped: bool,
}

impl<'a> Place<'a> {
    /// The layer that `node` is, if it has a weight.
    pub fn of(node: &'a Node) -> Option<Self> {
        let (shape, is_linear, is_grouped) = match &node.op {
            Op::Linear(l) => ([l.outputs, l.inputs, 1, 1], true, false),
            Op::Conv2d(c) => (c.weight_shape(), false, c.groups != 1),
            _ => return None,
        };
        let [outputs, inputs, height, width] = shape;
        Some(Self { name: &node.name, kernel: Kernel { outputs, inputs, height, width }, is_linear, is_grouped })
    }

    /// Suffix and shape of each tensor of this layer in factors, in the order in which they are applied.
    pub fn shapes(&self, scheme: Scheme, rank: Rank) -> Vec<(&'static str, Vec<usize>)> {
        let Kernel { outputs, inputs, height, width } = self.kernel;
        match (scheme, rank) {
            (_, Rank::Two { output, input }) => {
                vec![("v", vec![input, inputs, 1, 1]), ("core", vec![output, input, height, width]), ("u", vec![outputs, output, 1, 1])]
            }
            (_, Rank::One(r)) if self.is_linear => vec![("v", vec![r, inputs]), ("u", vec![outputs, r])],
            (Scheme::Spatial, Rank::One(r)) => vec![("v", vec![r, inputs, height, 1]), ("u", vec![outputs, r, 1, width])],
            (_, Rank::One(r)) => vec![("v", vec![r, inputs, height, width]), ("u", vec![outputs, r, 1, 1])],
        }
    }

    /// The form of this layer in `params`, whose tensors must fit it; `None` for a layer that is not in factors.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a tensor that is missing, misshapen, or a weight beside factors.
    pub fn form(&self, params: &Params) -> Result<Option<(Scheme, Rank)>> {
        self.form_of(|name| params.get(name).map(Tensor::shape))
    }

    /// As [`Place::form`], by what `shape_of` says of a tensor's name.
    pub(super) fn form_of<'s>(&self, shape_of: impl Fn(&str) -> Option<&'s [usize]>) -> Result<Option<(Scheme, Rank)>> {
        let full = |suffix: &str| format!("{}.{suffix}", self.name);
        let shape = |suffix: &str| shape_of(&full(suffix));
        if SUFFIXES.iter().all(|suffix| shape(suffix).is_none()) {
            return Ok(None);
        }
        if shape("weight").is_some() {
            return Err(Error::invalid(full("weight"), "stands beside factors of the same layer"));
        }
        let v = shape("v").ok_or_else(|| Error::invalid(full("v"), "is missing beside other factors"))?;
        let inner = v.first().copied().unwrap_or(0);
        let (scheme, rank) = match shape("core") {
            Some(core) => (Scheme::Tucker2, Rank::Two { output: core.first().copied().unwrap_or(0), input: inner }),
            None if v.iter().skip(1).product::<usize>() == self.kernel.columns() => (Scheme::Channel, Rank::One(inner)),
            None => (Scheme::Spatial, Rank::One(inner)),
        };
        let empty = matches!(rank, Rank::One(0) | Rank::Two { output: 0, .. } | Rank::Two { input: 0, .. });
        for (suffix, expected) in self.shapes(scheme, rank) {
            if empty || self.is_grouped || shape(suffix) != Some(&expected) {
                let found = shape(suffix).map_or("is missing".into(), |found| format!("has shape {found:?}"));
                return Err(Error::invalid(full(suffix), format!("{found}, its layer needs {expected:?}")));
            }
        }
        Ok(Some((scheme, rank)))
    }

    /// The factors of this layer; `None` for a layer that is not in factors.
    ///
    /// # Errors
    /// As [`Place::form`].
    pub fn read(&self, params: &Params) -> Result<Option<Factors>> {
        let Some((scheme, rank)) = self.form(params)? else { return Ok(None) };
        let mut tensors = Vec::new();
        for ((suffix, stored), (to, shape)) in self.shapes(scheme, rank).into_iter().zip(scheme.layout(rank, &self.kernel)) {
            let name = format!("{}.{suffix}", self.name);
            let data = params.get(&name).ok_or_else(|| Error::invalid(&name, "is missing"))?.data();
            // Uᵀ is kept with components first.
            let values = if suffix == "u" { swapped(data, stored[0], stored[1]) } else { data.to_vec() };
            tensors.push(NamedFactor { suffix: to, shape, values });
        }
        Ok(Some(Factors::uncut(scheme, rank, self.kernel, tensors)))
    }

    /// `factors` of this layer under their names, the opposite of [`Place::read`].
    pub fn write(&self, factors: &Factors) -> Params {
        let stored = self.shapes(factors.scheme, factors.rank).into_iter().zip(&factors.tensors);
        let tensor = |((suffix, shape), factor): ((&str, Vec<usize>), &NamedFactor)| {
            let values = if suffix == "u" { swapped(&factor.values, shape[1], shape[0]) } else { factor.values.clone() };
            Some((format!("{}.{suffix}", self.name), Tensor::new(shape, values)?))
        };
        stored.filter_map(tensor).collect()
    }
}

/// Every layer of `graph` that `params` hold as factors, by name.
///
/// # Errors
/// As [`Place::form`].
pub fn held(graph: &Graph, params: &Params) -> Result<BTreeMap<String, Factors>> {
    let read = |place: Place<'_>| Ok(place.read(params)?.map(|factors| (place.name.to_string(), factors)));
    graph.nodes.iter().filter_map(Place::of).filter_map(|place| read(place).transpose()).collect()
}

/// `params` with every layer's factors multiplied back to its weight, in f64; those of a dense network as they are.
///
/// # Errors
/// As [`Place::form`].
pub fn composed(graph: &Graph, params: &Params) -> Result<Params> {
    let mut dense = params.clone();
    for place in graph.nodes.iter().filter_map(Place::of) {
        let Some(factors) = place.read(params)? else { continue };
        for suffix in SUFFIXES {
            dense.remove(&format!("{}.{suffix}", place.name));
        }
        let weight = format!("{}.weight", place.name);
        let tensor = Tensor::new(place.kernel.shape(place.is_linear), factors.product());
        dense.insert(weight.clone(), tensor.ok_or_else(|| Error::invalid(weight, "has another size"))?);
    }
    Ok(dense)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::testing::random;
    use crate::graph::{Builder, Conv2d, Linear, Window};

    fn graph() -> Graph {
        let window = Window { kernel: [3, 2], ..Window::square(1, 1, 0) };
        let mut b = Builder::new("net", [4, 6, 5]);
        b.push("conv", Op::Conv2d(Conv2d { inputs: 4, outputs: 5, window, groups: 1, bias: false }));
        b.push("point", Op::Conv2d(Conv2d { inputs: 5, outputs: 6, window: Window::square(1, 1, 0), groups: 1, bias: false }));
        b.push("pool", Op::GlobalAvgPool);
        b.push("linear", Op::Linear(Linear { inputs: 6, outputs: 3, bias: true }));
        b.finish().unwrap()
    }

    /// Tensors of these forms, and the weights that they stand for by their definition.
    fn drawn(scheme: Scheme, rank: Rank) -> (Params, Params) {
        let (mut factors, mut dense) = (Params::new(), Params::new());
        let graph = graph();
        for (at, place) in graph.nodes.iter().filter_map(Place::of).enumerate() {
            let (scheme, rank) = if place.kernel.height == 1 { (Scheme::Channel, Rank::One(2)) } else { (scheme, rank) };
            let mut parts = Vec::new();
            for (suffix, shape) in place.shapes(scheme, rank) {
                let values = random(shape.iter().product(), at as u64 * 10 + parts.len() as u64);
                parts.push(values.clone());
                factors.insert(format!("{}.{suffix}", place.name), Tensor::new(shape, values).unwrap());
            }
            let Kernel { outputs: _, inputs, height, width } = place.kernel;
            let element = |at: usize| -> f32 {
                let (o, i, y, x) = (at / place.kernel.columns(), at / (height * width) % inputs, at / width % height, at % width);
                match (scheme, rank) {
                    (_, Rank::Two { output, input }) => (0..output * input)
                        .map(|pq| {
                            let (p, q) = (pq / input, pq % input);
                            parts[2][o * output + p] * parts[1][(pq * height + y) * width + x] * parts[0][q * inputs + i]
                        })
                        .sum(),
                    (Scheme::Spatial, Rank::One(r)) => {
                        (0..r).map(|c| parts[1][(o * r + c) * width + x] * parts[0][(c * inputs + i) * height + y]).sum()
                    }
                    (_, Rank::One(r)) => (0..r).map(|c| parts[1][o * r + c] * parts[0][((c * inputs + i) * height + y) * width + x]).sum(),
                }
            };
            let weight = (0..place.kernel.len()).map(element).collect();
            dense.insert(format!("{}.weight", place.name), Tensor::new(place.kernel.shape(place.is_linear), weight).unwrap());
        }
        (factors, dense)
    }

    const FORMS: [(Scheme, Rank); 3] =
        [(Scheme::Channel, Rank::One(3)), (Scheme::Spatial, Rank::One(4)), (Scheme::Tucker2, Rank::Two { output: 3, input: 2 })];

    #[test]
    fn factors_are_read_for_what_they_are_and_written_as_they_were() {
        let graph = graph();
        for (scheme, rank) in FORMS {
            let (factors, dense) = drawn(scheme, rank);
            let found = composed(&graph, &factors).unwrap();
            assert!(found.keys().eq(dense.keys()));
            for (name, tensor) in &dense {
                let near = tensor.data().iter().zip(found[name].data()).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near && tensor.shape() == found[name].shape(), "{scheme} {name}");
            }
            let held = held(&graph, &factors).unwrap();
            assert_eq!((held["conv"].scheme, held["conv"].rank, held.len()), (scheme, rank, 3));
            let back: Params = graph.nodes.iter().filter_map(Place::of).flat_map(|p| p.write(&held[p.name])).collect();
            assert_eq!(back, factors);
            assert_eq!(composed(&graph, &dense).unwrap(), dense);
        }
    }

    #[test]
    fn factors_that_do_not_fit_are_named() {
        let graph = graph();
        for (scheme, rank) in FORMS {
            let (factors, _) = drawn(scheme, rank);
            for broken in factors.keys().filter(|name| name.starts_with("conv")) {
                let mut params = factors.clone();
                params.insert(broken.clone(), Tensor::full([2, 2], 0.0));
                let error = composed(&graph, &params).unwrap_err().to_string();
                assert!(error.contains("conv."), "{error}");
                params.remove(broken);
                assert!(composed(&graph, &params).is_err());
            }
            let mut both = factors;
            both.insert("conv.weight".into(), Tensor::full([5, 4, 3, 2], 0.0));
            assert!(composed(&graph, &both).unwrap_err().to_string().contains("conv.weight"));
        }
    }
}
