//! From a graph and its parameters to layers that each do everything at once: batch norm folded into the weight before
//! it, bias and activation fused behind it.

use thinfer::artifact::Activation as Fused;

use crate::error::{Error, Result};
use crate::graph::{Activation, BatchNorm, Graph, Op, ValueId};
use crate::tensor::{Params, Tensor};

/// A fully connected layer with all that follows it before the next: y = act(diag(scale)·W·x + bias).
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedLayer {
    /// The linear layer's name.
    pub name: String,
    /// The value it reads, in the numbering of the folded network: 0 the input, i + 1 the output of layer i.
    pub input: usize,
    /// W as it was trained, [outputs, inputs] row-major.
    pub weight: Vec<f32>,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// γ/√(var + ε) of a folded batch norm, for each output.
    pub scale: Option<Vec<f64>>,
    /// Bias after folding.
    pub bias: Option<Vec<f32>>,
    /// Applied last.
    pub activation: Fused,
    /// Rows that one sample has (1 but for inputs of several axes).
    pub macs_rows: usize,
}

impl FoldedLayer {
    /// diag(scale)·W, rounded to f32 once.
    pub fn folded_weight(&self) -> Vec<f32> {
        match &self.scale {
            None => self.weight.clone(),
            Some(scale) => self.weight.iter().enumerate().map(|(i, &w)| (f64::from(w) * scale[i / self.columns]) as f32).collect(),
        }
    }

    /// Multiply–accumulates for one sample in dense form.
    pub fn dense_macs(&self) -> u64 {
        (self.rows * self.columns) as u64
    }
}

/// Folds `graph`, whose parameters must have passed [`Graph::check`].
///
/// # Errors
/// [`Error::Graph`] naming a node that stands where nothing can take it in.
pub(super) fn fold(graph: &Graph, params: &Params) -> Result<Vec<FoldedLayer>> {
    let shapes = graph.shapes()?;
    let mut layers: Vec<FoldedLayer> = Vec::new();
    // Where each graph value went: the folded value, as long as the layer that made it may still take something in.
    let mut values: Vec<usize> = vec![0];
    for (at, node) in graph.nodes.iter().enumerate() {
        let input = node.inputs[0];
        let sole_reader = graph.nodes.iter().filter(|n| n.inputs.contains(&input)).count() == 1;
        let tensor = |suffix: &str| -> Result<&Tensor> {
            let name = format!("{}.{suffix}", node.name);
            params.get(&name).ok_or_else(|| Error::Graph { node: node.name.clone(), why: format!("has no tensor '{name}'") })
        };
        let value = match &node.op {
            Op::Linear(l) => {
                layers.push(FoldedLayer {
                    name: node.name.clone(),
                    input: values[input],
                    weight: tensor("weight")?.data().to_vec(),
                    rows: l.outputs,
                    columns: l.inputs,
                    scale: None,
                    bias: if l.bias { Some(tensor("bias")?.data().to_vec()) } else { None },
                    activation: Fused::None,
                    macs_rows: shapes[input].iter().rev().skip(1).product(),
                });
                layers.len()
            }
            Op::BatchNorm(norm) => {
                let layer = open_layer(&mut layers, &values, input, sole_reader, &node.name)?;
                let statistics = ["weight", "bias", "running_mean", "running_var"].map(|s| tensor(s).map(Tensor::data));
                let [gamma, beta, mean, var] = statistics;
                fold_batch_norm(layer, norm, [gamma?, beta?, mean?, var?]);
                values[input]
            }
            Op::Activation(Activation::Relu) => {
                open_layer(&mut layers, &values, input, sole_reader, &node.name)?.activation = Fused::Relu;
                values[input]
            }
        };
        debug_assert_eq!(values.len(), at + 1);
        values.push(value);
    }
    Ok(layers)
}

