//! (x − mean)/√(variance + ε), times a constant, plus another, as exporters write layer normalisation where their operator
//! set has none.

use super::super::model::Model;
use super::super::node::{Attribute, Node, Rule};
use super::pattern::{other, outputs_of, replace, with_number};

pub(super) fn written_out(model: &mut Model, rule: &'static Rule) {
    for root in outputs_of(model, "Sqrt") {
        let Some(found) = find(model, &root) else { continue };
        let names: Vec<&str> = found.inputs.iter().map(String::as_str).collect();
        if let Some(node) = replace(model, rule, "LayerNormalization", &names, &found.output) {
            node.attributes = [("epsilon".into(), Attribute::Float(found.eps)), ("over".into(), Attribute::Ints(found.axes))].into();
        }
    }
}

struct Found {
    /// x, and where they are there scale and shift; an empty name for a scale that is not.
    inputs: Vec<String>,
    eps: f32,
    axes: Vec<i64>,
    output: String,
}

fn find(model: &Model, root: &str) -> Option<Found> {
    let sum = model.producer(model.producer(root)?.input(0)?).filter(|n| n.op == "Add")?;
    let number = |i: &String| model.constants.get(i).filter(|a| a.shape.len() <= 1)?.scalar();
    let (variance, eps) = sum.inputs.iter().find_map(|i| Some((other(sum, i)?, number(i)?)))?;
    let mean_square = model.producer(variance).filter(|n| n.op == "ReduceMean")?;
    let square = model.producer(mean_square.input(0)?)?;
    let centred = match square.op.as_str() {
        "Mul" if square.input(0) == square.input(1) => square.input(0)?,
        _ => with_number(model, square, "Pow", 2.0)?,
    };
    let difference = model.producer(centred).filter(|n| n.op == "Sub")?;
    let [x, mean] = &difference.inputs[..] else { return None };
    let mean = model.producer(mean).filter(|n| n.op == "ReduceMean" && n.input(0) == Some(x))?;
    let axes = axes(model, mean)?;
    if axes != self::axes(model, mean_square)? {
        return None;
    }
    let (mut inputs, mut output) = (vec![x.clone()], quotient(model, root, centred)?);
    // Factor and addend for each channel.
    let next = |output: &str, op: &str| -> Option<(String, String)> {
        let node = model.sole_reader(output).filter(|n| n.op == op)?;
        let by = other(node, output).filter(|by| model.constants.get(*by).is_some_and(|a| a.len() > 1))?;
        Some((by.into(), node.outputs[0].clone()))
    };
    let scale = next(&output, "Mul");
    if let Some((by, behind)) = &scale {
        inputs.push(by.clone());
        output.clone_from(behind);
    }
    if let Some((by, behind)) = next(&output, "Add") {
        inputs.resize(2, String::new());
        inputs.push(by);
        output = behind;
    }
    Some(Found { inputs, eps, axes, output })
}

/// The output of centred / root, or of centred · (1 / root).
fn quotient(model: &Model, root: &str, centred: &str) -> Option<String> {
    let reader = model.sole_reader(root)?;
    match reader.op.as_str() {
        "Div" if reader.inputs == [centred, root] => Some(reader.outputs[0].clone()),
        "Reciprocal" => {
            let inverse = reader.outputs.first()?;
            let product = model.sole_reader(inverse).filter(|n| n.op == "Mul")?;
            (other(product, inverse) == Some(centred)).then(|| product.outputs[0].clone())
        }
        _ => None,
    }
}

/// The axes of a mean that keeps them.
fn axes(model: &Model, node: &Node) -> Option<Vec<i64>> {
    let named = node.ints("axes").map(<[i64]>::to_vec);
    let named = named.or_else(|| model.constants.get(node.input(1)?)?.as_ints().map(<[i64]>::to_vec));
    named.filter(|_| node.int("keepdims", 1) != 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::array::{Array, Data};
    use super::super::super::model::Model;
    use super::super::super::node::Attribute;
    use super::super::{apply, tests::model};

    fn normalised(square: (&str, &[&str]), axes: [i64; 2], tail: &[(&str, &[&str], &str)]) -> Model {
        let start: [(&str, &[&str], &str); 6] = [
            ("ReduceMean", &["x"], "m"),
            ("Sub", &["x", "m"], "d"),
            (square.0, square.1, "s"),
            ("ReduceMean", &["s"], "v"),
            ("Add", &["v", "0.00001"], "e"),
            ("Sqrt", &["e"], "r"),
        ];
        let mut model = model(&[&start, tail].concat());
        for (at, axis) in [0, 3].into_iter().zip(axes) {
            model.nodes[at].attributes.insert("axes".into(), Attribute::Ints(vec![axis]));
        }
        for name in ["w", "b"] {
            model.constants.insert(name.into(), Arc::new(Array { shape: vec![4], data: Data::Floats(vec![0.5; 4]) }));
        }
        apply(&mut model);
        model
    }

    #[test]
    fn every_order_is_recognised() {
        let inputs = |square, tail| {
            let model = normalised(square, [-1, -1], tail);
            assert_eq!(model.nodes.len(), 1, "{tail:?}");
            assert_eq!((model.nodes[0].op.as_str(), model.nodes[0].float("epsilon", 0.0)), ("LayerNormalization", 1e-5));
            model.nodes[0].inputs.join(" ")
        };
        let whole: [(&str, &[&str], &str); 3] = [("Div", &["d", "r"], "n"), ("Mul", &["n", "w"], "k"), ("Add", &["b", "k"], "y")];
        assert_eq!(inputs(("Pow", &["d", "2.0"]), &whole), "x w b");
        let bare: [(&str, &[&str], &str); 2] = [("Reciprocal", &["r"], "i"), ("Mul", &["i", "d"], "y")];
        assert_eq!(inputs(("Mul", &["d", "d"]), &bare), "x");
        let shifted: [(&str, &[&str], &str); 2] = [("Div", &["d", "r"], "n"), ("Add", &["n", "b"], "y")];
        assert_eq!(inputs(("Mul", &["d", "d"]), &shifted), "x  b");
    }

    #[test]
    fn other_axes_are_something_else() {
        assert_eq!(normalised(("Pow", &["d", "2.0"]), [-1, 1], &[("Div", &["d", "r"], "y")]).nodes.len(), 7);
        assert_eq!(normalised(("Pow", &["d", "3.0"]), [-1, -1], &[("Div", &["d", "r"], "y")]).nodes.len(), 7);
    }
}
