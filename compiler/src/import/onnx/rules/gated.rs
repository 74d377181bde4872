//! x · sigmoid(x), and x · clip(x/6 + 1/2, 0, 1) in the forms in which exporters write it.

use super::super::model::Model;
use super::super::node::{Node, Rule};
use super::pattern::{next_with_number, other, outputs_of, replace, with_number};

pub(super) fn silu(model: &mut Model, rule: &'static Rule) {
    gated(model, rule, "Sigmoid", "Silu", |_| true);
}

/// x · HardSigmoid(x), or x · clip(x + 3, 0, 6) / 6 with the division before or behind the product.
pub(super) fn hard_swish(model: &mut Model, rule: &'static Rule) {
    gated(model, rule, "HardSigmoid", "HardSwish", |n| (n.float("alpha", 0.2) - 1.0 / 6.0).abs() <= 1e-7 && n.float("beta", 0.5) == 0.5);
    for clip in outputs_of(model, "Clip") {
        if let Some((x, output)) = clipped(model, &clip) {
            replace(model, rule, "HardSwish", &[&x], &output);
        }
    }
}

/// x · f(x) becomes `gate`(x).
fn gated(model: &mut Model, rule: &'static Rule, f: &str, gate: &str, fits: fn(&Node) -> bool) {
    for output in outputs_of(model, f) {
        let found = model.producer(&output).filter(|n| fits(n)).and_then(|node| {
            let product = model.sole_reader(&output).filter(|n| n.op == "Mul")?;
            let x = node.inputs.first()?;
            (other(product, &output) == Some(x)).then(|| (x.clone(), product.outputs[0].clone()))
        });
        if let Some((x, product)) = found {
            replace(model, rule, gate, &[&x], &product);
        }
    }
}

/// x and the output of x · clip(x + 3, 0, 6) / 6.
fn clipped(model: &Model, clip: &str) -> Option<(String, String)> {
    let node = model.producer(clip)?;
    let bound = |i: usize, key: &str| node.input(i).map_or(Some(node.float(key, f32::NAN)), |name| model.scalar(name));
    if (bound(1, "min")?, bound(2, "max")?) != (0.0, 6.0) {
        return None;
    }
    let x = with_number(model, model.producer(node.inputs.first()?)?, "Add", 3.0)?;
    let sixth = |value: &str| next_with_number(model, value, "Div", 6.0).or_else(|| next_with_number(model, value, "Mul", 1.0 / 6.0));
    let product = |value: &str| model.sole_reader(value).filter(|n| n.op == "Mul" && other(n, value) == Some(x));
    let output = match sixth(clip) {
        Some(divided) => product(divided)?.outputs[0].clone(),
        None => sixth(&product(clip)?.outputs[0])?.to_string(),
    };
    Some((x.to_string(), output))
}

#[cfg(test)]
mod tests {
    use super::super::tests::rewritten;

    #[test]
    fn gates_are_recognised() {
        assert_eq!(rewritten(&[("Sigmoid", &["x"], "s"), ("Mul", &["s", "x"], "y")]), ["Silu(x)"]);
        assert_eq!(rewritten(&[("Sigmoid", &["x"], "s"), ("Mul", &["s", "s"], "y")]).len(), 2);
        // HardSigmoid's own default is 0.2, not 1/6.
        assert_eq!(rewritten(&[("HardSigmoid", &["x"], "s"), ("Mul", &["x", "s"], "y")]).len(), 2);
    }

    #[test]
    fn hard_swish_is_recognised_with_either_division() {
        let clip: [(&str, &[&str], &str); 2] = [("Add", &["x", "3.0"], "a"), ("Clip", &["a", "0.0", "6.0"], "c")];
        let behind: [(&str, &[&str], &str); 2] = [("Mul", &["x", "c"], "m"), ("Div", &["m", "6.0"], "y")];
        let before: [(&str, &[&str], &str); 2] = [("Div", &["c", "6.0"], "d"), ("Mul", &["d", "x"], "y")];
        assert_eq!(rewritten(&[&clip[..], &behind].concat()), ["HardSwish(x)"]);
        assert_eq!(rewritten(&[&clip[..], &before].concat()), ["HardSwish(x)"]);
    }
}
