//! Constants: tensors with the element type that the file gives them, from the file itself or from a file beside it.

use std::path::Path;

use super::elem::Type;
use super::external;
use super::proto::{SparseTensorProto, TensorProto};
use super::sizes::{AXES, affordable};
use crate::import::float::Float;
use crate::tensor::count;

/// A constant, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// Elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// Of the type `float`.
    Floats(Vec<f32>),
    /// Of the type `double`.
    Doubles(Vec<f64>),
    /// Of a float type that is narrower.
    Small(Type, Vec<f32>),
    /// Of the type `int64`.
    Ints(Vec<i64>),
    /// Of another integer type; a boolean is 0 or 1, of uint64 these are the bits.
    Narrow(Type, Vec<i64>),
}

/// Runs the same for every kind of elements: the vector as `$v`, new elements put back by `$made`.
macro_rules! alike {
    ($data:expr, $v:ident => $elements:expr) => {
        match $data {
            Data::Floats($v) => Data::Floats($elements),
            Data::Doubles($v) => Data::Doubles($elements),
            Data::Small(t, $v) => Data::Small(*t, $elements),
            Data::Ints($v) => Data::Ints($elements),
            Data::Narrow(t, $v) => Data::Narrow(*t, $elements),
        }
    };
}
pub(super) use alike;

impl Data {
    /// `len` elements from raw bytes, of which there must be [`Type::bytes`].
    pub(super) fn decode(ty: Type, bytes: &[u8], len: usize) -> Self {
        fn each<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|&b| f(b)).collect()
        }
        let ints = |v: Vec<i64>| if ty == Type::I64 { Data::Ints(v) } else { Data::Narrow(ty, v) };
        match ty {
            Type::F32 => Data::Floats(Float::F32.decode(bytes)),
            Type::F64 => Data::Doubles(each(bytes, f64::from_le_bytes)),
            Type::F16 => Data::Small(ty, Float::F16.decode(bytes)),
            Type::BF16 => Data::Small(ty, Float::BF16.decode(bytes)),
            Type::I64 => ints(each(bytes, i64::from_le_bytes)),
            Type::U64 => ints(each(bytes, |b| u64::from_le_bytes(b) as i64)),
            Type::I32 => ints(each(bytes, |b| i32::from_le_bytes(b).into())),
            Type::U32 => ints(each(bytes, |b| u32::from_le_bytes(b).into())),
            Type::I16 => ints(each(bytes, |b| i16::from_le_bytes(b).into())),
            Type::U16 => ints(each(bytes, |b| u16::from_le_bytes(b).into())),
            Type::I8 => ints(bytes.iter().map(|&b| (b as i8).into()).collect()),
            Type::U8 => ints(bytes.iter().map(|&b| b.into()).collect()),
            Type::Bool => ints(bytes.iter().map(|&b| i64::from(b != 0)).collect()),
            _ if ty.is_float() => Data::Small(ty, (0..len).map(|i| ty.small_float(ty.code(bytes, i))).collect()),
            _ => ints((0..len).map(|i| ty.wrap(ty.code(bytes, i).into())).collect()),
        }
    }
}

