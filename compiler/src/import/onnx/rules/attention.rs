//! softmax(scale · Q·Kᵀ)·V as two products with a softmax between them: scaled before or behind the first product, by one
//! number or by its roots on both sides, with the scale a constant or computed from a shape.

use super::super::model::Model;
use super::super::node::{Attribute, Node, Rule};
use super::pattern::{other, outputs_of, replace};

/// What a recognised attention becomes: queries [heads, tokens, size], keys [heads, size, tokens], values [heads, tokens,
/// size], then numbers that the products are multiplied by, or divided where `powers` has −1.
pub(in crate::import::onnx) const FUSED: &str = "Attention written out";

/// The most nodes between a product and its softmax, or of a number's computation.
const DEPTH: usize = 24;

pub(super) fn fuse(model: &mut Model, rule: &'static Rule) {
    for softmax in outputs_of(model, "Softmax") {
        let Some(found) = find(model, &softmax) else { continue };
        let names: Vec<&str> = found.read.iter().map(String::as_str).chain(found.scales.iter().map(|s| s.0.as_str())).collect();
        if let Some(node) = replace(model, rule, FUSED, &names, &found.output) {
            node.attributes.insert("powers".into(), Attribute::Ints(found.scales.iter().map(|s| s.1).collect()));
            node.attributes.insert("axis".into(), Attribute::Int(found.axis));
            node.attributes.insert("mask_axes".into(), Attribute::Int(found.mask_axes as i64));
        }
    }
}

struct Found {
    /// Queries, keys and values.
    read: [String; 3],
    /// Numbers and whether they multiply (1) or divide (−1).
    scales: Vec<(String, i64)>,
    axis: i64,
    /// The most axes of a mask of zeros; more than the scores' would give these more.
    mask_axes: usize,
    output: String,
}

fn find(model: &Model, softmax: &str) -> Option<Found> {
    let node = model.producer(softmax)?;
    let axis = node.int("axis", if model.opset < 13 { 1 } else { -1 });
    let (mut scales, mut mask_axes) = (Vec::new(), 0);
    let product = product(model, node.inputs.first()?, &mut scales, &mut mask_axes)?;
    let [q, k] = &product.inputs[..] else { return None };
    let [q, k] = [q, k].map(|name| unscaled(model, name, &mut scales));
    let (weights, last) = behind(model, softmax)?;
    let [first, v] = &last.inputs[..] else { return None };
    (*first == weights && last.op == "MatMul").then(|| Found {
        read: [q, k, v.clone()],
        scales,
        axis,
        mask_axes,
        output: last.outputs[0].clone(),
    })
}

/// The product of two computed values that scores come from, by way of what only scales them.
fn product<'a>(model: &'a Model, scores: &str, scales: &mut Vec<(String, i64)>, mask_axes: &mut usize) -> Option<&'a Node> {
    let mut at = scores;
    for _ in 0..DEPTH {
        let node = model.producer(at)?;
        model.sole_reader(at)?;
        at = match node.op.as_str() {
            "MatMul" => return node.inputs.iter().all(|i| !model.constants.contains_key(i)).then_some(node),
            _ if passes(node) => node.inputs.first()?,
            "Mul" | "Div" => {
                let (by, power) = scale(model, node)?;
                scales.push((by.into(), power));
                other(node, by)?
            }
            // A mask that hides nothing.
            "Add" => {
                let mask = node.inputs.iter().find(|i| model.constants.get(*i).is_some_and(|a| a.to_floats().iter().all(|x| *x == 0.0)))?;
                *mask_axes = (*mask_axes).max(model.constants.get(mask)?.shape.len());
                other(node, mask)?
            }
            _ => return None,
        };
    }
    None
}

/// What `node` multiplies or divides by, if that depends on nothing but shapes.
fn scale<'a>(model: &Model, node: &'a Node) -> Option<(&'a str, i64)> {
    let [a, b] = &node.inputs[..] else { return None };
    let number = |name: &str| match model.constants.get(name) {
        Some(array) => array.len() == 1,
        None => is_of_shapes(model, name, DEPTH),
    };
    match (node.op.as_str(), number(b), number(a)) {
        ("Div", true, _) => Some((b, -1)),
        ("Mul", true, _) => Some((b, 1)),
        ("Mul", false, true) => Some((a, 1)),
        _ => None,
    }
}

/// Whether a value is computed from constants and shapes alone.
fn is_of_shapes(model: &Model, name: &str, depth: usize) -> bool {
    const STEPS: [&str; 12] =
        ["Sqrt", "Div", "Mul", "Cast", "Reciprocal", "Pow", "Gather", "Slice", "Squeeze", "Unsqueeze", "Constant", "Identity"];
    if model.constants.contains_key(name) {
        return true;
    }
    let Some(node) = model.producer(name).filter(|_| depth > 0) else { return false };
    let step = STEPS.contains(&node.op.as_str()) && node.inputs.iter().all(|i| is_of_shapes(model, i, depth - 1));
    node.op == "Shape" || step
}

