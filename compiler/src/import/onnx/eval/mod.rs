//! Operations on constants, one family a file: weights that are prepared in the file, and the sums that shapes are made
//! of. Floats are computed as doubles and rounded once to the type of the result; integers are exact and wrap as
//! their type does.

mod activation;
mod binary;
mod cast;
mod gather;
mod given;
mod logic;
mod moves;
mod norms;
mod order;
mod places;
mod products;
mod quant;
mod reduce;
mod shapes;
mod signal;
#[cfg(test)]
mod suite;
mod unary;
mod windows;

use std::sync::Arc;

use super::array::Array;
use super::node::Node;
use super::sizes::AXES;
pub(super) use given::Folding;
use given::{Given, Outcome};
pub(super) use places::broadcast_offsets;
pub(super) use shapes::shape_of;

impl Folding {
    /// The outputs of `node` over constants; `None` for an operation that is not done here.
    ///
    /// # Errors
    /// A phrase that says why the inputs do not fit, or that the result would be too large or take too long.
    pub(super) fn evaluate(&self, node: &Node, inputs: &[Option<Arc<Array>>]) -> Outcome {
        let given = Given { node, inputs, folding: self };
        // What picks, places or scales is read whole; the first input only by those that say so.
        let read = inputs.iter().skip(1).flatten().map(|a| a.len()).fold(0, usize::saturating_add);
        if let Err(why) = given.spend(read) {
            return Some(Err(why));
        }
        const FAMILIES: [fn(&Given) -> Outcome; 14] = [
            shapes::evaluate,
            moves::evaluate,
            gather::evaluate,
            unary::evaluate,
            activation::evaluate,
            binary::evaluate,
            logic::evaluate,
            cast::evaluate,
            reduce::evaluate,
            order::evaluate,
            norms::evaluate,
            quant::evaluate,
            products::evaluate,
            windows::evaluate,
        ];
        let made = FAMILIES.iter().find_map(|family| family(&given)).or_else(|| signal::evaluate(&given));
        let made = made.or_else(|| never(&node.op).map(|why| Err(why.into())))?;
        Some(made.and_then(|arrays| {
            if let Some(array) = arrays.iter().find(|a| a.shape.len() > AXES) {
                return Err(format!("makes {} axes, more than {AXES}", array.shape.len()));
            }
            let all: usize = arrays.iter().map(Array::len).sum();
            given.spend(all)?;
            let left = self.elements.get().checked_sub(all as u64).ok_or("would make more constants than a file of this size may")?;
            self.elements.set(left);
            Ok(arrays)
        }))
    }
}

/// Why an operation has no result that a file could hold.
pub(super) fn never(op: &str) -> Option<&'static str> {
    Some(match op {
        "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" | "Bernoulli" | "Multinomial" => {
            "draws random numbers, which a compiled network cannot"
        }
        "StringConcat" | "StringNormalizer" | "StringSplit" | "RegexFullMatch" | "TfIdfVectorizer" => {
            "works on text, which is not supported"
        }
        "SequenceAt" | "SequenceConstruct" | "SequenceEmpty" | "SequenceErase" | "SequenceInsert" | "SequenceLength" | "SequenceMap"
        | "SplitToSequence" | "ConcatFromSequence" => "works on a sequence of values, which is not supported",
        "Optional" | "OptionalGetElement" | "OptionalHasElement" => "works on an optional value, which is not supported",
        "ImageDecoder" => "decodes an image, which is not supported",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::array::Data;
    use super::super::elem::Type;
    use super::super::node::Attribute;
    use super::*;

    /// The outputs of `op` under an operator set.
    pub(super) fn outputs_at(opset: i64, op: &str, attributes: &[(&str, Attribute)], inputs: &[Array]) -> Result<Vec<Array>, String> {
        let mut node = Node::new(op, "n", &[], "out");
        node.attributes = attributes.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        let inputs: Vec<_> = inputs.iter().map(|a| Some(Arc::new(a.clone()))).collect();
        Folding::new(opset, 0).evaluate(&node, &inputs).unwrap()
    }

    /// The first output of `op` in a new operator set.
    pub(super) fn run(op: &str, attributes: &[(&str, Attribute)], inputs: &[Array]) -> Result<Array, String> {
        outputs_at(24, op, attributes, inputs).map(|mut all| all.swap_remove(0))
    }

    pub(super) fn floats(shape: &[usize], v: &[f32]) -> Array {
        Array { shape: shape.to_vec(), data: Data::Floats(v.to_vec()) }
    }

    pub(super) fn of(ty: Type, v: &[i64]) -> Array {
        Array::ints_of(ty, vec![v.len()], v.to_vec())
    }

    #[test]
    fn what_would_not_end_well_is_refused() {
        let huge = Array::ints(vec![1 << 40]);
        let refused = |op: &str, inputs: &[Array]| run(op, &[], inputs).unwrap_err();
        assert!(refused("ConstantOfShape", std::slice::from_ref(&huge)).contains("elements"));
        assert!(refused("Expand", &[floats(&[1], &[0.0]), huge.clone()]).contains("elements"));
        assert!(refused("Tile", &[floats(&[1], &[0.0]), huge.clone()]).contains("elements"));
        assert!(refused("Range", &[Array::ints(vec![0]), huge, Array::ints(vec![1])]).contains("elements"));
        assert!(refused("RandomNormal", &[]).contains("random"));
        assert!(refused("SequenceEmpty", &[]).contains("sequence"));
        assert!(refused("Add", &[floats(&[1], &[0.0]), Array::ints(vec![1])]).contains("inputs of float and int64"));
    }

    #[test]
    fn memory_and_work_of_a_file_are_bounded() {
        let folding = Folding::new(24, 0);
        let zeros =
            |n: i64| folding.evaluate(&Node::new("ConstantOfShape", "n", &[], "out"), &[Some(Arc::new(Array::ints(vec![n])))]).unwrap();
        let made: Vec<_> = (0..16).map(|_| zeros(1 << 23)).take_while(Result::is_ok).flatten().flatten().collect();
        assert!(zeros(1 << 23).unwrap_err().contains("more constants") && made.len() == 8, "{}", made.len());
        made.iter().for_each(|a| folding.freed(a));
        assert!(zeros(1 << 23).is_ok());
        // 2³⁶ products in a file of a few bytes.
        let wide = Arc::new(floats(&[4096, 4096], &vec![0.0; 1 << 24]));
        let product = folding.evaluate(&Node::new("MatMul", "n", &[], "out"), &[Some(wide.clone()), Some(wide)]).unwrap();
        assert!(product.unwrap_err().contains("work"));
    }
}
