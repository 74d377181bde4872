//! MatMul by a constant, then Add of a constant: a linear layer with a bias.

use super::super::model::Model;
use super::super::node::{Pattern, Rule};
use super::pattern::{between, other, outputs_of};

pub(super) fn matmul_add(model: &mut Model, rule: &'static Rule) {
    for product in outputs_of(model, "MatMul") {
        let found = model.producer(&product).and_then(|node| {
            let weight = model.constants.get(node.input(1)?)?;
            let sum = model.sole_reader(&product).filter(|n| n.op == "Add")?;
            let bias = other(sum, &product)?;
            let fits = |b: &super::super::array::Array| b.len() == *weight.shape.last().unwrap_or(&0) && b.shape.last() == Some(&b.len());
            let fits = weight.shape.len() == 2 && node.inputs.len() == 2 && model.constants.get(bias).is_some_and(|b| fits(b));
            fits.then(|| (node.input(0).unwrap_or_default().to_string(), bias.to_string(), sum.outputs[0].clone()))
        });
        let Some((x, bias, output)) = found else { continue };
        let plain = between(model, &[&x], &output);
        // The product takes the sum's place as it is, so that it keeps its name.
        model.nodes.retain(|n| n.outputs[0] != output);
        if let Some(node) = model.nodes.iter_mut().find(|n| n.outputs[0] == product) {
            node.inputs.push(bias);
            node.outputs[0] = output;
            node.pattern = Some(Box::new(Pattern { rule, plain }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::array::{Array, Data};
    use super::super::{apply, tests::model};

    #[test]
    fn a_bias_is_one_value_an_output() {
        for (shape, joined) in [(vec![3], true), (vec![1, 3], true), (vec![3, 1], false), (vec![1], false)] {
            let mut model = model(&[("MatMul", &["x", "w"], "p"), ("Add", &["b", "p"], "y")]);
            let floats = |shape: Vec<usize>| Arc::new(Array { data: Data::Floats(vec![0.5; shape.iter().product()]), shape });
            model.constants.insert("w".into(), floats(vec![4, 3]));
            model.constants.insert("b".into(), floats(shape.clone()));
            apply(&mut model);
            assert_eq!(model.nodes.len() == 1, joined, "{shape:?}");
            assert!(!joined || (model.nodes[0].inputs == ["x", "w", "b"] && model.nodes[0].outputs == ["y"]));
        }
    }
}
