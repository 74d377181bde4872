//! Networks of operator sets before 7, rewritten as operator set 7 has them: broadcasting that names an axis, inputs that
//! were attributes, defaults that were others. Also the experimental operations of those days that are sums and products.

use std::collections::HashMap;
use std::sync::Arc;

use super::array::{Array, Data};
use super::elem::Type;
use super::model::Model;
use super::names::Names;
use super::node::{Attribute, Node};
use super::sizes::axis;

/// The first operator set with NumPy's broadcasting.
const MODERN: i64 = 7;

/// Rewrites `model` if it is old.
///
/// # Errors
/// Every node that cannot be rewritten, with the reason.
pub(super) fn modernise(model: &mut Model) -> Result<(), Vec<String>> {
    let experimental = |n: &Node| matches!(n.op.as_str(), "ImageScaler" | "Affine" | "ScaledTanh" | "Scale");
    if model.opset >= MODERN && (model.opset > 9 || !model.nodes.iter().any(experimental)) {
        return Ok(());
    }
    let mut names = Names::new(0);
    let values = model.nodes.iter().flat_map(|n| n.inputs.iter().chain(&n.outputs));
    names.take(values.chain(model.constants.keys()).chain(&model.outputs).chain(model.inputs.iter().map(|i| &i.name)));
    let mut ranks: HashMap<String, usize> = model.constants.iter().map(|(name, a)| (name.clone(), a.shape.len())).collect();
    ranks.extend(model.inputs.iter().map(|i| (i.name.clone(), i.dims.len())));
    let mut old = Old { opset: model.opset, names, ranks, constants: std::mem::take(&mut model.constants), made: Vec::new() };
    let mut faults = Vec::new();
    for node in std::mem::take(&mut model.nodes) {
        let told = format!("{} '{}'", node.op, node.label());
        let rank = old.rank(&node);
        if let Some(rank) = rank {
            old.ranks.extend(node.outputs.iter().map(|o| (o.clone(), rank)));
        }
        if let Err(why) = old.rewrite(node) {
            faults.push(format!("{told} {why}"));
        }
    }
    (model.nodes, model.constants, model.opset) = (old.made, old.constants, model.opset.max(MODERN));
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

struct Old {
    opset: i64,
    names: Names,
    /// The number of axes of the values of which it is known.
    ranks: HashMap<String, usize>,
    constants: HashMap<String, Arc<Array>>,
    made: Vec<Node>,
}

impl Old {
    /// The number of axes of a node's outputs, if it is known.
    fn rank(&self, node: &Node) -> Option<usize> {
        let of = |i: usize| self.ranks.get(node.input(i)?).copied();
        Some(match node.op.as_str() {
            "Gemm" | "Flatten" => 2,
            "Shape" => 1,
            "Size" => 0,
            "MatMul" => of(0)?.max(of(1)?),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "And" | "Or" | "Xor" | "Greater" | "Less" | "Equal" => of(0)?.max(of(1).unwrap_or(0)),
            "Reshape" => match (node.ints("shape"), node.input(1)) {
                (Some(shape), _) => shape.len(),
                (None, name) => self.constants.get(name?)?.len(),
            },
            "Squeeze" => of(0)?.checked_sub(node.ints("axes")?.len())?,
            "Unsqueeze" => of(0)? + node.ints("axes")?.len(),
            "Gather" => (of(0)? + of(1)?).checked_sub(1)?,
            "ArgMax" | "ArgMin" if node.int("keepdims", 1) == 0 => of(0)?.checked_sub(1)?,
            op if op.starts_with("Reduce") && node.int("keepdims", 1) == 0 => {
                of(0)?.checked_sub(node.ints("axes").map_or(of(0)?, <[i64]>::len))?
            }
            "Constant" => match node.attributes.get("value")? {
                Attribute::Tensor(t) => t.shape.len(),
                _ => return None,
            },
            "If" | "Loop" | "Scan" | "RNN" | "LSTM" | "GRU" => return None,
            op if op.contains('.') => return None,
            // All others keep the axes of their first input.
            _ => of(0)?,
        })
    }

    /// A new constant, which is called like `like`.
    fn constant(&mut self, like: &str, array: Array) -> String {
        let name = self.names.fresh(like);
        self.ranks.insert(name.clone(), array.shape.len());
        self.constants.insert(name.clone(), Arc::new(array));
        name
    }

    fn rewrite(&mut self, mut node: Node) -> Result<(), String> {
        if self.opset < MODERN {
            node.attributes.remove("consumed_inputs");
        }
        match node.op.as_str() {
            "ImageScaler" | "Affine" | "ScaledTanh" | "Scale" if self.opset <= 9 => return self.written_out(&node),
            _ if self.opset >= MODERN => {}
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "And" | "Or" | "Xor" | "Greater" | "Less" | "Equal" => self.broadcast(&mut node)?,
            "PRelu" => self.lifted(&mut node, Some(1))?,
            "BatchNormalization" => {
                if node.int("is_test", 0) == 0 {
                    return Err("normalises by its own batch, as in training; export it with is_test=1".into());
                }
                node.outputs.truncate(1);
                node.attributes.remove("is_test");
            }
            "Dropout" => {
                if node.attributes.contains_key("is_test") && node.int("is_test", 0) == 0 && node.float("ratio", 0.5) != 0.0 {
                    return Err("draws random numbers, as in training; export it with is_test=1".into());
                }
                node.attributes.remove("is_test");
            }
            "Cast" => {
                if let Some(named) = node.text("to") {
                    let code =
                        code_of(named).ok_or_else(|| format!("makes elements of type '{named}', which is neither float nor integer"))?;
                    node.attributes.insert("to".into(), Attribute::Int(code));
                }
            }
            "Concat" if self.opset < 4 => {
                node.attributes.entry("axis".into()).or_insert(Attribute::Int(1));
            }
            "Reshape" if node.inputs.len() < 2 => {
                let shape = node.ints("shape").ok_or("does not say which shape")?.to_vec();
                let name = self.constant(&format!("{}.shape", node.label()), Array::ints(shape));
                node.inputs.push(name);
                node.attributes.remove("shape");
            }
            "Pad" => {
                if let Some(pads) = node.attributes.remove("paddings") {
                    node.attributes.insert("pads".into(), pads);
                }
            }
            "Selu" if self.opset < 6 => {
                node.attributes.entry("alpha".into()).or_insert(Attribute::Float(1.6732));
                node.attributes.entry("gamma".into()).or_insert(Attribute::Float(1.0507));
            }
            "Upsample" if node.attributes.contains_key("height_scale") => {
                let scales = vec![1.0, 1.0, node.float("height_scale", 1.0), node.float("width_scale", 1.0)];
                node.attributes.insert("scales".into(), Attribute::Floats(scales));
                if node.text("mode") == Some("bilinear") {
                    node.attributes.insert("mode".into(), Attribute::Text("linear".into()));
                }
            }
            "LpPool" | "GlobalLpPool" | "LpNormalization" => {
                if let Some(Attribute::Float(p)) = node.attributes.get("p") {
                    let whole = *p as i64;
                    if whole as f32 != *p {
                        return Err(format!("has the norm of order {p}"));
                    }
                    node.attributes.insert("p".into(), Attribute::Int(whole));
                }
            }
            "Tile" if node.inputs.len() == 3 => self.tile(&mut node)?,
            "MeanVarianceNormalization" => return Err("is an experimental operation that operator set 9 defines anew".into()),
            _ => {}
        }
        self.made.push(node);
        Ok(())
    }

    /// Gives the second input the axes behind it that NumPy's broadcasting needs.
    fn broadcast(&mut self, node: &mut Node) -> Result<(), String> {
        let at = (node.int("broadcast", 0) != 0 && node.attributes.contains_key("axis")).then(|| node.int("axis", 0));
        node.attributes.remove("broadcast");
        node.attributes.remove("axis");
        self.lifted(node, at)
    }

    /// Makes input 1 begin at axis `at` of input 0.
    fn lifted(&mut self, node: &mut Node, at: Option<i64>) -> Result<(), String> {
        let (Some(at), Some(second)) = (at, node.input(1).map(str::to_string)) else { return Ok(()) };
        if self.constants.get(&second).is_some_and(|c| c.len() == 1) {
            return Ok(());
        }
        let unknown = || "broadcasts along an axis of a value whose axes are not known".to_string();
        let first = node.input(0).and_then(|n| self.ranks.get(n)).copied().ok_or_else(unknown)?;
        let own = self.ranks.get(&second).copied().ok_or_else(unknown)?;
        let missing =
            first.checked_sub(own + axis(at, first)?).ok_or_else(|| format!("broadcasts {own} axes from axis {at} of {first}"))?;
        if missing == 0 {
            return Ok(());
        }
        if let Some(constant) = self.constants.get(&second) {
            let shape = [&constant.shape[..], &vec![1; missing]].concat();
            let lifted = constant.reshaped(shape);
            node.inputs[1] = self.constant(&second, lifted);
            return Ok(());
        }
        let name = self.names.fresh(&second);
        let mut lift = Node::new("Unsqueeze", &name, &[&second], &name);
        lift.attributes.insert("axes".into(), Attribute::Ints((own..own + missing).map(|a| a as i64).collect()));
        self.ranks.insert(name.clone(), own + missing);
        self.made.push(lift);
        node.inputs[1] = name;
        Ok(())
    }

    /// `tiles` copies along one axis as one number of copies for each.
    fn tile(&mut self, node: &mut Node) -> Result<(), String> {
        let number = |i: usize| node.input(i).and_then(|n| self.constants.get(n)).and_then(|c| c.scalar()).ok_or("repeats by no constant");
        let (tiles, along) = (number(1)?, number(2)?);
        let rank = node.input(0).and_then(|n| self.ranks.get(n)).copied().ok_or("repeats a value whose axes are not known")?;
        let mut repeats = vec![1; rank];
        repeats[axis(along as i64, rank)?] = tiles as i64;
        let name = self.constant(&format!("{}.repeats", node.label()), Array::ints(repeats));
        node.inputs.truncate(1);
        node.inputs.push(name);
        Ok(())
    }

    /// Experimental operations as the sums and products that they are.
    fn written_out(&mut self, node: &Node) -> Result<(), String> {
        let (x, y) = (node.input(0).ok_or("lacks input 0")?.to_string(), node.outputs.first().cloned().unwrap_or_default());
        let scalar = |v: f32| Array { shape: vec![], data: Data::Floats(vec![v]) };
        let number = |name: &str, default: f32| scalar(node.float(name, default));
        let steps: Vec<(&str, Option<Array>)> = match node.op.as_str() {
            "ImageScaler" => {
                let bias = match node.attributes.get("bias") {
                    Some(Attribute::Floats(bias)) => bias.clone(),
                    _ => vec![0.0],
                };
                let bias = Array { shape: vec![bias.len(), 1, 1], data: Data::Floats(bias) };
                vec![("Mul", Some(number("scale", 1.0))), ("Add", Some(bias))]
            }
            "Affine" => vec![("Mul", Some(number("alpha", 1.0))), ("Add", Some(number("beta", 0.0)))],
            "Scale" => vec![("Mul", Some(number("scale", 1.0)))],
            _ => vec![("Mul", Some(number("beta", 1.0))), ("Tanh", None), ("Mul", Some(number("alpha", 1.0)))],
        };
        let (last, mut from) = (steps.len() - 1, x);
        for (i, (op, by)) in steps.into_iter().enumerate() {
            let to = if i == last { y.clone() } else { self.names.fresh(&y) };
            let label = node.label().to_string();
            let by = by.map(|array| self.constant(&format!("{label}.{}", op.to_lowercase()), array));
            let inputs: Vec<&str> = std::iter::once(from.as_str()).chain(by.as_deref()).collect();
            self.made.push(Node::new(op, &label, &inputs, &to));
            from = to;
        }
        Ok(())
    }
}

/// ONNX's number of a type by its name, as `Cast` had it before operator set 6.
fn code_of(name: &str) -> Option<i64> {
    let other = match name.to_ascii_lowercase().as_str() {
        "float32" => "float",
        "float64" => "double",
        name => return (1..=28).find(|&code| Type::of(code).is_some_and(|t| t.name() == name)),
    };
    code_of(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model of operator set `opset` from x [1, 4, 5, 6] to y.
    fn old(opset: i64, nodes: Vec<Node>, constants: &[(&str, Array)]) -> Model {
        let constants = constants.iter().map(|(name, a)| (name.to_string(), Arc::new(a.clone()))).collect();
        let dims = vec![None, Some(4), Some(5), Some(6)];
        Model {
            inputs: vec![crate::import::onnx::model::Input { name: "x".into(), dims, element: 1 }],
            outputs: vec!["y".into()],
            nodes,
            constants,
            ..Model::empty(opset)
        }
    }

    fn with(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute)]) -> Node {
        let mut node = Node::new(op, output, inputs, output);
        node.attributes = attributes.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        node
    }

    fn floats(shape: &[usize]) -> Array {
        Array { shape: shape.to_vec(), data: Data::Floats(vec![0.5; shape.iter().product()]) }
    }

    fn broadcast(at: i64) -> Vec<(&'static str, Attribute)> {
        vec![("broadcast", Attribute::Int(1)), ("axis", Attribute::Int(at))]
    }

    #[test]
    fn axes_of_broadcasting_are_written_out() {
        let mut model = old(6, vec![with("Relu", &["x"], "h", &[]), with("Add", &["h", "c"], "y", &broadcast(1))], &[("c", floats(&[4]))]);
        modernise(&mut model).unwrap();
        assert_eq!((model.opset, model.nodes[1].inputs[1].as_str(), model.nodes[1].attributes.len()), (7, "c#2", 0));
        assert_eq!(model.constants["c#2"].shape, [4, 1, 1]);
        // A computed one gets a node of its own.
        let sums = vec![with("ReduceMean", &["x"], "m", &[("axes", Attribute::Ints(vec![2, 3])), ("keepdims", Attribute::Int(0))])];
        let nodes = [sums, vec![with("Mul", &["x", "m"], "y", &broadcast(0))]].concat();
        let mut model = old(6, nodes, &[]);
        modernise(&mut model).unwrap();
        assert_eq!((model.nodes[1].op.as_str(), model.nodes[1].ints("axes")), ("Unsqueeze", Some(&[2, 3][..])));
        assert_eq!(model.nodes[2].inputs, ["x", "m#2"]);
        // One element fits anywhere, and the last axes need nothing.
        let nodes = vec![with("Add", &["x", "one"], "h", &broadcast(0)), with("Sub", &["h", "last"], "y", &broadcast(3))];
        let mut model = old(6, nodes, &[("one", floats(&[1])), ("last", floats(&[6]))]);
        modernise(&mut model).unwrap();
        assert_eq!((model.nodes[0].inputs[1].as_str(), model.nodes[1].inputs[1].as_str()), ("one", "last"));
        let mut model = old(6, vec![with("PRelu", &["x", "s"], "y", &[])], &[("s", floats(&[4]))]);
        modernise(&mut model).unwrap();
        assert_eq!(model.constants["s#2"].shape, [4, 1, 1]);
    }

    #[test]
    fn what_cannot_be_rewritten_is_listed() {
        let nodes = vec![
            with("LSTM", &["x"], "r", &[]),
            with("Add", &["r", "c"], "s", &broadcast(1)),
            with("BatchNormalization", &["s", "c", "c", "c", "c"], "n", &[]),
            with("Dropout", &["n"], "d", &[("is_test", Attribute::Int(0))]),
            with("Cast", &["d"], "y", &[("to", Attribute::Text("STRING".into()))]),
        ];
        let faults = modernise(&mut old(6, nodes, &[("c", floats(&[4]))])).unwrap_err();
        let parts = [
            "Add 's' broadcasts along an axis of a value",
            "BatchNormalization 'n' normalises by its own batch",
            "Dropout 'd' draws",
            "Cast 'y' makes elements of type 'STRING'",
        ];
        assert_eq!(faults.len(), parts.len(), "{faults:?}");
        parts.iter().zip(&faults).for_each(|(part, fault)| assert!(fault.contains(part), "{fault}"));
    }

    #[test]
    fn attributes_that_became_inputs_or_changed() {
        let scalar = |v: f32| Array { shape: vec![], data: Data::Floats(vec![v]) };
        let nodes = vec![
            with("Cast", &["x"], "a", &[("to", Attribute::Text("INT64".into()))]),
            with("Concat", &["a", "a"], "b", &[]),
            with("Reshape", &["b"], "c", &[("shape", Attribute::Ints(vec![0, -1]))]),
            with("Pad", &["c"], "d", &[("paddings", Attribute::Ints(vec![0, 1, 0, 1]))]),
            with("Tile", &["d", "tiles", "along"], "e", &[]),
            with("GlobalLpPool", &["e"], "f", &[("p", Attribute::Float(3.0))]),
            with("BatchNormalization", &["f"], "g", &[("is_test", Attribute::Int(1)), ("consumed_inputs", Attribute::Ints(vec![0]))]),
            with("Selu", &["g"], "h", &[]),
            with("Upsample", &["h"], "y", &[("height_scale", Attribute::Float(2.0)), ("width_scale", Attribute::Float(3.0))]),
        ];
        let mut model = old(1, nodes, &[("tiles", scalar(3.0)), ("along", scalar(1.0))]);
        modernise(&mut model).unwrap();
        let [cast, concat, reshape, pad, tile, pool, norm, selu, upsample] = &model.nodes[..] else { panic!("{:?}", model.nodes) };
        assert_eq!((cast.int("to", 0), concat.int("axis", 0)), (7, 1));
        assert_eq!(model.constants[&reshape.inputs[1]].as_ints(), Some(&[0, -1][..]));
        assert_eq!((pad.ints("pads"), pool.int("p", 0)), (Some(&[0, 1, 0, 1][..]), 3));
        assert_eq!(model.constants[&tile.inputs[1]].as_ints(), Some(&[1, 3][..]));
        assert!(norm.attributes.is_empty());
        assert_eq!(
            (selu.float("alpha", 0.0), upsample.attributes.get("scales")),
            (1.6732, Some(&Attribute::Floats(vec![1.0, 1.0, 2.0, 3.0])))
        );
    }

    #[test]
    fn experimental_operations_are_written_out() {
        let scaler =
            with("ImageScaler", &["x"], "h", &[("scale", Attribute::Float(2.0)), ("bias", Attribute::Floats(vec![1.0, 2.0, 3.0, 4.0]))]);
        let tanh = with("ScaledTanh", &["h"], "y", &[("alpha", Attribute::Float(1.5)), ("beta", Attribute::Float(0.5))]);
        let mut model = old(7, vec![scaler, tanh], &[]);
        modernise(&mut model).unwrap();
        let ops: Vec<String> = model.nodes.iter().map(|n| format!("{}({})", n.op, n.inputs.join(", "))).collect();
        assert_eq!(ops, ["Mul(x, h.mul)", "Add(h#2, h.add)", "Mul(h, y.mul)", "Tanh(y#2)", "Mul(y#3, y.mul#2)"]);
        assert_eq!((model.constants["h.add"].shape.clone(), model.constants["y.mul#2"].scalar()), (vec![4, 1, 1], Some(1.5)));
        assert_eq!(model.nodes[4].outputs, ["y"]);
    }
}
