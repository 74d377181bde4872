//! The integers that a value may hold: its type's, and the least and the largest of them.

use crate::import::onnx::array::Array;
use crate::import::onnx::elem::Type;

/// f32 hold all integers up to this one.
const EXACT: i128 = 1 << 24;

/// The element type of a value in the file, and the least and the largest number that it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integers {
    pub(super) ty: Type,
    pub(super) low: i128,
    pub(super) high: i128,
}

/// Of each output of a node the integers that it may hold; `None` for floats.
pub(super) type Ranges = Vec<Option<Integers>>;

impl Integers {
    /// Any of a type.
    pub(super) fn of(ty: Type) -> Self {
        let (low, high) = ty.range();
        Self { ty, low, high }
    }

    /// Those of a type from `low` to `high`.
    pub(super) fn between(ty: Type, low: i128, high: i128) -> Self {
        Self { ty, low, high }
    }

    /// Those of a constant; `None` of one that holds none.
    pub(super) fn of_constant(array: &Array) -> Option<Self> {
        let ty = array.ty();
        let numbers = || array.stored().map(|stored| stored.iter().map(move |&bits| ty.widen(bits)));
        Some(Self { ty, low: numbers()?.min().unwrap_or(0), high: numbers()?.max().unwrap_or(0) })
    }

    /// These and those.
    pub(super) fn or(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high), ..self }
    }

    pub(super) fn are_exact(self) -> bool {
        self.low >= -EXACT && self.high <= EXACT
    }

    /// Whether `ty` has all of them.
    pub(super) fn fit(self, ty: Type) -> bool {
        let (low, high) = ty.range();
        low <= self.low && self.high <= high
    }

    /// What `op` makes of two; `None` where it is another operation, or the numbers overflow.
    pub(super) fn arithmetic(self, op: &str, other: Self) -> Option<Self> {
        let all = |f: fn(i128, i128) -> Option<i128>| {
            let ends = [(self.low, other.low), (self.low, other.high), (self.high, other.low), (self.high, other.high)];
            let ends: Option<Vec<i128>> = ends.into_iter().map(|(a, b)| f(a, b)).collect();
            let ends = ends?;
            Some(Self { low: *ends.iter().min()?, high: *ends.iter().max()?, ..self })
        };
        match op {
            "Add" => all(i128::checked_add),
            "Sub" => all(i128::checked_sub),
            "Mul" => all(i128::checked_mul),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_products_have_the_ends_of_their_ranges() {
        let a = Integers::between(Type::I64, -3, 5);
        let b = Integers::between(Type::I64, 2, 4);
        let ends = |op| a.arithmetic(op, b).map(|r| (r.low, r.high));
        assert_eq!([ends("Add"), ends("Sub"), ends("Mul")], [Some((-1, 9)), Some((-7, 3)), Some((-12, 20))]);
        assert_eq!(ends("Div"), None);
        let all = Integers::of(Type::I64);
        assert!(!all.arithmetic("Add", all).unwrap().are_exact());
        assert_eq!(Integers::of(Type::U64).arithmetic("Mul", Integers::of(Type::U64)), None);
    }

    #[test]
    fn only_what_floats_hold_is_exact_and_only_what_a_type_has_fits() {
        assert!(Integers::between(Type::I32, -EXACT, EXACT).are_exact() && !Integers::of(Type::I32).are_exact());
        assert!(!Integers::between(Type::U8, -1, 0).fit(Type::U8) && Integers::of(Type::Bool).fit(Type::U8));
        let large = Array::ints_of(Type::U64, vec![2], vec![-1, 3]);
        assert_eq!(Integers::of_constant(&large), Some(Integers::between(Type::U64, 3, u64::MAX.into())));
        assert_eq!(Integers::of(Type::U8).or(Integers::between(Type::U8, -1, 3)), Integers::between(Type::U8, -1, 255));
    }
}
