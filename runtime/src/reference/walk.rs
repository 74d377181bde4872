//! A network's values.

use super::recurrent::{Weights, recurrent};
use super::{
    Expected, Kernel, Value, activate, add_bias, add_residual, affine, attention, concat, conv, embed, global_average, layer_norm, linear,
    multiply, pool, primitive, rearrange, softmax,
};
use crate::artifact::{Artifact, Layer, Op, TensorId};

/// The first output of a network of one input for `input`, [samples, input length].
pub fn run(artifact: &Artifact, input: &[f32]) -> Vec<Expected> {
    values(artifact, &[input]).swap_remove(artifact.output().value as usize).elements
}

/// Every value of the network for `inputs`, in its order: the inputs, then the output of each layer. An input is samples of its value,
/// one after the other; one without an axis of samples stands for all of them.
pub fn values(artifact: &Artifact, inputs: &[&[f32]]) -> Vec<Value> {
    assert_eq!(inputs.len(), artifact.inputs().len());
    let samples = inputs.iter().enumerate().map(|(i, x)| x.len() / artifact.elements(i)).max().unwrap_or(1);
    let mut values: Vec<Value> = Vec::new();
    for (i, x) in inputs.iter().enumerate() {
        let numbers = x.iter().map(|&x| f64::from(x)).cycle().take(samples * artifact.elements(i));
        values.push(Value::exact(&artifact.shapes()[i], numbers));
    }
    for (i, layer) in artifact.model().layers.iter().enumerate() {
        let value = match &layer.op {
            Op::Constant { tensor } => {
                let numbers = artifact.tensor(*tensor);
                let shape: Vec<usize> = artifact.shapes()[artifact.value_of(i)].clone();
                Value::exact(&shape, (0..samples).flat_map(|_| numbers.iter().map(|&x| f64::from(x))))
            }
            _ => value(artifact, layer, &values),
        };
        assert_eq!(value.shape, artifact.shapes()[artifact.value_of(i)], "layer '{}'", layer.name);
        values.push(value);
    }
    values
}

/// What a layer gives.
fn value(artifact: &Artifact, layer: &Layer, values: &[Value]) -> Value {
    let tensor = |id: TensorId| artifact.tensor(id).iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let input = |at: usize| &values[layer.inputs[at] as usize];
    let x = input(0);
    let mut y = match &layer.op {
        Op::Linear { weight, .. } => linear(x, &Kernel::of(artifact, weight, [1, 1])),
        Op::Conv { window, groups, weight, .. } => {
            conv(x, &Kernel::of(artifact, weight, window.kernel.map(|k| k as usize)), window, *groups as usize)
        }
        Op::Pool { kind, window } => pool(x, *kind, window),
        Op::GlobalAveragePool => global_average(x),
        Op::Add { .. } | Op::Activate(_) => x.clone(),
        Op::Affine { scale, shift, .. } => affine(x, &tensor(*scale), &tensor(*shift)),
        Op::Concat { .. } => concat(x, input(1)),
        Op::Rearrange { shape, offset, steps } => {
            let steps: Vec<(usize, usize)> = steps.iter().map(|s| (s.size as usize, s.stride as usize)).collect();
            let shape: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
            rearrange(x, &shape, *offset as usize, &steps)
        }
        Op::Multiply { .. } => multiply(x, input(1)),
        Op::LayerNorm { scale, shift, eps } => layer_norm(x, &tensor(*scale), &tensor(*shift), f64::from(*eps)),
        Op::Attention { heads, scale } => {
            let inputs: Vec<&Value> = (0..layer.inputs.len()).map(input).collect();
            attention(&inputs, *heads as usize, f64::from(*scale))
        }
        Op::Embed { table } => {
            let (tokens, table) = (artifact.tensor_shape(*table)[1] as usize, tensor(*table));
            embed(x, tokens, &|channel, token| table[channel * tokens + token])
        }
        Op::Softmax { log } => softmax(x, *log),
        Op::Recurrent(r) => {
            let kernel = Kernel::of(artifact, &r.weight, [1, 1]);
            let channels = x.image()[0];
            let or_zeros = |id: Option<TensorId>, len: usize| id.map_or_else(|| vec![0.0; len], tensor);
            let weights = Weights { bias: or_zeros(r.bias, channels), peepholes: or_zeros(r.peepholes, channels), kernel };
            let inputs: Vec<&Value> = (0..layer.inputs.len()).map(input).collect();
            recurrent(r, &weights, &inputs)
        }
        Op::Primitive(p) => primitive(p, &(0..layer.inputs.len()).map(input).collect::<Vec<_>>()),
        Op::Constant { .. } => unreachable!("computed before"),
    };
    if let Op::Linear { bias: Some(bias), .. } | Op::Conv { bias: Some(bias), .. } = &layer.op {
        add_bias(&mut y, &tensor(*bias));
    }
    if let Op::Add { residual, .. } | Op::Conv { residual: Some(residual), .. } = &layer.op {
        add_residual(&mut y, input(1), *residual);
    }
    if let Some(activation) = layer.op.activation() {
        activate(&mut y, activation);
    }
    y
}