/// Queries or keys before they were scaled.
fn unscaled(model: &Model, name: &str, scales: &mut Vec<(String, i64)>) -> String {
    let found = model.producer(name).filter(|n| matches!(n.op.as_str(), "Mul" | "Div") && model.sole_reader(name).is_some());
    let Some((node, (by, power))) = found.and_then(|n| Some((n, scale(model, n)?))) else { return name.into() };
    let Some(of) = other(node, by) else { return name.into() };
    scales.push((by.into(), power));
    of.into()
}

/// From the softmax to the node that multiplies by the values, by way of what changes nothing; the name that this reads.
fn behind<'a>(model: &'a Model, softmax: &str) -> Option<(String, &'a Node)> {
    let mut at = softmax.to_string();
    for _ in 0..DEPTH {
        let node = match model.sole_reader(&at) {
            Some(node) => node,
            None => no_longer_nan(model, &at)?,
        };
        if !passes(node) && !hides_nan(model, node) {
            return Some((at, node));
        }
        at.clone_from(node.outputs.first()?);
    }
    None
}

/// Whether `node` gives the numbers that it reads: of another float type, or none dropped.
fn passes(node: &Node) -> bool {
    match node.op.as_str() {
        "Identity" => true,
        "Cast" => node.casts_to_float(),
        "Dropout" => node.input(2).is_none(),
        _ => false,
    }
}

/// Where(IsNaN(x), 0, x), which PyTorch writes for rows that a mask hides whole.
fn no_longer_nan<'a>(model: &'a Model, x: &str) -> Option<&'a Node> {
    let readers: Vec<&Node> = model.nodes.iter().filter(|n| n.inputs.iter().any(|i| i == x)).collect();
    let [test, choice] = readers[..] else { return None };
    (test.op == "IsNaN" && hides_nan(model, choice) && choice.inputs.get(2).is_some_and(|i| i == x)).then_some(choice)
}

/// Whether `node` gives 0 where its other value is no number, else that value.
fn hides_nan(model: &Model, node: &Node) -> bool {
    let [condition, zero, x] = &node.inputs[..] else { return false };
    let tests = |n: &Node| n.op == "IsNaN" && n.inputs.first() == Some(x);
    let is_zero = model.constants.get(zero).is_some_and(|a| a.scalar() == Some(0.0) && a.shape.len() <= 1);
    node.op == "Where" && is_zero && model.producer(condition).is_some_and(tests)
}

#[cfg(test)]
mod tests {
    use super::super::tests::rewritten;

    #[test]
    fn scales_are_found_wherever_they_stand() {
        let end: [(&str, &[&str], &str); 2] = [("Softmax", &["s"], "p"), ("MatMul", &["p", "v"], "y")];
        let around: [(&str, &[&str], &str); 3] = [("Relu", &["x"], "q"), ("Neg", &["x"], "k"), ("Tanh", &["x"], "v")];
        type Nodes<'a> = &'a [(&'a str, &'a [&'a str], &'a str)];
        let forms: [(Nodes<'_>, &str); 4] = [
            (&[("MatMul", &["q", "k"], "m"), ("Mul", &["m", "0.25"], "s")], "Attention written out(q, k, v, 0.25)"),
            (&[("MatMul", &["q", "k"], "m"), ("Div", &["m", "4.0"], "s")], "Attention written out(q, k, v, 4.0)"),
            (
                &[("Mul", &["q", "0.5"], "a"), ("Mul", &["k", "0.5"], "b"), ("MatMul", &["a", "b"], "s")],
                "Attention written out(q, k, v, 0.5, 0.5)",
            ),
            (&[("MatMul", &["q", "k"], "m"), ("Add", &["m", "0.0"], "s")], "Attention written out(q, k, v)"),
        ];
        for (form, expected) in forms {
            assert_eq!(rewritten(&[&around, form, &end].concat()).last().map(String::as_str), Some(expected));
        }
    }

    #[test]
    fn what_is_no_attention_stays() {
        let masked: [(&str, &[&str], &str); 5] = [
            ("Relu", &["x"], "q"),
            ("MatMul", &["q", "x"], "m"),
            ("Add", &["m", "1.0"], "s"),
            ("Softmax", &["s"], "p"),
            ("MatMul", &["p", "q"], "y"),
        ];
        assert_eq!(rewritten(&masked).len(), 5);
        // The weights are read by somebody else too.
        let shared: [(&str, &[&str], &str); 5] = [
            ("Relu", &["x"], "q"),
            ("MatMul", &["q", "x"], "s"),
            ("Softmax", &["s"], "p"),
            ("MatMul", &["p", "q"], "o"),
            ("Add", &["o", "p"], "y"),
        ];
        assert_eq!(rewritten(&shared).len(), 5);
        // Weights that a condition chooses.
        for (condition, fits) in [(("IsNaN", &["p"][..], "c"), true), (("Relu", &["p"], "c"), false)] {
            let chosen: [(&str, &[&str], &str); 6] = [
                ("Relu", &["x"], "q"),
                ("MatMul", &["q", "x"], "s"),
                ("Softmax", &["s"], "p"),
                condition,
                ("Where", &["c", "0.0", "p"], "w"),
                ("MatMul", &["w", "q"], "y"),
            ];
            assert_eq!(rewritten(&chosen).len() == 2, fits);
        }
    }
}
