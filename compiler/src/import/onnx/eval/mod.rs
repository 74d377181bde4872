//! Operations on constants, one family a file: weights that are prepared in the file, and the sums that shapes are made
//! of. Floats are computed as doubles and rounded once to the type of the result; integers are exact and wrap as
//! their type does.

mod activation;
mod binary;
mod cast;
mod gather;
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

use std::cell::Cell;
use std::sync::Arc;

use super::array::Array;
use super::dims::{AXES, MOST};
use super::elem::Type;
use super::model::Node;
use crate::tensor::count;
pub(super) use places::spread;
pub(super) use shapes::shape_of;

/// What a family makes of a node: nothing where the operation is none of its own.
type Outcome = Option<Result<Vec<Array>, String>>;

/// Evaluates nodes over constants within bounds of memory and work.
#[derive(Debug)]
pub(super) struct Folding {
    opset: i64,
    /// Elements that may still be made, and steps that may still be done.
    elements: Cell<u64>,
    steps: Cell<u64>,
}

impl Folding {
    /// For a file of operator set `opset` whose own constants have `held` elements.
    pub(super) fn new(opset: i64, held: usize) -> Self {
        let held = held as u64;
        let (elements, steps) =
            ((1u64 << 26).saturating_add(held.saturating_mul(32)), (1u64 << 29).saturating_add(held.saturating_mul(64)));
        Self { opset, elements: Cell::new(elements), steps: Cell::new(steps) }
    }

    /// Gives back what `array` took: nobody reads it any more.
    pub(super) fn freed(&self, array: &Array) {
        self.elements.set(self.elements.get().saturating_add(array.len() as u64));
    }

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

/// A node with its inputs.
struct Given<'a> {
    node: &'a Node,
    inputs: &'a [Option<Arc<Array>>],
    folding: &'a Folding,
}

impl<'a> Given<'a> {
    fn op(&self) -> &'a str {
        &self.node.op
    }

    fn opset(&self) -> i64 {
        self.folding.opset
    }

    /// Input `i` where it is given.
    fn optional(&self, i: usize) -> Option<&'a Array> {
        self.inputs.get(i).and_then(Option::as_deref)
    }

    fn input(&self, i: usize) -> Result<&'a Array, String> {
        self.optional(i).ok_or_else(|| format!("lacks input {i}"))
    }

    /// All inputs, of which there must be one.
    fn all(&self) -> Result<Vec<&'a Array>, String> {
        let all: Vec<&Array> = (0..self.inputs.len()).map(|i| self.input(i)).collect::<Result<_, _>>()?;
        if all.is_empty() { Err("has no inputs".into()) } else { Ok(all) }
    }

    /// The integers of input `i`.
    fn ints(&self, i: usize) -> Result<&'a [i64], String> {
        let array = self.input(i)?;
        array.as_ints().ok_or_else(|| format!("has {} as input {i}, where integers are needed", array.ty().name()))
    }

    /// The one integer of input `i`.
    fn int(&self, i: usize) -> Result<i64, String> {
        match self.ints(i)? {
            [one] => Ok(*one),
            many => Err(format!("has {} elements as input {i}, where one is needed", many.len())),
        }
    }

    /// The one number of input `i`.
    fn number(&self, i: usize) -> Result<f64, String> {
        let array = self.input(i)?;
        match (array.len(), array.to_doubles_of(1).first()) {
            (1, Some(one)) => Ok(*one),
            (many, _) => Err(format!("has {many} elements as input {i}, where one is needed")),
        }
    }

    /// Integers by the attribute `name` or, since a later operator set, by input `i`.
    fn either(&self, name: &str, i: usize) -> Result<Option<Vec<i64>>, String> {
        match (self.node.ints(name), self.optional(i)) {
            (Some(values), _) => Ok(Some(values.to_vec())),
            (None, Some(_)) => self.ints(i).map(|v| Some(v.to_vec())),
            (None, None) => Ok(None),
        }
    }

    /// The element type by the number in attribute `name`.
    fn type_of(&self, name: &str) -> Result<Option<Type>, String> {
        match self.node.int(name, 0) {
            0 => Ok(None),
            code => Type::of(code).map(Some).ok_or_else(|| format!("makes elements of type {code}, which is neither float nor integer")),
        }
    }

    /// Elements of `shape`, if the result may have so many: as many as the inputs together, or [`MOST`].
    fn afford(&self, shape: &[usize]) -> Result<usize, String> {
        // A value that is read twice is there once.
        let mut held: Vec<(*const Array, usize)> = self.inputs.iter().flatten().map(|a| (Arc::as_ptr(a), a.len())).collect();
        held.sort_unstable();
        held.dedup();
        let most = MOST.max(held.iter().map(|(_, len)| len).sum());
        count(shape).filter(|n| *n <= most).ok_or_else(|| format!("would make a constant of {shape:?}, more than {most} elements"))
    }

    /// Counts `steps` of work.
    fn spend(&self, steps: usize) -> Result<(), String> {
        let left = self.folding.steps.get().checked_sub(steps as u64).ok_or("would take more work than is spent on a file's constants")?;
        self.folding.steps.set(left);
        Ok(())
    }

    /// Counts the product of `factors` as steps of work.
    fn spend_product(&self, factors: &[usize]) -> Result<(), String> {
        self.spend(factors.iter().fold(1, |all: usize, &f| all.saturating_mul(f)))
    }

    /// The float type of input `i`.
    fn float_type(&self, i: usize) -> Result<Type, String> {
        let ty = self.input(i)?.ty();
        if ty.is_float() { Ok(ty) } else { Err(format!("has {} as input {i}, where floats are needed", ty.name())) }
    }

    /// The type that all `arrays` have.
    fn same_type(&self, arrays: &[&Array]) -> Result<Type, String> {
        let ty = arrays.first().ok_or("has no inputs")?.ty();
        match arrays.iter().find(|a| a.ty() != ty) {
            None => Ok(ty),
            Some(other) => Err(format!("has inputs of {} and {}", ty.name(), other.ty().name())),
        }
    }
}

/// The one output.
fn one(array: Result<Array, String>) -> Outcome {
    Some(array.map(|a| vec![a]))
}

#[cfg(test)]
mod tests {
    use super::super::array::Data;
    use super::super::model::Attribute;
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