impl Array {
    /// A vector of integers, as shapes are.
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::Ints(values) }
    }

    /// Floats of type `ty`, each the nearest to what is given, infinite where that is too large.
    pub(super) fn floats_of(ty: Type, shape: Vec<usize>, values: Vec<f64>) -> Self {
        let data = match ty {
            Type::F64 => Data::Doubles(values),
            Type::F32 => Data::Floats(values.into_iter().map(|x| x as f32).collect()),
            _ => Data::Small(ty, values.into_iter().map(|x| ty.round(x, false) as f32).collect()),
        };
        Self { shape, data }
    }

    /// Integers or booleans of type `ty`, as [`Type::wrap`] gives them.
    pub(super) fn ints_of(ty: Type, shape: Vec<usize>, values: Vec<i64>) -> Self {
        Self { shape, data: if ty == Type::I64 { Data::Ints(values) } else { Data::Narrow(ty, values) } }
    }

    /// Truths.
    pub(super) fn bools(shape: Vec<usize>, values: impl Iterator<Item = bool>) -> Self {
        Self { shape, data: Data::Narrow(Type::Bool, values.map(i64::from).collect()) }
    }

    /// The element type.
    pub(super) fn ty(&self) -> Type {
        match &self.data {
            Data::Floats(_) => Type::F32,
            Data::Doubles(_) => Type::F64,
            Data::Ints(_) => Type::I64,
            Data::Small(ty, _) | Data::Narrow(ty, _) => *ty,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Floats(v) | Data::Small(_, v) => v.len(),
            Data::Doubles(v) => v.len(),
            Data::Ints(v) | Data::Narrow(_, v) => v.len(),
        }
    }

    /// The elements as floats.
    ///
    /// # Errors
    /// A phrase where a number is too large for these, or so small that nothing of it is left.
    pub(super) fn held_floats(&self) -> Result<Vec<f32>, String> {
        match &self.data {
            Data::Doubles(v) => match v.iter().find(|x| x.is_finite() && (!(**x as f32).is_finite() || **x != 0.0 && **x as f32 == 0.0)) {
                Some(beyond) => Err(format!("has a constant with {beyond:e}, which is beyond what f32 holds")),
                None => Ok(self.to_floats()),
            },
            _ => Ok(self.to_floats()),
        }
    }

    /// The elements as floats, infinite where they are beyond what these hold.
    pub(super) fn to_floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Floats(v) | Data::Small(_, v) => v.clone(),
            Data::Doubles(v) => v.iter().map(|&x| x as f32).collect(),
            Data::Ints(v) => v.iter().map(|&x| x as f32).collect(),
            Data::Narrow(ty, v) => v.iter().map(|&x| ty.widen(x) as f32).collect(),
        }
    }

    /// The elements as doubles: exact, but for integers beyond 2⁵³.
    pub(super) fn to_doubles(&self) -> Vec<f64> {
        self.to_doubles_of(self.len())
    }

    /// The same of the first `most` elements.
    pub(super) fn to_doubles_of(&self, most: usize) -> Vec<f64> {
        match &self.data {
            Data::Floats(v) | Data::Small(_, v) => v.iter().take(most).map(|&x| x.into()).collect(),
            Data::Doubles(v) => v.iter().take(most).copied().collect(),
            Data::Ints(v) => v.iter().take(most).map(|&x| x as f64).collect(),
            Data::Narrow(ty, v) => v.iter().take(most).map(|&x| ty.widen(x) as f64).collect(),
        }
    }

    /// The elements if they are integers or booleans; nothing where one is beyond the range of int64.
    pub(super) fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(v) => Some(v),
            Data::Narrow(Type::U64, v) if v.iter().any(|&x| x < 0) => None,
            Data::Narrow(_, v) => Some(v),
            _ => None,
        }
    }

    /// Integers or booleans as they are stored: of uint64 the bits, see [`Type::widen`].
    pub(super) fn stored(&self) -> Option<&[i64]> {
        if let Data::Ints(v) | Data::Narrow(_, v) = &self.data { Some(v) } else { None }
    }

    /// The one element.
    pub(super) fn scalar(&self) -> Option<f32> {
        if self.len() == 1 { self.to_floats().pop() } else { None }
    }

    /// The same elements under another shape of as many.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self { shape, data: self.data.clone() }
    }

    /// The elements at `places`, in that order.
    pub(super) fn picked(&self, shape: Vec<usize>, places: impl Iterator<Item = usize>) -> Self {
        Self { shape, data: alike!(&self.data, v => places.map(|p| v[p]).collect()) }
    }

    /// The elements at `places`, in that order, zeros where there is none.
    pub(super) fn picked_or_zero(&self, shape: Vec<usize>, places: impl Iterator<Item = Option<usize>>) -> Self {
        Self { shape, data: alike!(&self.data, v => places.map(|p| p.map(|p| v[p]).unwrap_or_default()).collect()) }
    }

    /// All elements of `parts`, which are of one type, one part after the other.
    ///
    /// # Errors
    /// A phrase for parts of different types.
    pub(super) fn chained(parts: &[&Self]) -> Result<Self, String> {
        let first = parts.first().ok_or("has no inputs")?;
        let mut data = alike!(&first.data, v => Vec::with_capacity(v.len()));
        for part in parts {
            match (&mut data, &part.data) {
                (Data::Floats(all), Data::Floats(v)) => all.extend(v),
                (Data::Doubles(all), Data::Doubles(v)) => all.extend(v),
                (Data::Ints(all), Data::Ints(v)) => all.extend(v),
                (Data::Small(a, all), Data::Small(b, v)) if a == b => all.extend(v),
                (Data::Narrow(a, all), Data::Narrow(b, v)) if a == b => all.extend(v),
                _ => return Err(format!("has inputs of {} and {}", first.ty().name(), part.ty().name())),
            }
        }
        Ok(Self { shape: vec![parts.iter().map(|p| p.len()).sum()], data })
    }

    /// Reads a tensor; `folder` is where the ONNX file lies.
    ///
    /// # Errors
    /// A phrase that says which claim of the tensor does not hold. Nothing is allocated beyond what the file holds.
    pub(super) fn read(tensor: &TensorProto, folder: &Path) -> Result<Self, String> {
        let shape = lengths(&tensor.dims)?;
        let len = count(&shape).ok_or_else(|| format!("has shape {shape:?}, more than can be counted"))?;
        let code = tensor.data_type.unwrap_or(0);
        let ty = Type::of(code.into()).ok_or_else(|| format!("has element type {code}, which is neither float nor integer"))?;
        let needed = ty.bytes(len).ok_or_else(|| format!("has shape {shape:?}, more than can be counted"))?;
        let check = |bytes: usize| match bytes == needed {
            true => Ok(()),
            false => Err(format!("has {bytes} bytes, its shape {shape:?} needs {needed}")),
        };
        let data = if tensor.data_location == Some(1) {
            Data::decode(ty, &external::read(&tensor.external_data, folder, needed)?, len)
        } else if let Some(raw) = &tensor.raw_data {
            check(raw.len())?;
            Data::decode(ty, raw, len)
        } else {
            typed(tensor, ty, len)?
        };
        let array = Self { shape, data };
        match array.len() == len {
            true => Ok(array),
            false => Err(format!("has {} elements, its shape {:?} needs {len}", array.len(), array.shape)),
        }
    }

    /// Reads a sparse tensor as the dense one that it stands for; its name and that.
    ///
    /// # Errors
    /// As [`Array::read`]; for one that is too large when dense, and for indices that do not fit or do not rise.
    pub(super) fn read_sparse(tensor: &SparseTensorProto, folder: &Path) -> Result<(String, Self), String> {
        let name = tensor.values.as_ref().map(|v| v.name().to_string()).unwrap_or_default();
        let shape = lengths(&tensor.dims)?;
        let len = affordable(&shape)?;
        let values = Self::read(tensor.values.as_ref().ok_or("has no values")?, folder)?;
        let indices = match &tensor.indices {
            Some(indices) => Self::read(indices, folder)?,
            None if values.len() == 0 => Self { shape: vec![0], data: Data::Ints(Vec::new()) },
            None => return Err("has no indices".into()),
        };
        let rows = indices.as_ints().ok_or("has indices of no integers")?;
        let misfit = || format!("has indices of {:?} for {} values of shape {shape:?}", indices.shape, values.len());
        let mut flat = Vec::with_capacity(values.len());
        match indices.shape[..] {
            [n] if n == values.len() => flat.extend_from_slice(rows),
            [n, rank] if n == values.len() && rank == shape.len() => {
                for row in rows.chunks(rank.max(1)) {
                    if row.iter().zip(&shape).any(|(&i, &d)| i < 0 || i >= d as i64) {
                        return Err(misfit());
                    }
                    flat.push(row.iter().zip(&shape).fold(0, |at, (&i, &d)| at * d as i64 + i));
                }
            }
            _ => return Err(misfit()),
        }
        if flat.len() != values.len() || flat.iter().any(|&i| i < 0 || i >= len as i64) || flat.windows(2).any(|w| w[0] >= w[1]) {
            return Err(misfit());
        }
        let mut from = vec![None; len];
        flat.iter().enumerate().for_each(|(i, &at)| from[at as usize] = Some(i));
        Ok((name, values.picked_or_zero(shape, from.into_iter())))
    }
}

