//! x/2 · (1 + erf(x/√2)) and x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), in the orders in which exporters write them.

use super::super::model::Model;
use super::super::node::{Attribute, Node, Rule};
use super::pattern::{next_with_number, other, outputs_of, replace, with_number};

pub(super) fn by_erf(model: &mut Model, rule: &'static Rule) {
    for erf in outputs_of(model, "Erf") {
        let found = inner_erf(model, &erf).and_then(|x| Some((tail(model, &erf, &x)?, x)));
        if let Some((output, x)) = found {
            replace(model, rule, "Gelu", &[&x], &output);
        }
    }
}

pub(super) fn by_tanh(model: &mut Model, rule: &'static Rule) {
    for tanh in outputs_of(model, "Tanh") {
        let found = inner_tanh(model, &tanh).and_then(|x| Some((tail(model, &tanh, &x)?, x)));
        let Some((output, x)) = found else { continue };
        if let Some(node) = replace(model, rule, "Gelu", &[&x], &output) {
            node.attributes.insert("approximate".into(), Attribute::Text("tanh".into()));
        }
    }
}

/// x of erf(x/√2).
fn inner_erf(model: &Model, erf: &str) -> Option<String> {
    let scaled = model.producer(model.producer(erf)?.input(0)?)?;
    let divided = with_number(model, scaled, "Div", std::f32::consts::SQRT_2);
    divided.or_else(|| with_number(model, scaled, "Mul", std::f32::consts::FRAC_1_SQRT_2)).map(String::from)
}

/// x of tanh(√(2/π)·(x + 0.044715·x³)).
fn inner_tanh(model: &Model, tanh: &str) -> Option<String> {
    let scaled = model.producer(model.producer(tanh)?.input(0)?)?;
    let sum = model.producer(with_number(model, scaled, "Mul", (2.0 / std::f32::consts::PI).sqrt())?)?;
    if sum.op != "Add" {
        return None;
    }
    let fits = |x: &&String| {
        let cube = other(sum, x).and_then(|c| model.producer(c)).and_then(|c| with_number(model, c, "Mul", 0.044_715));
        cube.and_then(|c| model.producer(c)).is_some_and(|c| is_cube(model, c, x))
    };
    sum.inputs.iter().find(fits).cloned()
}

fn is_cube(model: &Model, node: &Node, x: &str) -> bool {
    let square = |name: &str| model.producer(name).is_some_and(|n| n.op == "Mul" && n.inputs == [x, x]);
    with_number(model, node, "Pow", 3.0) == Some(x) || (node.op == "Mul" && other(node, x).is_some_and(square))
}

/// From f to x/2·(1 + f): the output's name.
fn tail(model: &Model, f: &str, x: &str) -> Option<String> {
    let sum = next_with_number(model, f, "Add", 1.0)?;
    let half = |name: &str| model.producer(name).is_some_and(|n| with_number(model, n, "Mul", 0.5) == Some(x));
    // (1 + f)/2 first, then x.
    if let Some(halved) = next_with_number(model, sum, "Mul", 0.5) {
        let product = model.sole_reader(halved).filter(|n| n.op == "Mul")?;
        return (other(product, halved) == Some(x)).then(|| product.outputs[0].clone());
    }
    let product = model.sole_reader(sum).filter(|n| n.op == "Mul")?;
    match other(product, sum)? {
        by if by == x => next_with_number(model, &product.outputs[0], "Mul", 0.5).map(String::from),
        by => half(by).then(|| product.outputs[0].clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rewritten;

    #[test]
    fn every_order_is_recognised() {
        let start: [(&str, &[&str], &str); 3] = [("Div", &["x", "1.4142135"], "a"), ("Erf", &["a"], "e"), ("Add", &["e", "1.0"], "s")];
        let tails: [&[(&str, &[&str], &str)]; 3] = [
            &[("Mul", &["x", "s"], "m"), ("Mul", &["m", "0.5"], "y")],
            &[("Mul", &["0.5", "x"], "h"), ("Mul", &["h", "s"], "y")],
            &[("Mul", &["s", "0.5"], "h"), ("Mul", &["x", "h"], "y")],
        ];
        for tail in tails {
            assert_eq!(rewritten(&[&start, tail].concat()), ["Gelu(x)"], "{tail:?}");
        }
    }

    #[test]
    fn the_tanh_form_is_recognised_and_other_numbers_are_not() {
        let nodes = |number: &'static str| {
            let all: [(&str, Vec<&str>, &str); 8] = [
                ("Pow", vec!["x", "3.0"], "c"),
                ("Mul", vec!["c", "0.044715"], "k"),
                ("Add", vec!["x", "k"], "s"),
                ("Mul", vec!["s", "0.7978846"], "z"),
                ("Tanh", vec!["z"], "t"),
                ("Add", vec!["t", number], "o"),
                ("Mul", vec!["x", "0.5"], "h"),
                ("Mul", vec!["h", "o"], "y"),
            ];
            let all: Vec<(&str, &[&str], &str)> = all.iter().map(|(op, i, o)| (*op, &i[..], *o)).collect();
            rewritten(&all)
        };
        assert_eq!(nodes("1.0"), ["Gelu(x)"]);
        assert_eq!(nodes("1.1").len(), 8);
    }
}
