//! Arrays of any element type, and their numbers as networks compute with them.

use half::{bf16, f16};

use crate::artifact::{Element, TensorSpec};

/// For each element type its variant.
macro_rules! arrays {
    ($($variant:ident: $type:ty, $from:expr, $to:expr;)*) => {
        /// The borrowed elements of an array, in the order of its axes.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum ArrayView<'a> {
            $(#[doc = concat!("Of `", stringify!($type), "`.")] $variant(&'a [$type]),)*
        }

        /// The elements of an array in the order of its axes.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Array {
            $(#[doc = concat!("Of `", stringify!($type), "`.")] $variant(Vec<$type>),)*
        }

        $(impl<'a> From<&'a [$type]> for ArrayView<'a> {
            fn from(values: &'a [$type]) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a> From<&'a Vec<$type>> for ArrayView<'a> {
            fn from(values: &'a Vec<$type>) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a, const N: usize> From<&'a [$type; N]> for ArrayView<'a> {
            fn from(values: &'a [$type; N]) -> Self {
                Self::$variant(values)
            }
        })*

        impl<'a> From<&'a Array> for ArrayView<'a> {
            fn from(array: &'a Array) -> Self {
                match array {
                    $(Array::$variant(values) => Self::$variant(values),)*
                }
            }
        }

        impl ArrayView<'_> {
            /// How many elements there are.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(values) => values.len(),)*
                }
            }

            /// The type of its elements.
            pub fn element(&self) -> Element {
                match self {
                    $(Self::$variant(_) => Element::$variant,)*
                }
            }

            /// Element `index` as networks compute with it: the nearest f32.
            pub(super) fn number(&self, index: usize) -> f32 {
                match self {
                    $(Self::$variant(values) => ($from)(values[index]),)*
                }
            }
        }

        impl Array {
            /// `values` in another type: rounded, and cut off at the ends of an integer type.
            pub(super) fn of(element: Element, values: &[f32]) -> Self {
                match element {
                    $(Element::$variant => Self::$variant(values.iter().map(|&x| ($to)(x)).collect()),)*
                }
            }
        }
    };
}

arrays! {
    F32: f32, |x| x, |x| x;
    F64: f64, |x| x as f32, f64::from;
    F16: f16, f16::to_f32, f16::from_f32;
    Bf16: bf16, bf16::to_f32, bf16::from_f32;
    Bool: bool, |x| f32::from(u8::from(x)), |x| x != 0.0;
    U8: u8, f32::from, |x: f32| x.round() as u8;
    I8: i8, f32::from, |x: f32| x.round() as i8;
    U16: u16, f32::from, |x: f32| x.round() as u16;
    I16: i16, f32::from, |x: f32| x.round() as i16;
    U32: u32, |x| x as f32, |x: f32| x.round() as u32;
    I32: i32, |x| x as f32, |x: f32| x.round() as i32;
    U64: u64, |x| x as f32, |x: f32| x.round() as u64;
    I64: i64, |x| x as f32, |x: f32| x.round() as i64;
}

impl ArrayView<'_> {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its elements are pixels where floats are declared: bytes.
    pub(super) fn is_pixels(&self, spec: &TensorSpec) -> bool {
        matches!(self, Self::U8(_)) && spec.element.range().is_none()
    }

    /// Checks that it can be given as the input that `spec` declares: floats of any width, or pixels, where floats are declared, and
    /// whole numbers of the declared range where integers are. f32 are the network's own numbers, whatever is declared.
    ///
    /// # Errors
    /// What it is instead.
    pub(super) fn check(&self, spec: &TensorSpec) -> Result<(), String> {
        if let Self::F32(_) = self {
            return Ok(());
        }
        let wanted = spec.element.name();
        let Some((least, most)) = spec.element.range() else {
            return match self.element().range() {
                None => Ok(()),
                Some(_) if self.is_pixels(spec) => Ok(()),
                Some(_) => Err(format!("holds {}; the network takes {wanted}, or 8-bit pixels", self.element().name())),
            };
        };
        // Whatever fits the type fits, and most arrays are of the declared one.
        if self.element() == spec.element {
            return Ok(());
        }
        let whole = |index: usize| match self {
            Self::U64(values) => Some(values[index].into()),
            Self::I64(values) => Some(values[index].into()),
            Self::U32(values) => Some(values[index].into()),
            Self::I32(values) => Some(values[index].into()),
            Self::F64(values) => Some(values[index]).filter(|x| x.fract() == 0.0).map(|x| x as i128),
            _ => Some(self.number(index)).filter(|x| x.fract() == 0.0).map(|x| x as i128),
        };
        match (0..self.len()).find(|&index| !whole(index).is_some_and(|n| (least..=most).contains(&n))) {
            Some(at) => Err(format!("holds {} as value {at}; the network takes {wanted}", self.number(at))),
            None => Ok(()),
        }
    }
}

impl Array {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        ArrayView::from(self).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of its elements.
    pub fn element(&self) -> Element {
        ArrayView::from(self).element()
    }

    /// Its elements if they are f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Self::F32(values) = self { Some(values) } else { None }
    }

    /// Its elements as the nearest f32.
    pub fn to_f32(&self) -> Vec<f32> {
        let view = ArrayView::from(self);
        (0..view.len()).map(|index| view.number(index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_other_types_are_taken_where_they_say_the_same() {
        let of = |element| TensorSpec { element, ..TensorSpec::new("x", &[3]) };
        let check = |view: ArrayView<'_>, element| view.check(&of(element));
        assert!(check(ArrayView::F64(&[1.5]), Element::F32).is_ok() && check(ArrayView::F16(&[f16::ONE]), Element::F32).is_ok());
        assert!(check(ArrayView::U8(&[1]), Element::F32).is_ok() && check(ArrayView::I32(&[1]), Element::F32).is_err());
        assert!(check(ArrayView::F32(&[7.5]), Element::I32).is_ok() && check(ArrayView::I64(&[7]), Element::I32).is_ok());
        for (view, value) in [
            (ArrayView::F64(&[1.0, 2.5]), "2.5 as value 1"),
            (ArrayView::I64(&[1 << 40]), "as value 0"),
            (ArrayView::F64(&[f64::NAN]), "NaN as value 0"),
            (ArrayView::F64(&[1e300]), "inf as value 0"),
        ] {
            assert!(check(view, Element::I32).unwrap_err().contains(value), "{value}");
        }
        assert!(check(ArrayView::I32(&[2]), Element::Bool).is_err() && check(ArrayView::Bool(&[true]), Element::Bool).is_ok());
    }

    #[test]
    fn numbers_survive_the_way_there_and_back() {
        for element in [Element::F32, Element::F64, Element::F16, Element::Bf16, Element::I8, Element::I64, Element::I32] {
            let array = Array::of(element, &[-3.0, 0.0, 7.0]);
            assert_eq!((array.element(), array.to_f32()), (element, vec![-3.0, 0.0, 7.0]));
        }
        assert_eq!(Array::of(Element::U8, &[-3.0, 6.6, 300.0]), Array::U8(vec![0, 7, 255]));
        assert_eq!(Array::of(Element::Bool, &[0.0, 1.0]), Array::Bool(vec![false, true]));
    }
}
