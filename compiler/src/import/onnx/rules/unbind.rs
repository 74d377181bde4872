//! Queries, keys and values taken apart along an axis that was put before the batch: `qkv.permute(2, 0, 3, 1, 4).unbind(0)`.
//! The axis goes behind the batch instead.

use super::super::model::{Attribute, Model, Node};

pub(super) fn behind_the_batch(model: &mut Model) -> Vec<String> {
    let mut made = Vec::new();
    for at in 0..model.nodes.len() {
        let node = &model.nodes[at];
        let moves = node.op == "Transpose" && node.ints("perm").is_some_and(|p| p.len() > 2 && p[1] == 0);
        let Some(readers) = (if moves { readers(model, &node.outputs[0]) } else { None }) else { continue };
        made.push(node.label().to_string());
        if let Some(Attribute::Ints(perm)) = model.nodes[at].attributes.get_mut("perm") {
            perm.swap(0, 1);
        }
        for reader in readers {
            let node = &mut model.nodes[reader];
            match node.op.as_str() {
                // Named by attribute in every operator set here; an input would be read second.
                "Squeeze" => drop(node.attributes.insert("axes".into(), Attribute::Ints(vec![1]))),
                _ => drop(node.attributes.insert("axis".into(), Attribute::Int(1))),
            }
        }
    }
    made
}

/// Every node behind `value` that names its first axis, if they all take that away.
fn readers(model: &Model, value: &str) -> Option<Vec<usize>> {
    let reads = |name: &str| -> Vec<usize> {
        let reads = |n: &Node| n.inputs.iter().any(|i| i == name);
        model.nodes.iter().enumerate().filter(|(_, n)| reads(n)).map(|(i, _)| i).collect()
    };
    let mut all = Vec::new();
    for at in reads(value) {
        let node = &model.nodes[at];
        all.push(at);
        match node.op.as_str() {
            "Gather" if node.int("axis", 0) == 0 && model.constants.get(node.input(1)?)?.shape.is_empty() => {}
            "Split" if node.int("axis", 0) == 0 => {
                for part in node.outputs.iter().flat_map(|o| reads(o)) {
                    let squeeze = &model.nodes[part];
                    let named = squeeze.ints("axes").map(<[i64]>::to_vec);
                    let named = named.or_else(|| model.constants.get(squeeze.input(1)?)?.as_ints().map(<[i64]>::to_vec));
                    if squeeze.op != "Squeeze" || named? != [0] {
                        return None;
                    }
                    all.push(part);
                }
            }
            _ => return None,
        }
    }
    (!all.is_empty() && model.output != value).then_some(all)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::array::{Array, Data};
    use super::super::super::model::Attribute;
    use super::super::{apply, tests::model};

    #[test]
    fn gathered_parts_keep_the_batch_first() {
        for (perm, fits) in [(vec![2, 0, 3, 1, 4], true), (vec![2, 3, 0, 1, 4], false)] {
            let mut model =
                model(&[("Transpose", &["x"], "t"), ("Gather", &["t", "i"], "a"), ("Gather", &["t", "i"], "b"), ("Add", &["a", "b"], "y")]);
            model.constants.insert("i".into(), Arc::new(Array { shape: vec![], data: Data::Ints(vec![1]) }));
            model.nodes[0].attributes.insert("perm".into(), Attribute::Ints(perm.clone()));
            apply(&mut model);
            assert_eq!(model.nodes[0].ints("perm") == Some(&[0, 2, 3, 1, 4]), fits);
            assert_eq!(model.nodes[1].int("axis", 0) == 1 && model.nodes[2].int("axis", 0) == 1, fits);
        }
    }
}