/// The layer that made graph value `input`, if `node` may still be fused into it.
fn open_layer<'a>(
    layers: &'a mut [FoldedLayer],
    values: &[usize],
    input: ValueId,
    sole_reader: bool,
    node: &str,
) -> Result<&'a mut FoldedLayer> {
    let fail = |why: &str| Error::Graph { node: node.into(), why: why.into() };
    let index =
        values[input].checked_sub(1).ok_or_else(|| fail("stands before the first layer with a weight, where nothing can take it in"))?;
    let layer = layers.get_mut(index).ok_or_else(|| fail("follows no layer"))?;
    if !sole_reader || layer.activation != Fused::None {
        return Err(fail("cannot be folded into the layer before it: another one stands between or reads the same value"));
    }
    Ok(layer)
}

/// y = γ·(x − mean)/√(var + ε) + β behind diag(s)·W·x + b: s' = s·k, b' = (b − mean)·k + β with k = γ/√(var + ε).
fn fold_batch_norm(layer: &mut FoldedLayer, norm: &BatchNorm, [gamma, beta, mean, var]: [&[f32]; 4]) {
    let k: Vec<f64> = gamma.iter().zip(var).map(|(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(norm.eps)).sqrt()).collect();
    let bias = layer.bias.take().unwrap_or_else(|| vec![0.0; k.len()]);
    let shifted =
        bias.iter().zip(mean).zip(&k).zip(beta).map(|(((&b, &m), k), &t)| ((f64::from(b) - f64::from(m)) * k + f64::from(t)) as f32);
    layer.bias = Some(shifted.collect());
    layer.scale = Some(match layer.scale.take() {
        None => k,
        Some(s) => s.iter().zip(&k).map(|(s, k)| s * k).collect(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Linear, init};

    #[test]
    fn batch_norm_and_relu_vanish_into_the_layer_before_them() {
        let graph = crate::zoo::build("fcn6").unwrap();
        let layers = fold(&graph, &init(&graph, 0)).unwrap();
        assert_eq!(layers.len(), 6);
        assert!(layers[..5].iter().all(|l| l.activation == Fused::Relu && l.scale.is_some() && l.bias.is_some()));
        assert_eq!(layers[5].activation, Fused::None);
        assert_eq!(layers.iter().map(|l| l.input).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_folded_layer_computes_what_the_two_did() {
        let mut b = Builder::new("two", [2]);
        b.push("l", Op::Linear(Linear { inputs: 2, outputs: 1, bias: true }));
        b.push("n", Op::BatchNorm(BatchNorm::new(1)));
        let graph = b.finish().unwrap();
        let t = |v: &[f32], shape: &[usize]| Tensor::new(shape, v.to_vec()).unwrap();
        let params: Params = [
            ("l.weight", t(&[2.0, -3.0], &[1, 2])),
            ("l.bias", t(&[0.5], &[1])),
            ("n.weight", t(&[1.5], &[1])),
            ("n.bias", t(&[-0.25], &[1])),
            ("n.running_mean", t(&[0.75], &[1])),
            ("n.running_var", t(&[4.0], &[1])),
        ]
        .map(|(k, v)| (k.to_string(), v))
        .into();
        let layer = fold(&graph, &params).unwrap().remove(0);
        let x = [0.3f64, 0.7];
        let before = 1.5 * ((2.0 * x[0] - 3.0 * x[1] + 0.5) - 0.75) / (4.0f64 + 1e-5).sqrt() - 0.25;
        let w = layer.folded_weight();
        let after = f64::from(w[0]) * x[0] + f64::from(w[1]) * x[1] + f64::from(layer.bias.unwrap()[0]);
        assert!((before - after).abs() < 1e-6, "{before} {after}");
    }

    #[test]
    fn what_nothing_can_take_in_is_named() {
        let mut b = Builder::new("bad", [2]);
        b.push("first", Op::Activation(Activation::Relu));
        b.push("l", Op::Linear(Linear { inputs: 2, outputs: 1, bias: true }));
        let graph = b.finish().unwrap();
        let error = fold(&graph, &init(&graph, 0)).unwrap_err().to_string();
        assert!(error.contains("'first'"), "{error}");
    }
}