fn lengths(dims: &[i64]) -> Result<Vec<usize>, String> {
    if dims.len() > AXES {
        return Err(format!("has {} axes, more than {AXES}", dims.len()));
    }
    dims.iter().map(|&d| usize::try_from(d).map_err(|_| format!("has a dimension of {d}"))).collect()
}

/// Elements from the field that holds those of this type.
fn typed(tensor: &TensorProto, ty: Type, len: usize) -> Result<Data, String> {
    let narrow = &tensor.int32_data;
    Ok(match ty {
        Type::F32 => Data::Floats(tensor.float_data.clone()),
        Type::F64 => Data::Doubles(tensor.double_data.clone()),
        Type::I64 => Data::Ints(tensor.int64_data.clone()),
        Type::U64 | Type::U32 => Data::Narrow(ty, tensor.uint64_data.iter().map(|&x| ty.wrap(x.into())).collect()),
        // Elements of two or four bits lie side by side in bytes here too.
        _ if ty.bits() < 6 => {
            let bytes: Vec<u8> = narrow.iter().map(|&x| x as u8).collect();
            if ty.bytes(len) != Some(bytes.len()) {
                return Err(format!("has {} bytes, its {len} elements of {} need another number", bytes.len(), ty.name()));
            }
            Data::decode(ty, &bytes, len)
        }
        _ if ty.is_float() => {
            let mask = (1u32 << ty.bits()) - 1;
            Data::Small(ty, narrow.iter().map(|&x| ty.small_float(x as u32 & mask)).collect())
        }
        _ => Data::Narrow(ty, narrow.iter().map(|&x| ty.wrap(x.into())).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: i32, dims: &[i64], raw: &[u8]) -> Result<Array, String> {
        let tensor =
            TensorProto { data_type: Some(code), dims: dims.to_vec(), raw_data: Some(raw.to_vec().into()), ..TensorProto::default() };
        Array::read(&tensor, Path::new("."))
    }

    #[test]
    fn every_type_is_read() {
        let floats = |code, raw: &[u8]| read(code, &[1], raw).unwrap().to_floats()[0];
        assert_eq!(floats(1, &1.5f32.to_le_bytes()), 1.5);
        assert_eq!(floats(11, &(-2.25f64).to_le_bytes()), -2.25);
        assert_eq!(floats(10, &half::f16::from_f32(0.75).to_le_bytes()), 0.75);
        assert_eq!(floats(16, &half::bf16::from_f32(-3.0).to_le_bytes()), -3.0);
        // E4M3: 0 1000 100 is 2·1.5; the largest is 448. E5M2: 0 10000 10 is 2·1.5. The UZ forms halve them.
        assert_eq!((floats(17, &[0x44]), floats(17, &[0x7e]), floats(18, &[0x44])), (3.0, 448.0, 1.5));
        assert_eq!((floats(19, &[0x42]), floats(20, &[0x42]), floats(19, &[0x7c])), (3.0, 1.5, f32::INFINITY));
        assert!(floats(17, &[0x7f]).is_nan() && floats(18, &[0x80]).is_nan() && floats(17, &[0x01]) == 2f32.powi(-9));
        let ints = |code, raw: &[u8]| read(code, &[1], raw).unwrap().as_ints().unwrap()[0];
        assert_eq!((ints(3, &[0xfe]), ints(2, &[0xfe]), ints(9, &[1])), (-2, 254, 1));
        assert_eq!((ints(6, &(-7i32).to_le_bytes()), ints(7, &i64::MIN.to_le_bytes())), (-7, i64::MIN));
    }

    #[test]
    fn typed_fields_are_read_too() {
        let tensor = TensorProto { data_type: Some(10), dims: vec![2], int32_data: vec![0x3c00, 0xc000], ..TensorProto::default() };
        assert_eq!(Array::read(&tensor, Path::new(".")).unwrap().data, Data::Small(Type::F16, vec![1.0, -2.0]));
        let tensor = TensorProto { data_type: Some(1), dims: vec![], float_data: vec![4.0], ..TensorProto::default() };
        assert_eq!(Array::read(&tensor, Path::new(".")).unwrap().scalar(), Some(4.0));
    }

    #[test]
    fn types_are_kept() {
        let of = |code, len: i64, raw: &[u8]| read(code, &[len], raw).unwrap();
        assert_eq!(of(11, 1, &0.1f64.to_le_bytes()).data, Data::Doubles(vec![0.1]));
        assert_eq!(of(9, 3, &[0, 1, 7]).data, Data::Narrow(Type::Bool, vec![0, 1, 1]));
        assert_eq!(of(22, 3, &[0x8f, 0x01]).data, Data::Narrow(Type::I4, vec![-1, -8, 1]));
        let large = of(13, 1, &u64::MAX.to_le_bytes());
        assert_eq!((large.as_ints(), large.to_doubles()), (None, vec![u64::MAX as f64]));
        let packed = TensorProto { data_type: Some(21), dims: vec![3], int32_data: vec![0x21, 0x03], ..TensorProto::default() };
        assert_eq!(Array::read(&packed, Path::new(".")).unwrap().data, Data::Narrow(Type::U4, vec![1, 2, 3]));
    }

    #[test]
    fn a_sparse_tensor_is_read_as_the_dense_one() {
        let sparse = |dims: &[i64], values: &[f32], at: &[i64], index_dims: &[i64]| {
            let values =
                TensorProto { data_type: Some(1), dims: vec![values.len() as i64], float_data: values.to_vec(), ..Default::default() };
            let indices = TensorProto { data_type: Some(7), dims: index_dims.to_vec(), int64_data: at.to_vec(), ..Default::default() };
            let tensor = SparseTensorProto { values: Some(values), indices: Some(indices), dims: dims.to_vec() };
            Array::read_sparse(&tensor, Path::new(".")).map(|(_, array)| array)
        };
        let dense = Array { shape: vec![2, 3], data: Data::Floats(vec![0.0, 5.0, 0.0, 0.0, 0.0, 7.0]) };
        assert_eq!(sparse(&[2, 3], &[5.0, 7.0], &[1, 5], &[2]).unwrap(), dense);
        assert_eq!(sparse(&[2, 3], &[5.0, 7.0], &[0, 1, 1, 2], &[2, 2]).unwrap(), dense);
        assert!(sparse(&[2, 3], &[5.0, 7.0], &[0, 1, 0, 3], &[2, 2]).unwrap_err().contains("indices of [2, 2]"));
        assert!(sparse(&[2, 3], &[5.0, 7.0], &[5, 1], &[2]).unwrap_err().contains("indices"));
        assert!(sparse(&[2, 3], &[5.0], &[6], &[1]).unwrap_err().contains("indices"));
        assert!(sparse(&[1 << 40], &[5.0], &[6], &[1]).unwrap_err().contains("elements"));
    }

    #[test]
    fn claims_that_do_not_hold_are_refused() {
        let refused = |code, dims: &[i64], raw: &[u8]| read(code, dims, raw).unwrap_err();
        assert!(refused(1, &[2], &[0; 4]).contains("needs 8"));
        assert!(refused(1, &[1 << 30, 1], &[0; 4]).contains("needs 4294967296"));
        assert!(refused(1, &[1 << 62, 1 << 62], &[0; 4]).contains("more than can be counted"));
        assert!(refused(1, &[1 << 62], &[0; 4]).contains("more than can be counted"));
        assert!(refused(1, &[-1], &[0; 4]).contains("dimension of -1"));
        assert!(refused(8, &[1], &[0; 4]).contains("element type 8"));
        assert!(refused(1, &[1; 65], &[0; 4]).contains("65 axes"));
        let tensor = TensorProto { data_type: Some(1), dims: vec![1 << 40], ..TensorProto::default() };
        assert!(Array::read(&tensor, Path::new(".")).unwrap_err().contains("has 0 elements"));
    }

    #[test]
    fn small_elements_lie_side_by_side() {
        use Type::*;
        assert_eq!(Data::decode(I4, &[0xf7, 0x08], 3), Data::Narrow(I4, vec![7, -1, -8]));
        assert_eq!(Data::decode(U2, &[0b11_10_01_00, 1], 5), Data::Narrow(U2, vec![0, 1, 2, 3, 1]));
        assert_eq!(Data::decode(E2M1, &[0xf7], 2), Data::Small(E2M1, vec![6.0, -6.0]));
        // Four of six bits in three bytes: codes 1, 2, 3, 31.
        assert_eq!(Data::decode(E2M3, &[0x81, 0x30, 0x7c], 4), Data::Small(E2M3, vec![0.125, 0.25, 0.375, 7.5]));
        assert_eq!((E2M3.bytes(4), I2.bytes(5), F64.bytes(usize::MAX)), (Some(3), Some(2), None));
    }
}
