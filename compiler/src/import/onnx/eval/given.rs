//! A node with its inputs, what they may be asked for, and what may be spent on all nodes of a file.

use std::cell::Cell;
use std::sync::Arc;

use crate::import::onnx::array::Array;
use crate::import::onnx::elem::Type;
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes::MOST;
use crate::tensor::count;

/// What a family makes of a node: nothing where the operation is none of its own.
pub(super) type Outcome = Option<Result<Vec<Array>, String>>;

/// Evaluates nodes over constants within bounds of memory and work.
#[derive(Debug)]
pub(in crate::import::onnx) struct Folding {
    pub(super) opset: i64,
    /// Elements that may still be made, and steps that may still be done.
    pub(super) elements: Cell<u64>,
    pub(super) steps: Cell<u64>,
}

impl Folding {
    /// For a file of operator set `opset` whose own constants have `held` elements.
    pub(in crate::import::onnx) fn new(opset: i64, held: usize) -> Self {
        let held = held as u64;
        let (elements, steps) =
            ((1u64 << 26).saturating_add(held.saturating_mul(32)), (1u64 << 29).saturating_add(held.saturating_mul(64)));
        Self { opset, elements: Cell::new(elements), steps: Cell::new(steps) }
    }

    /// Gives back what `array` took: nobody reads it any more.
    pub(in crate::import::onnx) fn freed(&self, array: &Array) {
        self.elements.set(self.elements.get().saturating_add(array.len() as u64));
    }
}

/// A node with its inputs.
pub(super) struct Given<'a> {
    pub(super) node: &'a Node,
    pub(super) inputs: &'a [Option<Arc<Array>>],
    pub(super) folding: &'a Folding,
}

impl<'a> Given<'a> {
    pub(super) fn op(&self) -> &'a str {
        &self.node.op
    }

    pub(super) fn opset(&self) -> i64 {
        self.folding.opset
    }

    /// Input `i` where it is given.
    pub(super) fn optional(&self, i: usize) -> Option<&'a Array> {
        self.inputs.get(i).and_then(Option::as_deref)
    }

    pub(super) fn input(&self, i: usize) -> Result<&'a Array, String> {
        self.optional(i).ok_or_else(|| format!("lacks input {i}"))
    }

    /// All inputs, of which there must be one.
    pub(super) fn all(&self) -> Result<Vec<&'a Array>, String> {
        let all: Vec<&Array> = (0..self.inputs.len()).map(|i| self.input(i)).collect::<Result<_, _>>()?;
        if all.is_empty() { Err("has no inputs".into()) } else { Ok(all) }
    }

    /// The integers of input `i`.
    pub(super) fn ints(&self, i: usize) -> Result<&'a [i64], String> {
        let array = self.input(i)?;
        array.as_ints().ok_or_else(|| format!("has {} as input {i}, where integers are needed", array.ty().name()))
    }

    /// The one integer of input `i`.
    pub(super) fn int(&self, i: usize) -> Result<i64, String> {
        match self.ints(i)? {
            [one] => Ok(*one),
            many => Err(format!("has {} elements as input {i}, where one is needed", many.len())),
        }
    }

    /// The one number of input `i`.
    pub(super) fn number(&self, i: usize) -> Result<f64, String> {
        let array = self.input(i)?;
        match (array.len(), array.to_doubles_of(1).first()) {
            (1, Some(one)) => Ok(*one),
            (many, _) => Err(format!("has {many} elements as input {i}, where one is needed")),
        }
    }

    /// Integers by the attribute `name` or, since a later operator set, by input `i`.
    pub(super) fn either(&self, name: &str, i: usize) -> Result<Option<Vec<i64>>, String> {
        match (self.node.ints(name), self.optional(i)) {
            (Some(values), _) => Ok(Some(values.to_vec())),
            (None, Some(_)) => self.ints(i).map(|v| Some(v.to_vec())),
            (None, None) => Ok(None),
        }
    }

    /// The element type by the number in attribute `name`.
    pub(super) fn type_of(&self, name: &str) -> Result<Option<Type>, String> {
        match self.node.int(name, 0) {
            0 => Ok(None),
            code => Type::of(code).map(Some).ok_or_else(|| format!("makes elements of type {code}, which is neither float nor integer")),
        }
    }

    /// Elements of `shape`, if the result may have so many: as many as the inputs together, or [`MOST`].
    pub(super) fn afford(&self, shape: &[usize]) -> Result<usize, String> {
        // A value that is read twice is there once.
        let mut held: Vec<(*const Array, usize)> = self.inputs.iter().flatten().map(|a| (Arc::as_ptr(a), a.len())).collect();
        held.sort_unstable();
        held.dedup();
        let most = MOST.max(held.iter().map(|(_, len)| len).sum());
        count(shape).filter(|n| *n <= most).ok_or_else(|| format!("would make a constant of {shape:?}, more than {most} elements"))
    }

    /// Counts `steps` of work.
    pub(super) fn spend(&self, steps: usize) -> Result<(), String> {
        let left = self.folding.steps.get().checked_sub(steps as u64).ok_or("would take more work than is spent on a file's constants")?;
        self.folding.steps.set(left);
        Ok(())
    }

    /// Counts the product of `factors` as steps of work.
    pub(super) fn spend_product(&self, factors: &[usize]) -> Result<(), String> {
        self.spend(factors.iter().fold(1, |all: usize, &f| all.saturating_mul(f)))
    }

    /// The float type of input `i`.
    pub(super) fn float_type(&self, i: usize) -> Result<Type, String> {
        let ty = self.input(i)?.ty();
        if ty.is_float() { Ok(ty) } else { Err(format!("has {} as input {i}, where floats are needed", ty.name())) }
    }

    /// The type that all `arrays` have.
    pub(super) fn same_type(&self, arrays: &[&Array]) -> Result<Type, String> {
        let ty = arrays.first().ok_or("has no inputs")?.ty();
        match arrays.iter().find(|a| a.ty() != ty) {
            None => Ok(ty),
            Some(other) => Err(format!("has inputs of {} and {}", ty.name(), other.ty().name())),
        }
    }
}

/// The one output.
pub(super) fn one(array: Result<Array, String>) -> Outcome {
    Some(array.map(|a| vec![a]))
}
